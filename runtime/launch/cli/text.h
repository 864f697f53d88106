/* SPDX-License-Identifier: MIT */
/* Prints any message of the interface as protobuf text or JSON, and parses protobuf text. */
#ifndef AXVM_CLI_TEXT_H
#define AXVM_CLI_TEXT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/base.h"

/* Prints the text format that `protoc --encode` and text_parse() read; unset fields are left
 * out. */
void text_print(FILE *out, const ProtobufCMessage *message);

/* Prints JSON with the field names of the schema, enums by name, 64-bit integers as strings. */
void text_print_json(FILE *out, const ProtobufCMessage *message);

/* The same on one line. */
void text_print_json_line(FILE *out, const ProtobufCMessage *message);

/* Escapes text for a quoted string of protobuf text, cut short if `size` is too small. Returns
 * `to`. */
const char *text_quote(const char *text, char *to, size_t size);

#define TEXT_ERROR_MAX 320

struct text_error {
	unsigned int line, column; /* from 1, in characters: where the error is */
	/* as in a spec's errors, "launch.disks[1].image"; "": no field */
	char field[128];
	char message[TEXT_ERROR_MAX];
};

/* Prints one line: "WHO: FILE:3:12: launch.cpus.count: what is wrong". */
void text_error_print(FILE *out, const char *who, const char *path, const struct text_error *error);

/* Parses `size` bytes of text into a new message, freed with protobuf_c_message_free_unpacked().
 * Fields by name, messages in {} or <>, lists in [], # comments, decimal, hexadecimal and octal
 * numbers, quoted strings with C escapes. -EINVAL with *ret_error filled: unknown field or value, a
 * value of another type, a number out of range, a single field twice, a brace or quote that is not
 * closed (the place is the opening one's), a byte of 0, nesting beyond 16; -ENOMEM. */
int text_parse(const char *text, size_t size, const ProtobufCMessageDescriptor *descriptor,
               ProtobufCMessage **ret, struct text_error *ret_error);

#endif
