/* SPDX-License-Identifier: MIT */
/* The command line of policyc.
 *
 *	policyc -o DIR POLICIES     compile POLICIES/{control,vcpu,io}.policy into C files in DIR
 *	policyc -l POLICIES         list the alternatives, a line each, tab-separated:
 *	                            role, line, call, conditions, reason
 *
 * Exit status: 0, 1 when a policy has errors, 64 for a wrong command line, 71 when a file cannot be
 * written. */
#include <stdarg.h>
#include <string.h>

#include "base/base.h"
#include "hack/policyc/policyc.h"

enum { EXIT_ERRORS = 1, EXIT_USAGE = 64, EXIT_OS = 71 };

void policy_error(struct text_policy *p, unsigned int line, const char *format, ...)
{
	va_list args;

	p->errors++;
	if (line)
		fprintf(stderr, "%s:%u: ", p->path, line);
	else
		fprintf(stderr, "%s: ", p->path);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void list(const struct text_policy *p, const char *role)
{
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct text_rule *r = &p->rules[i];

		printf("%s\t%u\t%s\t%s\t%s\n", role, r->line, r->call, r->conditions, r->reason);
	}
}

int main(int argc, char **argv)
{
	static struct text_policy policies[POLICYC_ROLES];
	static char paths[POLICYC_ROLES][4096];
	bool listing = argc == 3 && strcmp(argv[1], "-l") == 0;
	bool compiling = argc == 4 && strcmp(argv[1], "-o") == 0;
	unsigned int errors = 0;

	if (!listing && !compiling) {
		fprintf(stderr, "usage: policyc -o DIR POLICIES | policyc -l POLICIES\n");
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < POLICYC_ROLES; i++) {
		const char *role = sandbox_role_name((enum sandbox_role)i);

		snprintf(paths[i], sizeof(paths[i]), "%s/%s.policy", argv[argc - 1], role);
		policies[i].path = paths[i];
		policy_parse(&policies[i]);
		if (policies[i].errors == 0)
			policy_compile(&policies[i]);
		errors += policies[i].errors;
		if (listing)
			list(&policies[i], role);
	}
	if (errors) {
		fprintf(stderr, "policyc: %u error%s\n", errors, errors == 1 ? "" : "s");
		return EXIT_ERRORS;
	}
	if (compiling) {
		int r = policy_emit(argv[2], policies);

		if (r < 0) {
			fprintf(stderr, "policyc: %s: %s\n", argv[2], errno_text(-r));
			return EXIT_OS;
		}
	}
	return 0;
}
