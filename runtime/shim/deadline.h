/* SPDX-License-Identifier: MIT */
/* The control thread's clock and its deadlines. */
#ifndef AXVM_SHIM_DEADLINE_H
#define AXVM_SHIM_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t deadline_now_ns(void);
/* Milliseconds from now to a deadline (0: none), but at most `timeout_ms` (-1: for good). */
int deadline_wait_ms(uint64_t deadline_ns, int timeout_ms);
/* Whether a deadline (0: none) is over. */
bool deadline_passed(uint64_t deadline_ns);

#endif
