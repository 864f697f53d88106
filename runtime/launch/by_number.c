/* SPDX-License-Identifier: MIT */
/* Reads two messages by field numbers, for libaxvm. */
#include "launch/by_number.h"

#include <errno.h>
#include <string.h>

#include "base/varint.h"
#include "interface/wire_cursor.h"

/* Without bytes the address may be NULL. */
static struct wire_cursor cursor_of(const void *bytes, size_t size)
{
	static const uint8_t none[1];
	const uint8_t *start = size > 0 ? bytes : none;

	return (struct wire_cursor){ start, start + size };
}

/* Finds the place of the request id in a Command, an empty place if it has none. 0, -EBADMSG. */
static int find_id(const void *command, size_t size, uint64_t *ret_id,
                   struct wire_cursor *ret_place)
{
	struct wire_cursor cursor = cursor_of(command, size);
	const uint8_t *start = cursor.at;
	struct wire_field field;
	int r;

	*ret_place = (struct wire_cursor){ start, start };
	*ret_id = 0;
	for (; (r = wire_next(&cursor, &field)) > 0; start = cursor.at) {
		if (field.number != FIELD_REQUEST_ID)
			continue;
		if (field.type != WIRE_VARINT || ret_place->at != ret_place->end)
			return -EBADMSG;
		*ret_place = (struct wire_cursor){ start, cursor.at };
		*ret_id = field.value;
	}
	return r;
}

static size_t put(uint8_t *to, const uint8_t *from, const uint8_t *end)
{
	if (from < end)
		memcpy(to, from, (size_t)(end - from));
	return (size_t)(end - from);
}

ssize_t command_with_id(const void *command, size_t size, uint64_t unused,
                        uint8_t to[static AXVM_COMMAND_MAX], uint64_t *ret_id)
{
	const struct wire_cursor whole = cursor_of(command, size);
	uint8_t id[1 + VARINT_BYTES_MAX];
	struct wire_cursor place;
	size_t id_size = 0, n;

	if (size > AXVM_COMMAND_MAX)
		return -EMSGSIZE;
	if (find_id(command, size, ret_id, &place) < 0)
		return -EBADMSG;
	if (*ret_id != 0)
		return (ssize_t)put(to, whole.at, whole.end);
	*ret_id = unused;
	id[id_size++] = FIELD_REQUEST_ID << 3 | WIRE_VARINT;
	id_size += varint_put(id + id_size, unused);
	if (id_size + size - (size_t)(place.end - place.at) > AXVM_COMMAND_MAX)
		return -EMSGSIZE;
	n = put(to, id, id + id_size);
	n += put(to + n, whole.at, place.at);
	n += put(to + n, place.end, whole.end);
	return (ssize_t)n;
}

/* Finds the last value of a varint field, as protobuf decoders do; 0 if it is absent. 0,
 * -EBADMSG. */
static int find_number(const void *message, size_t size, uint32_t number, uint64_t *ret_value)
{
	struct wire_cursor cursor = cursor_of(message, size);
	struct wire_field field;
	int r;

	*ret_value = 0;
	while ((r = wire_next(&cursor, &field)) > 0)
		if (field.number == number && field.type == WIRE_VARINT)
			*ret_value = field.value;
	return r;
}

int event_is_end(const void *event, size_t size, uint32_t *ret_exit_status)
{
	struct wire_cursor cursor = cursor_of(event, size);
	struct wire_field field;
	bool is_end = false;
	uint64_t status = 0;
	int r;

	while ((r = wire_next(&cursor, &field)) > 0) {
		if (field.number != FIELD_TERMINAL || field.type != WIRE_LENGTH_PREFIXED)
			continue;
		if (find_number(field.bytes, field.length, FIELD_EXIT_STATUS, &status) < 0)
			return -EBADMSG;
		is_end = true;
	}
	*ret_exit_status = (uint32_t)status;
	return r < 0 ? r : is_end;
}
