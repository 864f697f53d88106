/* SPDX-License-Identifier: MIT */
/* Waits on a word until it changes. Private futexes only: no word is shared with another
 * process. */
#ifndef AXVM_FUTEX_H
#define AXVM_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/uses.h"

/* Returns when *word no longer holds `value`, or spuriously: the caller loops. */
static inline void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
	SANDBOX_USES(control, futex, arg1 == FUTEX_WAIT_PRIVATE && arg3 == 0);
	SANDBOX_USES(vcpu, futex, arg1 == FUTEX_WAIT_PRIVATE && arg3 == 0);
	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static inline void futex_wake_all(_Atomic uint32_t *word)
{
	SANDBOX_USES(control, futex, arg1 == FUTEX_WAKE_PRIVATE);
	SANDBOX_USES(vcpu, futex, arg1 == FUTEX_WAKE_PRIVATE);
	SANDBOX_USES(io, futex, arg1 == FUTEX_WAKE_PRIVATE);
	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Waits until *word is at least `value`. Pairs with futex_advance() in another thread. */
static inline void futex_wait_until(_Atomic uint32_t *word, uint32_t value)
{
	uint32_t seen;

	while ((seen = atomic_load_explicit(word, memory_order_acquire)) < value)
		futex_wait(word, seen);
}

static inline void futex_advance(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_release);
	futex_wake_all(word);
}

#endif
