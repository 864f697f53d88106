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

/* Denies further descriptors and locked pages, once all of them exist; reads back these limits and
 * the others. `received`: numbers below this one stay possible, for descriptors received from a
 * socket (0: none). For the whole process; the control thread calls it last before its filter. */
int sandbox_freeze_limits(uint32_t received, struct problems *problems);

#endif
