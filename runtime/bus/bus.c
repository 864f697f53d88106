/* SPDX-License-Identifier: MIT */
/* Port and MMIO dispatch over a small sorted table. */
#include "bus/bus.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

int bus_add(struct bus *bus, uint64_t base, uint64_t length, const struct bus_ops *ops,
            void *context)
{
	uint64_t last;
	size_t at = 0;

	if (length == 0 || __builtin_add_overflow(base, length - 1, &last))
		return -EINVAL;
	if (bus->count == BUS_RANGES_MAX)
		return -ENOSPC;
	while (at < bus->count && bus->ranges[at].base < base)
		at++;
	if (at > 0 && base - bus->ranges[at - 1].base < bus->ranges[at - 1].length)
		return -EEXIST;
	if (at < bus->count && bus->ranges[at].base <= last)
		return -EEXIST;
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->count - at) * sizeof(bus->ranges[0]));
	bus->ranges[at] = (struct bus_range){
		.base = base,
		.length = length,
		.ops = ops,
		.context = context,
	};
	bus->count++;
	return 0;
}

/* The range that holds the whole access, or NULL. */
static const struct bus_range *range_of(const struct bus *bus, uint64_t address, uint32_t width)
{
	size_t low = 0;
	size_t high = bus->count;

	if (width != 1 && width != 2 && width != 4 && width != 8)
		return NULL;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct bus_range *range = &bus->ranges[middle];

		if (address < range->base) {
			high = middle;
		} else if (address - range->base >= range->length) {
			low = middle + 1;
		} else {
			uint64_t left = range->length - (address - range->base);

			return width <= left ? range : NULL;
		}
	}
	return NULL;
}

void bus_read(struct bus *bus, uint64_t address, void *data, uint32_t width)
{
	const struct bus_range *range = range_of(bus, address, width);
	uint64_t value = ~0ULL;

	if (!range)
		atomic_fetch_add_explicit(&bus->unmatched_reads, 1, memory_order_relaxed);
	else if (range->ops->read)
		value = range->ops->read(range->context, address - range->base, width);
	memcpy(data, &value, MIN(width, (uint32_t)sizeof(value)));
}

void bus_write(struct bus *bus, uint64_t address, const void *data, uint32_t width)
{
	const struct bus_range *range = range_of(bus, address, width);
	uint64_t value = 0;

	if (!range) {
		atomic_fetch_add_explicit(&bus->unmatched_writes, 1, memory_order_relaxed);
		return;
	}
	memcpy(&value, data, width);
	if (range->ops->write)
		range->ops->write(range->context, address - range->base, width, value);
}
