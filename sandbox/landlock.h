/* SPDX-License-Identifier: MIT */
/* Landlock: no file, no TCP port, no signal and no abstract socket beyond this process. */
#ifndef AXVM_SANDBOX_LANDLOCK_H
#define AXVM_SANDBOX_LANDLOCK_H

#include "sandbox/state.h"

/* Restricts the calling thread, and so all later ones, to reading /proc/self through proc_fd; tries
 * that the rest is refused. -errno with a problem. landlock(7). */
int landlock_restrict(struct sandbox *sandbox, struct problems *problems);

/* Takes the last of it, /proc/self, from the calling thread alone. Every thread calls it before its
 * seccomp filter, the control thread after the read-back. Needs landlock_fd and proc_fd. */
int sandbox_close_files(const struct sandbox *sandbox, struct problems *problems);

#endif
