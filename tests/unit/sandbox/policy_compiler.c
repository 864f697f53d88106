/* SPDX-License-Identifier: MIT */
/* policyc: what it refuses and how it says so, what it accepts; and the audit. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "sandbox/policy.h"
#include "tests/unit/rig/policy_tools.h"

#define GOOD "exit_group: any # the end\n"

static char scratch[1024];

static void begin(void)
{
	tool_scratch(scratch, sizeof(scratch));
	tool_write(scratch, "control.policy", GOOD);
	tool_write(scratch, "vcpu.policy", GOOD);
	tool_write(scratch, "io.policy", GOOD);
}

static void end(void)
{
	tool_remove(scratch);
}

static int policyc(const char *options, char *output, size_t size)
{
	char command[8000], path[4096];

	tool_policyc_path(path, sizeof(path));
	snprintf(command, sizeof(command), "'%s' %s '%s'", path, options, scratch);
	return tool_run(command, output, size);
}

TestSuite(policy_compiler, .init = begin, .fini = end);

static const struct {
	const char *text;
	const char *message; /* after "vcpu.policy:" */
} wrong[] = {
	{ "nosuchcall: any # x\n", "1: x86_64 has no system call \"nosuchcall\"" },
	{ GOOD "\n# note\nread any # x\n", "4: no \":\" after the system call" },
	{ "read: any\n", "1: no reason; end the line with \"# why read is needed\"" },
	{ "read: any #   \n", "1: no reason" },
	{ "read: arg0 == NO_FD # x\n", "1: no symbol \"NO_FD\"" },
	{ "read: arg0 == 12x # x\n", "1: \"12x\" is not a number" },
	{ "lseek: arg1 == 18446744073709551616 # x\n",
	  "1: \"18446744073709551616\" is not a number" },
	{ "read: arg6 == 1 # x\n", "1: \"arg6 == 1\" is not a comparison" },
	{ "read: # x\n", "1: \"\" is not a comparison" },
	{ "read: arg0 == 1 && # x\n", "1: \"\" is not a comparison" },
	{ "read: arg0 > 3 # x\n", "1: arg0 has no operator" },
	{ "read: arg0 in 3 # x\n", "1: \"in 3\" is not a range" },
	{ "read: arg0 in 3..6 # x\n", "1: 3..6 is not an aligned block" },
	{ "read: arg0 in 4..6 # x\n", "1: 4..6 is not an aligned block" },
	{ "read: arg0 in 8..4 # x\n", "1: 8..4 is not an aligned block" },
	{ "read: arg0 & 3 # x\n", "1: \"& 3\" compares with nothing" },
	{ "read: arg0 & 3 == 4 # x\n", "1: arg0 can never be 0x4" },
	{ "read: arg0 == 0x100000000 # x\n",
	  "1: arg0 can never be 0x100000000 (the kernel reads 32 bits" },
	{ "read: arg0 == 1 && arg0 == 2 # x\n", "1: arg0 is compared twice" },
	{ "openat: arg0 == 1 # x\n", "1: openat may not be allowed in a sealed process" },
	{ "mprotect: any # x\n", "1: mprotect may not be allowed in a sealed process" },
	{ "read: any # x\nread: arg0 == 1 # y\n",
	  "2: \"read: arg0 == 1\" is already allowed by line 1" },
	{ "read: arg0 == 5 # x\nread: arg0 in 4..7 # y\n",
	  "2: \"read: arg0 in 4..7\" allows all that line 1" },
	{ "read: arg0 == 1 || arg0 == 1 # x\n",
	  "1: \"read: arg0 == 1\" is already allowed by line 1" },
	{ "read: arg0 & 0xff == 3 # x\nread: arg0 & 0xf == 3 # y\n",
	  "2: \"read: arg0 & 0xf == 3\" allows all that line 1" },
	{ "read: arg0 & 0xf == 3 # x\nread: arg0 & 0xff == 0x23 # y\n",
	  "2: \"read: arg0 & 0xff == 0x23\" is already allowed by line 1" },
	{ "read: arg0 == 1 && arg2 == 2 # x\nread: arg2 == 2 # y\n",
	  "2: \"read: arg2 == 2\" allows all that line 1" },
	{ "# nothing\n", " no rule" },
};

Test(policy_compiler, says_what_is_wrong_and_where)
{
	char output[4096], expected[512];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		tool_write(scratch, "vcpu.policy", wrong[i].text);
		cr_expect_eq(policyc("-l", output, sizeof(output)), 1, "case %zu: %s", i, output);
		snprintf(expected, sizeof(expected), "vcpu.policy:%s", wrong[i].message);
		cr_expect_not_null(strstr(output, expected), "case %zu: wanted \"%s\", got: %s", i,
		                   expected, output);
		cr_expect_not_null(strstr(output, "policyc: 1 error\n"), "case %zu: %s", i, output);
	}
}

Test(policy_compiler, names_all_errors_in_one_run)
{
	char output[4096];

	tool_write(scratch, "io.policy", "read: any\nwrite: argx == 1 # x\n");
	tool_write(scratch, "control.policy", "socket: any # x\n");
	cr_expect_eq(policyc("-l", output, sizeof(output)), 1);
	cr_expect_not_null(strstr(output, "control.policy:1: "), "%s", output);
	cr_expect_not_null(strstr(output, "io.policy:1: "), "%s", output);
	cr_expect_not_null(strstr(output, "io.policy:2: "), "%s", output);
	cr_expect_not_null(strstr(output, "policyc: 3 errors\n"), "%s", output);
}

Test(policy_compiler, a_missing_file_and_a_long_line)
{
	char output[4096], line[1024];

	memset(line, 'a', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	tool_write(scratch, "io.policy", line);
	cr_expect_eq(policyc("-l", output, sizeof(output)), 1);
	cr_expect_not_null(strstr(output, "io.policy:1: longer than 510 bytes"), "%s", output);
	snprintf(line, sizeof(line), "%.900s/io.policy", scratch);
	cr_assert_eq(remove(line), 0);
	cr_expect_eq(policyc("-l", output, sizeof(output)), 1);
	cr_expect_not_null(strstr(output, "io.policy: No such file"), "%s", output);
	cr_expect_eq(policyc("-x", output, sizeof(output)), 64);
}

/* As many as there are places for, and not one more. */
Test(policy_compiler, more_rules_than_there_are_places)
{
	static char text[129 * 32], output[32768];
	size_t length = 0;

	for (int i = 0; i < 128; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
		                           "read: arg1 == %d # x\n", i);
	tool_write(scratch, "vcpu.policy", text);
	cr_expect_eq(policyc("-l", output, sizeof(output)), 0, "%s", output);
	snprintf(text + length, sizeof(text) - length, "read: arg1 == 128 # x\n");
	tool_write(scratch, "vcpu.policy", text);
	cr_expect_eq(policyc("-l", output, sizeof(output)), 1);
	cr_expect_not_null(strstr(output, "vcpu.policy:129: more than 128 rules"), "%s", output);
}

Test(policy_compiler, lists_alternatives_normalised)
{
	char output[4096];

	tool_write(scratch, "vcpu.policy",
	           "write:  arg0  ==\tVCPU_FD&&arg2 == 1|2 ||  arg0 in 8 .. 15   "
	           "# two  \"things\" # and more\n");
	cr_expect_eq(policyc("-l", output, sizeof(output)), 0);
	cr_expect_not_null(
		strstr(output,
	               "vcpu\t1\twrite\targ0 == VCPU_FD&&arg2 == 1|2\ttwo  \"things\" # and "
	               "more\n"),
		"%s", output);
	cr_expect_not_null(strstr(output, "vcpu\t1\twrite\targ0 in 8 .. 15\ttwo"), "%s", output);
}

Test(policy_compiler, the_same_text_gives_the_same_code)
{
	char output[4096], options[1100], command[5000];

	tool_write(scratch, "vcpu.policy", "read: arg0 in 8..15 && arg1 & 0xf0 == 0x10 # x\n" GOOD);
	snprintf(command, sizeof(command), "mkdir '%s/a' '%s/b' '%s/c'", scratch, scratch, scratch);
	cr_assert_eq(tool_run(command, output, sizeof(output)), 0);
	for (const char *dir = "abc"; *dir; dir++) {
		if (*dir == 'c')
			tool_write(scratch, "vcpu.policy",
			           "read: arg0 in 8..15 && arg1 & 0xf0 == 0x20 # x\n" GOOD);
		snprintf(options, sizeof(options), "-o '%s/%c'", scratch, *dir);
		cr_assert_eq(policyc(options, output, sizeof(output)), 0, "%s", output);
	}
	snprintf(command, sizeof(command), "diff -r '%s/a' '%s/b'", scratch, scratch);
	cr_expect_eq(tool_run(command, output, sizeof(output)), 0);
	snprintf(command, sizeof(command),
	         "grep -A1 digest_hex '%s/a/policies.c' >'%s/1'; "
	         "grep -A1 digest_hex '%s/c/policies.c' | cmp - '%s/1'",
	         scratch, scratch, scratch, scratch);
	cr_expect_eq(tool_run(command, output, sizeof(output)), 1,
	             "a changed value changes the digest");
}

/* Files are whole when they get their names: what had the name before is another file,
 * untouched. */
Test(policy_compiler, a_file_is_replaced_at_once)
{
	char output[4096], options[1100], command[5000];

	snprintf(options, sizeof(options), "-o '%s'", scratch);
	cr_assert_eq(policyc(options, output, sizeof(output)), 0, "%s", output);
	snprintf(command, sizeof(command), "cd '%s' && ln policies.c kept && cp policies.c copy",
	         scratch);
	cr_assert_eq(tool_run(command, output, sizeof(output)), 0, "%s", output);
	tool_write(scratch, "vcpu.policy", "read: arg0 == 7 # x\n" GOOD);
	cr_assert_eq(policyc(options, output, sizeof(output)), 0, "%s", output);
	snprintf(command, sizeof(command),
	         "cd '%s' && cmp kept copy && ! cmp -s policies.c copy && ! ls *.new", scratch);
	cr_expect_eq(tool_run(command, output, sizeof(output)), 0, "%s", output);
}

/* Two that overlap, or seem to: neither allows all that the other does. */
Test(policy_compiler, takes_what_no_other_line_allows)
{
	static const char *const texts[] = {
		"read: arg0 & 0xf0 == 0 # x\nread: arg0 & 0xf == 5 # y\n",
		"read: arg0 & 0xf == 5 # x\nread: arg0 & 0xf0 == 0 # y\n",
		"read: arg0 in 4..7 # x\nread: arg0 in 8..15 # y\n",
		"read: arg0 == 3 # x\nwrite: arg0 == 3 # y\n",
		"read: arg0 == 3 && arg2 == 8 # x\nread: arg0 == 3 && arg2 == 9 # y\n",
		"read: arg0 == 3 # x\nread: arg1 == 3 # y\n",
		"read: arg0 == 3|1 # x\nread: arg0 == 4 # y\n", /* bits together, not a sum */
		"lseek: arg1 == 0xffffffffffffffff # x\nlseek: arg1 == 0 # y\n",
	};
	char output[4096];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		tool_write(scratch, "vcpu.policy", texts[i]);
		cr_expect_eq(policyc("-l", output, sizeof(output)), 0, "case %zu: %s", i, output);
	}
}

/* Every name by which a sealed thread could get at what it has not. */
static const char *const never[] = {
	"open",
	"openat",
	"openat2",
	"creat",
	"open_by_handle_at",
	"open_tree",
	"socket",
	"socketpair",
	"connect",
	"bind",
	"accept",
	"accept4",
	"clone",
	"clone3",
	"fork",
	"vfork",
	"execve",
	"execveat",
	"mmap",
	"mprotect",
	"pkey_mprotect",
	"mremap",
	"brk",
	"remap_file_pages",
	"ptrace",
	"kill",
	"tkill",
	"process_vm_readv",
	"process_vm_writev",
	"pidfd_open",
	"pidfd_getfd",
	"memfd_create",
	"userfaultfd",
	"io_uring_setup",
	"io_uring_register",
	"bpf",
	"perf_event_open",
	"seccomp",
	"prctl",
	"setuid",
	"setns",
	"unshare",
	"mount",
	"umount2",
	"pivot_root",
	"chroot",
	"init_module",
	"finit_module",
	"kexec_load",
	"capset",
	"rt_sigaction",
	"rt_sigprocmask",
	"modify_ldt",
	"arch_prctl",
};

Test(policy_compiler, refuses_each_call_that_no_sealed_thread_may_make)
{
	static char output[16384];
	char text[4096] = "", expected[128];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s: any # x\n", never[i]);
	tool_write(scratch, "vcpu.policy", text);
	cr_expect_eq(policyc("-l", output, sizeof(output)), 1);
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		snprintf(expected, sizeof(expected), "vcpu.policy:%zu: %s may not be allowed",
		         i + 1, never[i]);
		cr_expect_not_null(strstr(output, expected), "%s", never[i]);
	}
}

/* Which arguments the kernel reads 32 bits of, as syscalls(2) has their types: int, unsigned int,
 * clockid_t, pid_t, uint32_t. One character an argument: 'w' for those, 'l' for the others. */
static const struct {
	const char *call, *types;
} prototypes[] = {
	{ "clock_gettime", "wlllll" },  { "epoll_ctl", "wwwlll" },  { "epoll_wait", "wlwwll" },
	{ "exit", "wlllll" },           { "exit_group", "wlllll" }, { "futex", "lwwllw" },
	{ "io_uring_enter", "wwwwll" }, { "ioctl", "wwllll" },      { "lseek", "wlwlll" },
	{ "ppoll", "lwllll" },          { "pread64", "wlllll" },    { "read", "wlllll" },
	{ "sendto", "wllwlw" },         { "tgkill", "wwwlll" },     { "timerfd_settime", "wwllll" },
	{ "write", "wlllll" },
};

/* What policyc makes of "CALL: argN == 1"; 0 when it is not to be found in the generated rules. */
static unsigned long long mask_of(const char *rules, const char *call, unsigned arg)
{
	char name[64], condition[32];
	unsigned long long mask = 0;
	unsigned found = 7;

	snprintf(name, sizeof(name), ", \"%s\", \"arg%u == 1\"", call, arg);
	snprintf(condition, sizeof(condition), "{ { %u, ", arg);
	rules = strstr(rules, name);
	rules = rules ? strstr(rules, condition) : NULL;
	return rules && sscanf(rules, "{ { %u, %llxu,", &found, &mask) == 2 && found == arg ? mask
	                                                                                    : 0;
}

Test(policy_compiler, compares_as_many_bits_as_the_kernel_reads)
{
	static char rules[65536];
	char output[4096], options[1100], command[2048], text[512];

	snprintf(options, sizeof(options), "-o '%s'", scratch);
	snprintf(command, sizeof(command), "sed -n '/vcpu_rules\\[/,/^};/p' '%s/policy_rules.c'",
	         scratch);
	for (size_t i = 0; i < ARRAY_SIZE(prototypes); i++) {
		const char *call = prototypes[i].call;

		snprintf(
			text, sizeof(text),
			"%s: arg0 == 1 || arg1 == 1 || arg2 == 1 || arg3 == 1 || arg4 == 1 || arg5 == 1 # x\n",
			call);
		tool_write(scratch, "vcpu.policy", text);
		cr_assert_eq(policyc(options, output, sizeof(output)), 0, "%s", output);
		cr_assert_eq(tool_run(command, rules, sizeof(rules)), 0);
		for (unsigned arg = 0; arg < 6; arg++)
			cr_expect_eq(mask_of(rules, call, arg),
			             prototypes[i].types[arg] == 'w' ? UINT32_MAX : UINT64_MAX,
			             "%s: argument %u", call, arg);
	}
}

/* And every call of the policies whose arguments are compared is among them. */
Test(policy_compiler, every_call_that_is_compared_has_its_widths)
{
	for (size_t role = 0; role < SANDBOX_ROLE_COUNT; role++)
		for (size_t k = 0; k < sandbox_rules[role].count; k++) {
			const struct sandbox_rule *rule = &sandbox_rules[role].rules[k];
			bool known = rule->cmp_count == 0;

			for (size_t i = 0; i < ARRAY_SIZE(prototypes); i++)
				known |= strcmp(prototypes[i].call, rule->call) == 0;
			cr_expect(known, "%s", rule->call);
		}
}

/* ------------------------------------------------------------------------------------ the audit */

#define USES_END(role) "SANDBOX_USES(" role ", exit_group, any);\n"
#define ALL_USES USES_END("control") USES_END("vcpu") USES_END("io")
#define HIT(role) role "\t1\texit_group\tany\t3\n"
#define ALL_HITS HIT("control") HIT("vcpu") HIT("io")

static int audit(char *output, size_t size)
{
	char command[8000], path[4096];

	tool_policyc_path(path, sizeof(path));
	snprintf(command, sizeof(command), "hack/audit-policies -p '%s' -e '%s/hits' '%s' '%s'",
	         path, scratch, scratch, scratch);
	return tool_run(command, output, size);
}

static const struct {
	const char *what;
	const char *vcpu, *uses, *hits;
	const char *message; /* NULL: no fault */
} audits[] = {
	{ "all agree", GOOD, ALL_USES, ALL_HITS, NULL },
	{ "over two lines", GOOD "read: arg0 == 3 && arg2 == 8 # x\n",
	  ALL_USES "\tSANDBOX_USES(vcpu, read,\n\t\t     arg0 == 3 && arg2 == 8);\n",
	  ALL_HITS "vcpu\t2\tread\targ0 == 3 && arg2 == 8\t1\n", NULL },
	{ "declared by no code", GOOD, USES_END("control") USES_END("io"), ALL_HITS,
	  "vcpu.policy:1: \"exit_group: any\" is declared by no code" },
	{ "not in the policy", GOOD, ALL_USES "SANDBOX_USES(vcpu, read, arg0 == 3);\n", ALL_HITS,
	  "uses.c:4: \"read: arg0 == 3\" is not in" },
	{ "other conditions", GOOD "read: arg0 == 4 # x\n",
	  ALL_USES "SANDBOX_USES(vcpu, read, arg0 == 3);\n",
	  ALL_HITS "vcpu\t2\tread\targ0 == 4\t1\n", "uses.c:4: \"read: arg0 == 3\" is not in" },
	{ "no such role", GOOD, ALL_USES "SANDBOX_USES(gpu, exit_group, any);\n", ALL_HITS,
	  "gpu.policy" },
	{ "exercised by no test", GOOD, ALL_USES,
	  HIT("control") HIT("io") "vcpu\t1\texit_group\tany\t0\n",
	  "vcpu.policy:1: \"exit_group: any\" is exercised by no test" },
	{ "no reason", "exit_group: any\n", ALL_USES, ALL_HITS, "vcpu.policy:1: no reason" },
};

Test(policy_compiler, audit)
{
	char output[8192];

	for (size_t i = 0; i < ARRAY_SIZE(audits); i++) {
		tool_write(scratch, "vcpu.policy", audits[i].vcpu);
		tool_write(scratch, "uses.c", audits[i].uses);
		tool_write(scratch, "hits", audits[i].hits);
		cr_expect_eq(audit(output, sizeof(output)), audits[i].message ? 1 : 0, "%s: %s",
		             audits[i].what, output);
		cr_expect_not_null(strstr(output,
		                          audits[i].message ? audits[i].message : " 0 faults"),
		                   "%s: %s", audits[i].what, output);
	}
}
