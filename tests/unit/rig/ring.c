/* SPDX-License-Identifier: MIT */
/* The driver's side of a split virtqueue, for tests. */
#include "rig/ring.h"

#include <criterion/criterion.h>
#include <linux/virtio_ring.h>
#include <string.h>

void ring_memory(struct guest_memory *ret_memory)
{
	const uint64_t sizes[RING_NODES] = { RING_NODE_BYTES, RING_NODE_BYTES };

	cr_assert_eq(guest_memory_layout(ret_memory, sizes, RING_NODES), 0);
	for (size_t i = 0; i < RING_NODES; i++) {
		ret_memory->regions[i].hva = aligned_alloc(4096, RING_NODE_BYTES);
		cr_assert_not_null(ret_memory->regions[i].hva);
		memset(ret_memory->regions[i].hva, 0, RING_NODE_BYTES);
	}
}

void ring_memory_done(struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		free(memory->regions[i].hva);
	memory->count = 0;
}

static void *at(const struct ring *ring, uint64_t gpa, size_t length)
{
	void *pointer = guest_memory_at(ring->memory, GPA(gpa), length);

	cr_assert_not_null(pointer);
	return pointer;
}

static void put16(const struct ring *ring, uint64_t gpa, uint16_t value)
{
	__atomic_store_n((uint16_t *)at(ring, gpa, 2), value, __ATOMIC_RELEASE);
}

static uint16_t get16(const struct ring *ring, uint64_t gpa)
{
	return __atomic_load_n((uint16_t *)at(ring, gpa, 2), __ATOMIC_ACQUIRE);
}

void ring_init(struct ring *ring, const struct guest_memory *memory, uint16_t size, uint64_t base)
{
	*ring = (struct ring){
		.memory = memory,
		.size = size,
		.desc = base,
		.avail = base + ALIGN_UP(16u * size, 4096u),
	};
	ring->used = ring->avail + 4096;
	memset(at(ring, base, ring->used - base + 12288), 0, ring->used - base + 12288);
}

struct virtq_config ring_config(const struct ring *ring)
{
	return (struct virtq_config){
		.size = ring->size,
		.desc = GPA(ring->desc),
		.avail = GPA(ring->avail),
		.used = GPA(ring->used),
	};
}

void ring_table_desc(struct ring *ring, uint64_t table, uint16_t index, uint64_t address,
                     uint32_t length, uint16_t flags, uint16_t next)
{
	struct vring_desc desc = { .addr = address, .len = length, .flags = flags, .next = next };
	uint64_t words[2];
	uint64_t *to = at(ring, table + 16u * index, 16);

	memcpy(words, &desc, sizeof(words));
	__atomic_store_n(&to[0], words[0], __ATOMIC_RELAXED);
	__atomic_store_n(&to[1], words[1], __ATOMIC_RELAXED);
}

void ring_desc(struct ring *ring, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
               uint16_t next)
{
	ring_table_desc(ring, ring->desc, index, address, length, flags, next);
}

void ring_offer(struct ring *ring, uint16_t head)
{
	put16(ring, ring->avail + 4 + 2u * (ring->avail_idx % ring->size), head);
	ring_set_avail_idx(ring, (uint16_t)(ring->avail_idx + 1));
}

void ring_set_avail_idx(struct ring *ring, uint16_t index)
{
	ring->avail_idx = index;
	put16(ring, ring->avail + 2, index);
}

void ring_set_avail_flags(struct ring *ring, uint16_t flags)
{
	put16(ring, ring->avail, flags);
}

void ring_set_used_event(struct ring *ring, uint16_t event)
{
	put16(ring, ring->avail + 4 + 2u * ring->size, event);
}

uint16_t ring_used_idx(const struct ring *ring)
{
	return get16(ring, ring->used + 2);
}

uint16_t ring_used_flags(const struct ring *ring)
{
	return get16(ring, ring->used);
}

uint16_t ring_avail_event(const struct ring *ring)
{
	return get16(ring, ring->used + 4 + 8u * ring->size);
}

struct virtq_used ring_used(const struct ring *ring, uint16_t index)
{
	struct virtq_used entry;

	memcpy(&entry, at(ring, ring->used + 4 + 8u * (index % ring->size), 8), sizeof(entry));
	return entry;
}
