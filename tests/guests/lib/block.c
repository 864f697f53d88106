/* SPDX-License-Identifier: MIT */
/* See block.h. */
#define GUEST_HAS_APIC
#define GUEST_LINES 30000
#include "block.h"

#define STATUS_UNTOUCHED 0xee

static bool writes_memory(uint32_t type)
{
	return type == BLOCK_IN || type == BLOCK_GET_ID;
}

uint16_t block_offer(struct queue *q, struct block_request *request, uint32_t type, uint64_t sector,
                     const volatile void *data, uint32_t length)
{
	struct part parts[3] = { { &request->header, sizeof(request->header), false } };
	unsigned count = 1;

	request->header = (struct block_header){ .type = type, .sector = sector };
	request->status = STATUS_UNTOUCHED;
	if (length > 0)
		parts[count++] = (struct part){ data, length, writes_memory(type) };
	parts[count++] = (struct part){ &request->status, 1, true };
	return queue_add(q, parts, count);
}

uint8_t block_do(struct queue *q, uint32_t type, uint64_t sector, const volatile void *data,
                 uint32_t length)
{
	static struct block_request request;
	uint16_t head = block_offer(q, &request, type, sector, data, length);
	uint32_t written;

	queue_kick(q);
	check_equal(queue_wait(q, &written), head);
	check(written >= 1 && written <= length + 1);
	return request.status;
}

void pattern_write(volatile void *to, uint32_t bytes, uint64_t seed)
{
	volatile uint64_t *words = to;

	for (uint32_t i = 0; i < bytes / 8; i++)
		words[i] = seed << 32 | i;
}

void pattern_check(const volatile void *from, uint32_t bytes, uint64_t seed)
{
	const volatile uint64_t *words = from;

	for (uint32_t i = 0; i < bytes / 8; i++)
		check_equal(words[i], seed << 32 | i);
}

void block_prove(struct queue *q, uint64_t sector, uint32_t seed)
{
	static volatile uint8_t data[SECTOR] __attribute__((aligned(8)));

	pattern_write(data, SECTOR, seed);
	check_equal(block_do(q, BLOCK_OUT, sector, data, SECTOR), BLOCK_OK);
	check_equal(block_do(q, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
	for (uint32_t i = 0; i < SECTOR; i++)
		data[i] = 0;
	check_equal(block_do(q, BLOCK_IN, sector, data, SECTOR), BLOCK_OK);
	pattern_check(data, SECTOR, seed);
}
