/* SPDX-License-Identifier: MIT */
/* Clocks as one number. After the seal the caller declares clock_gettime (SANDBOX_USES). */
#ifndef AXVM_BASE_CLOCK_H
#define AXVM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000ULL
#define NS_PER_MS 1000000ULL

/* The clock's time in nanoseconds; 0 if the host has no such clock. */
static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec now = { 0 };

	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static inline uint64_t monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline int64_t monotonic_ms(void)
{
	return (int64_t)(monotonic_ns() / NS_PER_MS);
}

#endif
