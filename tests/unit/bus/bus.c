/* SPDX-License-Identifier: MIT */
/* Port and MMIO dispatch: who gets an access, and what happens to one that is nobody's. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bus/bus.h"

struct seen {
	uint64_t offset, value;
	uint32_t width;
};

static uint64_t remember_read(void *context, uint64_t offset, uint32_t width)
{
	*(struct seen *)context = (struct seen){ .offset = offset, .width = width };
	return 0x1122334455667788;
}

static void remember_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	*(struct seen *)context = (struct seen){ .offset = offset, .width = width, .value = value };
}

static const struct bus_ops ops = { .read = remember_read, .write = remember_write };

TestSuite(bus, .timeout = 60);

Test(bus, dispatch_by_range)
{
	struct bus bus = { 0 };
	struct seen low = { 0 };
	struct seen high = { 0 };
	uint8_t data[8];

	cr_assert_eq(bus_add(&bus, 0x2000, 0x100, &ops, &high), 0);
	cr_assert_eq(bus_add(&bus, 0x1000, 0x1000, &ops, &low), 0);
	bus_write(&bus, 0x1fff, "\xab", 1);
	cr_assert_eq(low.offset, 0xfff);
	cr_assert_eq(low.value, 0xab);
	bus_write(&bus, 0x2001, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	cr_assert_eq(high.offset, 1);
	cr_assert_eq(high.value, 0x0807060504030201);
	memset(data, 0, sizeof(data));
	bus_read(&bus, 0x2010, data, 2);
	cr_assert_arr_eq(data, "\x88\x77\0\0", 4, "no more than the width is filled");
	cr_assert_eq(bus.unmatched_reads + bus.unmatched_writes, 0);
}

Test(bus, unmatched_accesses_read_all_ones_and_are_counted)
{
	struct bus bus = { 0 };
	struct seen seen = { 0 };
	uint8_t data[16];
	const struct {
		uint64_t address;
		uint32_t width;
	} rows[] = { { 0xfff, 1 },  { 0x1100, 4 }, { 0x10fe, 4 },       { 0xfff, 2 },
		     { ~0ULL, 8 },  { ~0ULL, 1 },  { 0x1000, 3 },       { 0x1000, 16 },
		     { 0x1000, 0 }, { 0x10ff, 2 }, { 0x1000, 1u << 31 } };

	cr_assert_eq(bus_add(&bus, 0x1000, 0x100, &ops, &seen), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(data, 0, sizeof(data));
		bus_read(&bus, rows[i].address, data, rows[i].width);
		for (uint32_t b = 0; b < sizeof(data); b++)
			cr_assert_eq(data[b], b < MIN(rows[i].width, 8u) ? 0xff : 0, "row %zu", i);
		bus_write(&bus, rows[i].address, data, rows[i].width);
		cr_assert_eq(bus.unmatched_reads, i + 1);
		cr_assert_eq(bus.unmatched_writes, i + 1);
	}
	cr_assert_eq(seen.width, 0);
}

Test(bus, ranges_do_not_overlap)
{
	struct bus bus = { 0 };

	cr_assert_eq(bus_add(&bus, 0x1000, 0x100, &ops, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x10ff, 1, &ops, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0x0fff, 2, &ops, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0x1000, 0x100, &ops, NULL), -EEXIST);
	cr_assert_eq(bus_add(&bus, 0x0f00, 0x100, &ops, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x1100, 1, &ops, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0, 0, &ops, NULL), -EINVAL);
	cr_assert_eq(bus_add(&bus, ~0ULL, 2, &ops, NULL), -EINVAL);
	cr_assert_eq(bus_add(&bus, ~0ULL, 1, &ops, NULL), 0);
	for (size_t i = bus.count; i < BUS_RANGES_MAX; i++)
		cr_assert_eq(bus_add(&bus, 0x10000 + i, 1, &ops, NULL), 0);
	cr_assert_eq(bus_add(&bus, 0x90000, 1, &ops, NULL), -ENOSPC);
}

Test(bus, an_end_without_read_or_write)
{
	static const struct bus_ops none;
	struct bus bus = { 0 };
	uint32_t value = 0;

	cr_assert_eq(bus_add(&bus, 0, 16, &none, NULL), 0);
	bus_read(&bus, 0, &value, 4);
	cr_assert_eq(value, 0xffffffff);
	bus_write(&bus, 0, &value, 4);
	cr_assert_eq(bus.unmatched_reads + bus.unmatched_writes, 0);
}
