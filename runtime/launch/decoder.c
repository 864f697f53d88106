/* SPDX-License-Identifier: MIT */
/* The incremental decoder of an EventStream: bytes in pieces of any size in, whole events out.
 *
 * The stream is a run of (tag, length, payload) fields, of which only field 1 is known. Fields of
 * other numbers are passed over, so that an older reader reads a newer stream (Protocol Buffers
 * encoding). An event has to be a run of whole fields; what they hold is for its reader to say. */
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "interface/wire_cursor.h"
#include "launch/by_number.h"

#define HEADER_MAX 20
#define FIRST_ROOM 4096

struct axvm_decoder {
	uint8_t *bytes;
	size_t start, end, room;
	bool broken;
};

struct axvm_decoder *axvm_decoder_new(void)
{
	return calloc(1, sizeof(struct axvm_decoder));
}

void axvm_decoder_free(struct axvm_decoder *decoder)
{
	if (!decoder)
		return;
	free(decoder->bytes);
	free(decoder);
}

int axvm_decoder_feed(struct axvm_decoder *decoder, const void *bytes, size_t n)
{
	size_t kept = decoder->end - decoder->start, needed, room;
	uint8_t *bigger;

	if (n == 0)
		return 0;
	if (decoder->start > 0)
		memmove(decoder->bytes, decoder->bytes + decoder->start, kept);
	decoder->start = 0;
	decoder->end = kept;
	if (__builtin_add_overflow(kept, n, &needed))
		return -ENOMEM;
	if (needed > decoder->room) {
		room = MAX(decoder->room * 2, (size_t)FIRST_ROOM);
		room = MAX(room, needed);
		bigger = realloc(decoder->bytes, room);
		if (!bigger)
			return -ENOMEM;
		decoder->bytes = bigger;
		decoder->room = room;
	}
	memcpy(decoder->bytes + kept, bytes, n);
	decoder->end = needed;
	return 0;
}

size_t axvm_decoder_pending(const struct axvm_decoder *decoder)
{
	return decoder->end - decoder->start;
}

/* Finds the payload of the field at the start. 1 when it is whole; 0 when more bytes are needed;
 * -EBADMSG. */
static int next_field(const struct axvm_decoder *decoder, uint32_t *ret_number,
                      const uint8_t **ret_bytes, size_t *ret_size)
{
	struct wire_cursor cursor = { decoder->bytes + decoder->start,
		                      decoder->bytes + decoder->end };
	bool short_of = axvm_decoder_pending(decoder) < HEADER_MAX;
	uint64_t tag, size;

	if (cursor.at == cursor.end)
		return 0;
	if (wire_varint(&cursor, &tag) < 0 || wire_varint(&cursor, &size) < 0)
		return short_of ? 0 : -EBADMSG;
	if (tag > UINT32_MAX || tag >> 3 == 0 || (tag & 7) != WIRE_LENGTH_PREFIXED ||
	    size > AXVM_MESSAGE_MAX)
		return -EBADMSG;
	if (size > (uint64_t)(cursor.end - cursor.at))
		return 0;
	*ret_number = (uint32_t)(tag >> 3);
	*ret_bytes = cursor.at;
	*ret_size = (size_t)size;
	return 1;
}

int axvm_decoder_next(struct axvm_decoder *decoder, const void **ret_event, size_t *ret_size)
{
	uint32_t number, status;
	const uint8_t *bytes;
	size_t size;
	int r;

	if (decoder->broken)
		return -EBADMSG;
	do {
		r = next_field(decoder, &number, &bytes, &size);
		if (r < 0)
			decoder->broken = true;
		if (r <= 0)
			return r < 0 ? r : -EAGAIN;
		decoder->start = (size_t)(bytes - decoder->bytes) + size;
	} while (number != FIELD_EVENTS);
	r = event_is_end(bytes, size, &status);
	if (r < 0) {
		decoder->broken = true;
		return r;
	}
	*ret_event = bytes;
	*ret_size = size;
	return 1;
}
