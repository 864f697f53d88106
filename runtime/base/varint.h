/* SPDX-License-Identifier: MIT */
/* Varints, the form in which Protocol Buffers write numbers and lengths: seven bits a byte, the
 * lowest first. */
#ifndef AXVM_BASE_VARINT_H
#define AXVM_BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define VARINT_BYTES_MAX 10

/* Writes `value` to `to`. Returns the number of bytes written, at most VARINT_BYTES_MAX. */
static inline size_t varint_put(uint8_t *to, uint64_t value)
{
	size_t n = 0;

	for (; value >= 0x80; value >>= 7)
		to[n++] = (uint8_t)(value | 0x80);
	to[n++] = (uint8_t)value;
	return n;
}

#endif
