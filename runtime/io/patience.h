/* SPDX-License-Identifier: MIT */
/* Waits for a resource that a VM which has just ended still holds. The kernel releases a ring's
 * files, and with them locks and a TAP's queues, in a worker of its own, a moment after the process
 * is gone. A launcher that starts a VM again at once must not be refused for that. */
#ifndef AXVM_IO_PATIENCE_H
#define AXVM_IO_PATIENCE_H

#include <time.h>

#include "base/base.h"

#define IO_PATIENCE_MS 2000u

/* Sleeps for a millisecond and counts it in *waited_ms, which starts at 0. False once
 * IO_PATIENCE_MS are over. Stage acquire only. */
static inline bool io_patience(unsigned *waited_ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	if ((*waited_ms)++ >= IO_PATIENCE_MS)
		return false;
	(void)nanosleep(&pause, NULL);
	return true;
}

#endif
