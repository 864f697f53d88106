/* SPDX-License-Identifier: MIT */
/* Protocol Buffers as bytes: a bounded walk that knows the schema, before anything is unpacked. */
#ifndef AXVM_INTERFACE_WIRE_H
#define AXVM_INTERFACE_WIRE_H

#include <protobuf-c/protobuf-c.h>

#include "base/problem.h"
#include "interface/wire_cursor.h"

/* More than any message of the schema has fields, or nests; a unit test holds the schema to it. */
#define WIRE_FIELDS_MAX 64
#define WIRE_DEPTH_MAX 8

/* Holds the bytes of one message against its descriptor and collects all that protobuf-c would pass
 * over in silence: unknown fields and enum values, a singular field or two members of a oneof given
 * twice, numbers cut to 32 bits, strings that are not UTF-8 or hold a NUL. `name` is what the
 * message is called ("launch"), "" of the outermost; field paths are below it. 0, or -EINVAL with
 * at least one problem added. What passes can be unpacked, memory permitting. */
int wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t n,
               const char *name, struct problems *problems);

/* Replaces, in place, each byte of a string field that makes it invalid UTF-8 by '?'. The bytes are
 * a well-formed message of that descriptor. */
void wire_mend_strings(const ProtobufCMessageDescriptor *descriptor, uint8_t *bytes, size_t n);

#endif
