/* SPDX-License-Identifier: MIT */
/* Runs and disassembles seccomp's classic BPF without a kernel.
 *
 * The machine (bpf(4); Linux Documentation/networking/filter.rst): accumulator A, index X, sixteen
 * scratch words, all 32 bits, initially 0. For seccomp the "packet" is struct seccomp_data, read in
 * whole words in the host's byte order. Jumps go forward only, so a program of n instructions ends
 * after at most n steps. */
#include "sandbox/policy/bpf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

struct machine {
	uint32_t a;
	uint32_t x;
	uint32_t scratch[BPF_MEMWORDS];
};

static bool is_load_of_data(const struct sock_filter *f)
{
	return f->k % sizeof(uint32_t) == 0 && f->k < sizeof(struct seccomp_data);
}

static bool is_good_alu(const struct sock_filter *f)
{
	switch (BPF_OP(f->code)) {
	case BPF_DIV:
		return BPF_SRC(f->code) == BPF_X || f->k != 0;
	case BPF_LSH:
	case BPF_RSH:
		return BPF_SRC(f->code) == BPF_X || f->k < 32;
	case BPF_NEG:
		return BPF_SRC(f->code) == BPF_K;
	case BPF_ADD:
	case BPF_SUB:
	case BPF_MUL:
	case BPF_OR:
	case BPF_AND:
	case BPF_XOR:
		return true;
	default:
		return false;
	}
}

/* left: how many instructions follow this one. */
static bool is_good_jump(const struct sock_filter *f, size_t left)
{
	switch (BPF_OP(f->code)) {
	case BPF_JA:
		return BPF_SRC(f->code) == BPF_K && f->k < left;
	case BPF_JEQ:
	case BPF_JGT:
	case BPF_JGE:
	case BPF_JSET:
		return f->jt < left && f->jf < left;
	default:
		return false;
	}
}

static bool is_good(const struct sock_filter *f, size_t left)
{
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
		if (f->code == (BPF_LD | BPF_W | BPF_ABS))
			return is_load_of_data(f);
		if (f->code == (BPF_LD | BPF_MEM))
			return f->k < BPF_MEMWORDS;
		return f->code == (BPF_LD | BPF_IMM) || f->code == (BPF_LD | BPF_W | BPF_LEN);
	case BPF_LDX:
		if (f->code == (BPF_LDX | BPF_MEM))
			return f->k < BPF_MEMWORDS;
		return f->code == (BPF_LDX | BPF_IMM) || f->code == (BPF_LDX | BPF_W | BPF_LEN);
	case BPF_ST:
	case BPF_STX:
		return f->code == BPF_CLASS(f->code) && f->k < BPF_MEMWORDS;
	case BPF_ALU:
		return is_good_alu(f);
	case BPF_JMP:
		return is_good_jump(f, left);
	case BPF_RET:
		return f->code == (BPF_RET | BPF_K) || f->code == (BPF_RET | BPF_A);
	default:
		return f->code == (BPF_MISC | BPF_TAX) || f->code == (BPF_MISC | BPF_TXA);
	}
}

int sandbox_bpf_check(const struct sock_filter *insns, size_t count)
{
	if (count == 0 || count > BPF_MAXINSNS)
		return -EINVAL;
	for (size_t pc = 0; pc < count; pc++)
		if (insns[pc].code > UINT8_MAX || !is_good(&insns[pc], count - pc - 1))
			return -EINVAL;
	return BPF_CLASS(insns[count - 1].code) == BPF_RET ? 0 : -EINVAL;
}

static uint32_t load(const struct machine *m, const struct sock_filter *f,
                     const struct seccomp_data *data)
{
	uint32_t word;

	switch (BPF_MODE(f->code)) {
	case BPF_ABS:
		memcpy(&word, (const char *)data + f->k, sizeof(word));
		return word;
	case BPF_MEM:
		return m->scratch[f->k];
	case BPF_LEN:
		return sizeof(*data);
	default:
		return f->k;
	}
}

/* False if the kernel would end the program at this instruction (on division by X == 0 it returns
 * 0). */
static bool compute(struct machine *m, const struct sock_filter *f)
{
	uint32_t b = BPF_SRC(f->code) == BPF_X ? m->x : f->k;

	switch (BPF_OP(f->code)) {
	case BPF_ADD:
		m->a += b;
		break;
	case BPF_SUB:
		m->a -= b;
		break;
	case BPF_MUL:
		m->a *= b;
		break;
	case BPF_DIV:
		if (b == 0)
			return false;
		m->a /= b;
		break;
	case BPF_OR:
		m->a |= b;
		break;
	case BPF_AND:
		m->a &= b;
		break;
	case BPF_XOR:
		m->a ^= b;
		break;
	case BPF_LSH:
		m->a <<= b & 31;
		break;
	case BPF_RSH:
		m->a >>= b & 31;
		break;
	default:
		m->a = -m->a;
		break;
	}
	return true;
}

/* How many instructions to skip. */
static size_t jump(const struct machine *m, const struct sock_filter *f)
{
	uint32_t b = BPF_SRC(f->code) == BPF_X ? m->x : f->k;
	bool taken;

	switch (BPF_OP(f->code)) {
	case BPF_JA:
		return f->k;
	case BPF_JEQ:
		taken = m->a == b;
		break;
	case BPF_JGT:
		taken = m->a > b;
		break;
	case BPF_JGE:
		taken = m->a >= b;
		break;
	default:
		taken = (m->a & b) != 0;
		break;
	}
	return taken ? f->jt : f->jf;
}

int sandbox_bpf_run(const struct sock_filter *insns, size_t count, const struct seccomp_data *data,
                    uint32_t *ret_action, unsigned int *ret_steps)
{
	struct machine m = { 0 };
	unsigned int steps = 0;
	uint32_t answer = 0;

	if (sandbox_bpf_check(insns, count) < 0)
		return -EINVAL;
	for (size_t pc = 0;; pc++) {
		const struct sock_filter *f = &insns[pc];

		steps++;
		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
			m.a = load(&m, f, data);
			break;
		case BPF_LDX:
			m.x = load(&m, f, data);
			break;
		case BPF_ST:
			m.scratch[f->k] = m.a;
			break;
		case BPF_STX:
			m.scratch[f->k] = m.x;
			break;
		case BPF_JMP:
			pc += jump(&m, f);
			break;
		case BPF_ALU:
			if (!compute(&m, f))
				goto done;
			break;
		case BPF_RET:
			answer = BPF_RVAL(f->code) == BPF_A ? m.a : f->k;
			goto done;
		default:
			if (BPF_MISCOP(f->code) == BPF_TAX)
				m.x = m.a;
			else
				m.a = m.x;
			break;
		}
	}
done:
	*ret_action = answer;
	if (ret_steps)
		*ret_steps = steps;
	return 0;
}

static const struct {
	uint32_t action;
	const char *name;
} actions[] = {
	{ SECCOMP_RET_KILL_PROCESS, "kill_process" },
	{ SECCOMP_RET_KILL_THREAD, "kill_thread" },
	{ SECCOMP_RET_TRAP, "trap" },
	{ SECCOMP_RET_ERRNO, "errno" },
	{ SECCOMP_RET_USER_NOTIF, "user_notif" },
	{ SECCOMP_RET_TRACE, "trace" },
	{ SECCOMP_RET_LOG, "log" },
	{ SECCOMP_RET_ALLOW, "allow" },
};

const char *sandbox_bpf_action_name(uint32_t action)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (actions[i].action == (action & SECCOMP_RET_ACTION_FULL))
			return actions[i].name;
	return "?";
}

/* The member of struct seccomp_data at an offset. */
static void name_of_data(uint32_t offset, char *text, size_t size)
{
	static const char *const head[] = { "nr", "arch", "ip.low", "ip.high" };
	uint32_t word = offset / (uint32_t)sizeof(uint32_t);

	if (word < ARRAY_SIZE(head))
		snprintf(text, size, "%s", head[word]);
	else
		snprintf(text, size, "arg%u.%s", (word - 4) / 2, word % 2 ? "high" : "low");
}

static const char *const alu_names[] = {
	[BPF_ADD >> 4] = "add", [BPF_SUB >> 4] = "sub", [BPF_MUL >> 4] = "mul",
	[BPF_DIV >> 4] = "div", [BPF_OR >> 4] = "or",   [BPF_AND >> 4] = "and",
	[BPF_LSH >> 4] = "lsh", [BPF_RSH >> 4] = "rsh", [BPF_NEG >> 4] = "neg",
	[0x90 >> 4] = NULL,     [BPF_XOR >> 4] = "xor",
};

static const char *const jump_names[] = {
	[BPF_JA >> 4] = "jmp",  [BPF_JEQ >> 4] = "jeq",   [BPF_JGT >> 4] = "jgt",
	[BPF_JGE >> 4] = "jge", [BPF_JSET >> 4] = "jset",
};

static void disassemble_load(const struct sock_filter *f, char *text, size_t size)
{
	const char *op = BPF_CLASS(f->code) == BPF_LD ? "ld" : "ldx";
	char member[24];

	switch (BPF_MODE(f->code)) {
	case BPF_ABS:
		name_of_data(f->k, member, sizeof(member));
		snprintf(text, size, "%-5s %s", op, member);
		return;
	case BPF_MEM:
		snprintf(text, size, "%-5s M[%u]", op, f->k);
		return;
	case BPF_LEN:
		snprintf(text, size, "%-5s len", op);
		return;
	default:
		snprintf(text, size, "%-5s #0x%x", op, f->k);
	}
}

static void disassemble_jump(const struct sock_filter *f, size_t pc, char *text, size_t size)
{
	const char *op = jump_names[BPF_OP(f->code) >> 4];
	char operand[16] = "x";

	if (BPF_OP(f->code) == BPF_JA) {
		snprintf(text, size, "%-5s %zu", op, pc + 1 + f->k);
		return;
	}
	if (BPF_SRC(f->code) == BPF_K)
		snprintf(operand, sizeof(operand), "#0x%x", f->k);
	snprintf(text, size, "%-5s %-12s true %zu false %zu", op, operand, pc + 1 + f->jt,
	         pc + 1 + f->jf);
}

void sandbox_bpf_disassemble(const struct sock_filter *f, size_t pc, char *text, size_t size)
{
	if (f->code > UINT8_MAX || !is_good(f, BPF_MAXINSNS)) {
		snprintf(text, size, "bad   code 0x%x k 0x%x", f->code, f->k);
		return;
	}
	switch (BPF_CLASS(f->code)) {
	case BPF_LD:
	case BPF_LDX:
		disassemble_load(f, text, size);
		break;
	case BPF_ST:
	case BPF_STX:
		snprintf(text, size, "%-5s M[%u]", BPF_CLASS(f->code) == BPF_ST ? "st" : "stx",
		         f->k);
		break;
	case BPF_ALU:
		if (BPF_OP(f->code) == BPF_NEG)
			snprintf(text, size, "neg");
		else if (BPF_SRC(f->code) == BPF_X)
			snprintf(text, size, "%-5s x", alu_names[BPF_OP(f->code) >> 4]);
		else
			snprintf(text, size, "%-5s #0x%x", alu_names[BPF_OP(f->code) >> 4], f->k);
		break;
	case BPF_JMP:
		disassemble_jump(f, pc, text, size);
		break;
	case BPF_RET:
		if (BPF_RVAL(f->code) == BPF_A)
			snprintf(text, size, "ret   a");
		else
			snprintf(text, size, "ret   %s", sandbox_bpf_action_name(f->k));
		break;
	default:
		snprintf(text, size, "%s", BPF_MISCOP(f->code) == BPF_TAX ? "tax" : "txa");
	}
}
