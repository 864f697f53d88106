/* SPDX-License-Identifier: MIT */
/* A disk on a real ring and a real file, and the driver that asks things of it. */
#include "rig/block_guest.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>

#define HEADER_BYTES 16
#define SLOT_BYTES 64
#define PENDING 0xee /* no status that a device gives */

static uint64_t data_at(uint16_t slot)
{
	return DISK_DATA + slot * 0x10000ULL;
}

static uint64_t header_at(uint16_t slot)
{
	return DISK_HEADERS + slot * (uint64_t)SLOT_BYTES;
}

void disk_start(struct disk_guest *g, const struct disk_options *options)
{
	struct problems problems = { 0 };
	const struct block_spec spec = {
		.id = "disk",
		.serial = "a-serial",
		.queues = DISK_QUEUES,
		.queue_size = DISK_SIZE,
		.write_through = options->write_through,
		.keeps_blocks = options->keeps_blocks,
		.limit = options->limit,
	};
	struct disk_file_config config = { .fd = -1,
		                           .path = g->path,
		                           .field = "disks[0].image",
		                           .read_only = options->read_only,
		                           .direct = options->direct,
		                           .max_size = options->max_size };

	memset(g, 0, sizeof(*g));
	snprintf(g->path, sizeof(g->path), "%s/axvm-block.XXXXXX",
	         options->directory ? options->directory : "/tmp");
	g->fd = mkostemp(g->path, O_CLOEXEC);
	cr_assert_geq(g->fd, 0);
	cr_assert_eq(ftruncate(g->fd, (off_t)(options->bytes ? options->bytes : DISK_BYTES)), 0);
	cr_assert_eq(disk_file_open(&config, &g->file, &problems), 0, "%s",
	             problems.list[0].message);
	if (options->instead) {
		int other = open(options->instead, O_RDWR | O_CLOEXEC);

		cr_assert(other >= 0 && dup2(other, g->file.fd) == g->file.fd, "%s",
		          options->instead);
		close(other);
	}
	if (options->ranges)
		g->file.ranges = *options->ranges;
	machine_init(&g->m);
	g->m.loop.busy_poll_us = options->busy_poll_us;
	cr_assert_eq(block_create(&g->block, &spec, &g->file, &g->m.host), 0);
	machine_start(&g->m);
	driver_probe(&g->driver, &g->m, 1);
	disk_bring_up(g, options->without);
}

void disk_bring_up(struct disk_guest *g, uint64_t without)
{
	driver_reset(&g->driver);
	cr_assert(driver_negotiate(&g->driver, driver_offered(&g->driver) & ~without));
	common_out(&g->driver, VIRTIO_PCI_COMMON_MSIX, DISK_QUEUES, 2);
	for (uint16_t i = 0; i < DISK_QUEUES; i++) {
		ring_init(&g->rings[i], &g->m.memory, DISK_SIZE, 0x10000 + i * 0x10000ULL);
		driver_queue(&g->driver, i, &g->rings[i]);
	}
	driver_ok(&g->driver);
}

void disk_stop(struct disk_guest *g)
{
	machine_stop(&g->m, 0);
	block_destroy(&g->block);
	machine_done(&g->m);
	disk_file_close(&g->file);
	close(g->fd);
	unlink(g->path);
}

uint8_t *disk_data(struct disk_guest *g, uint16_t slot)
{
	return guest_memory_at(&g->m.memory, GPA(data_at(slot)), 0x10000);
}

uint8_t *disk_status(struct disk_guest *g, uint16_t slot)
{
	return guest_memory_at(&g->m.memory, GPA(header_at(slot) + HEADER_BYTES), 1);
}

void disk_offer(struct disk_guest *g, uint16_t queue, uint16_t slot, uint32_t type, uint64_t sector,
                uint32_t length)
{
	const struct virtio_blk_outhdr header = { .type = type, .sector = sector };
	struct ring *ring = &g->rings[queue];
	uint16_t first = (uint16_t)(slot * 3);
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;

	cr_assert_eq(guest_memory_write(&g->m.memory, GPA(header_at(slot)), &header,
	                                sizeof(header)),
	             0);
	*disk_status(g, slot) = PENDING;
	ring_desc(ring, first, header_at(slot), HEADER_BYTES, VRING_DESC_F_NEXT,
	          (uint16_t)(first + (length ? 1 : 2)));
	if (length)
		ring_desc(ring, (uint16_t)(first + 1), data_at(slot), length,
		          VRING_DESC_F_NEXT | (in ? DISK_IN : DISK_OUT), (uint16_t)(first + 2));
	ring_desc(ring, (uint16_t)(first + 2), header_at(slot) + HEADER_BYTES, 1, DISK_IN, 0);
	ring_offer(ring, first);
}

void disk_await(struct disk_guest *g, uint16_t queue, uint16_t count)
{
	uint16_t done = ring_used_idx(&g->rings[queue]);

	driver_kick(&g->driver, queue);
	/* They may be there already, if the last kick has not been heard of yet. */
	driver_await_used(&g->rings[queue], (uint16_t)(done + count));
}

uint8_t disk_ask(struct disk_guest *g, uint32_t type, uint64_t sector, uint32_t length)
{
	disk_offer(g, 0, 0, type, sector, length);
	disk_await(g, 0, 1);
	return *disk_status(g, 0);
}
