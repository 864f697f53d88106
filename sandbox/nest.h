/* SPDX-License-Identifier: MIT */
/* A thread that makes namespaces ahead of time. */
#ifndef AXVM_SANDBOX_NEST_H
#define AXVM_SANDBOX_NEST_H

#include "sandbox/state.h"

/* Starts the thread if the process has the capabilities for it. If the thread cannot be started,
 * stage confine does its work instead. After sandbox_arrive(). */
void nest_begin(struct sandbox *sandbox);

/* Step "namespaces" of stage confine. */
int nest_leave_launcher(struct sandbox *sandbox, struct problems *problems);

/* Step "root" of stage confine. After it the caller is the only thread. */
int nest_empty_root(struct sandbox *sandbox, struct problems *problems);

/* Finds what would fail in these two steps, without taking them: by the nest if there is one, else
 * by a child. -EPERM without a problem if namespaces are denied and a launch goes on without them.
 * For a launch that is already refused for another reason, and for `axvm probe`. */
int nest_foresee(struct sandbox *sandbox, struct problems *problems);

#endif
