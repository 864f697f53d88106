/* SPDX-License-Identifier: MIT */
/* The virtqueue alone: any rings, any indirect tables, and while they are walked a second thread
 * that rewrites them. What comes out must lie in guest memory, with sums that are right. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#define SIZE 16

static struct guest_memory memory;
static struct ring ring;
static struct virtq q;
static struct iovec iov[VIRTQ_IOV_MAX(SIZE)];
static struct virtq_chain chain = { .iov = iov, .iov_max = ARRAY_SIZE(iov) };
static _Atomic uint64_t mutations; /* seed of what the other thread writes; 0: it rests */

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Rewrites words of the descriptors, the available ring and a table, most often with plausible
 * values. */
static void *mutate(void *context)
{
	uint64_t state = 1;

	(void)context;
	for (;;) {
		uint64_t seed = atomic_load(&mutations), at, value;
		uint32_t *word;

		if (seed == 0) {
			pause_a_little();
			continue;
		}
		state ^= seed;
		state = state ? state : 1;
		at = next(&state);
		value = next(&state);
		at = at & 1   ? ring.desc + at % (16 * SIZE)
		     : at & 2 ? ring.avail + at % 64
		              : SCRIPT_DATA + at % 256;
		word = guest_memory_at(&memory, GPA(at & ~3ULL), 4);
		__atomic_store_n(word,
		                 value & 0x300 ? (uint32_t)value & 0x0007000f : (uint32_t)value,
		                 __ATOMIC_RELAXED);
	}
	return NULL;
}

static void check_chain(void)
{
	uint64_t sums[2] = { 0 };

	cr_assert_leq(chain.readable + chain.writable, chain.iov_max);
	cr_assert_lt(chain.head, q.config.size);
	for (uint16_t i = 0; i < chain.readable + chain.writable; i++) {
		const uint8_t *base = iov[i].iov_base;
		bool inside = false;

		cr_assert_gt(iov[i].iov_len, 0);
		for (size_t r = 0; r < memory.count; r++)
			inside |= base >= memory.regions[r].hva &&
			          iov[i].iov_len <= memory.regions[r].size &&
			          base - memory.regions[r].hva <=
			                  (ptrdiff_t)(memory.regions[r].size - iov[i].iov_len);
		cr_assert(inside);
		sums[i >= chain.readable] += iov[i].iov_len;
	}
	cr_assert_eq(sums[0], chain.readable_bytes);
	cr_assert_eq(sums[1], chain.writable_bytes);
}

static void pop(struct input *input)
{
	uint8_t bytes[64] = { 0 };
	uint32_t offset;

	if (virtq_pop(&q, &chain) != 1)
		return;
	check_chain();
	offset = (uint32_t)take(input, 2);
	(void)virtq_copy_from(&chain, offset, bytes, sizeof(bytes));
	/* Not over the rings: what the device writes there is its own doing, and this test's
	 * end. */
	if (take(input, 1) & 1)
		virtq_unpop(&q);
	else
		virtq_push(&q, chain.head, offset);
}

static void enable(struct input *input)
{
	struct virtq_config config = ring_config(&ring);
	uint8_t what = (uint8_t)take(input, 1);

	config.indirect = what & 1;
	config.event_idx = what & 2;
	if (what & 4)
		config.desc = GPA(take(input, 3));
	if (what & 8)
		config.avail = GPA(take(input, 3));
	if (what & 16)
		config.used = GPA(take(input, 3));
	if (what & 32)
		config.size = (uint16_t)take(input, 2);
	(void)virtq_enable(&q, &config);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	pthread_t thread;

	(void)argc, (void)argv;
	ring_memory(&memory);
	ring_init(&ring, &memory, SIZE, 0x10000);
	cr_assert_eq(virtq_init(&q, &memory, SIZE), 0);
	cr_assert_eq(pthread_create(&thread, NULL, mutate, NULL), 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	script_clear(&memory);
	ring_init(&ring, &memory, SIZE, 0x10000);
	virtq_kill(&q);
	atomic_store(&mutations, take(&input, 1) & 1 ? take(&input, 4) : 0);
	enable(&input);
	for (int ops = 0; input.left > 0 && ops < SCRIPT_OPS_MAX; ops++) {
		uint8_t op = (uint8_t)take(&input, 1) % 16;

		if (op < 10)
			script_ring_step(&input, &ring, &memory, op);
		else if (op < 13)
			pop(&input);
		else if (op == 13)
			(void)virtq_publish(&q);
		else if (op == 14)
			(void)virtq_want_kicks(&q);
		else
			enable(&input);
	}
	for (int i = 0; i < 2 * SIZE; i++)
		pop(&input);
	(void)virtq_publish(&q);
	atomic_store(&mutations, 0);
	cr_assert_leq(q.in_flight + q.done_count, SIZE);
	return 0;
}
