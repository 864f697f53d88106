/* SPDX-License-Identifier: MIT */
/* The stock protoc as the independent judge of what we read and write. */
#ifndef AXVM_TESTS_PROTOC_H
#define AXVM_TESTS_PROTOC_H

#include <stddef.h>
#include <stdint.h>

/* Encodes text of message axvm.v1.<type>. Fails the test if protoc refuses. Returns the length. */
size_t protoc_encode(const char *type, const char *text, uint8_t *to, size_t size);

/* Bytes to text, NUL-terminated. Returns protoc's exit status. */
int protoc_decode(const char *type, const uint8_t *bytes, size_t n, char *to, size_t size);

#endif
