/* SPDX-License-Identifier: MIT */
/* Looks into unpacked messages by field path, so that checks can be rows of a table. */
#ifndef AXVM_INTERFACE_REFLECT_H
#define AXVM_INTERFACE_REFLECT_H

#include <protobuf-c/protobuf-c.h>

#include "base/base.h"
#include "base/problem.h"

/* A field of one message that exists, whether or not the field itself is set. */
struct place {
	const ProtobufCMessage *message;
	const ProtobufCFieldDescriptor *field;
	char path[PROBLEM_FIELD_MAX]; /* "memory.nodes[1].size_mib" */
};

typedef void place_fn(const struct place *place, void *context);

/* Calls fn for the field that the dotted path names, once for each message on the way: for
 * "disks.image", as often as there are disks. A path through a message that is absent is not
 * visited. False when the schema has no such path. */
bool reflect_each(const ProtobufCMessage *message, const char *path, place_fn *fn, void *context);

/* Calls fn for every message of that type below (not including) `message`. */
typedef void message_fn(const ProtobufCMessage *message, const char *path, void *context);
void reflect_messages(const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type,
                      message_fn *fn, void *context);

/* How often the field is set: 0 or 1, or the length of a repeated one. */
size_t place_count(const struct place *place);

/* The value of entry i (0 when singular) of a number, bool or enum field, unsigned; the default
 * when it is not set. */
uint64_t place_number(const struct place *place, size_t i);

/* The value of a set string field. */
const char *place_string(const struct place *place);

/* Whether the field is set to anything but its default. A message that is there is not default. */
bool place_differs(const struct place *place);

#endif
