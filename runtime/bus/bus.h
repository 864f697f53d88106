/* SPDX-License-Identifier: MIT */
/* Dispatches port and MMIO accesses to the owner of the range: one `struct bus` for ports, one for
 * MMIO.
 *
 * Ranges are registered while the VM is built, by one thread; after that the table is immutable and
 * dispatch takes no lock. An access belongs to a range only if it lies wholly inside it. An access
 * that belongs to no range reads as all ones or is dropped, and is counted. */
#ifndef AXVM_BUS_BUS_H
#define AXVM_BUS_BUS_H

#include "base/base.h"

#define BUS_RANGES_MAX 24

/* `offset` is from the start of the range; `width` is 1, 2, 4 or 8 bytes; any alignment. vCPU
 * threads call these, several at once: the owner of the range does its own locking. */
struct bus_ops {
	uint64_t (*read)(void *context, uint64_t offset, uint32_t width);
	void (*write)(void *context, uint64_t offset, uint32_t width, uint64_t value);
};

struct bus_range {
	uint64_t base;
	uint64_t length; /* bytes */
	const struct bus_ops *ops;
	void *context;
};

/* Zeroed is empty. */
struct bus {
	struct bus_range ranges[BUS_RANGES_MAX]; /* sorted by base */
	size_t count;
	_Atomic uint64_t unmatched_reads;
	_Atomic uint64_t unmatched_writes;
};

/* Build time only. `ops` and `context` are borrowed for the life of the bus. A NULL read gives all
 * ones, a NULL write drops. -EINVAL: length 0 or a wrap; -EEXIST: overlaps another; -ENOSPC. */
int bus_add(struct bus *bus, uint64_t base, uint64_t length, const struct bus_ops *ops,
            void *context);

/* One access of `width` bytes to or from `data`, little-endian. A width other than 1, 2, 4, 8 is
 * unmatched: at most 8 bytes of `data` are filled with ones. Any thread. */
void bus_read(struct bus *bus, uint64_t address, void *data, uint32_t width);
void bus_write(struct bus *bus, uint64_t address, const void *data, uint32_t width);

/* All ones in `width` bytes: the value of a read that no range answers. */
static inline uint64_t bus_all_ones(uint32_t width)
{
	return width >= 8 ? ~0ULL : (1ULL << (width * 8)) - 1;
}

#endif
