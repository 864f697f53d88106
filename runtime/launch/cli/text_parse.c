/* SPDX-License-Identifier: MIT */
/* Protobuf text format into a message, by its descriptor.
 *
 * The parser writes wire format: it encodes a message field by field into a growing buffer, and
 * protobuf-c's unpack makes the C message. So only protobuf-c builds messages. */
#include "launch/cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/varint.h"

#define DEPTH_MAX 16
#define FIELDS_MAX 64

struct buffer {
	uint8_t *bytes;
	size_t size, room;
	bool failed;
};

/* `path` names the field that is being read, so that an error can: "launch.disks[1].image". */
struct parser {
	const char *text, *at, *end;
	struct text_error *error;
	char path[sizeof(((struct text_error *)0)->field)];
	size_t path_length;
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
	uint8_t bytes[VARINT_BYTES_MAX];

	append(buffer, bytes, varint_put(bytes, value));
}

/* Line and column of a place, from 1; a column is one character of UTF-8. */
static void locate(const struct parser *parser, const char *at, struct text_error *error)
{
	error->line = error->column = 1;
	for (const char *c = parser->text; c < at; c++)
		if (*c == '\n') {
			error->line++;
			error->column = 1;
		} else if (((uint8_t)*c & 0xc0) != 0x80) {
			error->column++;
		}
}

/* Records the first error and its place. Always false. */
static bool fail(struct parser *parser, const char *at, const char *format, ...) _printf_(3, 4);
static bool fail(struct parser *parser, const char *at, const char *format, ...)
{
	va_list args;

	if (parser->failed)
		return false;
	parser->failed = true;
	locate(parser, at, parser->error);
	memcpy(parser->error->field, parser->path, sizeof(parser->path));
	va_start(args, format);
	vsnprintf(parser->error->message, sizeof(parser->error->message), format, args);
	va_end(args);
	return false;
}

static void path_cut(struct parser *parser, size_t length)
{
	parser->path_length = length;
	parser->path[length] = '\0';
}

/* A path that is too long is cut; line and column give the rest. */
static void path_add(struct parser *parser, const char *format, ...) _printf_(2, 3);
static void path_add(struct parser *parser, const char *format, ...)
{
	size_t room = sizeof(parser->path) - parser->path_length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(parser->path + parser->path_length, room, format, args);
	va_end(args);
	parser->path_length += n < 0 ? 0 : MIN((size_t)n, room - 1);
}

/* The next byte that is neither space nor comment, 0 at the end. (A byte of 0 within the text is
 * refused by the caller, which expects something else there.) */
static char peek(struct parser *parser)
{
	for (; parser->at < parser->end; parser->at++) {
		if (*parser->at == '#')
			while (parser->at + 1 < parser->end && parser->at[1] != '\n')
				parser->at++;
		else if (!strchr(" \t\r\n", *parser->at) || *parser->at == '\0')
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

/* Fails because `wanted` does not come next. */
static bool fail_missing(struct parser *parser, const char *wanted)
{
	char c = peek(parser);
	int length = 1;

	if (parser->at == parser->end)
		return fail(parser, parser->at, "%s is missing at the end of the text", wanted);
	if ((uint8_t)c < 0x20 || (uint8_t)c >= 0x7f)
		return fail(parser, parser->at, "%s is missing: here is a byte 0x%02x", wanted,
		            (uint8_t)c);
	while (is_word(c) && length < 40 && parser->at + length < parser->end &&
	       is_word(parser->at[length]))
		length++;
	return fail(parser, parser->at, "%s is missing: here is %.*s", wanted, length, parser->at);
}

/* Reads an identifier or number; `wanted` names it in messages. */
static bool word(struct parser *parser, const char *wanted, char *out, size_t size)
{
	size_t n = 0;

	(void)peek(parser);
	while (parser->at < parser->end && is_word(*parser->at) && n < size - 1)
		out[n++] = *parser->at++;
	out[n] = '\0';
	return n > 0 || fail_missing(parser, wanted);
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
		return fail_missing(parser, "a string in quotes");
	for (; quote == '"' || quote == '\''; quote = peek(parser)) {
		const char *opening = parser->at++;

		while (parser->at < parser->end && *parser->at != quote && *parser->at != '\n') {
			const char *here = parser->at;
			int c = (uint8_t)*parser->at++;
			uint8_t byte;

			if (c == '\\')
				c = escape(parser);
			if (c < 0)
				return fail(parser, here,
				            "an escape that is not known; there are "
				            "\\n \\r \\t \\a \\b \\f \\v \\\\ \\' "
				            "\\\" \\? and \\ooo");
			byte = (uint8_t)c;
			append(out, &byte, 1);
		}
		if (parser->at == parser->end || *parser->at != quote)
			return fail(parser, opening,
			            "a string does not end on its line; end it "
			            "with %c, and write a new line as \\n",
			            quote);
		parser->at++;
	}
	return true;
}

/* An integer in [-2^63, 2^64), as its 64 bits. `at` is where it stands. */
static bool integer(struct parser *parser, const char *at, const char *text, bool is_signed,
                    unsigned int bits, uint64_t *ret)
{
	bool negative = *text == '-';
	uint64_t value, most = bits == 32 ? UINT32_MAX : UINT64_MAX, top = most;
	char *end;

	if (is_signed)
		most = (most >> 1) + (negative ? 1 : 0);
	errno = 0;
	value = strtoull(text + negative, &end, 0);
	if (*end || end == text + negative || text[negative] == '-' || text[negative] == '+')
		return fail(parser, at, "\"%.40s\" is not a whole number", text);
	if (!errno && value <= most && !(negative && !is_signed && value != 0)) {
		*ret = negative ? 0 - value : value;
		return true;
	}
	if (is_signed)
		return fail(parser, at, "%.40s is out of range: from -%" PRIu64 " to %" PRIu64,
		            text, (top >> 1) + 1, top >> 1);
	return fail(parser, at, "%.40s is out of range: from 0 to %" PRIu64, text, top);
}

/* Appends one name to "A, B, C", as far as it fits. */
static size_t list_name(char *to, size_t size, size_t used, const char *name)
{
	int n = used < size ? snprintf(to + used, size - used, "%s%s", used ? ", " : "", name) : 0;

	return used + (n > 0 ? (size_t)n : 0);
}

static const char *list_values(const ProtobufCEnumDescriptor *descriptor, char *to, size_t size)
{
	size_t used = 0;

	to[0] = '\0';
	/* All values but 0, which is UNSPECIFIED and no choice. */
	for (unsigned i = 1; i < descriptor->n_values; i++)
		used = list_name(to, size, used, descriptor->values[i].name);
	return to;
}

static const char *list_fields(const ProtobufCMessageDescriptor *descriptor, char *to, size_t size)
{
	size_t used = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < descriptor->n_fields; i++)
		used = list_name(to, size, used, descriptor->fields[i].name);
	return to;
}

static bool truth(struct parser *parser, const char *at, const char *text, uint64_t *ret)
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return fail(parser, at, "\"%.40s\" is neither true nor false", text);
	*ret = text[0] == 't';
	return true;
}

static bool enum_value(struct parser *parser, const ProtobufCFieldDescriptor *field, const char *at,
                       const char *text, uint64_t *ret)
{
	const ProtobufCEnumDescriptor *descriptor = field->descriptor;
	const ProtobufCEnumValue *value =
		protobuf_c_enum_descriptor_get_value_by_name(descriptor, text);
	char names[TEXT_ERROR_MAX - 64];

	if (!value)
		return fail(parser, at, "\"%.40s\" is not one of %s", text,
		            list_values(descriptor, names, sizeof(names)));
	*ret = (uint64_t)(int64_t)value->value;
	return true;
}

static bool scalar(struct parser *parser, const ProtobufCFieldDescriptor *field, uint64_t *ret)
{
	static const struct {
		bool is_number, is_signed;
		unsigned bits;
	} numbers[] = {
		[PROTOBUF_C_TYPE_INT32] = { true, true, 32 },
		[PROTOBUF_C_TYPE_INT64] = { true, true, 64 },
		[PROTOBUF_C_TYPE_UINT32] = { true, false, 32 },
		[PROTOBUF_C_TYPE_FIXED32] = { true, false, 32 },
		[PROTOBUF_C_TYPE_UINT64] = { true, false, 64 },
		[PROTOBUF_C_TYPE_FIXED64] = { true, false, 64 },
	};
	bool is_bool = field->type == PROTOBUF_C_TYPE_BOOL,
	     is_enum = field->type == PROTOBUF_C_TYPE_ENUM;
	const char *wanted = is_bool ? "true or false" : is_enum ? "a name" : "a number", *at;
	char text[64];

	(void)peek(parser);
	at = parser->at;
	if (peek(parser) == '[')
		return fail(parser, at, "takes one value, not a list");
	if (!word(parser, wanted, text, sizeof(text)))
		return false;
	if (is_bool)
		return truth(parser, at, text, ret);
	if (is_enum)
		return enum_value(parser, field, at, text, ret);
	if (field->type < ARRAY_SIZE(numbers) && numbers[field->type].is_number)
		return integer(parser, at, text, numbers[field->type].is_signed,
		               numbers[field->type].bits, ret);
	return fail(parser, at, "values of its type are not read here");
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
	uint64_t number = 0;
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
			ok = fail_missing(parser, "it is a message: {");
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

/* Reads one more value of a field that has had *count. */
static bool counted_value(struct parser *parser, const ProtobufCFieldDescriptor *field, int depth,
                          unsigned int *count, struct buffer *out)
{
	size_t before = parser->path_length;
	bool ok;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		path_add(parser, "[%u]", *count);
	++*count;
	ok = value(parser, field, depth, out);
	path_cut(parser, before);
	return ok;
}

static bool field_values(struct parser *parser, const ProtobufCFieldDescriptor *field, int depth,
                         unsigned int *count, struct buffer *out)
{
	bool colon = accept(parser, ':');

	if (!colon && field->type != PROTOBUF_C_TYPE_MESSAGE)
		return fail_missing(parser, "a colon after the name");
	if (field->label != PROTOBUF_C_LABEL_REPEATED || !accept(parser, '['))
		return counted_value(parser, field, depth, count, out);
	if (accept(parser, ']'))
		return true;
	do {
		if (!counted_value(parser, field, depth, count, out))
			return false;
	} while (accept(parser, ','));
	return accept(parser, ']') || fail_missing(parser, "a comma, or the ] of the list,");
}

/* Reads a field's name and appends it to the path. NULL after an error. */
static const ProtobufCFieldDescriptor *field_name(struct parser *parser,
                                                  const ProtobufCMessageDescriptor *descriptor)
{
	const ProtobufCFieldDescriptor *field;
	char name[64], names[TEXT_ERROR_MAX - 80];
	const char *at;

	(void)peek(parser);
	at = parser->at;
	if (!word(parser, "a field's name", name, sizeof(name)))
		return NULL;
	path_add(parser, "%s%s", parser->path_length ? "." : "", name);
	field = protobuf_c_message_descriptor_get_field_by_name(descriptor, name);
	if (!field)
		(void)fail(parser, at, "there is no such field; %s has %s", descriptor->short_name,
		           list_fields(descriptor, names, sizeof(names)));
	return field;
}

/* Another member of the field's oneof that was seen, or NULL: protobuf-c would silently keep the
 * last. */
static const ProtobufCFieldDescriptor *
seen_alternative(const ProtobufCMessageDescriptor *descriptor,
                 const ProtobufCFieldDescriptor *field, const unsigned int seen[FIELDS_MAX])
{
	if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return NULL;
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *other = &descriptor->fields[i];

		if (seen[i] && other != field && (other->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
		    other->quantifier_offset == field->quantifier_offset)
			return other;
	}
	return NULL;
}

/* The field and its values. */
static bool message_field(struct parser *parser, const ProtobufCMessageDescriptor *descriptor,
                          int depth, unsigned int seen[FIELDS_MAX], struct buffer *out)
{
	const ProtobufCFieldDescriptor *field, *other;
	size_t before = parser->path_length, index;
	const char *at;
	bool ok;

	(void)peek(parser);
	at = parser->at;
	field = field_name(parser, descriptor);
	if (!field)
		return false;
	index = (size_t)(field - descriptor->fields);
	if (seen[index] && field->label != PROTOBUF_C_LABEL_REPEATED)
		return fail(parser, at, "is there twice; remove one of the two");
	other = seen_alternative(descriptor, field, seen);
	if (other)
		return fail(parser, at,
		            "is there beside %s, of which there can be one; remove one of the two",
		            other->name);
	ok = field_values(parser, field, depth, &seen[index], out);
	path_cut(parser, before);
	return ok;
}

static bool message_body(struct parser *parser, const ProtobufCMessageDescriptor *descriptor,
                         char closing, int depth, struct buffer *out)
{
	const char *opening = parser->at > parser->text ? parser->at - 1 : parser->at;
	unsigned int seen[FIELDS_MAX] = { 0 };

	if (depth > DEPTH_MAX || descriptor->n_fields > FIELDS_MAX)
		return fail(parser, opening, "messages are nested too deeply: %d at most",
		            DEPTH_MAX);
	for (;;) {
		if (accept(parser, closing))
			return true;
		(void)peek(parser);
		if (parser->at == parser->end)
			return closing == 0 ||
			       fail(parser, opening, "what begins here has no %c", closing);
		if (!message_field(parser, descriptor, depth, seen, out))
			return false;
		if (!accept(parser, ','))
			(void)accept(parser, ';');
	}
}

void text_error_print(FILE *out, const char *who, const char *path, const struct text_error *error)
{
	fprintf(out, "%s: %s:%u:%u: %s%s%s\n", who, path, error->line, error->column, error->field,
	        error->field[0] ? ": " : "", error->message);
}

int text_parse(const char *text, size_t size, const ProtobufCMessageDescriptor *descriptor,
               ProtobufCMessage **ret, struct text_error *ret_error)
{
	_cleanup_(free_buffer) struct buffer out = { 0 };
	struct text_error error = { 0 };
	struct parser parser = { .text = text, .at = text, .end = text + size, .error = &error };
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
