/* SPDX-License-Identifier: MIT */
/* Namespaces made ahead of time, by a thread. */
#ifndef AXVM_SANDBOX_NEST_H
#define AXVM_SANDBOX_NEST_H

#include "sandbox/state.h"

/* Starts the thread, where the process has the capabilities for it; that it cannot be started is no
 * failure: stage confine then does what it would have done. After sandbox_arrive(). */
void nest_begin(struct sandbox *sandbox);

/* Step "namespaces" of stage confine. */
int nest_leave_launcher(struct sandbox *sandbox, struct problems *problems);

/* Step "root" of stage confine. After it the caller is the only thread. */
int nest_empty_root(struct sandbox *sandbox, struct problems *problems);

/* What these two steps would find wrong, without taking them: by the nest where there is one, else
 * by a child. -EPERM without a problem where namespaces are not to be had and a launch goes on
 * without them. For a launch that is refused for another reason already, and for `axvm probe`. */
int nest_foresee(struct sandbox *sandbox, struct problems *problems);

#endif
