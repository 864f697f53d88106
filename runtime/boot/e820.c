/* SPDX-License-Identifier: MIT */
/* Builds the memory map from the layout and from how much RAM there is.
 *
 * Guest memory fills [0, 3 GiB) without gaps and goes on at 4 GiB, so that two sizes say it all. */
#include "boot/e820.h"

#include <assert.h>

#include "guest/layout.h"

static_assert(LAYOUT_LOW_RAM_END < LAYOUT_ACPI, "ACPI lies in the reserved part below 1 MiB");
static_assert(LAYOUT_ACPI + LAYOUT_ACPI_SIZE == LAYOUT_KERNEL, "ACPI ends at 1 MiB");
static_assert(LAYOUT_ECAM >= GUEST_HOLE_START, "ECAM lies in the hole");
static_assert(LAYOUT_ECAM + LAYOUT_ECAM_SIZE <= GUEST_HOLE_END, "ECAM lies in the hole");

/* Adds [base, end), cut off at `limit`; nothing when nothing is left. */
static void add(struct e820_map *map, uint64_t base, uint64_t end, uint64_t limit,
                enum e820_type type)
{
	end = MIN(end, limit);
	if (base < end)
		map->ranges[map->count++] =
			(struct e820_range){ .base = base, .size = end - base, .type = type };
}

void e820_build(const struct guest_memory *memory, struct e820_map *ret)
{
	uint64_t below = guest_memory_below_hole(memory);
	uint64_t above = guest_memory_above_hole(memory);
	struct e820_map map = { 0 };

	add(&map, 0, LAYOUT_LOW_RAM_END, below, E820_RAM);
	add(&map, LAYOUT_LOW_RAM_END, LAYOUT_ACPI, below, E820_RESERVED);
	add(&map, LAYOUT_ACPI, LAYOUT_KERNEL, below, E820_ACPI);
	add(&map, LAYOUT_KERNEL, below, below, E820_RAM);
	add(&map, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE, GUEST_HOLE_END, E820_RESERVED);
	add(&map, GUEST_HOLE_END, GUEST_HOLE_END + above, UINT64_MAX, E820_RAM);
	*ret = map;
}
