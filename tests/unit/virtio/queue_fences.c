/* SPDX-License-Identifier: MIT */
/* The full fences of virtq_publish and virtq_want_kicks, on the processor that runs the test.
 *
 * Device and driver each write a word and then look at the other's (VIRTIO 1.2 §2.7.7, §2.7.10):
 * without a fence between the two a processor may look before its write is seen, x86 too, which
 * keeps stores in a buffer. Then both sides miss each other: an interrupt or a kick that nobody
 * sends. The functions are the product's; the driver's half, with its fence, is here. Two threads
 * on two processors meet at a barrier for each round and do their half at once, each a varying
 * moment late; that both missed each other in one of the rounds is the failure. Before a round the
 * words that will be written are in both caches, and the device has the one that it will look at:
 * so its look is quick, and its write is slow. */
#include <criterion/criterion.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "rig/ring.h"
#include "virtio/queue.h"

#define SIZE 8
#define RINGS 0x10000
#define DATA 0x40000
#ifdef __SANITIZE_THREAD__
/* for the races it looks for; each is many times slower, and has fences of its own */
#define ROUNDS 2000u
#else
#define ROUNDS 200000u
#endif
/* Where two processors take turns, as in an emulator of one thread, a round takes a turn for each
 * meeting and shows nothing: the game ends after so many seconds, with the rounds that it had. */
#define GAME_NS (10 * 1000000000ULL)
#define FAR 0x4000 /* an index that this many completions do not reach */
#define SPINS 1000000u
#define LATE 32u /* moments by which a side can be late */

/* What the sides do in a round. */
struct game {
	const char *name;
	bool event_idx;
	void (*prepare)(uint32_t round); /* by the device's thread, before the round */
	bool (*device)(void);            /* true: it has seen the driver's word */
	bool (*driver)(uint32_t round);  /* the other way round */
};

static struct guest_memory memory;
static struct ring ring;
static struct virtq q;
static struct iovec iov[VIRTQ_IOV_MAX(SIZE)];
static const struct game *game;
/* The words of the rings: flags, index and event of each. */
static uint16_t *avail_flags, *avail_idx, *used_event;
static uint16_t *used_flags, *used_idx, *avail_event;

/* Of a cache line each, so that the barrier disturbs nothing. */
static struct {
	_Atomic uint32_t count;
} __attribute__((aligned(128))) here, there;
static _Atomic bool driver_saw, over;

static uint16_t *word(uint64_t address)
{
	uint16_t *at = guest_memory_at(&memory, GPA(address), 2);

	cr_assert_not_null(at);
	return at;
}

static uint16_t look(const uint16_t *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void put(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Two processors that this process may use, or the test cannot show anything. */
static void choose_processors(cpu_set_t two[2])
{
	cpu_set_t all;
	int found = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET(cpu, &all)) {
			CPU_ZERO(&two[found]);
			CPU_SET(cpu, &two[found++]);
		}
	if (found < 2)
		cr_skip_test("needs two processors");
}

/* Waits until the other side has come as far. Both have to be running to meet, so whoever is early
 * keeps its processor for long before it gives it away: on a busy host the two would miss each
 * other otherwise. */
static void meet(_Atomic uint32_t *mine, _Atomic uint32_t *other, uint32_t round)
{
	atomic_store(mine, round);
	for (uint32_t spins = 1; (int32_t)(atomic_load(other) - round) < 0; spins++)
		if (spins % SPINS == 0)
			sched_yield();
}

static void be_late(uint32_t moments)
{
	for (volatile uint32_t i = 0; i < moments; i++)
		;
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *drive(void *unused)
{
	(void)unused;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		meet(&there.count, &here.count, 3 * round + 1);
		if (atomic_load_explicit(&over, memory_order_relaxed))
			break;
		(void)look(used_idx);
		(void)look(used_flags);
		(void)look(avail_event);
		meet(&there.count, &here.count, 3 * round + 2);
		be_late(round / LATE % LATE);
		atomic_store_explicit(&driver_saw, game->driver(round), memory_order_relaxed);
		meet(&there.count, &here.count, 3 * round + 3);
	}
	return NULL;
}

static void set_up_rings(void)
{
	struct virtq_config config;

	ring_memory(&memory);
	ring_init(&ring, &memory, SIZE, RINGS);
	config = ring_config(&ring);
	config.event_idx = game->event_idx;
	cr_assert_eq(virtq_init(&q, &memory, SIZE), 0);
	cr_assert_eq(virtq_enable(&q, &config), 0);
	for (uint16_t i = 0; i < SIZE; i++)
		ring_desc(&ring, i, DATA, 1, 0, 0);
	avail_flags = word(ring.avail);
	avail_idx = word(ring.avail + 2);
	used_event = word(ring.avail + 4 + 2 * SIZE);
	used_flags = word(ring.used);
	used_idx = word(ring.used + 2);
	avail_event = word(ring.used + 4 + 8 * SIZE);
	/* The chain of round r is descriptor r modulo SIZE: only avail.idx has to move. */
	for (uint16_t i = 0; i < SIZE; i++)
		put(word(ring.avail + 4 + 2u * i), i);
}

static void play(const struct game *which)
{
	cpu_set_t before, two[2];
	uint64_t end = clock_ns() + GAME_NS;
	uint32_t missed = 0, round;
	pthread_t thread;

	game = which;
	atomic_store(&over, false);
	atomic_store(&here.count, 0);
	atomic_store(&there.count, 0);
	choose_processors(two);
	set_up_rings();
	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cr_assert_eq(pthread_create(&thread, NULL, drive, NULL), 0);
	cr_assert_eq(pthread_setaffinity_np(thread, sizeof(two[1]), &two[1]), 0);
	cr_assert_eq(sched_setaffinity(0, sizeof(two[0]), &two[0]), 0);
	for (round = 0; round < ROUNDS; round++) {
		bool device_saw;

		game->prepare(round);
		atomic_store_explicit(&over, clock_ns() > end, memory_order_relaxed);
		meet(&here.count, &there.count, 3 * round + 1);
		if (atomic_load_explicit(&over, memory_order_relaxed))
			break;
		meet(&here.count, &there.count, 3 * round + 2);
		be_late(round % LATE);
		device_saw = game->device();
		meet(&here.count, &there.count, 3 * round + 3);
		missed += !device_saw && !atomic_load_explicit(&driver_saw, memory_order_relaxed);
	}
	pthread_join(thread, NULL);
	cr_assert_eq(sched_setaffinity(0, sizeof(before), &before), 0);
	virtq_done(&q);
	ring_memory_done(&memory);
	cr_assert_eq(missed, 0, "%s: in %u of %u rounds neither side saw the other", game->name,
	             missed, round);
}

/* The device takes the chain of a round, which is available, and completes it. */
static void serve(uint32_t round)
{
	struct virtq_chain chain = { .iov = iov, .iov_max = ARRAY_SIZE(iov) };

	cr_assert_eq(virtq_pop(&q, &chain), 1);
	cr_assert_eq(chain.head, round % SIZE);
	virtq_push(&q, chain.head, 0);
}

/* -------------------------------------------------------------------------------- interrupts */

/* A completion that is not published, and a driver that wants no interrupt so far. */
static void complete_unwatched(uint32_t round)
{
	put(avail_idx, (uint16_t)(round + 1));
	serve(round);
	put(used_event, (uint16_t)(round - FAR));
	put(avail_flags, VRING_AVAIL_F_NO_INTERRUPT);
}

static bool publish(void)
{
	return virtq_publish(&q);
}

static bool wish_for_interrupt_and_look(uint32_t round)
{
	put(used_event, (uint16_t)round);
	put(avail_flags, 0);
	atomic_thread_fence(memory_order_seq_cst);
	return look(used_idx) != (uint16_t)round;
}

/* ------------------------------------------------------------------------------------- kicks */

/* The device has served all there was, and wants no kick so far. */
static void serve_unwatched(uint32_t round)
{
	if (round > 0) {
		serve(round - 1);
		(void)virtq_publish(&q);
	}
	put(avail_event, (uint16_t)(round - FAR));
	put(used_flags, VRING_USED_F_NO_NOTIFY);
}

static bool want_kicks(void)
{
	return virtq_want_kicks(&q);
}

static bool offer_and_look_by_event(uint32_t round)
{
	put(avail_idx, (uint16_t)(round + 1));
	atomic_thread_fence(memory_order_seq_cst);
	return look(avail_event) == (uint16_t)round;
}

static bool offer_and_look_by_flag(uint32_t round)
{
	put(avail_idx, (uint16_t)(round + 1));
	atomic_thread_fence(memory_order_seq_cst);
	return !(look(used_flags) & VRING_USED_F_NO_NOTIFY);
}

/* One after the other: side by side they would take each other's processors. */
Test(queue_fences, what_one_side_writes_or_the_other_is_seen, .timeout = 600)
{
	static const struct game games[] = {
		{ "interrupts by event", true, complete_unwatched, publish,
		  wish_for_interrupt_and_look },
		{ "interrupts by flag", false, complete_unwatched, publish,
		  wish_for_interrupt_and_look },
		{ "kicks by event", true, serve_unwatched, want_kicks, offer_and_look_by_event },
		{ "kicks by flag", false, serve_unwatched, want_kicks, offer_and_look_by_flag },
	};

	for (size_t i = 0; i < ARRAY_SIZE(games); i++)
		play(&games[i]);
}
