/* SPDX-License-Identifier: MIT */
/* Counts requests that come close together as one. A batch system sends a signal to every process
 * of a step, so the same signal reaches a program by several ways, some later than others.
 *
 * A burst ends when BURST_NS have passed and the loop has looked for requests once more after that.
 * So a request sent within the time belongs to the burst, however late a busy host lets the loop
 * see it. Times are CLOCK_MONOTONIC, in nanoseconds, and never 0. */
#ifndef AXVM_BASE_BURST_H
#define AXVM_BASE_BURST_H

#include <stdbool.h>
#include <stdint.h>

#define BURST_NS 500000000ULL

/* Zeroed: no burst is under way. */
struct burst {
	/* the loop must look again after this time, so it sleeps no longer than that; 0: no
	 * burst */
	uint64_t until_ns;
};

/* Takes a request. Returns whether it is the first of its burst. */
static inline bool burst_take(struct burst *burst, uint64_t now_ns)
{
	if (burst->until_ns != 0)
		return false;
	burst->until_ns = now_ns + BURST_NS;
	return true;
}

/* Tells the burst that the loop has handled all requests that were there at `looked_ns`. */
static inline void burst_looked(struct burst *burst, uint64_t looked_ns)
{
	if (looked_ns >= burst->until_ns)
		burst->until_ns = 0;
}

#endif
