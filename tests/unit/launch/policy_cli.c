/* SPDX-License-Identifier: MIT */
/* `axvm policy`: its views and its answers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "launch/cli/policy.h"
#include "sandbox/policy.h"
#include "sandbox/seccomp.h"
#include "tests/unit/rig/policy_tools.h"

/* Runs `axvm policy` with the given words; the answer is malloc'ed. */
static int ask(char **ret_answer, size_t *ret_size, const char *words)
{
	char line[256], *argv[16] = { (char[]){ "policy" } };
	int argc = 1, r;
	FILE *out = open_memstream(ret_answer, ret_size);

	cr_assert_not_null(out);
	snprintf(line, sizeof(line), "%s", words);
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	r = axvm_cmd_policy(argc, argv, out);
	fclose(out);
	return r;
}

static const struct {
	const char *words;
	int status;
	const char *answer; /* found in the answer */
} cases[] = {
	{ "check vcpu ioctl VCPU_FD KVM_RUN 0", 0, "allow, by vcpu.policy:" },
	{ "ring", 0, "  22  READ          every loop   console input, small device reads\n" },
	{ "ring io", 64, "" },
	{ "table", 0, "   1  READV         disks, nets  disk and net reads into guest memory\n" },
	{ "check vcpu ioctl VCPU_FD KVM_RUN 1", 1, "deny (trap), by no line of vcpu.policy" },
	{ "check vcpu ioctl VM_FD KVM_RUN 0", 1, "deny (trap)" },
	{ "check io ioctl VCPU_FD KVM_RUN 0", 1, "deny (trap)" },
	{ "check vcpu 16 901 0xae80", 0, "(run the guest on this thread's own vCPU)" },
	{ "check vcpu 0x40000010 901 0xae80", 1, "deny (kill_process)" },
	{ "check control write EVENT_FD", 0, "allow, by control.policy:" },
	{ "check vcpu write EVENT_FD", 1, "deny (trap)" },
	{ "check io io_uring_enter IO_RING_FD_LAST 1 1 IORING_ENTER_GETEVENTS", 0,
	  "allow, by io.policy:" },
	{ "check io io_uring_enter 944 1 1 IORING_ENTER_GETEVENTS", 1, "deny (trap)" },
	{ "check control openat -100", 1, "deny (trap)" },
	{ "check control -1", 1, "deny (trap)" },
	{ "check", 64, "" },
	{ "check vcpu", 64, "" },
	{ "check gpu read", 64, "" },
	{ "check vcpu nosuchcall", 64, "" },
	{ "check vcpu read NO_FD", 64, "" },
	{ "check vcpu read 1 2 3 4 5 6 7", 64, "" },
	{ "table vcpu", 0, "KVM_RUN" },
	{ "table", 0, "io: " },
	{ "", 0, "control: " },
	{ "bpf vcpu", 0, "ret   allow" },
	{ "oci", 64, "" },
	{ "raw", 64, "" },
	{ "sing", 64, "" },
	{ "table gpu", 64, "" },
	{ "table vcpu io", 64, "" },
};

Test(policy_cli, each_question_has_its_answer_and_status)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *answer = NULL;
		size_t size;

		cr_expect_eq(ask(&answer, &size, cases[i].words), cases[i].status, "\"%s\"",
		             cases[i].words);
		cr_expect_not_null(strstr(answer, cases[i].answer), "\"%s\": %s", cases[i].words,
		                   answer);
	}
}

/* The digest is what anybody gets from the bytes. */
Test(policy_cli, digests_are_of_the_raw_bytes)
{
	char scratch[1024], command[4096], output[256], path[1100];

	tool_scratch(scratch, sizeof(scratch));
	snprintf(path, sizeof(path), "%s/all", scratch);
	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++) {
		const char *role = sandbox_role_name((enum sandbox_role)i);
		_cleanup_free_ char *raw = NULL;
		char words[32];
		size_t size;
		FILE *all = fopen(path, "ae");

		snprintf(words, sizeof(words), "raw %s", role);
		cr_assert_eq(ask(&raw, &size, words), 0);
		cr_expect_eq(size, sandbox_filters[i].count * sizeof(struct sock_filter));
		cr_assert_eq(fwrite(raw, 1, size, all), size);
		fclose(all);
		snprintf(command, sizeof(command), "tail -c %zu '%s' | sha256sum", size, path);
		cr_assert_eq(tool_run(command, output, sizeof(output)), 0);
		cr_expect_eq(strncmp(output, sandbox_filters[i].digest_hex, 64), 0, "%s", role);
	}
	snprintf(command, sizeof(command), "sha256sum <'%s'", path);
	cr_assert_eq(tool_run(command, output, sizeof(output)), 0);
	cr_expect_eq(strncmp(output, sandbox_policies_digest_hex, 64), 0);
	tool_remove(scratch);
	for (size_t i = 0; i < SANDBOX_DIGEST_SIZE; i++) {
		char hex[3];

		snprintf(hex, sizeof(hex), "%02x", sandbox_policy_digest()[i]);
		cr_expect_eq(strncmp(hex, sandbox_policies_digest_hex + 2 * i, 2), 0);
	}
}

/* Each comparison of each rule, one after the other: the whole argument, or what a mask leaves of
 * it. */
static void expect_comparisons(enum sandbox_role role, const char *json)
{
	for (size_t k = 0; k < sandbox_rules[role].count; k++)
		for (size_t c = 0; c < sandbox_rules[role].rules[k].cmp_count; c++) {
			const struct sandbox_cmp *cmp = &sandbox_rules[role].rules[k].cmp[c];
			char wanted[160];

			if (cmp->mask == UINT64_MAX)
				snprintf(
					wanted, sizeof(wanted),
					"{ \"index\": %u, \"value\": %llu, \"op\": \"SCMP_CMP_EQ\" }",
					cmp->arg, (unsigned long long)cmp->value);
			else
				snprintf(
					wanted, sizeof(wanted),
					"{ \"index\": %u, \"value\": %llu, \"valueTwo\": %llu, \"op\": \"SCMP_CMP_MASKED_EQ\" }",
					cmp->arg, (unsigned long long)cmp->mask,
					(unsigned long long)cmp->value);
			json = strstr(json, wanted);
			cr_assert_not_null(json, "%s, rule %zu: %s", sandbox_role_name(role), k,
			                   wanted);
			json++;
		}
}

/* Braces and brackets in balance, quotes closed, one entry for each rule: what a JSON reader needs
 * of it. */
Test(policy_cli, oci_is_well_formed)
{
	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++) {
		_cleanup_free_ char *json = NULL;
		size_t size, names = 0;
		char words[32], stack[16];
		int depth = 0;
		bool quoted = false;

		snprintf(words, sizeof(words), "oci %s", sandbox_role_name((enum sandbox_role)i));
		cr_assert_eq(ask(&json, &size, words), 0);
		for (const char *c = json; *c; c++) {
			quoted ^= *c == '"';
			if (quoted)
				continue;
			if (*c == '{' || *c == '[') {
				cr_assert_lt(depth, (int)sizeof(stack));
				stack[depth++] = *c == '{' ? '}' : ']';
			} else if (*c == '}' || *c == ']') {
				cr_assert_gt(depth, 0);
				cr_assert_eq(stack[--depth], *c);
			}
		}
		cr_expect_eq(depth, 0);
		cr_expect(!quoted);
		for (const char *at = json; (at = strstr(at, "\"names\"")); at++)
			names++;
		cr_expect_eq(names, sandbox_rules[i].count);
		expect_comparisons((enum sandbox_role)i, json);
	}
}
