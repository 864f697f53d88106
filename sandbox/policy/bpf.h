/* SPDX-License-Identifier: MIT */
/* Runs and disassembles seccomp's classic BPF without a kernel. No allocation, no state. */
#ifndef AXVM_SANDBOX_POLICY_BPF_H
#define AXVM_SANDBOX_POLICY_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* Checks a program by the kernel's rules for seccomp filters (seccomp_check_filter and
 * bpf_check_classic): known instructions, aligned loads inside struct seccomp_data, jumps forward
 * and inside the program, scratch words 0-15, no division by a constant 0, a return at the end.
 * Returns 0, or -EINVAL. */
int sandbox_bpf_check(const struct sock_filter *insns, size_t count);

/* Runs a program on one call. *ret_action is the full 32-bit answer (SECCOMP_RET_* and data);
 * *ret_steps, which may be NULL, the number of instructions executed. Returns 0, or -EINVAL for a
 * program that sandbox_bpf_check() refuses. */
int sandbox_bpf_run(const struct sock_filter *insns, size_t count, const struct seccomp_data *data,
                    uint32_t *ret_action, unsigned int *ret_steps);

/* One instruction as text; pc is its place, for jump targets. Always ends text with a NUL when size
 * > 0. */
void sandbox_bpf_disassemble(const struct sock_filter *f, size_t pc, char *text, size_t size);

/* "allow", "trap", "kill_process" ...; "?" for an action that seccomp(2) does not have. Data is
 * ignored. */
const char *sandbox_bpf_action_name(uint32_t action);

#endif
