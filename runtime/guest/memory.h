/* SPDX-License-Identifier: MIT */
/* Guest-physical memory: the one place where a guest-physical address becomes a pointer. */
#ifndef AXVM_GUEST_MEMORY_H
#define AXVM_GUEST_MEMORY_H

#include "base/base.h"
#include "base/gpa.h"

/* Guest RAM stops here and goes on at 4 GiB: between them are ECAM, BARs, the APICs. */
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

/* Immutable once built, and so free to be read from any thread. Regions are sorted by base. */
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

/* A pointer to what is at `gpa`, with the bytes from there to the end of its region (at least one)
 * in `*ret_left`; NULL, and nothing there, when it is not RAM. */
uint8_t *guest_memory_from(const struct guest_memory *memory, gpa_t gpa, uint64_t *ret_left);

/* Copies, across adjoining regions too; -EFAULT (and nothing copied) unless all of it is RAM. */
int guest_memory_read(const struct guest_memory *memory, gpa_t gpa, void *destination,
                      size_t length);
int guest_memory_write(const struct guest_memory *memory, gpa_t gpa, const void *source,
                       size_t length);

#endif
