/* SPDX-License-Identifier: MIT */
/* Puts the calling thread under the seccomp filter of its role, for good. */
#ifndef AXVM_SANDBOX_SECCOMP_H
#define AXVM_SANDBOX_SECCOMP_H

#include "sandbox/policy.h"

/* Loads the constant filter of the role into the calling thread only. After it returns, the thread
 * may make only the calls of profiles/seccomp/ROLE.policy.
 *
 * Requires: no_new_privs is set; the descriptors have the numbers of sandbox/fd_layout.h; for a
 * death record, that sandbox_death_install() and sandbox_death_take_seat() have been called
 * (without them a denied call still ends the process, by SIGSYS). Returns 0; -EINVAL when role is
 * none; -EPERM when no_new_privs is not set (root is not excused); or the kernel's error, among
 * them -EINVAL if the kernel cannot log denials (Linux before 4.14, which lacks
 * SECCOMP_RET_KILL_PROCESS too). After an error the thread has no new filter: the caller ends the
 * process. Call it once a thread; the filter denies a second call. seccomp(2). */
int sandbox_seccomp_seal(enum sandbox_role role);

/* SHA-256 of the filters of all roles, in role order: `axvm policy digest` prints the same.
 * Constant storage. */
const uint8_t *sandbox_policy_digest(void);

#endif
