/* SPDX-License-Identifier: MIT */
/* SHA-256, FIPS 180-4. */
#ifndef AXVM_BASE_SHA256_H
#define AXVM_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_HEX_SIZE = 65 };

struct sha256 {
	uint32_t state[8];
	uint64_t length;
	uint8_t block[64];
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *data, size_t length);
void sha256_end(struct sha256 *s, uint8_t digest[static SHA256_SIZE]);

/* The digest as lower-case hexadecimal text with its NUL. */
void sha256_hex(const uint8_t digest[static SHA256_SIZE], char text[static SHA256_HEX_SIZE]);

#endif
