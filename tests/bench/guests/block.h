/* SPDX-License-Identifier: MIT */
/* The work of the block rows, the same for guests/block*.c and for bare_block.c. */
#ifndef AXVM_BENCH_BLOCK_H
#define AXVM_BENCH_BLOCK_H

#include <stdint.h>

#define BLOCK_FILE_BYTES (64u << 20)
#define BLOCK_BATCH_MAX 32u
#define BLOCK_MARK_BEGIN 'B' /* what the guest says on its console */
#define BLOCK_MARK_END 'E'

/* Where the nth read goes: one after the other, or anywhere (Knuth's multiplier, top bits). */
static inline uint64_t block_offset(uint32_t n, uint32_t bytes, int random)
{
	uint32_t units = BLOCK_FILE_BYTES / bytes;

	return (uint64_t)((random ? n * 2654435761u >> 7 : n) % units) * bytes;
}

#endif
