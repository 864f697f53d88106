/* SPDX-License-Identifier: MIT */
/* Reads of a disk, DEPTH at a time: a batch is offered, the doorbell rung once, one interrupt asked
 * for at the end of it, and HLT waits. Needs the early console, for
 * the marks at both ends, and waits for ever after them. */
#define GUEST_HAS_APIC
#include "lib/block.h"

#include "block.h"
#include "lib/apic.h"

#ifndef DEPTH
#define DEPTH 1u
#define BYTES 4096u
#define RANDOM 1
#define REQUESTS 1024u
#endif

static struct virtio disk;
static struct queue q;
static struct block_request requests[DEPTH];
static uint64_t data;

/* What is asked for now is answered. There is no window: interrupts are off until HLT. */
static void batch(uint32_t first)
{
	uint32_t length;

	write16(q.avail + 4 + 2u * q.size, (uint16_t)(q.used_idx + DEPTH - 1));
	for (uint32_t i = 0; i < DEPTH; i++)
		(void)block_offer(&q, &requests[i], BLOCK_IN,
		                  block_offset(first + i, BYTES, RANDOM) / SECTOR,
		                  (void *)(data + (uint64_t)i * BYTES), BYTES);
	queue_kick(&q);
	__asm__ volatile("cli" : : : "memory");
	while ((uint16_t)(queue_used_idx(&q) - q.used_idx) < DEPTH)
		wait_for_interrupt();
	for (uint32_t i = 0; i < DEPTH; i++)
		(void)queue_wait(&q, &length);
	for (uint32_t i = 0; i < DEPTH; i++)
		check_equal(requests[i].status, BLOCK_OK);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	(void)index;
	(void)count;
	(void)ram;
	(void)stack;
	irq_begin();
	data = guest_pages(DEPTH * BYTES);
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	virtio_begin(&disk, F_EVENT_IDX);
	queue_begin(&q, &disk, 0, 128);
	virtio_start(&disk);
	batch(0);
	outb(LAYOUT_PORT_DEBUG, BLOCK_MARK_BEGIN);
	for (uint32_t n = 0; n < REQUESTS; n += DEPTH)
		batch(n);
	outb(LAYOUT_PORT_DEBUG, BLOCK_MARK_END);
	/* Whoever reads the mark still finds the threads. */
	for (;;)
		wait_for_interrupt();
}
