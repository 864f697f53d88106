/* SPDX-License-Identifier: MIT */
/* Prints the compiled policies for people and for other tools. Not used by the shim. */
#include "sandbox/policy/print.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/base.h"
#include "sandbox/policy/bpf.h"

static int widest(const struct sandbox_rules *all, bool conditions)
{
	size_t width = strlen("conditions");

	if (!conditions)
		width = strlen("call");
	for (size_t i = 0; i < all->count; i++)
		width = MAX(width,
		            strlen(conditions ? all->rules[i].conditions : all->rules[i].call));
	return (int)width;
}

void sandbox_print_table(enum sandbox_role role, FILE *out)
{
	const struct sandbox_rules *all = &sandbox_rules[role];
	int call = widest(all, false), conditions = widest(all, true);

	fprintf(out, "%s: %zu rules, %u BPF instructions, digest %s\n", sandbox_role_name(role),
	        all->count, sandbox_filters[role].count, sandbox_filters[role].digest_hex);
	fprintf(out, "%4s  %-*s  %-*s  %s\n", "line", call, "call", conditions, "conditions",
	        "reason");
	for (size_t i = 0; i < all->count; i++)
		fprintf(out, "%4u  %-*s  %-*s  %s\n", all->rules[i].line, call, all->rules[i].call,
		        conditions, all->rules[i].conditions, all->rules[i].reason);
	fprintf(out, "any other call: %s; i386 and x32: %s\n",
	        sandbox_bpf_action_name(SANDBOX_DENY_ACTION),
	        sandbox_bpf_action_name(SANDBOX_FOREIGN_ACTION));
}

static void print_oci_args(const struct sandbox_rule *rule, FILE *out)
{
	fputs(",\n\t\t\t\"args\": [", out);
	for (size_t i = 0; i < rule->cmp_count; i++) {
		const struct sandbox_cmp *cmp = &rule->cmp[i];

		fprintf(out, "%s\n\t\t\t\t{ \"index\": %u, ", i ? "," : "", cmp->arg);
		if (cmp->mask == UINT64_MAX)
			fprintf(out, "\"value\": %" PRIu64 ", \"op\": \"SCMP_CMP_EQ\" }",
			        cmp->value);
		else
			fprintf(out,
			        "\"value\": %" PRIu64 ", \"valueTwo\": %" PRIu64
			        ", \"op\": \"SCMP_CMP_MASKED_EQ\" }",
			        cmp->mask, cmp->value);
	}
	fputs("\n\t\t\t]", out);
}

void sandbox_print_oci(enum sandbox_role role, FILE *out)
{
	const struct sandbox_rules *all = &sandbox_rules[role];

	fputs("{\n\t\"defaultAction\": \"SCMP_ACT_TRAP\",\n"
	      "\t\"architectures\": [\"SCMP_ARCH_X86_64\"],\n"
	      "\t\"flags\": [\"SECCOMP_FILTER_FLAG_LOG\"],\n"
	      "\t\"syscalls\": [",
	      out);
	for (size_t i = 0; i < all->count; i++) {
		fprintf(out,
		        "%s\n\t\t{\n\t\t\t\"names\": [\"%s\"],"
		        "\n\t\t\t\"action\": \"SCMP_ACT_ALLOW\"",
		        i ? "," : "", all->rules[i].call);
		if (all->rules[i].cmp_count)
			print_oci_args(&all->rules[i], out);
		fputs("\n\t\t}", out);
	}
	fputs("\n\t]\n}\n", out);
}

void sandbox_print_bpf(enum sandbox_role role, FILE *out)
{
	const struct sandbox_filter *filter = &sandbox_filters[role];
	char text[80];

	fprintf(out, "# %s: %u instructions, digest %s\n", sandbox_role_name(role), filter->count,
	        filter->digest_hex);
	for (size_t pc = 0; pc < filter->count; pc++) {
		const struct sock_filter *f = &filter->insns[pc];

		sandbox_bpf_disassemble(f, pc, text, sizeof(text));
		fprintf(out, "%4zu: %02x %02x %02x %08x  %s\n", pc, f->code, f->jt, f->jf, f->k,
		        text);
	}
}

void sandbox_print_raw(enum sandbox_role role, FILE *out)
{
	fwrite(sandbox_filters[role].insns, sizeof(struct sock_filter), sandbox_filters[role].count,
	       out);
}

void sandbox_print_digest(enum sandbox_role role, FILE *out)
{
	fprintf(out, "%s  %s\n", sandbox_filters[role].digest_hex, sandbox_role_name(role));
}
