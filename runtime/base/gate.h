/* SPDX-License-Identifier: MIT */
/* A gate with numbered steps: threads arrive at a step and wait there until it is opened. */
#ifndef AXVM_GATE_H
#define AXVM_GATE_H

#include <stdbool.h>

#include "base/futex.h"

struct gate {
	_Atomic uint32_t opened;  /* the highest step opened */
	_Atomic uint32_t arrived; /* arrivals over all steps */
};

/* Counts this thread as arrived; returns how many have. Wakes nobody: who waits for arrivals waits
 * for a descriptor too, and the last to arrive writes to it. */
static inline uint32_t gate_count(struct gate *gate)
{
	return atomic_fetch_add_explicit(&gate->arrived, 1, memory_order_acq_rel) + 1;
}

/* Waits until `step` (1, 2, …) is open. */
static inline void gate_pass(struct gate *gate, uint32_t step)
{
	futex_wait_until(&gate->opened, step);
}

/* Whether at least `arrivals` threads have been counted, over all steps. */
static inline bool gate_reached(struct gate *gate, uint32_t arrivals)
{
	return atomic_load_explicit(&gate->arrived, memory_order_acquire) >= arrivals;
}

static inline void gate_open(struct gate *gate, uint32_t step)
{
	futex_advance(&gate->opened, step);
}

#endif
