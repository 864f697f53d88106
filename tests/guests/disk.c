/* SPDX-License-Identifier: MIT */
/* A disk as a driver uses it: a pattern written through each queue, plainly, by indirect tables and
 * in batches with event indices; flush; what was written, read back; the serial; what is refused.
 * All of it in whole blocks of the disk: an image that is opened for direct I/O has those of its
 * file system, 4096 bytes on tmpfs. Block n then holds the words n << 32 | i; RBX is the blocks'
 * size << 32 | their number (tests/system/cases/devices.sh looks at the image). */
#define GUEST_HAS_APIC
#include "lib/block.h"

#define ROUNDS 8u
#define BATCH 16u
#define BLOCK_MAX 4096u
#define ALL (F_INDIRECT | F_EVENT_IDX | F_RING_RESET | BLOCK_F_FLUSH | BLOCK_F_RO)

static struct virtio disk;
static struct queue queues[2];
static struct block_request requests[BATCH];
static volatile uint8_t data[BATCH][BLOCK_MAX] __attribute__((aligned(8)));
static uint64_t next_block;
static uint32_t block; /* bytes */

static uint64_t sector_of(uint64_t n)
{
	return n * (block / SECTOR);
}

static void begin(uint64_t features)
{
	guest_pages_reset();
	virtio_begin(&disk, features);
	for (uint16_t i = 0; i < 2; i++)
		queue_begin(&queues[i], &disk, i, 64);
	virtio_start(&disk);
}

static volatile uint64_t *word_at(uint32_t offset)
{
	return (volatile uint64_t *)&data[0][offset];
}

/* A block written, flushed and read back: a word of each sector will do, since all are read at the
 * end. */
static void prove(struct queue *q, uint64_t n)
{
	pattern_write(data[0], block, n);
	check_equal(block_do(q, BLOCK_OUT, sector_of(n), data[0], block), BLOCK_OK);
	check_equal(block_do(q, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
	for (uint32_t at = 0; at < block; at += SECTOR)
		*word_at(at) = 0xee;
	check_equal(block_do(q, BLOCK_IN, sector_of(n), data[0], block), BLOCK_OK);
	for (uint32_t at = 0; at < block; at += SECTOR)
		check_equal(*word_at(at), n << 32 | at / 8);
}

static void one_by_one(void)
{
	for (unsigned i = 0; i < ROUNDS; i++)
		prove(&queues[i % 2], next_block + i);
	next_block += ROUNDS;
	await(irq_count[0] > 0 && irq_count[1] > 0);
	check_equal(irq_count[2], 0);
}

static void indirect(void)
{
	uint64_t table = guest_pages(16 * 3);
	struct block_request *r = &requests[0];
	uint32_t length;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct part parts[] = { { &r->header, 16, false },
			                      { data[0], block, false },
			                      { &r->status, 1, true } };

		pattern_write(data[0], block, next_block);
		r->header = (struct block_header){ .type = BLOCK_OUT,
			                           .sector = sector_of(next_block++) };
		r->status = 0xee;
		(void)queue_add_indirect(&queues[0], table, parts, 3);
		queue_kick(&queues[0]);
		(void)queue_wait(&queues[0], &length);
		check_equal(length, 1);
		check_equal(r->status, BLOCK_OK);
	}
}

/* A batch is one kick, however many requests. */
static void batches(void)
{
	struct queue *q = &queues[1];
	uint32_t kicks = q->kicks, length;

	for (unsigned i = 0; i < BATCH; i++) {
		pattern_write(data[i], block, next_block + i);
		(void)block_offer(q, &requests[i], BLOCK_OUT, sector_of(next_block + i), data[i],
		                  block);
	}
	queue_kick(q);
	for (unsigned i = 0; i < BATCH; i++)
		(void)queue_wait(q, &length);
	check(q->kicks - kicks <= 1);
	for (unsigned i = 0; i < BATCH; i++)
		check_equal(requests[i].status, BLOCK_OK);
	next_block += BATCH;
	check_equal(block_do(q, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
}

static void read_all_back(void)
{
	uint64_t capacity = read64(disk.specific);

	for (uint64_t n = 0; n < next_block; n++) {
		check_equal(block_do(&queues[n % 2], BLOCK_IN, sector_of(n), data[0], block),
		            BLOCK_OK);
		pattern_check(data[0], block, n);
	}
	check_equal(block_do(&queues[0], BLOCK_GET_ID, 0, data[0], 20), BLOCK_OK);
	check_equal(*(volatile uint64_t *)data[0], 0x6c6169726573); /* "serial" */
	check_equal(block_do(&queues[0], BLOCK_IN, capacity, data[0], block), BLOCK_IOERR);
	check_equal(block_do(&queues[0], BLOCK_OUT, ~0ULL, data[0], block), BLOCK_IOERR);
	check_equal(block_do(&queues[0], BLOCK_OUT, 0, data[0], block - 8), BLOCK_IOERR);
	check_equal(block_do(&queues[0], 77, 0, data[0], block), BLOCK_UNSUPP);
	/* A feature that was not negotiated. */
	check_equal(block_do(&queues[0], BLOCK_DISCARD, 0, data[0], 16), BLOCK_UNSUPP);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	irq_begin();
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	check_equal(disk.queues, 2);
	block = read32(disk.specific + BLOCK_SIZE_AT);
	check(block >= SECTOR && block <= BLOCK_MAX);
	begin(0);
	one_by_one();
	begin(ALL & ~F_EVENT_IDX);
	check(!(disk.features & BLOCK_F_RO));
	indirect();
	one_by_one();
	begin(ALL);
	batches();
	indirect();
	one_by_one();
	read_all_back();
	guest_power_off(GUEST_PASS, (uint64_t)block << 32 | next_block);
}
