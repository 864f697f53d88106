/* SPDX-License-Identifier: MIT */
/* Fields one after the other, as Protocol Buffers encode them; this code does not know what they
 * mean. */
#include "interface/wire_cursor.h"

#include <errno.h>

#include "base/varint.h"

int wire_varint(struct wire_cursor *cursor, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_BYTES_MAX && cursor->at + i < cursor->end; i++) {
		uint64_t part = cursor->at[i] & 0x7f;

		if ((part << (7 * i)) >> (7 * i) != part)
			return -EBADMSG;
		value |= part << (7 * i);
		if (!(cursor->at[i] & 0x80)) {
			cursor->at += i + 1;
			*ret_value = value;
			return 0;
		}
	}
	return -EBADMSG;
}

int wire_next(struct wire_cursor *cursor, struct wire_field *ret_field)
{
	struct wire_cursor c = *cursor;
	struct wire_field field = { 0 };
	uint64_t tag, length = 0;

	if (c.at == c.end)
		return 0;
	if (wire_varint(&c, &tag) < 0 || tag > UINT32_MAX || tag >> 3 == 0)
		return -EBADMSG;
	field.number = (uint32_t)(tag >> 3);
	field.type = tag & 7;
	switch (field.type) {
	case WIRE_VARINT:
		if (wire_varint(&c, &field.value) < 0)
			return -EBADMSG;
		break;
	case WIRE_64BIT:
		length = 8;
		break;
	case WIRE_LENGTH_PREFIXED:
		if (wire_varint(&c, &length) < 0)
			return -EBADMSG;
		break;
	case WIRE_32BIT:
		length = 4;
		break;
	default:
		return -EBADMSG;
	}
	if (length > (uint64_t)(c.end - c.at))
		return -EBADMSG;
	field.bytes = c.at;
	field.length = (size_t)length;
	cursor->at = c.at + length;
	cursor->end = c.end;
	*ret_field = field;
	return 1;
}
