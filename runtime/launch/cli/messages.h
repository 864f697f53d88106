/* SPDX-License-Identifier: MIT */
/* Converts libaxvm's bytes to and from protobuf-c's messages. */
#ifndef AXVM_CLI_MESSAGES_H
#define AXVM_CLI_MESSAGES_H

#include <stdbool.h>

#include "launch/axvm.h"
#include "proto/axvm.pb-c.h"

/* The event that was decoded last. Zeroed: none. */
struct held_event {
	Axvm__V1__Event *event;
	bool broken; /* the bytes were not an event, and nothing is read after them */
};
void held_event_release(struct held_event *held);

/* Like axvm_vm_next_event() and axvm_decoder_next(), but the event is a decoded message, valid
 * until the next call with the same `held`. Bytes in it that are not UTF-8 are replaced, so that it
 * can be printed. */
int vm_next_event(struct axvm_vm *vm, struct held_event *held, const Axvm__V1__Event **ret_event);
int decoder_next_event(struct axvm_decoder *decoder, struct held_event *held,
                       const Axvm__V1__Event **ret_event);

/* Encodes a command and sends it by axvm_vm_send(), whose errors it returns. */
int vm_send_command(struct axvm_vm *vm, const Axvm__V1__Command *command, uint64_t *ret_request_id);

/* Encodes a message. The caller frees *ret_bytes. 0, -ENOMEM. */
int message_encode(const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_size);

/* For _cleanup_. */
static inline void axvm_decoder_freep(struct axvm_decoder **decoder)
{
	axvm_decoder_free(*decoder);
}

#endif
