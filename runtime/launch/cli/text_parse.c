/* SPDX-License-Identifier: MIT */
/* Protobuf text format into a message, by its descriptor.
 *
 * The parser writes wire format: a message is encoded field by field into a growing buffer, and
 * protobuf-c's own unpack turns the whole into C. So there is one place that builds messages, and
 * it is not here. */
#include "launch/cli/text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define DEPTH_MAX 16
#define FIELDS_MAX 64

struct buffer {
	uint8_t *bytes;
	size_t size, room;
	bool failed;
};

struct parser {
	const char *at, *end;
	struct text_error *error;
	unsigned int line;
	bool failed;
};

static void free_buffer(struct buffer *buffer)
{
	free(buffer->bytes);
}

static void append(struct buffer *buffer, const void *bytes, size_t size)
{
	if (buffer->room - buffer->size < size) {
		size_t room = MAX(buffer->room * 2, buffer->size + size + 64);
		uint8_t *bigger = realloc(buffer->bytes, room);

		if (!bigger) {
			buffer->failed = true;
			return;
		}
		buffer->bytes = bigger;
		buffer->room = room;
	}
	if (size > 0)
		memcpy(buffer->bytes + buffer->size, bytes, size);
	buffer->size += size;
}

static void append_varint(struct buffer *buffer, uint64_t value)
{
	uint8_t bytes[10];
	size_t n = 0;

	do {
		bytes[n++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
		value >>= 7;
	} while (value);
	append(buffer, bytes, n);
}

static bool fail(struct parser *parser, const char *format, ...) _printf_(2, 3);
static bool fail(struct parser *parser, const char *format, ...)
{
	va_list args;

	if (parser->failed)
		return false;
	parser->failed = true;
	parser->error->line = parser->line;
	va_start(args, format);
	vsnprintf(parser->error->message, sizeof(parser->error->message), format, args);
	va_end(args);
	return false;
}

/* The next byte that is neither space nor comment, 0 at the end. */
static char peek(struct parser *parser)
{
	for (; parser->at < parser->end; parser->at++) {
		if (*parser->at == '#')
			while (parser->at + 1 < parser->end && parser->at[1] != '\n')
				parser->at++;
		else if (*parser->at == '\n')
			parser->line++;
		else if (*parser->at != ' ' && *parser->at != '\t' && *parser->at != '\r')
			return *parser->at;
	}
	return 0;
}

static bool accept(struct parser *parser, char c)
{
	if (peek(parser) != c || c == 0)
		return false;
	parser->at++;
	return true;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-' || c == '+' || c == '.';
}

/* An identifier or number. */
static bool word(struct parser *parser, char *out, size_t size)
{
	size_t n = 0;

	(void)peek(parser);
	while (parser->at < parser->end && is_word(*parser->at) && n < size - 1)
		out[n++] = *parser->at++;
	out[n] = '\0';
	return n > 0 || fail(parser, "a name or value is missing");
}

static int escape(struct parser *parser)
{
	static const char from[] = "nrtabfv\\'\"?", to[] = "\n\r\t\a\b\f\v\\'\"?";
	const char *known;
	int value = 0, digits = 0;

	if (parser->at == parser->end)
		return -1;
	known = memchr(from, *parser->at, sizeof(from) - 1);
	if (known) {
		parser->at++;
		return (uint8_t)to[known - from];
	}
	for (; digits < 3 && parser->at < parser->end && *parser->at >= '0' && *parser->at <= '7';
	     digits++)
		value = value * 8 + (*parser->at++ - '0');
	return digits > 0 && value < 256 ? value : -1;
}

/* One or more adjoining quoted strings. */
static bool quoted(struct parser *parser, struct buffer *out)
{
	char quote = peek(parser);

	if (quote != '"' && quote != '\'')
		return fail(parser, "a quoted string is missing");
	for (; quote == '"' || quote == '\''; quote = peek(parser)) {
		parser->at++;
		while (parser->at < parser->end && *parser->at != quote && *parser->at != '\n') {
			int c = (uint8_t)*parser->at++;
			uint8_t byte;

			if (c == '\\')
				c = escape(parser);
			if (c < 0)
				return fail(parser, "an escape that is not known");
			byte = (uint8_t)c;
			append(out, &byte, 1);
		}
		if (parser->at == parser->end || *parser->at != quote)
			return fail(parser, "a string does not end on its line");
		parser->at++;
	}
	return true;
}

/* An integer in [-2^63, 2^64), as its 64 bits. */
static bool integer(struct parser *parser, const char *text, bool is_signed, unsigned int bits,
                    uint64_t *ret)
{
	bool negative = *text == '-';
	uint64_t value, most = bits == 32 ? UINT32_MAX : UINT64_MAX;
	char *end;

	if (is_signed)
		most = (most >> 1) + (negative ? 1 : 0);
	errno = 0;
	value = strtoull(text + negative, &end, 0);
	if (*end || end == text + negative || text[negative] == '-' || text[negative] == '+')
		return fail(parser, "\"%.40s\" is not a number", text);
	if (errno || value > most || (negative && !is_signed && value != 0))
		return fail(parser, "%.40s is out of range", text);
	*ret = negative ? 0 - value : value;
	return true;
}

static bool scalar(struct parser *parser, const ProtobufCFieldDescriptor *field, uint64_t *ret)
{
	const ProtobufCEnumValue *value;
	char text[64];

	if (!word(parser, text, sizeof(text)))
		return false;
	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
			return fail(parser, "%s: \"%.40s\" is neither true nor false", field->name,
			            text);
		*ret = text[0] == 't';
		return true;
	case PROTOBUF_C_TYPE_ENUM:
		value = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, text);
		if (!value)
			return fail(parser, "%s: \"%.40s\" is no value of it", field->name, text);
		*ret = (uint64_t)(int64_t)value->value;
		return true;
	case PROTOBUF_C_TYPE_INT32:
		return integer(parser, text, true, 32, ret);
	case PROTOBUF_C_TYPE_INT64:
		return integer(parser, text, true, 64, ret);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return integer(parser, text, false, 32, ret);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return integer(parser, text, false, 64, ret);
	default:
		return fail(parser, "%s: values of its type are not read here", field->name);
	}
}

static bool message_body(struct parser *parser, const ProtobufCMessageDescriptor *descriptor,
                         char closing, int depth, struct buffer *out);

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

static void append_key(struct buffer *out, const ProtobufCFieldDescriptor *field, enum wire wire)
{
	append_varint(out, (uint64_t)field->id << 3 | wire);
}

static bool value(struct parser *parser, const ProtobufCFieldDescriptor *field, int depth,
                  struct buffer *out)
{
	_cleanup_(free_buffer) struct buffer inner = { 0 };
	uint64_t number;
	bool ok;

	if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING ||
	    field->type == PROTOBUF_C_TYPE_BYTES) {
		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			ok = quoted(parser, &inner);
		else if (accept(parser, '{'))
			ok = message_body(parser, field->descriptor, '}', depth + 1, &inner);
		else if (accept(parser, '<'))
			ok = message_body(parser, field->descriptor, '>', depth + 1, &inner);
		else
			ok = fail(parser, "%s is a message: { is missing", field->name);
		append_key(out, field, WIRE_LENGTH);
		append_varint(out, inner.size);
		append(out, inner.bytes, inner.size);
		out->failed |= inner.failed;
		return ok;
	}
	if (!scalar(parser, field, &number))
		return false;
	if (field->type == PROTOBUF_C_TYPE_FIXED32 || field->type == PROTOBUF_C_TYPE_FIXED64) {
		bool wide = field->type == PROTOBUF_C_TYPE_FIXED64;

		append_key(out, field, wide ? WIRE_64 : WIRE_32);
		append(out, &number, wide ? 8 : 4); /* little-endian, as the host is */
	} else {
		append_key(out, field, WIRE_VARINT);
		append_varint(out, number);
	}
	return true;
}

static bool field_values(struct parser *parser, const ProtobufCFieldDescriptor *field, int depth,
                         struct buffer *out)
{
	bool colon = accept(parser, ':');

	if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE)
		return fail(parser, "%s: a colon is missing after the name", field->name);
	if (field->label != PROTOBUF_C_LABEL_REPEATED || !accept(parser, '['))
		return value(parser, field, depth, out);
	if (accept(parser, ']'))
		return true;
	do {
		if (!value(parser, field, depth, out))
			return false;
	} while (accept(parser, ','));
	return accept(parser, ']') || fail(parser, "%s: ] is missing", field->name);
}

static bool message_body(struct parser *parser, const ProtobufCMessageDescriptor *descriptor,
                         char closing, int depth, struct buffer *out)
{
	bool seen[FIELDS_MAX] = { false };

	if (depth > DEPTH_MAX || descriptor->n_fields > FIELDS_MAX)
		return fail(parser, "messages are nested too deeply");
	for (;;) {
		const ProtobufCFieldDescriptor *field;
		char name[64];
		size_t index;

		if (accept(parser, closing))
			return true;
		if (peek(parser) == 0)
			return closing == 0 || fail(parser, "%c is missing at the end", closing);
		if (!word(parser, name, sizeof(name)))
			return false;
		field = protobuf_c_message_descriptor_get_field_by_name(descriptor, name);
		if (!field)
			return fail(parser, "%s has no field \"%s\"", descriptor->short_name, name);
		index = (size_t)(field - descriptor->fields);
		if (seen[index] && field->label != PROTOBUF_C_LABEL_REPEATED)
			return fail(parser, "%s is there twice", field->name);
		seen[index] = true;
		if (!field_values(parser, field, depth, out))
			return false;
		if (!accept(parser, ','))
			(void)accept(parser, ';');
	}
}

int text_parse(const char *text, size_t size, const ProtobufCMessageDescriptor *descriptor,
               ProtobufCMessage **ret, struct text_error *ret_error)
{
	_cleanup_(free_buffer) struct buffer out = { 0 };
	struct text_error error = { 0 };
	struct parser parser = { .at = text, .end = text + size, .error = &error, .line = 1 };
	ProtobufCMessage *message;

	if (!message_body(&parser, descriptor, 0, 0, &out)) {
		*ret_error = error;
		return -EINVAL;
	}
	if (out.failed)
		return -ENOMEM;
	message = protobuf_c_message_unpack(descriptor, NULL, out.size, out.bytes);
	if (!message)
		return -ENOMEM;
	*ret = message;
	return 0;
}
