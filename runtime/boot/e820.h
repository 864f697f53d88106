/* SPDX-License-Identifier: MIT */
/* The memory map that a kernel gets: all RAM, and the parts of it that are reserved. */
#ifndef AXVM_BOOT_E820_H
#define AXVM_BOOT_E820_H

#include "guest/memory.h"

/* ACPI 6.5 §15, table 15.4. PVH's memory map uses the same numbers. */
enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
	E820_ACPI = 3, /* ACPI tables, inside RAM */
};

struct e820_range {
	uint64_t base;
	uint64_t size;
	enum e820_type type;
};

/* Four below 1 MiB and at most one before the hole, ECAM, one after the hole. */
#define E820_RANGES_MAX 8

/* Sorted by base, without overlap. RAM, RESERVED below 1 MiB and ACPI together are exactly guest
 * RAM; ECAM, in the hole, is RESERVED too. Adjoining regions are one range: the SRAT describes
 * nodes. */
struct e820_map {
	struct e820_range ranges[E820_RANGES_MAX];
	size_t count;
};

void e820_build(const struct guest_memory *memory, struct e820_map *ret);

#endif
