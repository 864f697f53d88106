/* SPDX-License-Identifier: MIT */
/* The reply to a command. */
#include "shim/reply.h"

#include "shim/shim.h"

void reply_put(struct shim *shim, uint64_t request_id, const struct problem *error)
{
	struct event_reply event = {
		.request_id = request_id,
		.error = error,
		.stage = shim->stage,
		.state = shim->lifecycle.state,
	};

	(void)event_reply(&shim->events, &event);
}
