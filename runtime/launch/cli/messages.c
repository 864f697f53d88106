/* SPDX-License-Identifier: MIT */
/* libaxvm does not know the schema; the command uses the code that protobuf-c generates from it. */
#include "launch/cli/messages.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "interface/wire.h"

void held_event_release(struct held_event *held)
{
	if (held->event)
		axvm__v1__event__free_unpacked(held->event, NULL);
	held->event = NULL;
}

static Axvm__V1__Event *decode(const void *bytes, size_t size)
{
	_cleanup_free_ uint8_t *copy = malloc(size + 1);

	if (!copy)
		return NULL;
	memcpy(copy, bytes, size);
	wire_mend_strings(&axvm__v1__event__descriptor, copy, size);
	return axvm__v1__event__unpack(NULL, size, copy);
}

static int hold(struct held_event *held, const void *bytes, size_t size,
                const Axvm__V1__Event **ret_event)
{
	held_event_release(held);
	held->event = decode(bytes, size);
	held->broken = !held->event;
	*ret_event = held->event;
	return held->event ? 1 : -EBADMSG;
}

int vm_next_event(struct axvm_vm *vm, struct held_event *held, const Axvm__V1__Event **ret_event)
{
	const void *bytes;
	size_t size;
	int r = held->broken ? -EBADMSG : axvm_vm_next_event(vm, &bytes, &size);

	return r == 1 ? hold(held, bytes, size, ret_event) : r;
}

int decoder_next_event(struct axvm_decoder *decoder, struct held_event *held,
                       const Axvm__V1__Event **ret_event)
{
	const void *bytes;
	size_t size;
	int r = held->broken ? -EBADMSG : axvm_decoder_next(decoder, &bytes, &size);

	return r == 1 ? hold(held, bytes, size, ret_event) : r;
}

int message_encode(const ProtobufCMessage *message, uint8_t **ret_bytes, size_t *ret_size)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(size + 1);

	if (!bytes)
		return -ENOMEM;
	*ret_size = protobuf_c_message_pack(message, bytes);
	*ret_bytes = bytes;
	return 0;
}

int vm_send_command(struct axvm_vm *vm, const Axvm__V1__Command *command, uint64_t *ret_request_id)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size;
	int r = message_encode(&command->base, &bytes, &size);

	return r < 0 ? r : axvm_vm_send(vm, bytes, size, ret_request_id);
}
