/* SPDX-License-Identifier: MIT */
/* A bounded walk over the fields of an encoded message, for who needs no schema and no
 * protobuf-c. */
#ifndef AXVM_INTERFACE_WIRE_CURSOR_H
#define AXVM_INTERFACE_WIRE_CURSOR_H

#include "base/base.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH_PREFIXED = 2, WIRE_32BIT = 5 };

struct wire_cursor {
	const uint8_t *at;
	const uint8_t *end;
};

struct wire_field {
	uint32_t number;
	uint8_t type;         /* enum wire_type */
	uint64_t value;       /* of a varint */
	const uint8_t *bytes; /* of the others */
	size_t length;
};

/* Takes the varint at the cursor. 0, or -EBADMSG when there is none or it exceeds 64 bits. */
int wire_varint(struct wire_cursor *cursor, uint64_t *ret_value);

/* Takes the next field. 1, 0 at the end, or -EBADMSG (the cursor then stays at the field). Groups
 * are refused: no schema of ours has any. */
int wire_next(struct wire_cursor *cursor, struct wire_field *ret_field);

#endif
