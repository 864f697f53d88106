/* SPDX-License-Identifier: MIT */
/* Protocol Buffers as bytes: a bounded walk that knows the schema, before anything is unpacked. */
#ifndef AXVM_INTERFACE_WIRE_H
#define AXVM_INTERFACE_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/problem.h"
#include "interface/wire_cursor.h"

/* More fields, and deeper nesting, than any message of the schema has; a unit test checks the
 * schema. */
#define WIRE_FIELDS_MAX 64
#define WIRE_DEPTH_MAX 8

/* Checks the bytes of one message against its descriptor and reports everything that protobuf-c
 * would silently ignore: unknown fields and enum values, a singular field given twice, two members
 * of a oneof, numbers cut to 32 bits, strings that are not UTF-8 or contain a NUL. `name` is the
 * message's name ("launch"), "" for the outermost one; field paths begin with it. 0, or -EINVAL
 * with at least one problem. A message that passes can be unpacked, memory permitting. */
int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t n,
               const char *name, struct problems *problems);

/* Replaces, in place, each byte of a string field that makes it invalid UTF-8 by '?'. The bytes are
 * a well-formed message of that descriptor. */
void wire_mend_strings(const ProtobufCMessageDescriptor *descriptor, uint8_t *bytes, size_t n);

#endif
