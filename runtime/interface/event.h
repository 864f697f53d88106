/* SPDX-License-Identifier: MIT */
/* How an event is filled in and put: each by who has something to tell, straight into the schema's
 * messages on his stack, out of texts that are his. Nothing is allocated. A text may be NULL
 * (absent), and is mended on its way where it is no UTF-8. */
#ifndef AXVM_INTERFACE_EVENT_H
#define AXVM_INTERFACE_EVENT_H

#include "base/problem.h"
#include "interface/event_writer.h"
#include "proto/axvm.pb-c.h"

/* The most bytes of an encoded reply without a report: this room is reserved before its command is
 * read. */
#define EVENT_REPLY_BYTES 768
/* The most bytes of an encoded report: a larger event would never fit into the ring. */
#define EVENT_REPORT_BYTES_MAX (EVENT_RING_SIZE - 4096)

/* Sets an optional number or flag of a message. */
#define EVENT_SET(message, field, value_) ((message)->has_##field = 1, (message)->field = (value_))
/* protobuf-c's structs have no const; nothing is written through them when they are encoded. */
#define EVENT_TEXT(s) ((char *)(uintptr_t)(s))

/* An event of that kind around its body, a pointer: EVENT(SEALED, sealed, &body), to be put at
 * once. */
#define EVENT(KIND, member, body_)                                                                 \
	(&(Axvm__V1__Event){ PROTOBUF_C_MESSAGE_INIT(&axvm__v1__event__descriptor),                \
	                     .body_case = AXVM__V1__EVENT__BODY_##KIND, .member = (body_) })

/* Fills in an error from a problem and its stage; severity and retryable follow from its code.
 * Borrows from `from`. */
void event_fill_error(Axvm__V1__Error *to, const struct problem *from, enum axvm_stage stage);

/* A device has failed; `device_id` may also be a thread's name, `queue` -1. As
 * event_writer_put(). */
int event_device_failed(struct event_writer *w, const char *device_id, int queue, int error_number,
                        bool needs_reset, const char *message, uint64_t suppressed);

#endif
