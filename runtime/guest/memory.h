/* SPDX-License-Identifier: MIT */
/* Guest-physical memory: the one place where a guest-physical address becomes a pointer. */
#ifndef AXVM_GUEST_MEMORY_H
#define AXVM_GUEST_MEMORY_H

#include "base/base.h"
#include "base/gpa.h"

/* Guest RAM ends at 3 GiB and goes on at 4 GiB. Between them lie ECAM, BARs and the APICs. */
#define GUEST_HOLE_START (3 * GIB)
#define GUEST_HOLE_END (4 * GIB)

#define GUEST_NODES_MAX 8
/* A node can lie on both sides of the hole. */
#define GUEST_REGIONS_MAX (GUEST_NODES_MAX + 1)

struct guest_region {
	gpa_t base;
	uint64_t size; /* bytes, a multiple of 4 KiB */
	uint8_t *hva;
	uint32_t node; /* guest NUMA node */
};

/* Immutable once built, so any thread may read it without a lock. Regions are sorted by base. */
struct guest_memory {
	struct guest_region regions[GUEST_REGIONS_MAX];
	size_t count;
};

/* Lays nodes of the given sizes (bytes) around the hole, in order; hva is left NULL.
 * -EINVAL when a size is 0, unaligned, or the sum overflows 2^46. */
int guest_memory_layout(struct guest_memory *memory, const uint64_t *node_sizes, size_t nodes);

/* Bytes of RAM below the hole / above 4 GiB / in all. */
uint64_t guest_memory_below_hole(const struct guest_memory *memory);
uint64_t guest_memory_above_hole(const struct guest_memory *memory);
uint64_t guest_memory_size(const struct guest_memory *memory);

/* A pointer to `length` bytes at `gpa`, or NULL unless all of them lie in one region. A length of 0
 * is NULL too. The guest can change the bytes at any time: copy once, then validate. */
void *guest_memory_at(const struct guest_memory *memory, gpa_t gpa, uint64_t length);

/* A pointer to the byte at `gpa`; *ret_left is the number of bytes from there to the end of its
 * region, at least 1. NULL if `gpa` is not RAM; *ret_left is untouched then. */
uint8_t *guest_memory_from(const struct guest_memory *memory, gpa_t gpa, uint64_t *ret_left);

/* Copies `length` bytes, across adjoining regions too. -EFAULT unless all of them are RAM; nothing
 * is copied then. */
int guest_memory_read(const struct guest_memory *memory, gpa_t gpa, void *destination,
                      size_t length);
int guest_memory_write(const struct guest_memory *memory, gpa_t gpa, const void *source,
                       size_t length);

#endif
