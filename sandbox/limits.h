/* SPDX-License-Identifier: MIT */
/* Resource limits: those that hold from stage confine on, and those that can hold from the seal
 * only. */
#ifndef AXVM_SANDBOX_LIMITS_H
#define AXVM_SANDBOX_LIMITS_H

#include "sandbox/state.h"

/* No core dump, no message queues, no growth of files beyond the largest that may be written, or
 * beyond config.file_size if that is more. One thread, before the ids change. -errno with a
 * problem. setrlimit(2). */
int limits_before_threads(struct sandbox *sandbox, struct problems *problems);

/* No further descriptor or locked page, once all descriptors and pages are there; reads back these
 * limits and the others. `received`: numbers below this one stay possible, for descriptors that a
 * socket brings (0: none). Of the whole process, by the control thread, as the last thing before
 * its filter. */
int sandbox_freeze_limits(uint32_t received, struct problems *problems);

#endif
