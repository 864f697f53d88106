/* SPDX-License-Identifier: MIT */
/* Deadlines as numbers. */
#include "shim/deadline.h"

#include <limits.h>

#include "base/base.h"
#include "base/clock.h"

uint64_t deadline_now_ns(void)
{
	return monotonic_ns();
}

int deadline_wait_ms(uint64_t deadline_ns, int timeout_ms)
{
	uint64_t now = deadline_now_ns();
	uint64_t left_ms;

	if (deadline_ns == 0)
		return timeout_ms;
	left_ms = deadline_ns > now ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
	left_ms = MIN(left_ms, (uint64_t)INT_MAX);
	return timeout_ms < 0 ? (int)left_ms : MIN(timeout_ms, (int)left_ms);
}

bool deadline_passed(uint64_t deadline_ns)
{
	return deadline_ns != 0 && deadline_now_ns() >= deadline_ns;
}
