/* SPDX-License-Identifier: MIT */
/* A disk whose image fails. guest_numbers[0]: 0, there is no room for all of it: sectors are
 * written until one is refused. 1, it is cut short meanwhile: the last sector is read until it
 * cannot be. Either is an I/O error, and not the end: the first sector can still be written,
 * flushed and read. */
#define GUEST_HAS_APIC
#include "lib/block.h"

static struct virtio disk;
static struct queue q;
static volatile uint8_t data[16 * SECTOR] __attribute__((aligned(4096)));

static uint8_t fill(uint64_t capacity)
{
	for (uint64_t s = 0; s + 16 <= capacity; s += 16) {
		uint8_t status = block_do(&q, BLOCK_OUT, s, data, sizeof(data));

		if (status != BLOCK_OK)
			return status;
	}
	return BLOCK_OK;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t capacity;

	irq_begin();
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	virtio_begin(&disk, F_EVENT_IDX | BLOCK_F_FLUSH);
	queue_begin(&q, &disk, 0, 16);
	virtio_start(&disk);
	capacity = read64(disk.specific);
	block_prove(&q, 0, 1);
	pattern_write(data, sizeof(data), 7);
	if (guest_numbers[0] == 0)
		check_equal(fill(capacity), BLOCK_IOERR);
	else
		await(block_do(&q, BLOCK_IN, capacity - 1, data, SECTOR) == BLOCK_IOERR);
	block_prove(&q, 0, 2);
	check(!(virtio_status(&disk) & STATUS_NEEDS_RESET));
	guest_power_off(GUEST_PASS, capacity);
}
