/* SPDX-License-Identifier: MIT */
/* Requests that come close together are one: a signal that a batch system sends to every process of
 * a step reaches a program by several ways, and each way takes its time.
 *
 * The time is that of the loop which looks for requests. A burst is not over by the clock alone but
 * when the loop has looked once more after its end: what was sent within the time belongs to it,
 * however late a busy host lets the loop see it. Times are CLOCK_MONOTONIC, in nanoseconds, and
 * never 0. */
#ifndef AXVM_BASE_BURST_H
#define AXVM_BASE_BURST_H

#include <stdbool.h>
#include <stdint.h>

#define BURST_NS 500000000ULL

/* Zeroed: there is none. */
struct burst {
	/* the loop must look once after this, so it waits no longer; 0: for nothing */
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

/* The loop has handled all requests that were there at `looked_ns`. */
static inline void burst_looked(struct burst *burst, uint64_t looked_ns)
{
	if (looked_ns >= burst->until_ns)
		burst->until_ns = 0;
}

#endif
