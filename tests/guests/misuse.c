/* SPDX-License-Identifier: MIT */
/* A well-formed chain that is no request of its device, by its number in a table
 * (guest_numbers[0]): the device asks for a reset, and serves after it. With guest_numbers[1] it
 * does that for good, and sleeps until the device asks: who polls takes the processor of an
 * emulated host from the device. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#define VSOCK_HEADER 44u
#define F_CTRL_VQ (1ULL << 17)
#define QUEUES 3

static struct virtio device;
static struct queue queues[QUEUES];
static volatile uint8_t bytes[256] __attribute__((aligned(8)));

/* A packet from CID 3 to the host whose length is more than what follows it. */
static void vsock_packet(void)
{
	*(volatile uint64_t *)&bytes[0] = 3;
	*(volatile uint64_t *)&bytes[8] = 2;
	*(volatile uint32_t *)&bytes[24] = 0xfffffff0; /* len */
	*(volatile uint16_t *)&bytes[28] = 1;          /* a stream */
	*(volatile uint16_t *)&bytes[30] = 5;          /* RW */
}

static const struct misuse {
	uint16_t type, queue;
	uint64_t features;
	void (*prepare)(void);
	unsigned count;
	struct part parts[2];
} misuses[] = {
	{ VIRTIO_RNG, 0, 0, NULL, 1, { { bytes, 16, false } } },
	{ VIRTIO_RNG, 0, 0, NULL, 2, { { bytes, 16, false }, { bytes, 16, true } } },
	{ VIRTIO_VSOCK, 1, 0, NULL, 1, { { bytes, VSOCK_HEADER - 1, false } } },
	{ VIRTIO_VSOCK, 1, 0, vsock_packet, 1, { { bytes, VSOCK_HEADER, false } } },
	{ VIRTIO_VSOCK,
	  1,
	  0,
	  vsock_packet,
	  2,
	  { { bytes, VSOCK_HEADER, false }, { bytes, 16, false } } },
	{ VIRTIO_NET, 0, 0, NULL, 1, { { bytes, 256, false } } },
	{ VIRTIO_NET, 2, F_CTRL_VQ, NULL, 1, { { bytes, 2, false } } },
	{ VIRTIO_BALLOON, 0, 0, NULL, 1, { { bytes, 5, false } } },
	{ VIRTIO_BALLOON, 0, 0, NULL, 1, { { bytes, 4 * 65537, false } } },
	{ VIRTIO_BALLOON, 1, 0, NULL, 1, { { bytes, 4, true } } },
};

static void begin(const struct misuse *m)
{
	guest_pages_reset();
	virtio_begin(&device, m->features);
	for (uint16_t i = 0; i < device.queues && i < QUEUES; i++)
		queue_begin(&queues[i], &device, i, 8);
	virtio_start(&device);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	const struct misuse *m = &misuses[guest_numbers[0]];
	struct queue *q;

	check(guest_numbers[0] < sizeof(misuses) / sizeof(misuses[0]));
	irq_begin();
	virtio_find(m->type, 0, &device);
	check(m->queue < device.queues);
	for (unsigned round = 0; round < 2; round++) {
		begin(m);
		check(!(virtio_status(&device) & STATUS_NEEDS_RESET));
		if (m->prepare)
			m->prepare();
		q = &queues[m->queue];
		(void)queue_add(q, m->parts, m->count);
		queue_ring(q);
		await(virtio_status(&device) & STATUS_NEEDS_RESET);
		await(irq_count[device.queues] > 0);
	}
	while (guest_numbers[1]) {
		begin(m);
		(void)queue_add(&queues[m->queue], m->parts, m->count);
		queue_ring(&queues[m->queue]);
		await(virtio_status(&device) & STATUS_NEEDS_RESET);
	}
	begin(m);
	guest_power_off(GUEST_PASS, 0);
}
