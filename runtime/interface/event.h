/* SPDX-License-Identifier: MIT */
/* How an event is filled in and put: each by who has something to tell, straight into the schema's
 * messages on his stack, out of texts that are his. Nothing is allocated. A text may be NULL
 * (absent), and is mended on its way where it is no UTF-8. */
#ifndef AXVM_INTERFACE_EVENT_H
#define AXVM_INTERFACE_EVENT_H

#include "base/problem.h"
#include "interface/event_writer.h"
#include "proto/axvm.pb-c.h"

/* What a reply without a report may take when it is encoded: room for it is kept before its command
 * is read. */
#define EVENT_REPLY_BYTES 768
/* What a report may take when it is encoded: an event of which there is never room for is of no
 * use. */
#define EVENT_REPORT_BYTES_MAX (EVENT_RING_SIZE - 4096)

/* A number or flag of a message, which is there from now on. */
#define EVENT_SET(message, field, value_) ((message)->has_##field = 1, (message)->field = (value_))
/* protobuf-c's structs have no const; nothing is written through them when they are encoded. */
#define EVENT_TEXT(s) ((char *)(uintptr_t)(s))

/* An event of that kind around its body, a pointer: EVENT(SEALED, sealed, &body), to be put at
 * once. */
#define EVENT(KIND, member, body_)                                                                 \
	(&(Axvm__V1__Event){ PROTOBUF_C_MESSAGE_INIT(&axvm__v1__event__descriptor),                \
	                     .body_case = AXVM__V1__EVENT__BODY_##KIND, .member = (body_) })

/* What went wrong, and in which stage; severity and whether a retry can help follow from its code.
 * Borrows from `from`. */
void event_fill_error(Axvm__V1__Error *to, const struct problem *from, enum axvm_stage stage);

/* A device has failed; `device_id` may also be a thread's name, `queue` -1. As
 * event_writer_put(). */
int event_device_failed(struct event_writer *w, const char *device_id, int queue, int error_number,
                        bool needs_reset, const char *message, uint64_t suppressed);

#endif
