/* SPDX-License-Identifier: MIT */
/* Events of several kinds and sizes for a writer, of which it does not matter what they tell. Each
 * returns what event_writer_put() does. */
#ifndef AXVM_TESTS_PUT_EVENT_H
#define AXVM_TESTS_PUT_EVENT_H

#include "interface/event.h"

static inline int put_stage(struct event_writer *writer)
{
	Axvm__V1__StageCompleted body = AXVM__V1__STAGE_COMPLETED__INIT;

	EVENT_SET(&body, stage, AXVM__V1__STAGE__STAGE_RUN);
	EVENT_SET(&body, duration_ns, 1);
	return event_writer_put(writer, EVENT(STAGE_COMPLETED, stage_completed, &body));
}

/* As long as its reason makes it. */
static inline int put_state_changed(struct event_writer *writer, const char *reason)
{
	Axvm__V1__StateChanged body = AXVM__V1__STATE_CHANGED__INIT;

	EVENT_SET(&body, from, AXVM__V1__STATE__STATE_RUNNING);
	EVENT_SET(&body, to, AXVM__V1__STATE__STATE_PAUSED);
	body.reason = EVENT_TEXT(reason);
	return event_writer_put(writer, EVENT(STATE_CHANGED, state_changed, &body));
}

/* A reply; `problem` NULL: it is done. */
static inline int put_reply(struct event_writer *writer, uint64_t id, const struct problem *problem)
{
	Axvm__V1__Reply body = AXVM__V1__REPLY__INIT;
	Axvm__V1__Error error;

	EVENT_SET(&body, request_id, id);
	EVENT_SET(&body, ok, !problem);
	EVENT_SET(&body, state, AXVM__V1__STATE__STATE_RUNNING);
	if (problem) {
		event_fill_error(&error, problem, STAGE_RUN);
		body.error = &error;
	}
	return event_writer_put_kept(writer, EVENT(REPLY, reply, &body), EVENT_REPLY_BYTES);
}

static inline int put_terminal(struct event_writer *writer)
{
	Axvm__V1__Terminal body = AXVM__V1__TERMINAL__INIT;

	EVENT_SET(&body, outcome, AXVM__V1__OUTCOME__OUTCOME_POWER_OFF);
	return event_writer_put_terminal(writer, EVENT(TERMINAL, terminal, &body));
}

#endif
