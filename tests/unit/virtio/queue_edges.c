/* SPDX-License-Identifier: MIT */
/* The split virtqueue at its bounds: the last value that is right and the first that is wrong.
 * Sizes and offsets are those of VIRTIO 1.2 §2.7, as numbers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "rig/ring.h"
#include "virtio/queue.h"

#define SIZE 8
#define RINGS 0x10000
#define DATA 0x40000
#define TABLE 0x50000
#define W VRING_DESC_F_WRITE
#define N VRING_DESC_F_NEXT
#define I VRING_DESC_F_INDIRECT
#define END (RING_NODES * RING_NODE_BYTES)
/* §2.7: 16 bytes a descriptor; 6 and 2 an entry; 6 and 8 an entry. */
#define DESC_BYTES (16 * SIZE)
#define AVAIL_BYTES (6 + 2 * SIZE)
#define USED_BYTES (6 + 8 * SIZE)

static struct guest_memory memory;
static struct ring ring;
static struct virtq q;
static struct iovec iov[VIRTQ_IOV_MAX(2 * SIZE)];
static struct virtq_chain chain;

static void enable(bool indirect, bool event_idx)
{
	struct virtq_config config;

	ring_init(&ring, &memory, SIZE, RINGS);
	config = ring_config(&ring);
	config.indirect = indirect;
	config.event_idx = event_idx;
	cr_assert_eq(virtq_enable(&q, &config), 0);
}

static void set_up(void)
{
	ring_memory(&memory);
	cr_assert_eq(virtq_init(&q, &memory, SIZE), 0);
	enable(true, true);
	chain = (struct virtq_chain){ .iov = iov, .iov_max = ARRAY_SIZE(iov) };
}

static void set_up_plain(void)
{
	set_up();
	enable(false, false);
}

static void tear_down(void)
{
	virtq_done(&q);
	ring_memory_done(&memory);
}

static int offer_and_pop(uint16_t head)
{
	int r;

	ring_offer(&ring, head);
	r = virtq_pop(&q, &chain);
	if (r == 1)
		virtq_push(&q, chain.head, 0);
	(void)virtq_publish(&q);
	return r;
}

/* -------------------------------------------------------------------------------------- chains */

/* `direct` descriptors in the ring, then a table of `indirect` ones if there are any. */
static int pop_long(uint16_t direct, uint16_t indirect)
{
	uint16_t ring_entries = (uint16_t)(direct + (indirect > 0));

	enable(true, true);
	for (uint16_t i = 0; i < direct; i++)
		ring_desc(&ring, i, DATA + i, 1, i + 1 < ring_entries ? N : 0, (uint16_t)(i + 1));
	if (indirect > 0)
		ring_desc(&ring, direct, TABLE, 16u * indirect, I, 0);
	for (uint16_t i = 0; i < indirect; i++)
		ring_table_desc(&ring, TABLE, i, DATA + i, 1, i + 1 < indirect ? N : 0,
		                (uint16_t)(i + 1));
	return offer_and_pop(0);
}

/* §2.7.5.2, §2.7.5.3.1: no chain is longer than the queue, wherever its descriptors lie. */
Test(queue, a_chain_is_as_long_as_the_queue_and_no_longer, .init = set_up, .fini = tear_down)
{
	cr_assert_eq(pop_long(SIZE, 0), 1);
	cr_assert_eq(chain.readable, SIZE);
	for (uint16_t direct = 0; direct < SIZE; direct++) {
		cr_assert_eq(pop_long(direct, (uint16_t)(SIZE - direct)), 1, "%u in the ring",
		             direct);
		cr_assert_eq(chain.readable, SIZE);
		cr_assert_eq(chain.readable_bytes, SIZE);
		cr_assert_eq(pop_long(direct, (uint16_t)(SIZE - direct + 1)), -EBADMSG,
		             "%u in the ring and one too many", direct);
		cr_assert(strstr(q.fault, "a loop"));
	}
}

Test(queue, the_last_descriptor_of_a_table_and_the_one_behind_it, .init = set_up, .fini = tear_down)
{
	for (uint16_t entries = 2; entries <= SIZE; entries++) {
		ring_desc(&ring, 0, TABLE, 16u * entries, I, 0);
		ring_table_desc(&ring, TABLE, 0, DATA, 1, N, (uint16_t)(entries - 1));
		ring_table_desc(&ring, TABLE, (uint16_t)(entries - 1), DATA, 2, 0, 0);
		ring_table_desc(&ring, TABLE, entries, DATA, 4, 0, 0);
		cr_assert_eq(offer_and_pop(0), 1, "table of %u", entries);
		cr_assert_eq(chain.readable_bytes, 3);
		ring_table_desc(&ring, TABLE, 0, DATA, 1, N, entries);
		cr_assert_eq(offer_and_pop(0), -EBADMSG, "table of %u", entries);
		enable(true, true);
	}
	/* The same of the ring: behind it lies the available ring, which is memory too. */
	ring_desc(&ring, 0, DATA, 1, N, SIZE - 1);
	ring_desc(&ring, SIZE - 1, DATA, 2, 0, 0);
	cr_assert_eq(offer_and_pop(0), 1);
	cr_assert_eq(chain.readable_bytes, 3);
	cr_assert_eq(offer_and_pop(SIZE - 1), 1);
	cr_assert_eq(offer_and_pop(SIZE), -EBADMSG);
}

Test(queue, as_many_segments_as_there_is_room_for, .init = set_up, .fini = tear_down)
{
	for (uint16_t i = 0; i < 4; i++)
		ring_desc(&ring, i, DATA, 1, (uint16_t)((i < 3 ? N : 0) | (i > 1 ? W : 0)),
		          (uint16_t)(i + 1));
	chain.iov_max = 4;
	cr_assert_eq(offer_and_pop(0), 1);
	cr_assert_eq(chain.readable, 2);
	cr_assert_eq(chain.writable, 2);
	chain.iov_max = 3;
	cr_assert_eq(offer_and_pop(0), -EBADMSG);
}

/* A completion that is not published yet has its place in the used ring taken. */
Test(queue, completions_not_yet_published_count_as_in_flight, .init = set_up, .fini = tear_down)
{
	ring_desc(&ring, 0, DATA, 1, 0, 0);
	for (uint16_t i = 0; i < SIZE / 2; i++) {
		ring_offer(&ring, 0);
		cr_assert_eq(virtq_pop(&q, &chain), 1);
		virtq_push(&q, 0, 0);
	}
	for (uint16_t i = 0; i < SIZE; i++)
		ring_offer(&ring, 0);
	for (uint16_t i = 0; i < SIZE / 2; i++)
		cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(virtq_pop(&q, &chain), -EBADMSG);
}

/* ---------------------------------------------------------------------------------------- rings */

static int place(uint64_t desc, uint64_t avail, uint64_t used)
{
	const struct virtq_config config = {
		.size = SIZE,
		.desc = GPA(desc),
		.avail = GPA(avail),
		.used = GPA(used),
	};

	return virtq_enable(&q, &config);
}

Test(queue, rings_may_adjoin_and_not_overlap, .init = set_up, .fini = tear_down)
{
	const uint64_t a = 0x20000, far = 0x30000, further = 0x38000;
	const struct {
		const char *name;
		uint64_t desc, avail, used;
		int result;
	} rows[] = {
		{ "avail behind desc", a, a + DESC_BYTES, far, 0 },
		{ "avail on the end of desc", a, a + DESC_BYTES - 2, far, -EFAULT },
		{ "used behind desc", a, far, a + DESC_BYTES, 0 },
		{ "used on the end of desc", a, far, a + DESC_BYTES - 4, -EFAULT },
		{ "desc behind avail", a, a - AVAIL_BYTES, far, 0 },
		{ "desc on the end of avail", a, a - AVAIL_BYTES + 2, far, -EFAULT },
		{ "desc two behind used", a, far, a - USED_BYTES - 2, 0 },
		{ "desc on the end of used", a, far, a - USED_BYTES + 2, -EFAULT },
		{ "avail behind used", further, far + USED_BYTES, far, 0 },
		{ "avail on the end of used", further, far + USED_BYTES - 2, far, -EFAULT },
		{ "used behind avail", further, far + 2, far + 2 + AVAIL_BYTES, 0 },
		{ "used on the end of avail", further, far + 4, far + 2 + AVAIL_BYTES, -EFAULT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_assert_eq(place(rows[i].desc, rows[i].avail, rows[i].used), rows[i].result, "%s",
		             rows[i].name);
}

/* Each ring to its last byte: used_event and avail_event belong to them (§2.7.6, §2.7.8). */
Test(queue, rings_lie_in_ram_to_their_last_byte, .init = set_up, .fini = tear_down)
{
	const uint64_t desc = 0x20000, avail = 0x28000, used = 0x30000;

	cr_assert_eq(place(END - DESC_BYTES, avail, used), 0);
	cr_assert_eq(place(END - DESC_BYTES + 16, avail, used), -EFAULT);
	cr_assert_eq(place(desc, END - AVAIL_BYTES, used), 0);
	cr_assert_eq(place(desc, END - AVAIL_BYTES + 2, used), -EFAULT);
	cr_assert_eq(place(desc, avail, END - USED_BYTES - 2), 0);
	cr_assert_eq(place(desc, avail, END - USED_BYTES + 2), -EFAULT);
	/* §2.7: alignment of 16, 2 and 4, and no more than that. */
	cr_assert_eq(place(desc + 16, avail + 2, used + 4), 0);
	for (uint64_t off = 1; off < 16; off++)
		cr_assert_eq(place(desc + off, avail, used), -EFAULT);
	cr_assert_eq(place(desc, avail + 1, used), -EFAULT);
	for (uint64_t off = 1; off < 4; off++)
		cr_assert_eq(place(desc, avail, used + off), -EFAULT);
}

Test(queue, sizes_are_powers_of_two_up_to_1024)
{
	struct virtq queue;

	for (uint32_t size = 0; size <= 4096; size++) {
		bool good = size > 0 && size <= 1024 && (size & (size - 1)) == 0;

		cr_assert_eq(virtq_init(&queue, &memory, (uint16_t)size), good ? 0 : -EINVAL, "%u",
		             size);
		if (good)
			virtq_done(&queue);
	}
}

/* A queue that was in use and is enabled anew knows nothing of before. */
Test(queue, enabling_begins_anew, .init = set_up, .fini = tear_down)
{
	for (uint16_t left = 0; left < 4; left++) {
		ring_desc(&ring, 0, DATA, 1, 0, 0);
		for (uint16_t i = 0; i < 3; i++)
			cr_assert_eq(offer_and_pop(0), 1);
		/* One popped and one completed are left, as a device leaves them that fails. */
		for (uint16_t i = 0; i < 2; i++) {
			ring_offer(&ring, 0);
			cr_assert_eq(virtq_pop(&q, &chain), 1);
		}
		virtq_push(&q, 0, 77);
		enable(left & 1, left & 2);
		cr_assert_eq(q.in_flight, 0);
		cr_assert_null(q.fault);
		cr_assert_not(virtq_publish(&q), "nothing of before");
		cr_assert_eq(ring_used_idx(&ring), 0);
		cr_assert_not(virtq_available(&q));
		ring_desc(&ring, 5, DATA, 1, 0, 0);
		cr_assert_eq(offer_and_pop(5), 1, "from index 0 on");
		cr_assert_eq(chain.head, 5);
		cr_assert_eq(ring_used_idx(&ring), 1);
		cr_assert_eq(ring_used(&ring, 0).id, 5);
		cr_assert_eq(ring_used(&ring, 0).length, 0);
	}
}

/* -------------------------------------------------------------------------------- notifications */

/* §2.7.6.1: bit 0 of the driver's flags means no interrupts; the others are reserved. */
Test(queue, one_flag_stops_interrupts_and_no_other, .init = set_up_plain, .fini = tear_down)
{
	ring_desc(&ring, 0, DATA, 1, 0, 0);
	for (uint32_t flags = 0; flags <= 0xffff; flags += 0x11) {
		ring_set_avail_flags(&ring, (uint16_t)flags);
		ring_offer(&ring, 0);
		cr_assert_eq(virtq_pop(&q, &chain), 1);
		virtq_push(&q, 0, 0);
		cr_assert_eq(virtq_publish(&q), !(flags & 1), "flags %#x", flags);
	}
}

/* §2.7.10.1: the driver ignores, and the device leaves, what the other way of saying it uses. */
Test(queue, each_way_of_suppressing_leaves_the_other_alone, .init = set_up_plain, .fini = tear_down)
{
	virtq_suppress_kicks(&q);
	cr_assert_eq(ring_used_flags(&ring), 1);
	cr_assert_not(virtq_want_kicks(&q));
	cr_assert_eq(ring_used_flags(&ring), 0);
	cr_assert_eq(ring_avail_event(&ring), 0);
	ring_desc(&ring, 0, DATA, 1, 0, 0);
	cr_assert_eq(offer_and_pop(0), 1);
	cr_assert_not(virtq_want_kicks(&q));
	cr_assert_eq(ring_avail_event(&ring), 0);

	enable(true, true);
	virtq_suppress_kicks(&q);
	cr_assert_eq(ring_used_flags(&ring), 0);
	ring_desc(&ring, 0, DATA, 1, 0, 0);
	for (uint16_t i = 1; i <= 3; i++) {
		cr_assert_eq(offer_and_pop(0), 1);
		cr_assert_not(virtq_want_kicks(&q));
		cr_assert_eq(ring_avail_event(&ring), i);
		cr_assert_eq(ring_used_flags(&ring), 0);
	}
	/* Nor does the flag of the driver count then. */
	ring_set_avail_flags(&ring, 1);
	ring_set_used_event(&ring, 3);
	ring_offer(&ring, 0);
	cr_assert_eq(virtq_pop(&q, &chain), 1);
	virtq_push(&q, 0, 0);
	cr_assert(virtq_publish(&q));
}

/* One decision for a batch: the wish may lie anywhere in it. */
Test(queue, the_wish_for_an_interrupt_anywhere_in_a_batch, .init = set_up, .fini = tear_down)
{
	uint16_t before = 0;

	ring_desc(&ring, 0, DATA, 1, 0, 0);
	for (uint16_t batch = 1; batch <= SIZE; batch++)
		for (int event = -2; event <= batch + 1; event++) {
			for (uint16_t i = 0; i < batch; i++) {
				ring_offer(&ring, 0);
				cr_assert_eq(virtq_pop(&q, &chain), 1);
				virtq_push(&q, 0, 0);
			}
			ring_set_used_event(&ring, (uint16_t)(before + event));
			cr_assert_eq(virtq_publish(&q), event >= 0 && event < batch, "%d of %u",
			             event, batch);
			before = (uint16_t)(before + batch);
			cr_assert_eq(ring_used_idx(&ring), before);
		}
}
