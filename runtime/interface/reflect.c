/* SPDX-License-Identifier: MIT */
/* Generic access to protobuf-c messages through their descriptors (protobuf-c.h describes the
 * layout: a quantifier beside each field says whether, or how often, it is there). */
#include "interface/reflect.h"

#include <stdio.h>
#include <string.h>

static const void *member(const ProtobufCMessage *message, size_t offset)
{
	return (const uint8_t *)message + offset;
}

static const void *pointer_at(const ProtobufCMessage *message, size_t offset)
{
	const void *pointer;

	memcpy(&pointer, member(message, offset), sizeof(pointer));
	return pointer;
}

size_t place_count(const struct place *place)
{
	const ProtobufCFieldDescriptor *field = place->field;
	const void *quantifier = member(place->message, field->quantifier_offset);

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)quantifier;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)quantifier == field->id;
	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE) {
		const void *pointer = pointer_at(place->message, field->offset);

		return pointer && pointer != field->default_value;
	}
	return *(const protobuf_c_boolean *)quantifier != 0;
}

static uint64_t number_at(ProtobufCType type, const void *array, size_t i)
{
	switch (type) {
	case PROTOBUF_C_TYPE_UINT64:
		return ((const uint64_t *)array)[i];
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
		return ((const uint32_t *)array)[i];
	case PROTOBUF_C_TYPE_INT32:
		return (uint64_t)((const int32_t *)array)[i];
	case PROTOBUF_C_TYPE_BOOL:
		return ((const protobuf_c_boolean *)array)[i] != 0;
	default:
		return 0;
	}
}

uint64_t place_number(const struct place *place, size_t i)
{
	const ProtobufCFieldDescriptor *field = place->field;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return number_at(field->type, pointer_at(place->message, field->offset), i);
	if (place_count(place) > 0)
		return number_at(field->type, member(place->message, field->offset), 0);
	return field->default_value ? number_at(field->type, field->default_value, 0) : 0;
}

const char *place_string(const struct place *place)
{
	return pointer_at(place->message, place->field->offset);
}

bool place_differs(const struct place *place)
{
	const ProtobufCFieldDescriptor *field = place->field;

	if (place_count(place) == 0)
		return false;
	if (field->label == PROTOBUF_C_LABEL_REPEATED || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return !field->default_value ||
		       strcmp(place_string(place), field->default_value) != 0;
	return place_number(place, 0) !=
	       (field->default_value ? number_at(field->type, field->default_value, 0) : 0);
}

/* Sub-message i of a set message field. */
static const ProtobufCMessage *submessage(const struct place *place, size_t i)
{
	const void *pointer = pointer_at(place->message, place->field->offset);

	if (place->field->label == PROTOBUF_C_LABEL_REPEATED)
		return ((const ProtobufCMessage *const *)pointer)[i];
	return pointer;
}

static void extend(char *path, size_t size, const char *prefix, const char *name)
{
	int n = snprintf(path, size, "%s%s%s", prefix, *prefix ? "." : "", name);

	(void)n; /* cut when too long */
}

static bool each(const ProtobufCMessage *message, const char *prefix, const char *path,
                 place_fn *fn, void *context)
{
	const char *dot = strchr(path, '.');
	struct place place = { .message = message };
	char name[64], sub[PROBLEM_FIELD_MAX];
	size_t count;

	if (dot && (size_t)(dot - path) >= sizeof(name))
		return false;
	snprintf(name, sizeof(name), "%.*s", dot ? (int)(dot - path) : 63, path);
	place.field = protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
	if (!place.field || (dot && place.field->type != PROTOBUF_C_TYPE_MESSAGE))
		return false;
	extend(place.path, sizeof(place.path), prefix, name);
	if (!dot) {
		fn(&place, context);
		return true;
	}
	count = place_count(&place);
	for (size_t i = 0; i < count; i++) {
		if (place.field->label == PROTOBUF_C_LABEL_REPEATED)
			snprintf(sub, sizeof(sub), "%.*s[%zu]", (int)sizeof(sub) - 24, place.path,
			         i);
		else
			snprintf(sub, sizeof(sub), "%s", place.path);
		if (!each(submessage(&place, i), sub, dot + 1, fn, context))
			return false;
	}
	return true;
}

bool reflect_each(const ProtobufCMessage *message, const char *path, place_fn *fn, void *context)
{
	return each(message, "", path, fn, context);
}

static void messages(const ProtobufCMessage *message, const char *prefix,
                     const ProtobufCMessageDescriptor *type, message_fn *fn, void *context)
{
	for (unsigned f = 0; f < message->descriptor->n_fields; f++) {
		struct place place = { .message = message,
			               .field = &message->descriptor->fields[f] };
		char sub[PROBLEM_FIELD_MAX];
		size_t count;

		if (place.field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		extend(place.path, sizeof(place.path), prefix, place.field->name);
		count = place_count(&place);
		for (size_t i = 0; i < count; i++) {
			const ProtobufCMessage *below = submessage(&place, i);

			if (place.field->label == PROTOBUF_C_LABEL_REPEATED)
				snprintf(sub, sizeof(sub), "%.*s[%zu]", (int)sizeof(sub) - 24,
				         place.path, i);
			else
				snprintf(sub, sizeof(sub), "%s", place.path);
			if (below->descriptor == type)
				fn(below, sub, context);
			else
				messages(below, sub, type, fn, context);
		}
	}
}

void reflect_messages(const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type,
                      message_fn *fn, void *context)
{
	messages(message, "", type, fn, context);
}
