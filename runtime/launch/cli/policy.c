/* SPDX-License-Identifier: MIT */
/* `axvm policy`: shows the compiled seccomp policies and asks them questions.
 *
 *	axvm policy [table|oci|bpf|digest] [ROLE]	ROLE is control, vcpu or io; without it, all
 *	axvm policy raw ROLE				the bytes that the digest is of
 *	axvm policy ring				what the I/O rings are restricted to
 *	axvm policy check ROLE SYSCALL [ARG...]
 *
 * SYSCALL and ARG are names, numbers, or symbols of the policies. */
#include "launch/cli/policy.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#include "base/base.h"
#include "io/restriction.h"
#include "sandbox/policy/bpf.h"
#include "sandbox/policy/eval.h"
#include "sandbox/policy/print.h"
#include "sandbox/policy/symbols.h"

enum { EXIT_ALLOWED = 0, EXIT_DENIED = 1 };

static const struct view {
	const char *name;
	void (*print)(enum sandbox_role role, FILE *out);
	bool needs_role; /* several roles in a row would not be one JSON document */
} views[] = {
	{ .name = "table", .print = sandbox_print_table },
	{ .name = "oci", .print = sandbox_print_oci, .needs_role = true },
	{ .name = "bpf", .print = sandbox_print_bpf },
	{ .name = "raw", .print = sandbox_print_raw, .needs_role = true },
	{ .name = "digest", .print = sandbox_print_digest },
};

static int usage(void)
{
	fputs("usage: axvm policy [table|bpf|digest] [ROLE]\n"
	      "       axvm policy oci|raw ROLE\n"
	      "       axvm policy ring\n"
	      "       axvm policy check ROLE SYSCALL [ARG...]\n"
	      "ROLE: control, vcpu, io. ARG: a number, or a symbol of the policies.\n",
	      stderr);
	return EX_USAGE;
}

static int parse_role(const char *text, enum sandbox_role *ret_role)
{
	int r = sandbox_role_parse(text, ret_role);

	if (r < 0)
		fprintf(stderr,
		        "axvm policy: there is no role \"%s\"; there are control, vcpu and io\n",
		        text);
	return r;
}

static int parse_number(const char *text, uint64_t *ret_value)
{
	bool negative = text[0] == '-';
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)text[negative]))
		return -EINVAL;
	errno = 0;
	value = strtoull(text + negative, &end, 0);
	if (errno || *end)
		return -EINVAL;
	*ret_value = negative ? -value : value;
	return 0;
}

static int parse_call(const char *text, int32_t *ret_nr)
{
	uint64_t value;
	int nr;

	if (sandbox_syscall_parse(text, &nr) == 0) {
		*ret_nr = nr;
		return 0;
	}
	if (parse_number(text, &value) < 0) {
		fprintf(stderr, "axvm policy: there is no x86-64 system call \"%s\"\n", text);
		return -ENOENT;
	}
	*ret_nr = (int32_t)value;
	return 0;
}

static int check(int argc, char **argv, FILE *out)
{
	struct sandbox_verdict verdict;
	struct seccomp_data call;
	uint64_t args[6] = { 0 };
	enum sandbox_role role;
	int32_t nr;
	int r;

	if (argc < 2 || argc > 2 + (int)ARRAY_SIZE(args))
		return usage();
	if (parse_role(argv[0], &role) < 0 || parse_call(argv[1], &nr) < 0)
		return EX_USAGE;
	for (int i = 2; i < argc; i++)
		if (sandbox_symbol_value(argv[i], &args[i - 2]) < 0 &&
		    parse_number(argv[i], &args[i - 2]) < 0) {
			fprintf(stderr,
			        "axvm policy: \"%s\" is neither a number nor a symbol of the policies\n",
			        argv[i]);
			return EX_USAGE;
		}
	call = sandbox_call(nr, args);
	r = sandbox_policy_evaluate(role, &call, &verdict);
	if (r < 0) {
		fprintf(stderr, "axvm policy: the filter and the rules of %s disagree\n", argv[0]);
		return EX_SOFTWARE;
	}
	if (verdict.rule)
		fprintf(out, "allow, by %s.policy:%u \"%s: %s\" (%s); %u instructions\n", argv[0],
		        verdict.rule->line, verdict.rule->call, verdict.rule->conditions,
		        verdict.rule->reason, verdict.steps);
	else
		fprintf(out, "deny (%s), by no line of %s.policy; %u instructions\n",
		        sandbox_bpf_action_name(verdict.action), argv[0], verdict.steps);
	return verdict.rule ? EXIT_ALLOWED : EXIT_DENIED;
}

/* Prints the rings' opcodes, which seccomp does not see: the kernel checks each submission against
 * the ring's restrictions. */
static int print_ring(FILE *out)
{
	size_t count;
	const struct io_opcode *opcodes = io_loop_opcodes(&count);

	fprintf(out,
	        "ring: %zu opcodes, of an io_uring of an I/O thread, by the devices it serves\n%-4s  %-12s  "
	        "%-11s  reason\n",
	        count, "nr", "opcode", "where");
	for (size_t i = 0; i < count; i++)
		fprintf(out, "%4u  %-12s  %-11s  %s\n", opcodes[i].opcode, opcodes[i].name,
		        io_opcode_where(&opcodes[i]), opcodes[i].reason);
	fputs("only registered files, but in the loop of a vsock, which uses what is in its thread's table of "
	      "descriptors too:\nits ring, eventfds for waking, connections. Any other submission: refused, and the VM "
	      "ends\n",
	      out);
	return 0;
}

static int show(const struct view *view, int argc, char **argv, FILE *out)
{
	enum sandbox_role role;

	if (argc > 1 || (argc == 0 && view->needs_role))
		return usage();
	if (argc == 1) {
		if (parse_role(argv[0], &role) < 0)
			return EX_USAGE;
		view->print(role, out);
		return 0;
	}
	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++) {
		if (i && view->print != sandbox_print_digest)
			fputc('\n', out);
		view->print((enum sandbox_role)i, out);
	}
	if (view->print == sandbox_print_table) {
		fputc('\n', out);
		(void)print_ring(out);
	}
	if (view->print == sandbox_print_digest)
		fprintf(out, "%s  all\n", sandbox_policies_digest_hex);
	return 0;
}

int axvm_cmd_policy(int argc, char **argv, FILE *out)
{
	const char *name = argc > 1 ? argv[1] : "table";
	int r = -1;

	if (strcmp(name, "check") == 0)
		r = check(argc - 2, argv + 2, out);
	if (strcmp(name, "ring") == 0 && argc == 2)
		r = print_ring(out);
	for (size_t i = 0; r < 0 && i < ARRAY_SIZE(views); i++)
		if (strcmp(name, views[i].name) == 0)
			r = show(&views[i], MAX(argc - 2, 0), argv + 2, out);
	if (r < 0)
		r = usage();
	if (fflush(out) != 0 || ferror(out))
		return EX_IOERR;
	return r;
}
