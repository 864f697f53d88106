/* SPDX-License-Identifier: MIT */
/* SANDBOX_USES declares a system call that is made after the seal, beside the code that makes it.
 *
 *	SANDBOX_USES(vcpu, ioctl, arg0 == VCPU_FD && arg1 == KVM_RUN && arg2 == 0);
 *	r = ioctl(VCPU_FD, KVM_RUN, 0);
 *
 * The first argument is the thread's role, the second the system call, the rest the text of one
 * alternative of the policy (profiles/seccomp/ROLE.policy), or "any". hack/audit-policies, which
 * `make audit` runs, reads these lines. It fails if one of them is not in the policy, or if no line
 * declares an alternative of the policy. Code that runs in two roles declares its call for each.
 * The macro expands to nothing and may stand wherever a declaration may. */
#ifndef AXVM_BASE_USES_H
#define AXVM_BASE_USES_H

#define SANDBOX_USES(role, call, ...) _Static_assert(1, "")

#endif
