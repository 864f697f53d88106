/* SPDX-License-Identifier: MIT */
/* Bounded sets of host CPUs (or nodes) and the kernel's list notation for them: "0-3,8,10-11". */
#ifndef AXVM_HOST_CPULIST_H
#define AXVM_HOST_CPULIST_H

#include "base/base.h"

#define CPU_BITMAP_MAX 1024

/* Zeroed is empty. */
struct cpu_bitmap {
	uint64_t words[CPU_BITMAP_MAX / 64];
};

/* False for numbers beyond the bitmap. */
bool cpu_bitmap_has(const struct cpu_bitmap *bitmap, uint32_t cpu);
/* The first CPU of the set from `from` on; CPU_BITMAP_MAX: there is none. A launch goes through a
 * dozen sets, most of them nearly empty. */
uint32_t cpu_bitmap_next(const struct cpu_bitmap *bitmap, uint32_t from);
/* A number beyond the bitmap is ignored. */
void cpu_bitmap_add(struct cpu_bitmap *bitmap, uint32_t cpu);
size_t cpu_bitmap_count(const struct cpu_bitmap *bitmap);

/* Parses a list up to its end or a newline; CPUs at or above CPU_BITMAP_MAX are left out.
 * -EINVAL when it is not such a list; an empty list is the empty set. */
int cpu_bitmap_parse(const char *list, struct cpu_bitmap *ret);

/* Writes the list, NUL-terminated, cut short if it does not fit; returns `buffer`. */
char *cpu_bitmap_format(const struct cpu_bitmap *bitmap, char *buffer, size_t size);

#endif
