/* SPDX-License-Identifier: MIT */
/* The split virtqueue against a driver that keeps the rules and one that breaks each of them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "rig/ring.h"
#include "tests/unit/rig/wait.h"
#include "virtio/queue.h"

#define SIZE 8
#define RINGS 0x10000
#define DATA 0x40000
#define TABLE 0x50000
#define R 0
#define W VRING_DESC_F_WRITE
#define N VRING_DESC_F_NEXT
#define I VRING_DESC_F_INDIRECT
#define BOUNDARY RING_NODE_BYTES
#define END (RING_NODES * RING_NODE_BYTES)

static struct guest_memory memory;
static struct ring ring;
static struct virtq q;
static struct iovec iov[VIRTQ_IOV_MAX(SIZE)];
static struct virtq_chain chain;

static void set_up(bool indirect, bool event_idx)
{
	struct virtq_config config;

	ring_memory(&memory);
	ring_init(&ring, &memory, SIZE, RINGS);
	config = ring_config(&ring);
	config.indirect = indirect;
	config.event_idx = event_idx;
	cr_assert_eq(virtq_init(&q, &memory, SIZE), 0);
	cr_assert_eq(virtq_enable(&q, &config), 0);
	chain = (struct virtq_chain){ .iov = iov, .iov_max = ARRAY_SIZE(iov) };
}

static void set_up_full(void)
{
	set_up(true, true);
}

static void set_up_plain(void)
{
	set_up(false, false);
}

static void tear_down(void)
{
	virtq_done(&q);
	ring_memory_done(&memory);
}

TestSuite(queue, .timeout = 120);

Test(queue, a_chain_comes_out_as_it_was_put_in, .init = set_up_full, .fini = tear_down)
{
	uint8_t bytes[20] = { 0 };

	memcpy(guest_memory_at(&memory, GPA(DATA), 10), "0123456789", 10);
	ring_desc(&ring, 5, DATA, 4, N, 2);
	ring_desc(&ring, 2, DATA + 4, 6, N, 7);
	ring_desc(&ring, 7, DATA + 100, 50, W, 0);
	ring_offer(&ring, 5);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(chain.head, 5);
	cr_assert_eq(chain.readable, 2);
	cr_assert_eq(chain.writable, 1);
	cr_assert_eq(chain.readable_bytes, 10);
	cr_assert_eq(chain.writable_bytes, 50);
	cr_assert_eq(virtq_copy_from(&chain, 2, bytes, sizeof(bytes)), 8);
	cr_assert_arr_eq(bytes, "23456789", 8);
	cr_assert_eq(virtq_copy_to(&chain, 48, "xyz", 3), 2);
	cr_assert_arr_eq(guest_memory_at(&memory, GPA(DATA + 148), 2), "xy", 2);
	cr_assert_eq(virtq_pop(&q, &chain), 0);
	virtq_push(&q, 5, 50);
	cr_assert_eq(ring_used_idx(&ring), 0, "nothing is seen before it is published");
	cr_assert(virtq_publish(&q));
	cr_assert_eq(ring_used_idx(&ring), 1);
	cr_assert_eq(ring_used(&ring, 0).id, 5);
	cr_assert_eq(ring_used(&ring, 0).length, 50);
}

Test(queue, the_indices_wrap_at_65536, .init = set_up_plain, .fini = tear_down)
{
	for (uint32_t i = 0; i < 65536 + 100; i++) {
		ring_desc(&ring, (uint16_t)(i % SIZE), DATA + i, 1, R, 0);
		ring_offer(&ring, (uint16_t)(i % SIZE));
		cr_assert_eq(virtq_pop(&q, &chain), 1, "request %u", i);
		cr_assert_eq(chain.head, i % SIZE);
		virtq_push(&q, chain.head, i);
		cr_assert(virtq_publish(&q));
		cr_assert_eq(ring_used_idx(&ring), (uint16_t)(i + 1));
		cr_assert_eq(ring_used(&ring, (uint16_t)i).length, i);
	}
	cr_assert_eq(ring_used_idx(&ring), 100);
}

Test(queue, a_full_ring_across_the_wrap_is_published_as_one, .init = set_up_full, .fini = tear_down)
{
	for (uint32_t i = 0; i < 65532; i++) {
		ring_desc(&ring, 0, DATA, 1, R, 0);
		ring_offer(&ring, 0);
		cr_assert_eq(virtq_pop(&q, &chain), 1);
		virtq_push(&q, 0, 0);
		(void)virtq_publish(&q);
	}
	for (uint16_t i = 0; i < SIZE; i++) {
		ring_desc(&ring, i, DATA, 1, R, 0);
		ring_offer(&ring, i);
	}
	for (uint16_t i = 0; i < SIZE; i++)
		cr_assert_eq(virtq_pop(&q, &chain), 1);
	for (uint16_t i = 0; i < SIZE; i++)
		virtq_push(&q, i, i);
	ring_set_used_event(&ring, 65535);
	cr_assert(virtq_publish(&q), "65535 lies between 65532 and 4");
	cr_assert_eq(ring_used_idx(&ring), 4);
	for (uint16_t i = 0; i < SIZE; i++)
		cr_assert_eq(ring_used(&ring, (uint16_t)(65532 + i)).id, i);
}

/* §2.7.10: an interrupt when the index moves past `event`, for all distances around the wrap. */
Test(queue, event_index_arithmetic)
{
	cr_assert(virtq_passes(0, 1, 0));
	cr_assert_not(virtq_passes(1, 1, 0));
	cr_assert_not(virtq_passes(0, 2, 1));
	cr_assert(virtq_passes(65535, 0, 65535));
	cr_assert(virtq_passes(0, 2, 65534));
	cr_assert_not(virtq_passes(2, 2, 65534));
	for (uint32_t before = 65500; before < 65570; before++)
		for (uint32_t step = 1; step < 20; step++)
			for (uint32_t event = 65450; event < 65620; event++) {
				bool passed = event >= before && event < before + step;

				cr_assert_eq(virtq_passes((uint16_t)event,
				                          (uint16_t)(before + step),
				                          (uint16_t)before),
				             passed, "%u %u %u", event, before, step);
			}
}

static bool complete_one(void)
{
	ring_desc(&ring, 0, DATA, 1, R, 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	virtq_push(&q, 0, 0);
	return virtq_publish(&q);
}

Test(queue, the_driver_says_which_interrupts_it_wants, .init = set_up_full, .fini = tear_down)
{
	ring_set_used_event(&ring, 2);
	cr_assert_not(complete_one());
	cr_assert_not(complete_one());
	cr_assert(complete_one(), "index 2 is completed by the third");
	cr_assert_not(complete_one());
	cr_assert_not(virtq_publish(&q), "nothing to publish, nothing to signal");
}

Test(queue, interrupts_are_suppressed_by_flag, .init = set_up_plain, .fini = tear_down)
{
	cr_assert(complete_one());
	ring_set_avail_flags(&ring, VRING_AVAIL_F_NO_INTERRUPT);
	cr_assert_not(complete_one());
	ring_set_avail_flags(&ring, 0);
	cr_assert(complete_one());
}

Test(queue, kicks_are_suppressed_by_flag, .init = set_up_plain, .fini = tear_down)
{
	virtq_suppress_kicks(&q);
	cr_assert_eq(ring_used_flags(&ring), VRING_USED_F_NO_NOTIFY);
	cr_assert_not(virtq_want_kicks(&q));
	cr_assert_eq(ring_used_flags(&ring), 0);
	ring_desc(&ring, 0, DATA, 1, R, 0);
	ring_offer(&ring, 0);
	cr_assert(virtq_want_kicks(&q), "what came meanwhile is not missed");
}

Test(queue, kicks_are_suppressed_by_event_index, .init = set_up_full, .fini = tear_down)
{
	(void)complete_one();
	virtq_suppress_kicks(&q);
	cr_assert_eq(ring_avail_event(&ring), 0, "stays behind, so no kick");
	cr_assert_not(virtq_want_kicks(&q));
	cr_assert_eq(ring_avail_event(&ring), 1);
}

Test(queue, unpop_gives_the_chain_back, .init = set_up_full, .fini = tear_down)
{
	ring_desc(&ring, 3, DATA, 1, R, 0);
	ring_offer(&ring, 3);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	virtq_unpop(&q);
	cr_assert_eq(q.in_flight, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(chain.head, 3);
}

Test(queue, a_buffer_over_adjoining_regions_comes_in_pieces, .init = set_up_full, .fini = tear_down)
{
	ring_desc(&ring, 0, BOUNDARY - 10, 30, W, 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(chain.writable, 2);
	cr_assert_eq(chain.writable_bytes, 30);
	cr_assert_eq(virtq_copy_to(&chain, 8, "abcd", 4), 4);
	cr_assert_arr_eq(guest_memory_at(&memory, GPA(BOUNDARY - 2), 2), "ab", 2);
	cr_assert_arr_eq(guest_memory_at(&memory, GPA(BOUNDARY), 2), "cd", 2);
}

Test(queue, an_indirect_table_ends_its_chain, .init = set_up_full, .fini = tear_down)
{
	ring_table_desc(&ring, TABLE, 0, DATA, 4, N, 2);
	ring_table_desc(&ring, TABLE, 2, DATA + 4, 6, W, 0);
	ring_desc(&ring, 0, DATA + 50, 1, N, 1);
	ring_desc(&ring, 1, TABLE, 48, I | W, 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1, "a direct part, then a table: §2.7.5.3.2");
	cr_assert_eq(chain.readable, 2);
	cr_assert_eq(chain.readable_bytes, 5);
	cr_assert_eq(chain.writable_bytes, 6);
}

Test(queue, an_indirect_table_over_regions_and_off_alignment, .init = set_up_full,
     .fini = tear_down)
{
	struct vring_desc table[2] = {
		{ .addr = DATA, .len = 3, .flags = N, .next = 1 },
		{ .addr = DATA + 8, .len = 5, .flags = W },
	};

	cr_assert_eq(guest_memory_write(&memory, GPA(BOUNDARY - 13), table, sizeof(table)), 0);
	ring_desc(&ring, 0, BOUNDARY - 13, sizeof(table), I, 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(chain.readable_bytes, 3);
	cr_assert_eq(chain.writable_bytes, 5);
}

Test(queue, a_chain_as_long_as_the_queue_is_fine, .init = set_up_full, .fini = tear_down)
{
	for (uint16_t i = 0; i < SIZE; i++)
		ring_desc(&ring, i, DATA + i, 1, i + 1 < SIZE ? N : 0, (uint16_t)(i + 1));
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(chain.readable, SIZE);
}

Test(queue, a_dead_queue_touches_nothing, .init = set_up_full, .fini = tear_down)
{
	ring_desc(&ring, 0, DATA, 1, R, 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	virtq_kill(&q);
	cr_assert_eq(q.in_flight, 1);
	virtq_push(&q, 0, 1);
	cr_assert_eq(q.in_flight, 0);
	cr_assert_not(virtq_publish(&q));
	cr_assert_eq(ring_used_idx(&ring), 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 0);
	cr_assert_not(virtq_want_kicks(&q));
	cr_assert_not(virtq_available(&q));
}

/* --------------------------------------------------------------------- a driver that lies */

struct lie {
	const char *name;
	const char *fault; /* words of what the queue calls it */
	struct {
		uint16_t index;
		uint64_t address;
		uint32_t length;
		uint16_t flags, next;
	} ring[4], table[4];
	uint16_t head;
};

static const struct lie lies[] = {
	{ "head beyond the size", "head beyond", .head = SIZE },
	{ "head far beyond the size", "head beyond", .head = 0xffff },
	{ "next beyond the size", "index beyond", .ring = { { 0, DATA, 1, N, SIZE } } },
	{ "a loop of two", "a loop", .ring = { { 0, DATA, 1, N, 1 }, { 1, DATA, 1, N, 0 } } },
	{ "a loop of one", "a loop", .ring = { { 0, DATA, 1, N, 0 } } },
	{ "length 0", "length 0", .ring = { { 0, DATA, 0, 0, 0 } } },
	{ "address and length wrap", "wraps", .ring = { { 0, ~0ULL - 3, 8, 0, 0 } } },
	{ "address and length wrap to 0", "wraps", .ring = { { 0, ~0ULL - 7, 8, 0, 0 } } },
	{ "beyond RAM", "not in RAM", .ring = { { 0, END, 1, 0, 0 } } },
	{ "out of RAM at its end", "not in RAM", .ring = { { 0, END - 1, 2, W, 0 } } },
	{ "in the hole", "not in RAM", .ring = { { 0, GUEST_HOLE_START, 4096, W, 0 } } },
	{ "across the hole", "not in RAM",
	  .ring = { { 0, GUEST_HOLE_START - 1, 0xffffffff, W, 0 } } },
	{ "readable after writable", "readable",
	  .ring = { { 0, DATA, 1, N | W, 1 }, { 1, DATA, 1, 0, 0 } } },
	{ "indirect with next", "has a next", .ring = { { 0, TABLE, 16, I | N, 1 } },
	  .table = { { 0, DATA, 1, 0, 0 } } },
	{ "indirect of length 0", "impossible", .ring = { { 0, TABLE, 0, I, 0 } },
	  .table = { { 0, DATA, 1, 0, 0 } } },
	{ "indirect of odd length", "impossible", .ring = { { 0, TABLE, 17, I, 0 } },
	  .table = { { 0, DATA, 1, 0, 0 } } },
	{ "indirect shorter than one", "impossible", .ring = { { 0, TABLE, 15, I, 0 } },
	  .table = { { 0, DATA, 1, 0, 0 } } },
	{ "nested indirect", "within", .ring = { { 0, TABLE, 32, I, 0 } },
	  .table = { { 0, TABLE, 16, I, 0 } } },
	{ "next beyond the table", "index beyond", .ring = { { 0, TABLE, 32, I, 0 } },
	  .table = { { 0, DATA, 1, N, 2 } } },
	{ "a loop in the table", "a loop", .ring = { { 0, TABLE, 32, I, 0 } },
	  .table = { { 0, DATA, 1, N, 1 }, { 1, DATA, 1, N, 0 } } },
	{ "a table beyond RAM", "table that is not in RAM", .ring = { { 0, END, 16, I, 0 } } },
	{ "a table half beyond RAM", "table that is not in RAM",
	  .ring = { { 0, END - 8, 16, I, 0 } } },
	{ "a table that wraps", "table", .ring = { { 0, ~0ULL - 15, 32, I, 0 } } },
};

Test(queue, every_lie_is_found, .init = set_up_full, .fini = tear_down)
{
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		const struct lie *lie = &lies[i];
		struct virtq_config config = q.config;

		ring_init(&ring, &memory, SIZE, RINGS);
		cr_assert_eq(virtq_enable(&q, &config), 0);
		/* Entry 0 is the first row; later rows that name it are not there. */
		for (size_t d = 0; d < ARRAY_SIZE(lie->ring); d++) {
			if (d == 0 || lie->ring[d].index != 0)
				ring_desc(&ring, lie->ring[d].index, lie->ring[d].address,
				          lie->ring[d].length, lie->ring[d].flags,
				          lie->ring[d].next);
			if (d == 0 || lie->table[d].index != 0)
				ring_table_desc(&ring, TABLE, lie->table[d].index,
				                lie->table[d].address, lie->table[d].length,
				                lie->table[d].flags, lie->table[d].next);
		}
		ring_offer(&ring, lie->head);
		cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG, "%s", lie->name);
		cr_assert(strstr(q.fault, lie->fault), "%s: %s", lie->name, q.fault);
		cr_assert_eq(q.in_flight, 0);
	}
}

/* Needs 4 GiB of addressed bytes without 4 GiB of RAM: one buffer named many times. */
Test(queue, lengths_that_add_up_past_2_to_the_32)
{
	struct guest_memory big;
	const uint64_t size = 2 * GIB;
	struct ring r;
	struct virtq_config config;

	cr_assert_eq(guest_memory_layout(&big, &size, 1), 0);
	/* Only the addresses of it are computed; the ring lies in a part that exists. */
	big.regions[0].hva = calloc(1, MIB);
	ring_init(&r, &big, SIZE, RINGS);
	config = ring_config(&r);
	cr_assert_eq(virtq_init(&q, &big, SIZE), 0);
	cr_assert_eq(virtq_enable(&q, &config), 0);
	chain = (struct virtq_chain){ .iov = iov, .iov_max = ARRAY_SIZE(iov) };
	ring_desc(&r, 0, 0, 0x7fffffff, N, 1);
	ring_desc(&r, 1, 0, 0x7fffffff, N, 2);
	ring_desc(&r, 2, 0, 1, 0, 0);
	ring_offer(&r, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1, "2^32 - 1 bytes are the most");
	cr_assert_eq(chain.readable_bytes, 0xffffffff);
	ring_desc(&r, 2, 0, 2, 0, 0);
	ring_offer(&r, 0);
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG);
	virtq_done(&q);
	free(big.regions[0].hva);
}

Test(queue, an_avail_index_that_jumps, .init = set_up_full, .fini = tear_down)
{
	ring_desc(&ring, 0, DATA, 1, R, 0);
	ring_set_avail_idx(&ring, SIZE + 1);
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG);
	ring_set_avail_idx(&ring, 0xffff);
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG, "backwards is a jump as well");
	ring_set_avail_idx(&ring, SIZE);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
}

Test(queue, no_more_in_flight_than_the_queue_is_long, .init = set_up_full, .fini = tear_down)
{
	ring_desc(&ring, 0, DATA, 1, R, 0);
	for (int i = 0; i < SIZE; i++)
		ring_offer(&ring, 0);
	for (int i = 0; i < SIZE; i++)
		cr_assert_eq(virtq_pop(&q, &chain), 1);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG);
}

Test(queue, indirect_table_without_negotiation_is_refused, .init = set_up_plain, .fini = tear_down)
{
	ring_table_desc(&ring, TABLE, 0, DATA, 1, 0, 0);
	ring_desc(&ring, 0, TABLE, 16, I, 0);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG);
}

Test(queue, more_segments_than_the_device_takes, .init = set_up_full, .fini = tear_down)
{
	ring_desc(&ring, 0, DATA, 1, N, 1);
	ring_desc(&ring, 1, DATA, 1, 0, 0);
	ring_offer(&ring, 0);
	chain.iov_max = 1;
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG);
}

Test(queue, rings_must_lie_in_ram_aligned_and_apart, .init = set_up_plain, .fini = tear_down)
{
	const struct virtq_config good = ring_config(&ring);
	const struct {
		const char *name;
		uint64_t desc, avail, used;
		uint16_t size;
		int result;
	} rows[] = {
		{ "as it is", good.desc.v, good.avail.v, good.used.v, SIZE, 0 },
		{ "size 0", good.desc.v, good.avail.v, good.used.v, 0, -EINVAL },
		{ "size 3", good.desc.v, good.avail.v, good.used.v, 3, -EINVAL },
		{ "beyond the maximum", good.desc.v, good.avail.v, good.used.v, 16, -EINVAL },
		{ "desc off by 8", good.desc.v + 8, good.avail.v, good.used.v, SIZE, -EFAULT },
		{ "avail off by 1", good.desc.v, good.avail.v + 1, good.used.v, SIZE, -EFAULT },
		{ "used off by 2", good.desc.v, good.avail.v, good.used.v + 2, SIZE, -EFAULT },
		{ "used on desc", good.desc.v, good.avail.v, good.desc.v, SIZE, -EFAULT },
		{ "used into desc", good.desc.v, good.avail.v, good.desc.v - 4, SIZE, -EFAULT },
		{ "avail on desc", good.desc.v, good.desc.v + 126, good.used.v, SIZE, -EFAULT },
		{ "avail on used", good.desc.v, good.used.v, good.used.v, SIZE, -EFAULT },
		{ "desc beyond RAM", END, good.avail.v, good.used.v, SIZE, -EFAULT },
		{ "desc half beyond", END - 64, good.avail.v, good.used.v, SIZE, -EFAULT },
		{ "used wraps", good.desc.v, good.avail.v, ~3ULL, SIZE, -EFAULT },
		{ "avail over regions", good.desc.v, BOUNDARY - 4, good.used.v, SIZE, -EFAULT },
		{ "used in the hole", good.desc.v, good.avail.v, GUEST_HOLE_START, SIZE, -EFAULT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtq_config config = {
			.size = rows[i].size,
			.desc = GPA(rows[i].desc),
			.avail = GPA(rows[i].avail),
			.used = GPA(rows[i].used),
		};

		cr_assert_eq(virtq_enable(&q, &config), rows[i].result, "%s", rows[i].name);
	}
}

/* ------------------------------------------------------ descriptors rewritten while being read */

static _Atomic bool mutating;

/* Flips a descriptor between two buffers in RAM and several that are not. */
static void *mutator(void *unused)
{
	const uint64_t addresses[] = { DATA, END, ~0ULL - 3, BOUNDARY - 4, GUEST_HOLE_START };
	const uint16_t flags[] = { R, W, N, N | W, I };

	(void)unused;
	for (uint32_t i = 0; atomic_load(&mutating); i++)
		ring_desc(&ring, (uint16_t)(i % 3), addresses[i % 5], i % 11, flags[i / 5 % 5],
		          (uint16_t)(i % 9));
	return NULL;
}

Test(queue, what_comes_out_is_in_ram_whatever_the_guest_rewrites, .init = set_up_full,
     .fini = tear_down)
{
	pthread_t thread;
	uint32_t taken = 0;
	uint32_t refused = 0;

	atomic_store(&mutating, true);
	cr_assert_eq(pthread_create(&thread, NULL, mutator, NULL), 0);
	for (uint32_t i = 0; taken < 20000 || refused < 20000; i++) {
		int r;

		ring_offer(&ring, (uint16_t)(i % 3));
		r = virtq_pop(&q, &chain);
		if (r < 0) {
			cr_assert_eq(r, -EBADMSG);
			refused++;
			ring_set_avail_idx(&ring, q.next_avail);
			continue;
		}
		cr_assert_eq(r, 1);
		taken++;
		for (size_t v = 0; v < (size_t)chain.readable + chain.writable; v++) {
			const uint8_t *base = iov[v].iov_base;
			bool inside = false;

			for (size_t n = 0; n < memory.count; n++)
				inside |= base >= memory.regions[n].hva &&
				          base + iov[v].iov_len <=
				                  memory.regions[n].hva + memory.regions[n].size;
			cr_assert(inside);
		}
		virtq_push(&q, chain.head, 0);
		(void)virtq_publish(&q);
	}
	atomic_store(&mutating, false);
	wait_join(thread, NULL);
}
