/* SPDX-License-Identifier: MIT */
/*
 * SANDBOX_USES: the declaration, beside the code that makes it, of a system call made after the
 * seal.
 *
 *	SANDBOX_USES(vcpu, ioctl, arg0 == VCPU_FD && arg1 == KVM_RUN && arg2 == 0);
 *	r = ioctl(VCPU_FD, KVM_RUN, 0);
 *
 * role is the thread's role, call the system call, and the rest the text of one alternative of the
 * policy (profiles/seccomp/ROLE.policy), or "any". hack/audit-policies, run by `make audit`, reads
 * these lines and fails when one is not in the policy, or an alternative of the policy is declared
 * nowhere. Code that runs in two roles declares itself twice. Expands to nothing; stands wherever a
 * declaration may.
 */
#ifndef AXVM_BASE_USES_H
#define AXVM_BASE_USES_H

#define SANDBOX_USES(role, call, ...) _Static_assert(1, "")

#endif
