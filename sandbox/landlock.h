/* SPDX-License-Identifier: MIT */
/* Landlock: forbids files, TCP ports, and signals and abstract sockets of other processes. */
#ifndef AXVM_SANDBOX_LANDLOCK_H
#define AXVM_SANDBOX_LANDLOCK_H

#include "sandbox/state.h"

/* Restricts the calling thread, and so all later ones, to reading /proc/self through proc_fd; tests
 * that the rest is refused. -errno with a problem. landlock(7). */
int landlock_restrict(struct sandbox *sandbox, struct problems *problems);

/* Takes access to /proc/self from the calling thread only. Every thread calls it before its seccomp
 * filter, the control thread after the read-back. Needs landlock_fd and proc_fd. */
int sandbox_close_files(const struct sandbox *sandbox, struct problems *problems);

#endif
