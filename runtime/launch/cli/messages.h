/* SPDX-License-Identifier: MIT */
/* libaxvm's bytes as protobuf-c's messages. */
#ifndef AXVM_CLI_MESSAGES_H
#define AXVM_CLI_MESSAGES_H

#include <stdbool.h>

#include "launch/axvm.h"
#include "proto/axvm.pb-c.h"

/* The event that was decoded last. Zeroed is none. */
struct held_event {
	Axvm__V1__Event *event;
	bool broken; /* what came was no event, and nothing is read behind it */
};
void held_event_release(struct held_event *held);

/* As axvm_vm_next_event() and axvm_decoder_next(), but that the event is a message, which stays
 * until the next call with the same `held`. What is not UTF-8 in it is mended, so that it can be
 * printed. */
int vm_next_event(struct axvm_vm *vm, struct held_event *held, const Axvm__V1__Event **ret_event);
int decoder_next_event(struct axvm_decoder *decoder, struct held_event *held,
                       const Axvm__V1__Event **ret_event);

/* As axvm_vm_send(). */
int vm_send_command(struct axvm_vm *vm, const Axvm__V1__Command *command, uint64_t *ret_request_id);

/* Encodes a message; *ret_bytes is the caller's, to be freed. 0, -ENOMEM. */
int message_encode(const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_size);

/* For _cleanup_. */
static inline void axvm_decoder_freep(struct axvm_decoder **decoder)
{
	axvm_decoder_free(*decoder);
}

#endif
