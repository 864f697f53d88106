/* SPDX-License-Identifier: MIT */
/* Takes out of libseccomp's program the steps that decide nothing.
 *
 * For an argument of which 32 bits count, libseccomp still loads the upper half, masks it with 0
 * and asks whether the result is 0. Every exit of the guest would pay for that. The three
 * instructions go, provided that nothing jumps between them and that the next instruction loads the
 * accumulator anew. The exhaustive test holds the shortened program against the rules and the
 * kernel. */
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
