/* SPDX-License-Identifier: MIT */
/* The BPF evaluator by itself, and the compiled filters against the rules they were compiled
 * from. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "sandbox/fd_layout.h"
#include "sandbox/policy/bpf.h"
#include "sandbox/policy/eval.h"

/* clang-format off */
#define RETURN_A { BPF_RET | BPF_A, 0, 0, 0 }
/* clang-format on */

static uint32_t run(const struct sock_filter *insns, size_t count)
{
	struct seccomp_data data = { .nr = 7,
		                     .arch = AUDIT_ARCH_X86_64,
		                     .args = { 0x1122334455667788 } };
	uint32_t action = 0;

	cr_assert_eq(sandbox_bpf_run(insns, count, &data, &action, NULL), 0);
	return action;
}

#define RUN(...)                                                                                   \
	run((const struct sock_filter[]){ __VA_ARGS__ },                                           \
	    sizeof((const struct sock_filter[]){ __VA_ARGS__ }) / sizeof(struct sock_filter))
#define CHECK(...)                                                                                 \
	sandbox_bpf_check((const struct sock_filter[]){ __VA_ARGS__ },                             \
	                  sizeof((const struct sock_filter[]){ __VA_ARGS__ }) /                    \
	                          sizeof(struct sock_filter))

Test(policy_bpf, loads_and_stores_give_the_right_words)
{
	cr_expect_eq(RUN({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 }, RETURN_A), 7);
	cr_expect_eq(RUN({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 16 }, RETURN_A), 0x55667788);
	cr_expect_eq(RUN({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 20 }, RETURN_A), 0x11223344);
	cr_expect_eq(RUN({ BPF_LD | BPF_W | BPF_LEN, 0, 0, 0 }, RETURN_A),
	             sizeof(struct seccomp_data));
	cr_expect_eq(RUN({ BPF_LD | BPF_IMM, 0, 0, 9 }, { BPF_ST, 0, 0, 15 },
	                 { BPF_LDX | BPF_MEM, 0, 0, 15 }, { BPF_LD | BPF_IMM, 0, 0, 1 },
	                 { BPF_MISC | BPF_TXA, 0, 0, 0 }, RETURN_A),
	             9);
}

Test(policy_bpf, arithmetic_gives_the_right_results)
{
	static const struct {
		uint16_t op;
		uint32_t want;
	} cases[] = {
		{ BPF_ADD, 103 }, { BPF_SUB, 97 },  { BPF_MUL, 300 },
		{ BPF_DIV, 33 },  { BPF_OR, 103 },  { BPF_AND, 0 },
		{ BPF_XOR, 103 }, { BPF_LSH, 800 }, { BPF_RSH, 12 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cr_expect_eq(RUN({ BPF_LD | BPF_IMM, 0, 0, 100 },
		                 { (uint16_t)(BPF_ALU | BPF_K | cases[i].op), 0, 0, 3 }, RETURN_A),
		             cases[i].want, "op %#x by constant", cases[i].op);
		cr_expect_eq(RUN({ BPF_LD | BPF_IMM, 0, 0, 100 }, { BPF_LDX | BPF_IMM, 0, 0, 3 },
		                 { (uint16_t)(BPF_ALU | BPF_X | cases[i].op), 0, 0, 0 }, RETURN_A),
		             cases[i].want, "op %#x by X", cases[i].op);
	}
	cr_expect_eq(RUN({ BPF_LD | BPF_IMM, 0, 0, 1 }, { BPF_ALU | BPF_NEG, 0, 0, 0 }, RETURN_A),
	             UINT32_MAX);
	/* Division by X == 0 ends the program with 0, which is SECCOMP_RET_KILL_THREAD. */
	cr_expect_eq(RUN({ BPF_LD | BPF_IMM, 0, 0, 5 }, { BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0 },
	                 RETURN_A),
	             0);
}

Test(policy_bpf, jumps_are_taken_as_by_the_kernel)
{
	static const struct {
		uint16_t op;
		uint32_t k;
		bool taken;
	} cases[] = {
		{ BPF_JEQ, 7, true },  { BPF_JEQ, 8, false },  { BPF_JGT, 6, true },
		{ BPF_JGT, 7, false }, { BPF_JGE, 7, true },   { BPF_JGE, 8, false },
		{ BPF_JSET, 4, true }, { BPF_JSET, 8, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cr_expect_eq(RUN({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
		                 { (uint16_t)(BPF_JMP | BPF_K | cases[i].op), 1, 0, cases[i].k },
		                 { BPF_RET | BPF_K, 0, 0, 100 }, { BPF_RET | BPF_K, 0, 0, 200 }),
		             cases[i].taken ? 200 : 100, "case %zu", i);
	cr_expect_eq(RUN({ BPF_JMP | BPF_JA, 0, 0, 1 }, { BPF_RET | BPF_K, 0, 0, 1 },
	                 { BPF_RET | BPF_K, 0, 0, 2 }),
	             2);
}

Test(policy_bpf, refuses_what_the_kernel_refuses)
{
	const struct sock_filter end = { BPF_RET | BPF_K, 0, 0, 0 };

	cr_expect_eq(sandbox_bpf_check(&end, 0), -EINVAL);
	cr_expect_eq(CHECK({ BPF_RET | BPF_K, 0, 0, 0 }), 0);
	cr_expect_eq(CHECK({ BPF_LD | BPF_IMM, 0, 0, 0 }), -EINVAL, "runs off the end");
	cr_expect_eq(CHECK({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 2 }, RETURN_A), -EINVAL, "unaligned");
	cr_expect_eq(CHECK({ BPF_LD | BPF_W | BPF_ABS, 0, 0, 64 }, RETURN_A), -EINVAL,
	             "beyond the data");
	cr_expect_eq(CHECK({ BPF_LD | BPF_B | BPF_ABS, 0, 0, 0 }, RETURN_A), -EINVAL, "a byte");
	cr_expect_eq(CHECK({ BPF_LD | BPF_MEM, 0, 0, 16 }, RETURN_A), -EINVAL, "scratch word 16");
	cr_expect_eq(CHECK({ BPF_ALU | BPF_DIV, 0, 0, 0 }, RETURN_A), -EINVAL, "by zero");
	cr_expect_eq(CHECK({ BPF_ALU | BPF_LSH, 0, 0, 32 }, RETURN_A), -EINVAL, "shift by 32");
	cr_expect_eq(CHECK({ BPF_ALU | BPF_MOD, 0, 0, 3 }, RETURN_A), -EINVAL, "not for seccomp");
	cr_expect_eq(CHECK({ BPF_JMP | BPF_JEQ, 0, 1, 0 }, RETURN_A), -EINVAL, "jump past the end");
	cr_expect_eq(CHECK({ BPF_JMP | BPF_JA, 0, 0, UINT32_MAX }, RETURN_A), -EINVAL, "jump back");
	cr_expect_eq(CHECK({ BPF_RET | BPF_X, 0, 0, 0 }), -EINVAL);
	cr_expect_eq(CHECK({ 0x120, 0, 0, 0 }, RETURN_A), -EINVAL, "no such code");
}

Test(policy_bpf, compiled_filters_are_valid)
{
	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++) {
		char text[80];

		cr_expect_eq(sandbox_bpf_check(sandbox_filters[i].insns, sandbox_filters[i].count),
		             0);
		for (size_t pc = 0; pc < sandbox_filters[i].count; pc++) {
			sandbox_bpf_disassemble(&sandbox_filters[i].insns[pc], pc, text,
			                        sizeof(text));
			cr_expect_neq(strncmp(text, "bad", 3), 0);
		}
	}
}

/* xorshift64; the test is the same each time. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A call near the rules: one rule's values, with some arguments and bits disturbed. */
static struct seccomp_data near(enum sandbox_role role, uint64_t *state)
{
	const struct sandbox_rules *all = &sandbox_rules[role];
	const struct sandbox_rule *rule = &all->rules[next(state) % all->count];
	uint64_t args[6] = { 0 };
	int32_t nr = rule->nr;

	for (size_t i = 0; i < rule->cmp_count; i++)
		args[rule->cmp[i].arg] = rule->cmp[i].value | (next(state) & ~rule->cmp[i].mask);
	if (next(state) % 2)
		args[next(state) % 6] ^= 1ULL << next(state) % 64;
	if (next(state) % 8 == 0)
		args[next(state) % 6] = next(state);
	if (next(state) % 8 == 0)
		nr = (int32_t)(next(state) % 512);
	if (next(state) % 64 == 0)
		nr = (int32_t)((uint32_t)nr | SANDBOX_X32_BIT);
	return sandbox_call(nr, args);
}

Test(policy_bpf, filters_and_rules_agree)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	unsigned int allowed = 0, denied = 0;

	for (size_t i = 0; i < 300000; i++) {
		enum sandbox_role role = (enum sandbox_role)(i % SANDBOX_ROLE_COUNT);
		struct seccomp_data call = near(role, &state);
		struct sandbox_verdict verdict;

		if (next(&state) % 64 == 0)
			call.arch = AUDIT_ARCH_I386;
		cr_assert_eq(sandbox_policy_evaluate(role, &call, &verdict), 0, "%s: call %d",
		             sandbox_role_name(role), call.nr);
		cr_assert_eq(verdict.rule != NULL, verdict.action == SECCOMP_RET_ALLOW);
		allowed += verdict.rule != NULL;
		denied += verdict.rule == NULL;
	}
	cr_expect_gt(allowed, 50000);
	cr_expect_gt(denied, 50000);
}

/* An instruction of a filter, which is a constant of the program, in this process alone. */
static void change(const struct sock_filter *insn, uint32_t k)
{
	const uintptr_t page = 4096;

	cr_assert_eq(mprotect((void *)((uintptr_t)insn & ~(page - 1)), 2 * page,
	                      PROT_READ | PROT_WRITE),
	             0);
	((struct sock_filter *)(uintptr_t)insn)->k = k;
}

/* A filter that is not what the rules say is noticed, whichever of the two allows more. */
Test(policy_bpf, a_filter_and_rules_that_disagree_are_noticed)
{
	static const struct {
		uint32_t from, to;
		int32_t nr;
	} rows[] = {
		{ SECCOMP_RET_ALLOW, SECCOMP_RET_LOG, SYS_exit },
		{ SECCOMP_RET_LOG, SANDBOX_DENY_ACTION, SYS_exit },
		{ SANDBOX_DENY_ACTION, SECCOMP_RET_ALLOW, SYS_openat },
	};
	struct sandbox_verdict verdict = { .action = 77 };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct sandbox_filter *filter = &sandbox_filters[SANDBOX_ROLE_VCPU];
		struct seccomp_data call = sandbox_call(rows[i].nr, (const uint64_t[6]){ 0 });

		for (size_t pc = 0; pc < filter->count; pc++)
			if (filter->insns[pc].code == (BPF_RET | BPF_K) &&
			    filter->insns[pc].k == rows[i].from)
				change(&filter->insns[pc], rows[i].to);
		cr_assert_eq(sandbox_policy_evaluate(SANDBOX_ROLE_VCPU, &call, &verdict), -EBADMSG,
		             "row %zu", i);
	}
	cr_assert_eq(verdict.action, 77);
}

/* No role, no answer. */
Test(policy_bpf, there_are_three_roles)
{
	struct seccomp_data call = sandbox_call(SYS_exit, (const uint64_t[6]){ 0 });
	struct sandbox_verdict verdict;

	for (int role = 0; role < SANDBOX_ROLE_COUNT; role++)
		cr_assert_eq(sandbox_policy_evaluate((enum sandbox_role)role, &call, &verdict), 0);
	cr_assert_eq(sandbox_policy_evaluate(SANDBOX_ROLE_COUNT, &call, &verdict), -EINVAL);
	cr_assert_eq(sandbox_policy_evaluate((enum sandbox_role) - 1, &call, &verdict), -EINVAL);
}

/* One comparison with each word that it must look at, and of the other ioctl's request before
 * it. */
Test(policy_bpf, the_run_loop_is_first)
{
	struct seccomp_data call = sandbox_call(SYS_ioctl, (const uint64_t[6]){ VCPU_FD, KVM_RUN });
	struct sandbox_verdict verdict;

	cr_assert_eq(sandbox_policy_evaluate(SANDBOX_ROLE_VCPU, &call, &verdict), 0);
	cr_assert_not_null(verdict.rule);
	cr_expect_leq(verdict.steps, 18);
}

Test(policy_bpf, every_rule_is_needed)
{
	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++)
		for (size_t k = 0; k < sandbox_rules[i].count; k++) {
			const struct sandbox_rule *rule = &sandbox_rules[i].rules[k];
			uint64_t args[6] = { 0 };
			struct seccomp_data call;

			for (size_t c = 0; c < rule->cmp_count; c++)
				args[rule->cmp[c].arg] = rule->cmp[c].value;
			call = sandbox_call(rule->nr, args);
			cr_expect_eq(sandbox_rule_allowing((enum sandbox_role)i, &call), rule,
			             "%s:%u", sandbox_role_name((enum sandbox_role)i), rule->line);
			cr_expect_neq(rule->reason[0], '\0');
		}
}

Test(policy_bpf, names_of_roles_and_calls_are_parsed_back)
{
	enum sandbox_role role;
	int nr;

	for (size_t i = 0; i < SANDBOX_ROLE_COUNT; i++) {
		cr_expect_eq(sandbox_role_parse(sandbox_role_name((enum sandbox_role)i), &role), 0);
		cr_expect_eq(role, i);
	}
	cr_expect_eq(sandbox_role_parse("none", &role), -ENOENT);
	cr_expect_str_eq(sandbox_role_name(SANDBOX_ROLE_COUNT), "none");
	cr_expect_eq(sandbox_syscall_parse("openat", &nr), 0);
	cr_expect_eq(nr, SYS_openat);
	cr_expect_str_eq(sandbox_syscall_name(SYS_io_uring_enter), "io_uring_enter");
	cr_expect_null(sandbox_syscall_name(-1));
	cr_expect_null(sandbox_syscall_name(100000));
	cr_expect_eq(sandbox_syscall_parse("no_such_call", &nr), -ENOENT);
}
