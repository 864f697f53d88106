/* SPDX-License-Identifier: MIT */
/* Waiting for what a VM that has just ended still holds. The kernel lets go of a ring's files, and
 * so of locks and of a TAP's queues, in a worker of its own, a moment after the process is gone:
 * who starts a VM again at once must not be refused for that. */
#ifndef AXVM_IO_PATIENCE_H
#define AXVM_IO_PATIENCE_H

#include <time.h>

#include "base/base.h"

#define IO_PATIENCE_MS 2000u

/* Sleeps for a millisecond and counts it in *waited_ms, which starts at 0; false when the time is
 * over. Stage acquire only. */
static inline bool io_patience(unsigned *waited_ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	if ((*waited_ms)++ >= IO_PATIENCE_MS)
		return false;
	(void)nanosleep(&pause, NULL);
	return true;
}

#endif
