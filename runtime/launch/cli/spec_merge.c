/* SPDX-License-Identifier: MIT */
/* Merges fragments of a message, as bytes.
 *
 * Protocol Buffers say that encoded messages strung together are the merged message, but
 * protobuf-c replaces a message of a oneof where it should merge it. So merging is done here: the
 * payloads of a singular message field are strung together and written once, in the place of the
 * last, which also lets the last member of a oneof win. */
#include <errno.h>
#include <string.h>

#include "base/varint.h"
#include "interface/wire.h"
#include "launch/cli/run_options.h"

struct bytes {
	uint8_t *at;
	size_t size, room;
};

static void free_bytes(struct bytes *bytes)
{
	free(bytes->at);
}

static int append(struct bytes *to, const uint8_t *from, size_t n)
{
	if (to->room - to->size < n) {
		size_t room = 2 * to->room + n + 256;
		uint8_t *bigger = realloc(to->at, room);

		if (!bigger)
			return -ENOMEM;
		to->at = bigger;
		to->room = room;
	}
	if (n > 0 && from)
		memcpy(to->at + to->size, from, n);
	to->size += n;
	return 0;
}

static int append_varint(struct bytes *to, uint64_t value)
{
	uint8_t bytes[VARINT_BYTES_MAX];

	return append(to, bytes, varint_put(bytes, value));
}

/* The payloads of field `number`; *ret_last is where the last of them ends. */
static int gather(const uint8_t *from, size_t n, uint32_t number, struct bytes *ret,
                  const uint8_t **ret_last)
{
	struct wire_cursor cursor = { from, from + n };
	struct wire_field field;
	int r;

	while ((r = wire_next(&cursor, &field)) > 0)
		if (field.number == number) {
			*ret_last = cursor.at;
			r = append(ret, field.bytes, field.length);
			if (r < 0)
				return r;
		}
	return r;
}

static int merge(const ProtobufCMessageDescriptor *descriptor, const uint8_t *from, size_t n,
                 unsigned depth, struct bytes *to);

static int merge_message(const ProtobufCFieldDescriptor *field, const uint8_t *from, size_t n,
                         const uint8_t *here, unsigned depth, struct bytes *to)
{
	_cleanup_(free_bytes) struct bytes all = { 0 }, merged = { 0 };
	const uint8_t *last = NULL;
	int r = gather(from, n, field->id, &all, &last);

	if (r < 0 || last != here)
		return r;
	r = merge(field->descriptor, all.at, all.size, depth + 1, &merged);
	if (r == 0)
		r = append_varint(to,
		                  (uint64_t)field->id << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
	if (r == 0)
		r = append_varint(to, merged.size);
	return r < 0 ? r : append(to, merged.at, merged.size);
}

static int merge(const ProtobufCMessageDescriptor *descriptor, const uint8_t *from, size_t n,
                 unsigned depth, struct bytes *to)
{
	struct wire_cursor cursor = { from, from + n };
	const uint8_t *start = from;
	struct wire_field value;
	int r = 0;

	if (depth > WIRE_DEPTH_MAX)
		return -EBADMSG;
	while (r == 0 && (r = wire_next(&cursor, &value)) > 0) {
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field(descriptor, value.number);

		if (field && field->type == PROTOBUF_C_TYPE_MESSAGE &&
		    field->label != PROTOBUF_C_LABEL_REPEATED)
			r = merge_message(field, from, n, cursor.at, depth, to);
		else
			r = append(to, start, (size_t)(cursor.at - start));
		start = cursor.at;
	}
	return r;
}

int spec_merge(uint8_t **bytes, size_t *size)
{
	_cleanup_(free_bytes) struct bytes merged = { 0 };
	int r = merge(&axvm__v1__launch_spec__descriptor, *bytes, *size, 0, &merged);

	if (r < 0)
		return r;
	free(*bytes);
	*bytes = merged.at;
	*size = merged.size;
	merged.at = NULL;
	return 0;
}
