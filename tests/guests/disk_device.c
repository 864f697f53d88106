/* SPDX-License-Identifier: MIT */
/* A disk on a block device of the host (VIRTIO 1.2 §5.2.4). guest_numbers[0]: the logical block
 * that it is to have, in bytes; the physical one is the same. [1]: 0, it is written, read back and
 * its last half discarded; 1, it is read-only. RBX is its length in sectors. */
#define GUEST_HAS_APIC
#include "lib/block.h"

#define BLOCK_F_BLK_SIZE (1ULL << 6)
#define BLOCK_F_TOPOLOGY (1ULL << 10)
#define PIECE 4096u
#define PIECE_SECTORS (PIECE / SECTOR)

enum {
	CONFIG_CAPACITY = 0,
	CONFIG_BLK_SIZE = 20,
	CONFIG_PHYSICAL_BLOCK_EXP = 24,
	CONFIG_MAX_DISCARD = 36,
	CONFIG_DISCARD_ALIGNMENT = 44
};

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static struct virtio disk;
static struct queue q;
static volatile uint8_t data[PIECE] __attribute__((aligned(4096)));

/* The first piece, the last of each half; more would take where CPL 0 is emulated too long. */
static void write_and_read_back(uint64_t capacity)
{
	const uint64_t places[] = { 0, capacity / 2 - PIECE_SECTORS, capacity - PIECE_SECTORS };

	for (unsigned i = 0; i < 3; i++) {
		pattern_write(data, PIECE, places[i]);
		check_equal(block_do(&q, BLOCK_OUT, places[i], data, PIECE), BLOCK_OK);
	}
	check_equal(block_do(&q, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
	for (unsigned i = 0; i < 3; i++) {
		check_equal(block_do(&q, BLOCK_IN, places[i], data, PIECE), BLOCK_OK);
		pattern_check(data, PIECE, places[i]);
	}
	check_equal(block_do(&q, BLOCK_IN, capacity, data, PIECE), BLOCK_IOERR);
}

static void give_half_back(uint64_t capacity)
{
	const volatile struct range half = { capacity / 2, (uint32_t)(capacity / 2), 0 };

	check(disk.features & BLOCK_F_DISCARD);
	check(read32(disk.specific + CONFIG_MAX_DISCARD) >= half.sectors);
	/* The device's granularity, which a loop takes from the file system below it. */
	check(read32(disk.specific + CONFIG_DISCARD_ALIGNMENT) >= guest_numbers[0] / SECTOR);
	check(read32(disk.specific + CONFIG_DISCARD_ALIGNMENT) % (guest_numbers[0] / SECTOR) == 0);
	check_equal(block_do(&q, BLOCK_DISCARD, 0, &half, sizeof(half)), BLOCK_OK);
	check_equal(block_do(&q, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
	check_equal(block_do(&q, BLOCK_IN, capacity / 2 - PIECE_SECTORS, data, PIECE), BLOCK_OK);
	pattern_check(data, PIECE, capacity / 2 - PIECE_SECTORS);
}

static void only_read(void)
{
	check(disk.features & BLOCK_F_RO);
	check(!(disk.features & BLOCK_F_DISCARD));
	check_equal(block_do(&q, BLOCK_IN, 0, data, PIECE), BLOCK_OK);
	check_equal(block_do(&q, BLOCK_OUT, 0, data, PIECE), BLOCK_IOERR);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t capacity;

	irq_begin();
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	virtio_begin(&disk, F_EVENT_IDX | BLOCK_F_FLUSH | BLOCK_F_RO | BLOCK_F_BLK_SIZE |
	                            BLOCK_F_TOPOLOGY | BLOCK_F_DISCARD);
	queue_begin(&q, &disk, 0, 16);
	virtio_start(&disk);
	check(disk.features & BLOCK_F_BLK_SIZE);
	check(disk.features & BLOCK_F_TOPOLOGY);
	check_equal(read32(disk.specific + CONFIG_BLK_SIZE), guest_numbers[0]);
	check_equal(read8(disk.specific + CONFIG_PHYSICAL_BLOCK_EXP), 0);
	capacity = read64(disk.specific + CONFIG_CAPACITY);
	if (guest_numbers[1]) {
		only_read();
	} else {
		write_and_read_back(capacity);
		give_half_back(capacity);
	}
	guest_power_off(GUEST_PASS, capacity);
}
