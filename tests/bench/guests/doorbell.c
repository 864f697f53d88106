/* SPDX-License-Identifier: MIT */
/* From the doorbell to the interrupt: one byte is asked of a random generator, and HLT waits for
 * it. RAX is cycles of the TSC for one, from before the doorbell until the guest has seen the used
 * index move.
 *
 * Under the shim the device is virtio-rng, with one descriptor that is used again and again; on
 * bare KVM (nothing answers in configuration space) it is two counters and a doorbell. The loop is
 * the same. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#include "doorbell.h"
#include "lib/apic.h"

#define TRIPS 1000u

static struct virtio rng;
static struct queue q;

static uint64_t trips(volatile uint16_t *avail, volatile uint16_t *used,
                      volatile uint16_t *doorbell)
{
	uint16_t index = *avail;
	uint64_t start;

	__asm__ volatile("cli" : : : "memory");
	start = rdtsc();
	for (unsigned i = 0; i < TRIPS; i++) {
		*avail = ++index;
		*doorbell = 0;
		while (*used != index)
			wait_for_interrupt();
	}
	return (rdtsc() - start) / TRIPS;
}

static uint64_t virtio_trips(void)
{
	static volatile uint8_t byte;
	const struct part part = { &byte, 1, true };
	uint32_t length;

	virtio_find(VIRTIO_RNG, 0, &rng);
	virtio_begin(&rng, 0);
	queue_begin(&q, &rng, 0, 8);
	virtio_start(&rng);
	(void)queue_add(&q, &part, 1);
	queue_ring(&q);
	(void)queue_wait(&q, &length);
	/* Every slot of the ring names the same descriptor. */
	for (unsigned i = 0; i < 8; i++)
		write16(q.avail + 4 + 2 * i, 0);
	return trips((volatile uint16_t *)(q.avail + 2), (volatile uint16_t *)(q.used + 2),
	             (volatile uint16_t *)q.doorbell);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	bool bare = read32(LAYOUT_ECAM) == ~0u;
	uint64_t cycles;

	(void)index;
	(void)count;
	(void)ram;
	(void)stack;
	irq_begin();
	cycles = bare ? trips((volatile uint16_t *)DOORBELL_AVAIL,
	                      (volatile uint16_t *)DOORBELL_USED,
	                      (volatile uint16_t *)DOORBELL_ADDRESS)
	              : virtio_trips();
	guest_power_off(cycles, bare);
}
