/* SPDX-License-Identifier: MIT */
/* Counters that one thread writes and any may read: no lock, and no locked instruction either. */
#ifndef AXVM_BASE_COUNTER_H
#define AXVM_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Called only on the thread that owns the counter. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, counter_read(counter) + n, memory_order_relaxed);
}

#endif
