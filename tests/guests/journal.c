/* SPDX-License-Identifier: MIT */
/* Writes for ever, and says what it was told is flushed. Record n, one sector, lies in sector n mod
 * SECTORS and holds the words n << 32 | i. After each flush the four bytes of the last n go out by
 * port 0xE9, the first time before anything was written. It begins after the newest record on the
 * disk. */
#define GUEST_HAS_APIC
#include "lib/block.h"

#define SECTORS 16u
#define BATCH 4u

static struct virtio disk;
static struct queue queue;
static struct block_request requests[BATCH];
static volatile uint64_t data[BATCH][SECTOR / 8] __attribute__((aligned(SECTOR)));

static void say(uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		outb(LAYOUT_PORT_DEBUG, (uint8_t)(n >> 8 * i));
}

static uint32_t newest(void)
{
	uint64_t n = 0;

	for (uint32_t sector = 0; sector < SECTORS; sector++) {
		check_equal(block_do(&queue, BLOCK_IN, sector, data[0], SECTOR), BLOCK_OK);
		/* A record that was cut off has its beginning or its end there. */
		for (unsigned i = 0; i < SECTOR / 8; i += SECTOR / 8 - 1)
			n = data[0][i] >> 32 > n ? data[0][i] >> 32 : n;
	}
	return (uint32_t)n;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint32_t n, length;

	irq_begin();
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	virtio_begin(&disk, F_EVENT_IDX | BLOCK_F_FLUSH);
	check((disk.features & BLOCK_F_FLUSH) != 0);
	queue_begin(&queue, &disk, 0, 64);
	virtio_start(&disk);
	n = newest();
	for (;;) {
		say(n);
		for (unsigned i = 0; i < BATCH; i++) {
			n++;
			pattern_write(data[i], SECTOR, n);
			(void)block_offer(&queue, &requests[i], BLOCK_OUT, n % SECTORS, data[i],
			                  SECTOR);
		}
		queue_kick(&queue);
		for (unsigned i = 0; i < BATCH; i++)
			(void)queue_wait(&queue, &length);
		for (unsigned i = 0; i < BATCH; i++)
			check_equal(requests[i].status, BLOCK_OK);
		check_equal(block_do(&queue, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
	}
}
