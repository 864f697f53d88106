/* SPDX-License-Identifier: MIT */
/* One request at a time to a virtio disk (VIRTIO 1.2 §5.2.6). */
#ifndef AXVM_GUESTS_LIB_BLOCK_H
#define AXVM_GUESTS_LIB_BLOCK_H

#include "virtio.h"

enum {
	BLOCK_IN = 0,
	BLOCK_OUT = 1,
	BLOCK_FLUSH = 4,
	BLOCK_GET_ID = 8,
	BLOCK_DISCARD = 11,
	BLOCK_WRITE_ZEROES = 13
};
enum { BLOCK_OK = 0, BLOCK_IOERR = 1, BLOCK_UNSUPP = 2 };
#define BLOCK_F_RO (1ULL << 5)
#define BLOCK_F_FLUSH (1ULL << 9)
#define BLOCK_F_DISCARD (1ULL << 13)
#define BLOCK_F_WRITE_ZEROES (1ULL << 14)
#define SECTOR 512u
#define BLOCK_SIZE_AT 20 /* blk_size in the configuration */

struct block_header {
	uint32_t type, reserved;
	uint64_t sector;
};

/* A request whose parts stay where they are until it has been waited for. */
struct block_request {
	struct block_header header;
	volatile uint8_t status;
};

/* Offers a request, of `length` bytes at `data` (0: none); no kick. Returns its head. */
uint16_t block_offer(struct queue *q, struct block_request *request, uint32_t type, uint64_t sector,
                     const volatile void *data, uint32_t length);
/* A whole request; returns the status. */
uint8_t block_do(struct queue *q, uint32_t type, uint64_t sector, const volatile void *data,
                 uint32_t length);
/* The disk works: writes a pattern of `seed` to a sector, flushes, reads it back. */
void block_prove(struct queue *q, uint64_t sector, uint32_t seed);
/* A pattern that says which sector it belongs to. `bytes` is a multiple of 8. */
void pattern_write(volatile void *to, uint32_t bytes, uint64_t seed);
void pattern_check(const volatile void *from, uint32_t bytes, uint64_t seed);

#endif
