/* SPDX-License-Identifier: MIT */
/* The reply to a command. */
#include "shim/reply.h"

#include "interface/event.h"
#include "shim/shim.h"

static int put(struct shim *shim, uint64_t request_id, Axvm__V1__Reply *body)
{
	EVENT_SET(body, request_id, request_id);
	EVENT_SET(body, ok, !body->error);
	EVENT_SET(body, state, (Axvm__V1__State)shim->lifecycle.state);
	return event_writer_put_kept(&shim->events, EVENT(REPLY, reply, body), EVENT_REPLY_BYTES);
}

void reply_put(struct shim *shim, uint64_t request_id, const struct problem *error)
{
	Axvm__V1__Reply body = AXVM__V1__REPLY__INIT;
	Axvm__V1__Error fields;

	if (error) {
		event_fill_error(&fields, error, shim->stage);
		body.error = &fields;
	}
	(void)put(shim, request_id, &body);
}

int reply_put_report(struct shim *shim, uint64_t request_id, Axvm__V1__MetricsReport *report)
{
	Axvm__V1__Reply body = AXVM__V1__REPLY__INIT;

	body.metrics = report;
	return put(shim, request_id, &body);
}
