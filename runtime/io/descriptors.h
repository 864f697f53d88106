/* SPDX-License-Identifier: MIT */
/* A thread with a descriptor table of its own. */
#ifndef AXVM_IO_DESCRIPTORS_H
#define AXVM_IO_DESCRIPTORS_H

#include "base/base.h"

/* The calling thread leaves the process's descriptor table for a copy in which only `kept` (negative
 * ones are none) stay open. The numbers below 5, which mean something to every program or to ours, are
 * then taken by duplicates of `filler`, so that nothing the thread receives later gets one of them.
 * 0 or -errno; before the thread's filter. unshare(2), close_range(2). */
int io_leave_descriptors(const int *kept, size_t count, int filler);

#endif
