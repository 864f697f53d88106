/* SPDX-License-Identifier: MIT */
/* A ring builder that plays the driver of a split virtqueue, honest or not. */
#ifndef AXVM_TESTS_RING_H
#define AXVM_TESTS_RING_H

#include "guest/memory.h"
#include "virtio/queue.h"

#define RING_NODE_BYTES MIB
#define RING_NODES 2

/* Two regions of 1 MiB that adjoin in guest-physical space and do not in the host's. */
void ring_memory(struct guest_memory *ret_memory);
void ring_memory_done(struct guest_memory *memory);

struct ring {
	const struct guest_memory *memory;
	uint16_t size;
	uint64_t desc, avail, used;
	uint16_t avail_idx;
};

/* Rings of `size` at `base`, a page or more each, zeroed. */
void ring_init(struct ring *ring, const struct guest_memory *memory, uint16_t size, uint64_t base);
struct virtq_config ring_config(const struct ring *ring);

void ring_desc(struct ring *ring, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
               uint16_t next);
/* The same in a table anywhere in memory. */
void ring_table_desc(struct ring *ring, uint64_t table, uint16_t index, uint64_t address,
                     uint32_t length, uint16_t flags, uint16_t next);
/* Makes a chain available; nothing is notified. */
void ring_offer(struct ring *ring, uint16_t head);
void ring_set_avail_idx(struct ring *ring, uint16_t index);
void ring_set_avail_flags(struct ring *ring, uint16_t flags);
void ring_set_used_event(struct ring *ring, uint16_t event);

uint16_t ring_used_idx(const struct ring *ring);
uint16_t ring_used_flags(const struct ring *ring);
uint16_t ring_avail_event(const struct ring *ring);
struct virtq_used ring_used(const struct ring *ring, uint16_t index);

#endif
