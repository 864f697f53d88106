/* SPDX-License-Identifier: MIT */
/* What policyc takes out of a program: three steps that decide nothing, and only those. policyc is
 * a program of its own; its one file is compiled into the test. */
#include <criterion/criterion.h>
#include <linux/audit.h>
#include <string.h>

#include "sandbox/policy/bpf.h"

#include "hack/policyc/shorten.c"

#define LOAD(k_) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, k_)
#define AND(k_) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, k_)
#define EQUAL(k_, t, f) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k_, t, f)
#define SET(k_, t, f) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, k_, t, f)
#define ALWAYS(k_) BPF_STMT(BPF_JMP | BPF_JA, k_)
#define RETURN(k_) BPF_STMT(BPF_RET | BPF_K, k_)
#define NOTHING(f) LOAD(20), AND(0), EQUAL(0, 0, f)

static const struct program {
	const char *name;
	struct sock_filter insns[16];
	size_t count, left; /* before and after */
} programs[] = {
	{ "taken out", { NOTHING(3), LOAD(16), EQUAL(7, 0, 1), RETURN(1), RETURN(2) }, 7, 4 },
	{ "twice",
	  { NOTHING(6), LOAD(16), EQUAL(7, 0, 4), NOTHING(3), LOAD(24), EQUAL(7, 0, 1), RETURN(1),
	    RETURN(2) },
	  12,
	  6 },
	{ "jumped to its start",
	  { LOAD(0), EQUAL(7, 0, 3), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  5 },
	{ "jumped over",
	  { LOAD(0), EQUAL(7, 3, 0), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  5 },
	{ "jumped over always",
	  { LOAD(0), ALWAYS(4), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  5 },
	{ "entered at its second step when true",
	  { LOAD(0), EQUAL(7, 1, 0), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  8 },
	{ "entered at its third step when true",
	  { LOAD(0), EQUAL(7, 2, 0), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  8 },
	{ "entered at its second step when false",
	  { LOAD(0), EQUAL(7, 0, 1), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  8 },
	{ "entered at its third step when false",
	  { LOAD(0), SET(7, 0, 2), NOTHING(2), LOAD(16), RETURN(1), RETURN(2) },
	  8,
	  8 },
	{ "some bits count",
	  { LOAD(20), AND(1), EQUAL(0, 0, 2), LOAD(16), RETURN(1), RETURN(2) },
	  6,
	  6 },
	{ "another value",
	  { LOAD(20), AND(0), EQUAL(1, 0, 2), LOAD(16), RETURN(1), RETURN(2) },
	  6,
	  6 },
	{ "another way when true",
	  { LOAD(20), AND(0), EQUAL(0, 2, 0), LOAD(16), RETURN(1), RETURN(2) },
	  6,
	  6 },
	{ "another test",
	  { LOAD(20), AND(0), SET(0, 0, 2), LOAD(16), RETURN(1), RETURN(2) },
	  6,
	  6 },
	{ "another operation",
	  { LOAD(20), BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 0), EQUAL(0, 0, 2), LOAD(16), RETURN(1),
	    RETURN(2) },
	  6,
	  6 },
	{ "the value is used after it",
	  { NOTHING(2), EQUAL(0, 0, 1), RETURN(1), RETURN(2) },
	  6,
	  6 },
};

/* With each word 0, 7 or another. */
static void expect_the_same_answers(const struct program *program, const struct text_policy *p)
{
	static const uint32_t words[] = { 0, 7, 8 };

	for (size_t i = 0; i < 27; i++) {
		struct seccomp_data data = {
			.nr = (int)words[i % 3],
			.arch = AUDIT_ARCH_X86_64,
			.args = { (uint64_t)words[i / 3 % 3] << 32 | words[i / 9], words[i % 3] },
		};
		uint32_t before, after;

		cr_assert_eq(sandbox_bpf_run(program->insns, program->count, &data, &before, NULL),
		             0, "%s", program->name);
		cr_assert_eq(sandbox_bpf_run(p->insns, p->insn_count, &data, &after, NULL), 0, "%s",
		             program->name);
		cr_expect_eq(before, after, "%s: input %zu", program->name, i);
	}
}

/* As libseccomp begins and ends, with calls 1 and 9 allowed, 9 for one argument. */
static const struct sock_filter compared[] = {
	LOAD(4),
	EQUAL(AUDIT_ARCH_X86_64, 0, 9),
	LOAD(0),
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
	EQUAL(0xffffffff, 0, 6),
	EQUAL(9, 0, 2),
	LOAD(16),
	EQUAL(5, 2, 1),
	EQUAL(1, 1, 0),
	RETURN(SECCOMP_RET_TRAP),
	RETURN(SECCOMP_RET_ALLOW),
	RETURN(SECCOMP_RET_KILL_PROCESS),
};

static struct text_policy cut;

static void fill_cut(void)
{
	memset(&cut, 0, sizeof(cut));
	memcpy(cut.insns, compared, sizeof(compared));
	cut.insn_count = ARRAY_SIZE(compared);
	cut.rule_count = 2;
	cut.rules[0].nr = 9;
	cut.rules[1].nr = 1;
}

/* Every number up to beyond the last, and those at the ends; the answers stay, and a number beyond
 * is trapped after fewer steps than there are comparisons. */
Test(policy_shorten, calls_beyond_the_last_are_trapped_at_once)
{
	static const uint32_t more[] = { 0x3fffffff, 0x40000000, 0x40000009, 0x7fffffff,
		                         0xffffffff };

	fill_cut();
	policy_cut_above(&cut);
	cr_assert_eq(cut.insn_count, ARRAY_SIZE(compared) + 1);
	for (uint32_t i = 0; i < 20 + ARRAY_SIZE(more); i++)
		for (uint32_t arch = 0; arch < 2; arch++)
			for (uint64_t argument = 4; argument < 7; argument++) {
				struct seccomp_data data = {
					.nr = (int)(i < 20 ? i : more[i - 20]),
					.arch = arch ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386,
					.args = { argument },
				};
				uint32_t before = 0, after = 0;

				cr_assert_eq(sandbox_bpf_run(compared, ARRAY_SIZE(compared), &data,
				                             &before, NULL),
				             0);
				cr_assert_eq(sandbox_bpf_run(cut.insns, cut.insn_count, &data,
				                             &after, NULL),
				             0);
				cr_expect_eq(before, after, "call %#x, argument %lu",
				             (unsigned)data.nr, argument);
			}
	cr_expect_eq(cut.insns[5].code, BPF_JMP | BPF_JGT | BPF_K);
	cr_expect_eq(cut.insns[5].k, 9);
	cr_expect(cut.insns[3].jf == 1 && cut.insns[4].jt == 0, "they lead to it");
	cr_expect_eq(cut.insns[5 + 1 + cut.insns[5].jt].k, SECCOMP_RET_TRAP);
}

/* A jump that is as long as one can be; a program that compares no numbers. */
Test(policy_shorten, what_has_no_room_is_left_as_it_is)
{
	fill_cut();
	cut.insns[1].jf = UINT8_MAX;
	policy_cut_above(&cut);
	cr_expect_eq(cut.insn_count, ARRAY_SIZE(compared));
	fill_cut();
	cut.insns[2].k = 4;
	policy_cut_above(&cut);
	cr_expect_eq(cut.insn_count, ARRAY_SIZE(compared));
}

Test(policy_shorten, takes_out_what_decides_nothing_and_no_more)
{
	static struct text_policy p;

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		memcpy(p.insns, programs[i].insns, sizeof(programs[i].insns));
		p.insn_count = programs[i].count;
		policy_shorten(&p);
		cr_expect_eq(p.insn_count, programs[i].left, "%s: %zu", programs[i].name,
		             p.insn_count);
		expect_the_same_answers(&programs[i], &p);
	}
}
