/* SPDX-License-Identifier: MIT */
/* Random bytes: buffers are filled, with bytes that differ. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#define BYTES 64u

static struct virtio rng;
static struct queue q;
static volatile uint64_t numbers[2][BYTES / 8];

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	const struct part parts[2] = { { numbers[0], BYTES, true }, { numbers[1], BYTES, true } };
	uint32_t length;

	irq_begin();
	virtio_find(VIRTIO_RNG, 0, &rng);
	virtio_begin(&rng, F_EVENT_IDX);
	queue_begin(&q, &rng, 0, 8);
	virtio_start(&rng);
	for (unsigned i = 0; i < 2; i++) {
		(void)queue_add(&q, &parts[i], 1);
		queue_kick(&q);
		(void)queue_wait(&q, &length);
		check_equal(length, BYTES);
	}
	/* Two equal ones among sixteen are an accident of 1 in 2^57. */
	for (unsigned i = 0; i < BYTES / 8; i++)
		for (unsigned j = 0; j < BYTES / 8; j++)
			check(numbers[0][i] != numbers[1][j]);
	await(irq_count[0] > 0);
	guest_power_off(GUEST_PASS, 0);
}
