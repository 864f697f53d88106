/* SPDX-License-Identifier: MIT */
/* Resource limits: those that hold from stage confine on, and those that can hold from the seal
 * only. */
#ifndef AXVM_SANDBOX_LIMITS_H
#define AXVM_SANDBOX_LIMITS_H

#include <sys/stat.h>

#include "sandbox/state.h"

/* No core dump, no message queues. One thread, before the ids change. -errno with a problem.
 * setrlimit(2). */
int limits_before_threads(struct sandbox *sandbox, struct problems *problems);

/* What an open descriptor means for how far files may grow: to the largest that is written, or what
 * `most` says already; RLIM_INFINITY for what grows by nature: what is appended to, events,
 * diagnostics, and a block device. -errno with a problem. */
int limits_consider(int fd, const struct stat *st, uint64_t *most, struct problems *problems);

/* Denies further descriptors and locked pages, and growth of files beyond `file_size`, once all of
 * them exist; reads back these limits and the others. `received`: numbers below this one stay
 * possible, for descriptors received from a socket (0: none). For the whole process; the control
 * thread calls it last before its filter. */
int sandbox_freeze_limits(uint32_t received, uint64_t file_size, struct problems *problems);

#endif
