/* SPDX-License-Identifier: MIT */
/* Takes out of libseccomp's program the steps that decide nothing, and puts one in.
 *
 * For an argument of which 32 bits count, libseccomp still loads the upper half, masks it with 0
 * and asks whether the result is 0. Every exit of the guest would pay for that. The three
 * instructions go, provided that nothing jumps between them and that the next instruction loads the
 * accumulator anew. The exhaustive test holds the shortened program against the rules and the
 * kernel.
 *
 * When a thread takes a filter, the kernel runs it for every number of a call that there is, to
 * know which it allows whatever the arguments are (seccomp_cache_prepare, Linux 5.11), with
 * interrupts off. Most numbers are beyond those of the rules and would be compared with each of
 * them: one comparison before the first sends them to the end. */
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

#include "base/base.h"
#include "hack/policyc/policyc.h"

enum { STEPS = 3 };

static bool is_jump(const struct sock_filter *f)
{
	return BPF_CLASS(f->code) == BPF_JMP && BPF_OP(f->code) != BPF_JA;
}

static bool decides_nothing(const struct sock_filter *f)
{
	return f[0].code == (BPF_LD | BPF_W | BPF_ABS) &&
	       f[1].code == (BPF_ALU | BPF_AND | BPF_K) && f[1].k == 0 &&
	       f[2].code == (BPF_JMP | BPF_JEQ | BPF_K) && f[2].k == 0 && f[2].jt == 0 &&
	       f[3].code == (BPF_LD | BPF_W | BPF_ABS);
}

static bool is_entered_midway(const struct text_policy *p, size_t first)
{
	for (size_t pc = 0; pc < first; pc++)
		if (is_jump(&p->insns[pc]))
			for (size_t k = 1; k < STEPS; k++)
				if (pc + 1 + p->insns[pc].jt == first + k ||
				    pc + 1 + p->insns[pc].jf == first + k)
					return true;
	return false;
}

void policy_shorten(struct text_policy *p)
{
	static size_t moved[POLICYC_INSNS_MAX + 1];
	static bool dropped[POLICYC_INSNS_MAX];
	size_t kept = 0;

	for (size_t pc = 0; pc < p->insn_count; pc++)
		dropped[pc] = false;
	for (size_t pc = 0; pc + STEPS < p->insn_count; pc++)
		if (decides_nothing(&p->insns[pc]) && !is_entered_midway(p, pc))
			for (size_t k = 0; k < STEPS; k++)
				dropped[pc + k] = true;
	for (size_t pc = 0; pc < p->insn_count; pc++) {
		moved[pc] = kept;
		kept += !dropped[pc];
	}
	/* Ascending, and never to a later place, so that nothing is overwritten before it is
	 * read. */
	for (size_t pc = 0; pc < p->insn_count; pc++) {
		struct sock_filter f = p->insns[pc];

		if (dropped[pc])
			continue;
		if (BPF_CLASS(f.code) == BPF_JMP && BPF_OP(f.code) == BPF_JA)
			f.k = (uint32_t)(moved[pc + 1 + f.k] - moved[pc] - 1);
		if (is_jump(&f)) {
			f.jt = (uint8_t)(moved[pc + 1 + f.jt] - moved[pc] - 1);
			f.jf = (uint8_t)(moved[pc + 1 + f.jf] - moved[pc] - 1);
		}
		p->insns[moved[pc]] = f;
	}
	p->insn_count = kept;
}

/* Where the numbers of calls begin to be compared: after libseccomp's question whether the call is
 * one of the x32 table. insn_count: not found. */
static size_t first_comparison(const struct text_policy *p)
{
	const struct sock_filter *f = p->insns;

	for (size_t pc = 0; pc + 1 < p->insn_count; pc++)
		if (f[pc].code == (BPF_LD | BPF_W | BPF_ABS) &&
		    f[pc].k == offsetof(struct seccomp_data, nr) &&
		    f[pc + 1].code == (BPF_JMP | BPF_JGE | BPF_K))
			return pc + 2 + f[pc + 1].jf;
	return p->insn_count;
}

static size_t where_trapped(const struct text_policy *p)
{
	size_t pc = 0;

	while (pc < p->insn_count &&
	       (p->insns[pc].code != (BPF_RET | BPF_K) || p->insns[pc].k != SECCOMP_RET_TRAP))
		pc++;
	return pc;
}

/* Whether each jump over a step that is put in at `at` has room for one step more. */
static bool can_grow(const struct text_policy *p, size_t at)
{
	for (size_t pc = 0; pc < at; pc++)
		if (is_jump(&p->insns[pc]) && MAX(p->insns[pc].jt, p->insns[pc].jf) == UINT8_MAX)
			return false;
	return true;
}

void policy_cut_above(struct text_policy *p)
{
	size_t at = first_comparison(p), trap = where_trapped(p);
	uint32_t last = 0;

	for (size_t i = 0; i < p->rule_count; i++)
		last = MAX(last, (uint32_t)p->rules[i].nr);
	if (at >= trap || trap >= p->insn_count || trap - at > UINT8_MAX || !can_grow(p, at) ||
	    p->insn_count == POLICYC_INSNS_MAX)
		return;
	for (size_t pc = 0; pc < at; pc++) {
		struct sock_filter *f = &p->insns[pc];

		if (BPF_CLASS(f->code) == BPF_JMP && BPF_OP(f->code) == BPF_JA)
			f->k += pc + 1 + f->k > at;
		if (is_jump(f)) {
			f->jt += pc + 1 + f->jt > at;
			f->jf += pc + 1 + f->jf > at;
		}
	}
	memmove(&p->insns[at + 1], &p->insns[at], (p->insn_count - at) * sizeof(p->insns[0]));
	p->insns[at] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, last,
	                                            (uint8_t)(trap - at), 0);
	p->insn_count++;
}
