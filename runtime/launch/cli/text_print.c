/* SPDX-License-Identifier: MIT */
/* Messages as text and as JSON, by their descriptors. */
#include "launch/cli/text.h"

#include <inttypes.h>
#include <string.h>

struct printer {
	FILE *out;
	bool json, one_line;
};

static const void *member(const ProtobufCMessage *message, unsigned int offset)
{
	return (const char *)message + offset;
}

/* How many values a field has: 0 or 1 unless repeated. */
static size_t field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const void *at = member(message, field->offset);
	uint32_t which;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)member(message, field->quantifier_offset);
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		memcpy(&which, member(message, field->quantifier_offset), sizeof(which));
		return which == field->id;
	}
	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)at != NULL &&
		       *(const void *const *)at != field->default_value;
	return *(const protobuf_c_boolean *)member(message, field->quantifier_offset) != 0;
}

static size_t value_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static const void *field_value(const ProtobufCMessage *message,
                               const ProtobufCFieldDescriptor *field, size_t i)
{
	const void *at = member(message, field->offset);

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const char *const *)at + i * value_size(field);
	return at;
}

static void print_string(const struct printer *printer, const uint8_t *bytes, size_t length)
{
	fputc('"', printer->out);
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '"' || bytes[i] == '\\')
			fprintf(printer->out, "\\%c", bytes[i]);
		else if (bytes[i] == '\n')
			fputs("\\n", printer->out);
		else if (bytes[i] < 0x20 || bytes[i] == 0x7f)
			fprintf(printer->out, printer->json ? "\\u%04x" : "\\%03o", bytes[i]);
		else
			fputc(bytes[i], printer->out);
	}
	fputc('"', printer->out);
}

/* Registers are read in hexadecimal; text format takes that, JSON does not. */
static bool in_hex(const ProtobufCMessage *message)
{
	const char *name = message->descriptor->short_name;

	return strcmp(name, "CpuidLeaf") == 0 || strcmp(name, "Msr") == 0;
}

static void print_scalar(const struct printer *printer, const ProtobufCMessage *message,
                         const ProtobufCFieldDescriptor *field, const void *value)
{
	FILE *out = printer->out;
	const char *string;
	const ProtobufCEnumValue *name;
	uint64_t wide = 0;
	uint32_t narrow = 0;

	if (field->type == PROTOBUF_C_TYPE_STRING) {
		string = *(const char *const *)value;
		print_string(printer, (const uint8_t *)string, strlen(string));
		return;
	}
	if (field->type == PROTOBUF_C_TYPE_BYTES) {
		const ProtobufCBinaryData *data = value;

		print_string(printer, data->data, data->len);
		return;
	}
	memcpy(value_size(field) == 8 ? (void *)&wide : (void *)&narrow, value, value_size(field));
	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		fputs(narrow ? "true" : "false", out);
		break;
	case PROTOBUF_C_TYPE_ENUM:
		name = protobuf_c_enum_descriptor_get_value(field->descriptor, (int)narrow);
		if (!name)
			fprintf(out, "%" PRIu32, narrow);
		else
			fprintf(out, printer->json ? "\"%s\"" : "%s", name->name);
		break;
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		fprintf(out, "%" PRId32, (int32_t)narrow);
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		fprintf(out, printer->json ? "\"%" PRId64 "\"" : "%" PRId64, (int64_t)wide);
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		if (!printer->json && in_hex(message))
			fprintf(out, "0x%" PRIx64, wide);
		else
			fprintf(out, printer->json ? "\"%" PRIu64 "\"" : "%" PRIu64, wide);
		break;
	default:
		fprintf(out, !printer->json && in_hex(message) ? "0x%" PRIx32 : "%" PRIu32, narrow);
		break;
	}
}

/* Whether a message goes on one line: nothing but single scalars. */
static bool is_flat(const ProtobufCMessage *message)
{
	for (unsigned int i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

		if (field_count(message, field) > 0 && (field->label == PROTOBUF_C_LABEL_REPEATED ||
		                                        field->type == PROTOBUF_C_TYPE_MESSAGE))
			return false;
	}
	return true;
}

static void print_text(const struct printer *printer, const ProtobufCMessage *message, int depth,
                       bool one_line)
{
	for (unsigned int i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

		for (size_t k = 0; k < field_count(message, field); k++) {
			const void *value = field_value(message, field, k);
			const ProtobufCMessage *sub;
			bool flat;

			fprintf(printer->out, "%*s%s", one_line ? 1 : depth * 2, "", field->name);
			if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
				fputs(": ", printer->out);
				print_scalar(printer, message, field, value);
				fputs(one_line ? "" : "\n", printer->out);
				continue;
			}
			sub = *(const ProtobufCMessage *const *)value;
			flat = is_flat(sub);
			fputs(flat ? " {" : " {\n", printer->out);
			print_text(printer, sub, depth + 1, flat);
			fprintf(printer->out, "%*s}\n", flat ? 1 : depth * 2, "");
		}
	}
}

static void print_json(const struct printer *printer, const ProtobufCMessage *message, int depth)
{
	const char *separator = "";
	bool flat = printer->one_line || is_flat(message);

	fputc('{', printer->out);
	for (unsigned int i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		size_t count = field_count(message, field);
		bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;

		if (count == 0)
			continue;
		fprintf(printer->out, flat ? "%s%*s\"%s\": " : "%s\n%*s\"%s\": ", separator,
		        flat ? (*separator ? 1 : 0) : depth * 2 + 2, "", field->name);
		fputs(repeated ? "[" : "", printer->out);
		for (size_t k = 0; k < count; k++) {
			const void *value = field_value(message, field, k);

			fputs(k ? ", " : "", printer->out);
			if (field->type == PROTOBUF_C_TYPE_MESSAGE)
				print_json(printer, *(const ProtobufCMessage *const *)value,
				           depth + 1);
			else
				print_scalar(printer, message, field, value);
		}
		fputs(repeated ? "]" : "", printer->out);
		separator = ",";
	}
	if (!flat)
		fprintf(printer->out, "\n%*s", depth * 2, "");
	fputc('}', printer->out);
}

void text_print(FILE *out, const ProtobufCMessage *message)
{
	const struct printer printer = { .out = out };

	print_text(&printer, message, 0, false);
}

void text_print_json(FILE *out, const ProtobufCMessage *message)
{
	const struct printer printer = { .out = out, .json = true };

	print_json(&printer, message, 0);
	fputc('\n', out);
}

void text_print_json_line(FILE *out, const ProtobufCMessage *message)
{
	const struct printer printer = { .out = out, .json = true, .one_line = true };

	print_json(&printer, message, 0);
	fputc('\n', out);
}

const char *text_quote(const char *text, char *to, size_t size)
{
	size_t n = 0;

	for (; *text && n + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\' || c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(to + n, size - n, "\\%03o", c);
		else
			to[n++] = (char)c;
	}
	to[n] = '\0';
	return to;
}
