/* SPDX-License-Identifier: MIT */
/* Puts the calling thread under the seccomp filter of its role, for good.
 *
 * The filter is a constant of the program: nothing is patched in at run time, so the digest that
 * the event `sealed` carries is the digest of what the kernel runs. Each thread loads its own (no
 * TSYNC): roles differ, and a thread that has not reached its seal must not be sealed by another.
 *
 * SECCOMP_FILTER_FLAG_LOG also sends every denial to the host's audit log, in case no event can be
 * written. SECCOMP_FILTER_FLAG_SPEC_ALLOW is not set, so that a host which ties its speculation
 * mitigations to seccomp keeps them. */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int sandbox_seccomp_seal(enum sandbox_role role)
{
	struct sock_fprog program;
	int nnp;

	if ((unsigned int)role >= SANDBOX_ROLE_COUNT)
		return -EINVAL;
	nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	if (nnp < 0)
		return -errno;
	if (nnp != 1)
		return -EPERM;
	/* The only cast that removes const: the kernel's structure has no const, but the kernel
	 * only reads (struct sock_fprog, linux/filter.h). */
	program = (struct sock_fprog){
		.len = sandbox_filters[role].count,
		.filter = (struct sock_filter *)(uintptr_t)sandbox_filters[role].insns,
	};
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &program) != 0)
		return -errno;
	return 0;
}

const uint8_t *sandbox_policy_digest(void)
{
	return sandbox_policies_digest;
}
