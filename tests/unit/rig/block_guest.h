/* SPDX-License-Identifier: MIT */
/* A disk on a real ring and a real file, and the driver that asks things of it. */
#ifndef AXVM_TESTS_BLOCK_GUEST_H
#define AXVM_TESTS_BLOCK_GUEST_H

#include <linux/virtio_ring.h>

#include "rig/virtio_driver.h"
#include "virtio/block.h"

#define DISK_SIZE 64 /* of a queue */
#define DISK_QUEUES 2
#define DISK_BYTES (256 * KIB)
/* Guest-physical: rings, then headers and statuses a slot each, then data. */
#define DISK_HEADERS 0x40000
#define DISK_DATA 0x60000
#define DISK_OUT 0 /* descriptor flags, for the eye */
#define DISK_IN VRING_DESC_F_WRITE

struct disk_guest {
	struct test_machine m;
	struct block block;
	struct disk_file file;
	struct driver driver;
	struct ring rings[DISK_QUEUES];
	char path[256];
	int fd; /* the test's own */
};

struct disk_options {
	const char *directory; /* NULL: /tmp */
	bool read_only, direct, write_through;
	uint64_t bytes;    /* 0: DISK_BYTES */
	uint64_t max_size; /* 0: as long as it is */
	bool keeps_blocks;
	/* what the file is said to be able to; NULL: what it says itself */
	const struct disk_ranges *ranges;
	const char *instead; /* what the device works on in its place; NULL: the file itself */
	uint64_t without;    /* features the driver does not take */
	struct rate_config limit;
	uint32_t busy_poll_us;
};

void disk_start(struct disk_guest *g, const struct disk_options *options);
/* From reset to DRIVER_OK with what is offered. */
void disk_bring_up(struct disk_guest *g, uint64_t without);
void disk_stop(struct disk_guest *g);

/* Puts a request of header, data (none when `length` is 0) and status into slot (0 to 15) of a
 * queue; its data is at DISK_DATA + slot * 64 KiB. Not kicked. */
void disk_offer(struct disk_guest *g, uint16_t queue, uint16_t slot, uint32_t type, uint64_t sector,
                uint32_t length);
uint8_t *disk_data(struct disk_guest *g, uint16_t slot);
uint8_t *disk_status(struct disk_guest *g, uint16_t slot);
/* Kicks, and waits for `count` more completions of the queue. */
void disk_await(struct disk_guest *g, uint16_t queue, uint16_t count);
/* One request on slot 0 of queue 0; its status. */
uint8_t disk_ask(struct disk_guest *g, uint32_t type, uint64_t sector, uint32_t length);

#endif
