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
