/* SPDX-License-Identifier: MIT */
/* The parts that several kinds of event have in common. */
#include "interface/event.h"

#include <assert.h>
#include <errno.h>

/* The bytes of an event beside its texts and the VM's name: numbers of at most 10 bytes each, with
 * tags and lengths. */
static_assert(EVENT_REPLY_BYTES >= PROBLEM_MESSAGE_MAX + PROBLEM_FIELD_MAX + 64 + 20 * 12,
              "the room that is kept for a reply is enough for any");
/* Room is kept at once for the reply to the next command, to a pause that has not come into force,
 * and to the command in question. */
static_assert(EVENT_REPORT_BYTES_MAX + 4 * EVENT_REPLY_BYTES <= EVENT_RING_SIZE,
              "there is room for a reply with the largest report when nothing else waits");

void event_fill_error(Axvm__V1__Error *to, const struct problem *from, enum axvm_stage stage)
{
	const struct problem_class *class = problem_class_of(from->code);

	axvm__v1__error__init(to);
	EVENT_SET(to, code, (Axvm__V1__ErrorCode)from->code);
	EVENT_SET(to, stage, (Axvm__V1__Stage)stage);
	EVENT_SET(to, severity, (Axvm__V1__Severity) class->severity);
	/* The kernel may have memory later, whichever call it refused. */
	EVENT_SET(to, retryable, class->retryable || from->error_number == ENOMEM);
	to->has_error_number = from->error_number > 0;
	to->error_number = from->error_number;
	to->field = from->field[0] ? EVENT_TEXT(from->field) : NULL;
	to->message = EVENT_TEXT(from->message);
}

int event_device_failed(struct event_writer *w, const char *device_id, int queue, int error_number,
                        bool needs_reset, const char *message, uint64_t suppressed)
{
	Axvm__V1__DeviceFailed body = AXVM__V1__DEVICE_FAILED__INIT;

	body.device_id = EVENT_TEXT(device_id);
	body.message = EVENT_TEXT(message);
	EVENT_SET(&body, needs_reset, needs_reset);
	EVENT_SET(&body, queue, queue);
	EVENT_SET(&body, error_number, error_number);
	body.has_suppressed = suppressed > 0;
	body.suppressed = suppressed;
	return event_writer_put(w, EVENT(DEVICE_FAILED, device_failed, &body));
}
