/* SPDX-License-Identifier: MIT */
/* Puts the calling thread under the seccomp filter of its role, for good. */
#ifndef AXVM_SANDBOX_SECCOMP_H
#define AXVM_SANDBOX_SECCOMP_H

#include "sandbox/policy.h"

/* Loads the constant filter of the role into the calling thread, and no other. From the return on
 * the thread may make the calls of profiles/seccomp/ROLE.policy and no more.
 *
 * Requires: no_new_privs is set; the descriptors stand as in sandbox/fd_layout.h; for a death
 * record, that sandbox_death_install() and sandbox_death_take_seat() have been called (without them
 * a denied call still ends the process, by SIGSYS). Returns 0; -EINVAL when role is none; -EPERM
 * when no_new_privs is not set (root is not excused); or the kernel's error, among them -EINVAL
 * where filters are not logged (Linux before 4.14, which knows SECCOMP_RET_KILL_PROCESS neither).
 * After an error the thread is as free as before: the caller ends the process. One call a thread; a
 * second one is itself denied. seccomp(2). */
int sandbox_seccomp_seal(enum sandbox_role role);

/* SHA-256 of the filters of all roles, in role order: `axvm policy digest` prints the same.
 * Constant storage. */
const uint8_t *sandbox_policy_digest(void);

#endif
