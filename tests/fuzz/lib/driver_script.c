/* SPDX-License-Identifier: MIT */
/* A driver that does what the fuzzer's bytes say. */
#include "driver_script.h"

#include <criterion/criterion.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#define RINGS 0x10000u
#define RING_STEP 0x8000u

void script_clear(const struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		for (uint64_t at = 0; at < memory->regions[i].size; at += 4096) {
			uint8_t *page = memory->regions[i].hva + at;

			if (page[0] || memcmp(page, page + 1, 4095) != 0)
				memset(page, 0, 4096);
		}
}

void script_bring_up(struct driver *driver, struct ring *rings, uint16_t queues, uint16_t size)
{
	driver_reset(driver);
	cr_assert(driver_negotiate(driver, driver_offered(driver)));
	common_out(driver, VIRTIO_PCI_COMMON_MSIX, queues, 2);
	for (uint16_t i = 0; i < queues; i++) {
		ring_init(&rings[i], &driver->m->memory, size, RINGS + RING_STEP * i);
		driver_queue(driver, i, &rings[i]);
	}
	driver_ok(driver);
}

/* Mostly somewhere in the data, else anywhere at all. */
static uint64_t take_address(struct input *input)
{
	uint8_t where = (uint8_t)take(input, 1);

	if (where < 0xe0)
		return SCRIPT_DATA + where * 0x1000ULL;
	if (where < 0xf0) /* across the border of the regions */
		return MIB - 8 + (where & 15);
	return take(input, 8);
}

static void put_descriptor(struct input *input, struct ring *ring, bool in_table)
{
	uint16_t index = (uint16_t)take(input, 1) % 128;
	uint64_t address = take_address(input);
	uint32_t length = (uint32_t)take(input, 2);
	uint8_t flags = (uint8_t)take(input, 1);
	uint16_t next = (uint16_t)take(input, 1);

	if (flags & 0x80)
		length = (uint32_t)take(input, 4);
	if (flags & 0x40)
		next = (uint16_t)take(input, 2);
	if (in_table)
		ring_table_desc(ring, SCRIPT_DATA + 0x1000u * (uint32_t)take(input, 1), index,
		                address, length, flags & 7, next);
	else
		ring_desc(ring, index % ring->size, address, length, flags & 7, next);
}

static void put_bytes(struct input *input, const struct guest_memory *memory)
{
	uint64_t address = take_address(input) + take(input, 1);
	size_t length;
	const uint8_t *bytes = take_bytes(input, 1 + take(input, 1) % 64, &length);

	(void)guest_memory_write(memory, GPA(address), bytes, length);
}

/* A chain of the shape that most requests have: a header, what the device reads, what it writes. */
static void put_request(struct input *input, struct ring *ring, const struct guest_memory *memory)
{
	uint16_t first = (uint16_t)(take(input, 1) % ring->size & ~3u);
	uint64_t address = SCRIPT_DATA + 0x2000u * first;
	int left = 0;
	const uint32_t lengths[] = {
		(uint32_t)take(input, 1) % 64,
		(uint32_t)take(input, 1) * (take(input, 1) & 1 ? 512 : 1),
		(uint32_t)take(input, 1) * (take(input, 1) & 1 ? 512 : 1),
		(uint32_t)take(input, 1) & 1, /* a status */
	};
	size_t length;
	const uint8_t *header = take_bytes(input, lengths[0], &length);

	(void)guest_memory_write(memory, GPA(address), header, length);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		left += lengths[i] > 0;
	if (left == 0)
		return;
	for (uint16_t i = 0, at = first; i < ARRAY_SIZE(lengths); i++) {
		if (lengths[i] == 0)
			continue;
		ring_desc(ring, at % ring->size, address + 0x800u * i, lengths[i],
		          (uint16_t)((i >= 2 ? VRING_DESC_F_WRITE : 0) |
		                     (--left ? VRING_DESC_F_NEXT : 0)),
		          (uint16_t)((at + 1) % ring->size));
		at++;
	}
	ring_offer(ring, first);
}

void script_ring_step(struct input *input, struct ring *ring, const struct guest_memory *memory,
                      uint8_t what)
{
	switch (what % SCRIPT_RING_STEPS) {
	case 0:
		put_descriptor(input, ring, false);
		break;
	case 1:
		put_descriptor(input, ring, true);
		break;
	case 2:
		put_bytes(input, memory);
		break;
	case 3:
		ring_offer(ring, (uint16_t)take(input, 1));
		break;
	case 4:
		ring_set_avail_idx(ring, (uint16_t)take(input, 2));
		break;
	case 5:
	case 6:
		put_request(input, ring, memory);
		break;
	default:
		ring_set_used_event(ring, (uint16_t)take(input, 2));
		ring_set_avail_flags(ring, (uint16_t)take(input, 1));
	}
}

static void poke_register(struct input *input, struct driver *driver)
{
	uint32_t offset = (uint32_t)take(input, 1);
	uint32_t width = 1u << (take(input, 1) % 4);

	if (offset & 0x80)
		mmio_out(driver->m, driver->bar + VIRTIO_BAR_DEVICE + (offset & 0x7f),
		         take(input, width), width);
	else
		common_out(driver, offset, take(input, width), width);
}

void script_run(const struct script *s, const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	script_clear(&s->driver->m->memory);
	s->bring_up(s->context);
	for (int ops = 0; input.left > 0 && ops < SCRIPT_OPS_MAX; ops++) {
		uint8_t op = (uint8_t)take(&input, 1);
		uint16_t queue = (uint16_t)((op >> 4) % s->queues);

		op &= 15;
		if (op < 10)
			script_ring_step(&input, &s->rings[queue], &s->driver->m->memory, op);
		else if (op == 10 || op == 11)
			driver_kick(s->driver, queue);
		else if (op == 12 || op == 13)
			s->backend(&input, s->context);
		else if (op == 14)
			poke_register(&input, s->driver);
		else
			s->bring_up(s->context);
	}
	for (uint16_t i = 0; i < s->queues; i++)
		driver_kick(s->driver, i);
	/* All that was taken has to come back. */
	driver_reset(s->driver);
}
