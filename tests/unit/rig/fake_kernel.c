/* SPDX-License-Identifier: MIT */
/* A kernel that answers chosen system calls as a test wants.
 *
 * A seccomp filter traps the calls; the handler of SIGSYS has their arguments in the registers and
 * puts the answer where the kernel would. The one instruction from which fake_kernel_call() calls
 * is let through by its address. */
#include "tests/unit/rig/fake_kernel.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define CALLS_MAX 16

extern const char fake_kernel_after[];
long fake_kernel_raw(long nr, const uint64_t *args);

__asm__(".text\n"
        ".globl fake_kernel_raw, fake_kernel_after\n"
        ".type fake_kernel_raw, @function\n"
        "fake_kernel_raw:\n"
        "	mov %rdi, %rax\n"
        "	mov 0(%rsi), %rdi\n"
        "	mov 16(%rsi), %rdx\n"
        "	mov 24(%rsi), %r10\n"
        "	mov 32(%rsi), %r8\n"
        "	mov 40(%rsi), %r9\n"
        "	mov 8(%rsi), %rsi\n"
        "	syscall\n"
        "fake_kernel_after:\n"
        "	ret\n"
        ".size fake_kernel_raw, . - fake_kernel_raw\n");

static fake_answer answers;

long fake_kernel_call(long nr, const uint64_t args[static 6])
{
	return fake_kernel_raw(nr, args);
}

static void on_sigsys(int number, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uint64_t args[6] = {
		(uint64_t)regs[REG_RDI], (uint64_t)regs[REG_RSI], (uint64_t)regs[REG_RDX],
		(uint64_t)regs[REG_R10], (uint64_t)regs[REG_R8],  (uint64_t)regs[REG_R9],
	};
	int saved = errno;
	long result;

	(void)number;
	if (!answers(info->si_syscall, args, &result))
		result = fake_kernel_call(info->si_syscall, args);
	regs[REG_RAX] = result;
	errno = saved;
}

int fake_kernel_begin(const long *calls, size_t count, fake_answer answer)
{
	const uint64_t after = (uint64_t)(uintptr_t)fake_kernel_after;
	struct sigaction action = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
	struct sock_filter insns[CALLS_MAX + 8];
	struct sock_fprog program = { .filter = insns };
	unsigned short n = 0;

	if (count == 0 || count > CALLS_MAX)
		return -EINVAL;
	insns[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
	                                          offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < count; i++)
		insns[n++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i],
		                                     (uint8_t)(count - i), 0);
	insns[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	insns[n++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
	                                     offsetof(struct seccomp_data, instruction_pointer));
	insns[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)after, 1, 0);
	insns[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	insns[n++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
	                                     offsetof(struct seccomp_data, instruction_pointer) +
	                                             4);
	insns[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
	                                          (uint32_t)(after >> 32), 0, 1);
	insns[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	insns[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	program.len = n;
	answers = answer;
	if (sigaction(SIGSYS, &action, NULL) < 0)
		return -errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0 ? -errno : 0;
}
