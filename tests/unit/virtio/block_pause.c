/* SPDX-License-Identifier: MIT */
/* Requests of many operations: a pause and a reset wait for those under way, not for what the guest
 * has asked for beyond. A pause carries out the kicks before it, so what is offered without one is
 * begun by the pause itself. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/op.h"
#include "rig/block_guest.h"
#include "rig/wait.h"

#define OK VIRTIO_BLK_S_OK
#define LARGE_MIB 60u
#define LARGE_AT 0x100000u /* the second MiB of guest memory, which nothing else is in */

static struct disk_guest g;

static void tear_down(void)
{
	disk_stop(&g);
}

TestSuite(block_pause, .timeout = 120);

static void set_up_large(void)
{
	disk_start(&g, &(struct disk_options){ .bytes = 64 * MIB });
}

/* A read of so many buffers, which are all the same MiB but for `shift`. */
static void offer_large(uint16_t queue, uint32_t mib, uint32_t shift)
{
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN, .sector = 8 };
	struct ring *ring = &g.rings[queue];

	cr_assert_eq(guest_memory_write(&g.m.memory, GPA(DISK_HEADERS), &header, sizeof(header)),
	             0);
	ring_desc(ring, 0, DISK_HEADERS, sizeof(header), VRING_DESC_F_NEXT, 1);
	for (uint16_t i = 1; i <= mib; i++)
		ring_desc(ring, i, LARGE_AT + shift, MIB - (shift ? 4096 : 0),
		          VRING_DESC_F_NEXT | DISK_IN, (uint16_t)(i + 1));
	ring_desc(ring, (uint16_t)(mib + 1), DISK_HEADERS + sizeof(header), 1, DISK_IN, 0);
	ring_offer(ring, 0);
}

static uint64_t operations(void)
{
	return atomic_load(&g.m.loop.stats.sqes);
}

static void pause_and_park(void)
{
	io_loop_pause(&g.m.loop);
	cr_assert_eq(io_loop_await(&g.m.loop, IO_PARKED), IO_PARKED);
}

/* What was held is held: the loop has nothing to do, and sleeps. */
static void nothing_goes_on(void)
{
	uint64_t before = operations();

	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(operations(), before, "paused, but it goes on");
}

Test(block_pause, a_large_request_is_held_between_two_pieces, .init = set_up_large,
     .fini = tear_down)
{
	static uint8_t expected[MIB];
	uint64_t before = operations();

	memset(expected, 0x5a, sizeof(expected));
	cr_assert_eq(pwrite(g.fd, expected, sizeof(expected), 4096 + (LARGE_MIB - 1) * (off_t)MIB),
	             (ssize_t)MIB);
	for (int i = 0; i < 30; i++)
		offer_large(i % DISK_QUEUES, LARGE_MIB, 0);
	pause_and_park();
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 0);
	cr_assert_lt(operations() - before, 100, "of 1800 pieces");
	nothing_goes_on();
	/* A pause of what is held is at once, and taken back it goes on. */
	io_loop_resume(&g.m.loop);
	pause_and_park();
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 0);
	io_loop_resume(&g.m.loop);
	driver_await_used(&g.rings[0], 15);
	driver_await_used(&g.rings[1], 15);
	cr_assert_eq(*disk_status(&g, 0), OK);
	cr_assert_arr_eq(guest_memory_at(&g.m.memory, GPA(LARGE_AT), MIB), expected,
	                 sizeof(expected));
	cr_assert_eq(block_count(&g.block, BLOCK_BYTES_READ), 30 * LARGE_MIB * MIB);
}

/* Those that wait for the bounce buffer are held with the one that has it. */
Test(block_pause, requests_for_the_bounce_buffer_are_held, .fini = tear_down)
{
	disk_start(&g, &(struct disk_options){
			       .directory = "/var/tmp", .direct = true, .bytes = 64 * MIB });
	for (int i = 0; i < 5; i++)
		offer_large(0, 2, 1);
	pause_and_park();
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 0);
	nothing_goes_on();
	io_loop_resume(&g.m.loop);
	driver_await_used(&g.rings[0], 5);
	cr_assert_eq(*disk_status(&g, 0), OK);
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 5);
	cr_assert_eq(block_count(&g.block, BLOCK_BOUNCED), 5);
	pause_and_park();
}

/* Ranges alike, whichever way they are done: by one operation each where there are holes, by many
 * where zeroes are written. */
Test(block_pause, ranges_are_held_between_two_operations)
{
	static const struct {
		struct disk_ranges can;
		uint32_t type, sectors; /* of a range */
	} rows[] = {
		{ { .align = 1 }, VIRTIO_BLK_T_WRITE_ZEROES, 2 * MIB / DISK_SECTOR },
		{ { .discard = true, .punch = true, .align = 1 }, VIRTIO_BLK_T_DISCARD, 8 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_blk_discard_write_zeroes ranges[BLOCK_RANGES_MAX] = { 0 };
		uint8_t last = 0x5a;
		off_t end = 0;

		disk_start(&g, &(struct disk_options){ .directory = "/dev/shm",
		                                       .ranges = &rows[i].can,
		                                       .bytes = 64 * MIB });
		for (uint32_t j = 0; j < BLOCK_RANGES_MAX; j++) {
			ranges[j].sector = 8 + (uint64_t)j * rows[i].sectors;
			ranges[j].num_sectors = rows[i].sectors;
			end = (off_t)(ranges[j].sector + rows[i].sectors) * DISK_SECTOR;
		}
		cr_assert_eq(pwrite(g.fd, &last, 1, end - 1), 1);
		memcpy(disk_data(&g, 0), ranges, sizeof(ranges));
		disk_offer(&g, 0, 0, rows[i].type, 0, sizeof(ranges));
		pause_and_park();
		cr_assert_eq(ring_used_idx(&g.rings[0]), 0, "row %zu", i);
		nothing_goes_on();
		cr_assert(pread(g.fd, &last, 1, end - 1) == 1 && last == 0x5a, "row %zu", i);
		io_loop_resume(&g.m.loop);
		driver_await_used(&g.rings[0], 1);
		cr_assert_eq(*disk_status(&g, 0), OK);
		cr_assert(pread(g.fd, &last, 1, end - 1) == 1 && last == 0, "row %zu", i);
		disk_stop(&g);
	}
}

/* While the loop is paused as well; and what was given up is no error of the disk. */
Test(block_pause, a_reset_drops_the_rest, .init = set_up_large, .fini = tear_down)
{
	for (int paused = 0; paused < 2; paused++) {
		uint64_t before = operations();

		for (int i = 0; i < DISK_SIZE; i++)
			offer_large(0, LARGE_MIB, 0);
		if (paused)
			pause_and_park();
		else
			driver_kick(&g.driver, 0);
		driver_reset(&g.driver);
		cr_assert_lt(operations() - before, 1000, "of 3840 pieces");
		nothing_goes_on();
		cr_assert_eq(block_count(&g.block, BLOCK_ERRORS), 0);
		if (paused)
			io_loop_resume(&g.m.loop);
		disk_bring_up(&g, 0);
		cr_assert_eq(disk_ask(&g, VIRTIO_BLK_T_IN, 0, 4096), OK);
	}
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
}

/* The last words before a power-off: what is not held already goes on. */
Test(block_pause, a_stop_lets_a_request_go_on, .init = set_up_large, .fini = tear_down)
{
	offer_large(0, LARGE_MIB, 0);
	machine_stop(&g.m, 10000);
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 1);
}

Test(block_pause, a_stop_does_not_wait_for_what_is_held, .init = set_up_large, .fini = tear_down)
{
	uint64_t began;

	for (int i = 0; i < 3; i++)
		offer_large(0, LARGE_MIB, 0);
	pause_and_park();
	began = io_now_ns();
	machine_stop(&g.m, 60000);
	cr_assert_lt(io_now_ns() - began, 30 * NS_PER_S);
	cr_assert_eq(block_count(&g.block, BLOCK_READS), 0);
}
