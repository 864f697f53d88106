/* SPDX-License-Identifier: MIT */
/* Control calls: one bit each. The asking thread sets the bit; the control thread takes all bits at
 * once. */
#include "io/control.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/uses.h"
#include "base/wake.h"

int control_desk_add(struct control_desk *desk, struct control_call *call)
{
	if (desk->count == CONTROL_CALLS_MAX)
		return -ENOSPC;
	call->index = desk->count;
	desk->calls[desk->count++] = call;
	return 0;
}

void control_desk_ask(struct control_desk *desk, struct control_call *call)
{
	if (!desk) {
		call->run(call);
		return;
	}
	/* Release pairs with the acquire in control_desk_serve. */
	if (atomic_fetch_or_explicit(&desk->pending, 1ULL << call->index, memory_order_release) !=
	    0)
		return;
	SANDBOX_USES(io, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	(void)wake_eventfd(desk->wake_fd);
}

void control_desk_serve(struct control_desk *desk)
{
	/* Acquire pairs with the release in control_desk_ask. */
	uint64_t pending = atomic_exchange_explicit(&desk->pending, 0, memory_order_acquire);

	for (; pending != 0; pending &= pending - 1) {
		struct control_call *call = desk->calls[__builtin_ctzll(pending)];

		call->run(call);
	}
}
