/* SPDX-License-Identifier: MIT */
/* The schema-driven walk over an encoded message.
 *
 * protobuf-c merges what comes twice, keeps unknown fields aside, and cuts numbers to their type.
 * The interface promises that nothing is silently ignored, so the bytes are walked once with the
 * descriptors at hand before they are unpacked. (Protocol Buffers encoding; RFC 3629 for UTF-8.) */
#include "interface/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The length of the well-formed UTF-8 sequence at s (RFC 3629 §4), or 0. */
static size_t utf8_sequence(const uint8_t *s, size_t n)
{
	size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (length == 0 || s[0] > 0xf4 || length > n)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

static bool packable(const ProtobufCFieldDescriptor *field)
{
	return field->label == PROTOBUF_C_LABEL_REPEATED && field->type != PROTOBUF_C_TYPE_STRING &&
	       field->type != PROTOBUF_C_TYPE_BYTES && field->type != PROTOBUF_C_TYPE_MESSAGE;
}

static ProtobufCWireType wire_type_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return PROTOBUF_C_WIRE_TYPE_32BIT;
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return PROTOBUF_C_WIRE_TYPE_64BIT;
	default:
		return PROTOBUF_C_WIRE_TYPE_VARINT;
	}
}

/* ---- the check ---------------------------------------------------------------------------- */

struct checker {
	const uint8_t *origin; /* of the outermost message */
	const char *name;
	struct problems *problems;
	size_t found;
	size_t path_length;
	char path[PROBLEM_FIELD_MAX];
};

/* Appends to the path; the previous length is for pop(). A path too long is cut, never wrong. */
static size_t push(struct checker *c, const ProtobufCFieldDescriptor *field, uint32_t index)
{
	size_t before = c->path_length, room = sizeof(c->path) - before;
	int n = snprintf(c->path + before, room,
	                 field->label == PROTOBUF_C_LABEL_REPEATED ? "%s%s[%" PRIu32 "]" : "%s%s",
	                 before ? "." : "", field->name, index);

	c->path_length += MIN((size_t)n, room - 1);
	return before;
}

static void pop(struct checker *c, size_t before)
{
	c->path_length = before;
	c->path[before] = '\0';
}

#define REFUSE(c, code, format, ...)                                                               \
	do {                                                                                       \
		(c)->found++;                                                                      \
		problems_add((c)->problems, (code), 0, (c)->path, "%s%s%s" format, (c)->name,      \
		             (c)->path_length && (c)->name[0] ? "." : "",                          \
		             (c)->path __VA_OPT__(, ) __VA_ARGS__);                                \
	} while (0)

static void check_number(struct checker *c, const ProtobufCFieldDescriptor *field, uint64_t value)
{
	int64_t as_signed = (int64_t)value;
	bool narrow = true;

	if (field->type == PROTOBUF_C_TYPE_UINT32)
		narrow = value <= UINT32_MAX;
	else if (field->type == PROTOBUF_C_TYPE_INT32 || field->type == PROTOBUF_C_TYPE_ENUM)
		narrow = as_signed >= INT32_MIN && as_signed <= INT32_MAX;
	if (!narrow)
		REFUSE(c, ERROR_CODE_SPEC_INVALID,
		       ": is %" PRIu64 ", which does not fit into 32 bits", value);
	else if (field->type == PROTOBUF_C_TYPE_ENUM &&
	         !protobuf_c_enum_descriptor_get_value(field->descriptor, (int)as_signed))
		REFUSE(c, ERROR_CODE_SPEC_UNKNOWN_FIELD,
		       ": this shim knows no %s of value %" PRId64
		       "; use a known one, or a newer shim",
		       ((const ProtobufCEnumDescriptor *)field->descriptor)->short_name, as_signed);
	else if (field->type == PROTOBUF_C_TYPE_ENUM && value == 0)
		REFUSE(c, ERROR_CODE_SPEC_INVALID,
		       ": %s is no choice: name another, or leave the field out",
		       protobuf_c_enum_descriptor_get_value(field->descriptor, 0)->name);
}

static void check_string(struct checker *c, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0, length; i < n; i += length) {
		length = utf8_sequence(bytes + i, n - i);
		if (length > 0 && bytes[i] != '\0')
			continue;
		REFUSE(c, ERROR_CODE_SPEC_INVALID, ": has %s at byte %zu of the text; remove it",
		       length ? "a NUL" : "what is not UTF-8", i);
		return;
	}
}

static void check_packed(struct checker *c, const ProtobufCFieldDescriptor *field,
                         const struct wire_field *value)
{
	struct wire_cursor cursor = { value->bytes, value->bytes + value->length };
	uint64_t number;

	if (wire_type_of(field->type) != PROTOBUF_C_WIRE_TYPE_VARINT)
		return;
	while (cursor.at < cursor.end) {
		if (wire_varint(&cursor, &number) < 0) {
			REFUSE(c, ERROR_CODE_SPEC_MALFORMED,
			       ": a number is not a varint; encode the message by proto/axvm.proto");
			return;
		}
		check_number(c, field, number);
	}
}

static void check_message(struct checker *c, const ProtobufCMessageDescriptor *descriptor,
                          const uint8_t *bytes, size_t n, unsigned depth);

static void check_field(struct checker *c, const ProtobufCFieldDescriptor *field,
                        const struct wire_field *value, unsigned depth)
{
	if (value->type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED && packable(field))
		check_packed(c, field, value);
	else if (value->type != wire_type_of(field->type))
		REFUSE(c, ERROR_CODE_SPEC_MALFORMED,
		       ": has wire type %u, the schema says %u; encode the message by proto/axvm.proto",
		       value->type, wire_type_of(field->type));
	else if (field->type == PROTOBUF_C_TYPE_STRING)
		check_string(c, value->bytes, value->length);
	else if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		check_message(c, field->descriptor, value->bytes, value->length, depth + 1);
	else if (value->type == PROTOBUF_C_WIRE_TYPE_VARINT)
		check_number(c, field, value->value);
}

/* Adds a problem when a singular field, or another member of its oneof, was there before. */
static void check_once(struct checker *c, const ProtobufCMessageDescriptor *descriptor,
                       const ProtobufCFieldDescriptor *field, const uint32_t *counts)
{
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return;
	if (counts[field - descriptor->fields] > 0)
		REFUSE(c, ERROR_CODE_SPEC_DUPLICATE, " is there twice; remove one of the two");
	if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *other = &descriptor->fields[i];

		if (counts[i] > 0 && other != field &&
		    (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
		    other->quantifier_offset == field->quantifier_offset)
			REFUSE(c, ERROR_CODE_SPEC_DUPLICATE,
			       " and its alternative %s are both there; remove one of the two",
			       other->name);
	}
}

static void check_message(struct checker *c, const ProtobufCMessageDescriptor *descriptor,
                          const uint8_t *bytes, size_t n, unsigned depth)
{
	struct wire_cursor cursor = { bytes, bytes + n };
	uint32_t counts[WIRE_FIELDS_MAX] = { 0 };
	struct wire_field value;
	int r;

	if (depth >= WIRE_DEPTH_MAX || descriptor->n_fields > WIRE_FIELDS_MAX) {
		REFUSE(c, ERROR_CODE_SPEC_MALFORMED,
		       ": messages are nested too deeply; at most %d levels are possible",
		       WIRE_DEPTH_MAX);
		return;
	}
	while ((r = wire_next(&cursor, &value)) > 0) {
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field(descriptor, value.number);
		size_t before;

		if (!field) {
			REFUSE(c, ERROR_CODE_SPEC_UNKNOWN_FIELD,
			       ": unknown field %" PRIu32
			       "; remove it, or use a shim that knows it",
			       value.number);
			continue;
		}
		before = push(c, field, counts[field - descriptor->fields]);
		check_once(c, descriptor, field, counts);
		check_field(c, field, &value, depth);
		pop(c, before);
		counts[field - descriptor->fields]++;
	}
	if (r < 0)
		REFUSE(c, ERROR_CODE_SPEC_MALFORMED,
		       ": byte %td of the message is not the start of a whole field",
		       cursor.at - c->origin);
}

int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t n,
               const char *name, struct problems *problems)
{
	struct checker c = { .origin = bytes, .name = name, .problems = problems };

	check_message(&c, descriptor, bytes, n, 0);
	return c.found ? -EINVAL : 0;
}

/* ---- mending ------------------------------------------------------------------------------ */

void wire_mend_strings(const ProtobufCMessageDescriptor *descriptor, uint8_t *bytes, size_t n)
{
	struct wire_cursor cursor = { bytes, bytes + n };
	struct wire_field value;

	while (wire_next(&cursor, &value) > 0) {
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field(descriptor, value.number);
		uint8_t *text = bytes + (value.bytes - bytes);

		if (!field || value.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
			continue;
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			wire_mend_strings(field->descriptor, text, value.length);
		else if (field->type == PROTOBUF_C_TYPE_STRING)
			for (size_t i = 0, length; i < value.length; i += length) {
				length = utf8_sequence(text + i, value.length - i);
				if (length == 0)
					text[i] = '?';
				length = MAX(length, (size_t)1);
			}
	}
}
