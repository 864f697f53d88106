/* SPDX-License-Identifier: MIT */
/* Flat images, the tables of long mode, and the memory map. */
#include <errno.h>
#include <sys/syscall.h>

#include "boot/boot.h"
#include "boot/e820.h"
#include "guest/layout.h"
#include "rig/boot_guest.h"
#include "rig/fake_kvm.h"

static int load(const void *bytes, size_t length, uint64_t address,
                const struct guest_memory *memory, struct problems *problems,
                struct boot_entry *entry)
{
	struct boot_flat_config config = {
		.image = { file_of(bytes, length), "boot.flat_boot.image" },
		.load_address = address,
		.load_address_field = "boot.flat_boot.load_address",
	};

	return boot_load_flat(&config, memory, problems, entry);
}

/* After so many calls reading fails as many times as a test wants, with this errno; and it brings
 * this many bytes at most. */
static int reading_fails, reading_times, reading_after;
static size_t reading_brings;

static bool read_a_little(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result)
{
	if (offset < 0)
		return false;
	if (reading_times > 0 && reading_after-- <= 0) {
		reading_times--;
		errno = reading_fails;
		*ret_result = -1;
		return true;
	}
	if (reading_brings > 0)
		length = MIN(length, reading_brings);
	*ret_result = syscall(SYS_pread64, fd, buffer, length, offset);
	return true;
}

/* A signal in the middle of a read, and a file system that brings a little at a time, are none of
 * the guest's business; an error is told with its place. */
Test(flat, reading_that_is_interrupted_short_or_fails)
{
	static const struct {
		int error, times, after;
		size_t brings;
		const char *refused; /* where */
	} rows[] = {
		{ EINTR, 1, 0, 0, NULL },
		{ EINTR, 3, 0, 0, NULL },
		{ 0, 0, 0, 1, NULL },
		{ 0, 0, 0, 4096, NULL },
		{ EINTR, 2, 2, 4095, NULL },
		{ EIO, 1, 0, 0, ", byte 0): " },
		{ EAGAIN, 1, 0, 0, ", byte 0): " },
		{ ESTALE, 1, 3, 100, ", byte 300): " },
	};
	uint8_t image[9001];

	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)(i * 7 + (i >> 8)) | 1;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest_memory memory = guest_of(4 * MIB);
		struct problems problems = { 0 };
		struct boot_entry entry = { .rip = 42 };
		uint8_t back[sizeof(image)];
		int r;

		reading_fails = rows[i].error;
		reading_times = rows[i].times;
		reading_after = rows[i].after;
		reading_brings = rows[i].brings;
		fake_read = read_a_little;
		r = load(image, sizeof(image), MIB, &memory, &problems, &entry);
		fake_read = NULL;
		if (!rows[i].refused) {
			cr_assert_eq(r, 0, "row %zu: %s", i, problems.list[0].message);
			cr_assert_eq(guest_memory_read(&memory, GPA(MIB), back, sizeof(back)), 0);
			cr_expect_arr_eq(back, image, sizeof(image), "row %zu", i);
			continue;
		}
		cr_expect_eq(r, -rows[i].error, "row %zu", i);
		cr_assert_eq(problems.count, 1);
		cr_expect_eq(problems.list[0].code, ERROR_CODE_RESOURCE_UNREADABLE);
		cr_expect_eq(problems.list[0].error_number, rows[i].error);
		cr_expect_str_eq(problems.list[0].field, "boot.flat_boot.image");
		cr_expect_not_null(strstr(problems.list[0].message, rows[i].refused), "%s",
		                   problems.list[0].message);
		cr_expect_not_null(strstr(problems.list[0].message, errno_text(rows[i].error)));
		cr_expect_eq(entry.rip, 42, "untouched");
	}
}

Test(flat, loads_at_its_address)
{
	struct guest_memory memory = guest_of(4 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	uint8_t image[9000], back[9000];

	memset(image, 0xf4, sizeof(image));
	cr_assert_eq(load(image, sizeof(image), 0x123000, &memory, &problems, &entry), 0);
	cr_assert_eq(entry.mode, BOOT_LONG_MODE);
	cr_assert_eq(entry.rip, 0x123000);
	cr_assert_eq(guest_memory_read(&memory, GPA(0x123000), back, sizeof(back)), 0);
	cr_assert_arr_eq(back, image, sizeof(image));
	cr_assert_eq(peek(&memory, 0x123000 + sizeof(image), 8), 0);
	cr_assert_eq(peek(&memory, 0x123000 - 8, 8), 0);
}

/* Walks the tables as a processor would. */
static uint64_t translate(const struct guest_memory *memory, uint64_t cr3, uint64_t address)
{
	const uint64_t frame = 0x000ffffffffff000;
	uint64_t pml4e = peek(memory, (cr3 & frame) + (address >> 39 & 511) * 8, 8);
	uint64_t pdpte, pde;

	if (!(pml4e & 1))
		return UINT64_MAX;
	pdpte = peek(memory, (pml4e & frame) + (address >> 30 & 511) * 8, 8);
	if (!(pdpte & 1))
		return UINT64_MAX;
	cr_assert_eq(pdpte & 0x80, 0, "a 1 GiB page");
	pde = peek(memory, (pdpte & frame) + (address >> 21 & 511) * 8, 8);
	/* Accessed and dirty beforehand, so that the processor writes nothing into them;
	 * supervisor, cached. */
	cr_assert_eq(pml4e & 0xfff, 0x23, "present, writable, accessed");
	cr_assert_eq(pdpte & 0xfff, 0x23, "present, writable, accessed");
	cr_assert_eq(pde & 0xfff, 0xe3, "present, writable, accessed, dirty, 2 MiB");
	cr_assert_eq((pml4e | pdpte | pde) >> 52, 0, "nothing in the upper bits");
	cr_assert_eq(pde & 0x1fe000, 0, "reserved bits");
	return (pde & frame) | (address & 0x1fffff);
}

Test(flat, first_4_gib_are_mapped_one_to_one)
{
	struct guest_memory memory = guest_of(2 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;

	cr_assert_eq(load("\xf4", 1, MIB, &memory, &problems, &entry), 0);
	for (uint64_t at = 0; at < 4 * GIB; at += 2 * MIB)
		cr_assert_eq(translate(&memory, entry.cr3, at + 0x1234), at + 0x1234);
	cr_assert_eq(translate(&memory, entry.cr3, 4 * GIB), UINT64_MAX);
	cr_assert_eq(translate(&memory, entry.cr3, 1ULL << 39), UINT64_MAX);
}

Test(flat, gdt_has_flat_segments_of_both_widths)
{
	struct guest_memory memory = guest_of(2 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;

	cr_assert_eq(load("\xf4", 1, MIB, &memory, &problems, &entry), 0);
	cr_assert_eq(entry.gdt_base, LAYOUT_GDT);
	cr_assert_eq(entry.gdt_limit, 4 * 8 - 1);
	cr_assert_eq(peek(&memory, LAYOUT_GDT, 8), 0);
	for (uint64_t selector = 8; selector <= 24; selector += 8) {
		uint64_t d = peek(&memory, LAYOUT_GDT + selector, 8);

		cr_assert_eq(d & 0xffff, 0xffff, "limit");
		cr_assert_eq(d >> 48 & 0xf, 0xf, "limit");
		cr_assert_eq((d >> 16 & 0xffffff) | d >> 56, 0, "base");
		cr_assert_eq(d >> 55 & 1, 1, "granularity");
		cr_assert_eq(d >> 47 & 1, 1, "present");
		cr_assert_eq(d >> 45 & 3, 0, "privilege");
		cr_assert_eq(d >> 44 & 1, 1, "code or data");
		cr_assert_eq(d >> 43 & 1, selector != 24, "code");
		cr_assert_eq(d >> 41 & 1, 1, "readable or writable");
		cr_assert_eq(d >> 53 & 1, selector == 16, "L");
		cr_assert_eq(d >> 54 & 1, selector != 16, "D");
	}
	cr_assert_eq(entry.code_selector, 16);
	cr_assert_eq(entry.data_selector, 24);
}

Test(flat, last_byte_of_ram_can_be_used_and_not_one_more)
{
	struct guest_memory memory = guest_of(2 * MIB);
	static const uint8_t image[MIB + 1] = { 1 };
	struct problems problems = { 0 };
	struct boot_entry entry;

	cr_assert_eq(load(image, MIB, MIB, &memory, &problems, &entry), 0);
	cr_assert_eq(load(image, MIB + 1, MIB, &memory, &problems, &entry), -EINVAL);
	expect_problem(&problems, ERROR_CODE_IMAGE_INVALID, "boot.flat_boot.image", "more memory");
}

Test(flat, images_that_do_not_fit_are_refused)
{
	static const struct {
		uint64_t address;
		size_t length;
		enum axvm_error_code code;
		const char *field;
		const char *words;
	} cases[] = {
		{ MIB, 0, ERROR_CODE_IMAGE_INVALID, "boot.flat_boot.image", "empty" },
		{ 0, 1, ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address", "0x100000" },
		{ MIB - 4096, 1, ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address",
		  "at least" },
		{ MIB + 1, 1, ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address",
		  "page-aligned" },
		{ 2 * MIB, 1, ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address", "RAM below" },
		{ 4 * GIB, 1, ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address", "RAM below" },
		{ ~0xfffULL, 1, ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address",
		  "RAM below" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_memory memory = guest_of(2 * MIB);
		struct problems problems = { 0 };
		struct boot_entry entry;

		cr_assert_lt(load("\xf4", cases[i].length, cases[i].address, &memory, &problems,
		                  &entry),
		             0);
		expect_problem(&problems, cases[i].code, cases[i].field, cases[i].words);
	}
}

/* Each place that is written to beside the image must be there. */
Test(flat, places_that_are_not_ram)
{
	static const struct {
		uint64_t gpa;
		const char *what;
	} places[] = {
		{ 0x500, "descriptor table" }, { 0x9000, "page tables" }, { 0xa000, "page tables" },
		{ 0xb000, "page tables" },     { 0xc000, "page tables" }, { 0xd000, "page tables" },
		{ 0xe000, "page tables" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct guest_memory memory = guest_without(ALIGN_DOWN(places[i].gpa, 4096));
		struct boot_entry entry = { .rip = 42 };
		struct problems problems = { 0 };

		cr_assert_eq(load("\xf4", 1, MIB, &memory, &problems, &entry), -EFAULT, "%zu", i);
		expect_no_ram(&problems, places[i].gpa, places[i].what, &entry);
	}
}

/* Node sizes need not be whole MiB here: no place for the tables is a refusal, not a crash. */
Test(flat, memory_without_room_for_the_tables_is_refused)
{
	struct guest_memory memory = guest_of(4 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;

	memory.regions[0].size = 3 * MIB;
	memory.regions[0].base = GPA(MIB / 2); /* nothing below */
	cr_assert_lt(load("\xf4", 1, MIB, &memory, &problems, &entry), 0);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_SPEC_INVALID);
	cr_assert_str_eq(problems.list[0].field, "memory.nodes");
}

/* Sorted, without overlap, RAM in all exactly what the guest has, ECAM the only thing beside it. */
Test(e820, covers_exactly_ram)
{
	static const uint64_t sizes[] = {
		4 * KIB, 256 * KIB,      MIB,      2 * MIB, 512 * MIB, 3 * GIB - 4096,
		3 * GIB, 3 * GIB + 4096, 64 * GIB,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct guest_memory memory;
		uint64_t end = 0, ram = 0, ecam = 0;
		struct e820_map map;

		cr_assert_eq(guest_memory_layout(&memory, &sizes[i], 1), 0);
		e820_build(&memory, &map);
		cr_assert_leq(map.count, E820_RANGES_MAX);
		for (size_t j = 0; j < map.count; j++) {
			const struct e820_range *range = &map.ranges[j];
			bool low = range->base < MIB;

			cr_assert_geq(range->base, end, "sorted, no overlap");
			cr_assert_gt(range->size, 0);
			end = range->base + range->size;
			if (range->base == LAYOUT_ECAM) {
				cr_assert_eq(range->size, LAYOUT_ECAM_SIZE);
				cr_assert_eq(range->type, E820_RESERVED);
				ecam++;
				continue;
			}
			ram += range->size;
			cr_assert(end <= GUEST_HOLE_START || range->base >= GUEST_HOLE_END);
			cr_assert_eq(range->type == E820_RAM,
			             !low || range->base < LAYOUT_LOW_RAM_END);
			if (low && range->type == E820_RAM)
				cr_assert_leq(end, LAYOUT_LOW_RAM_END);
		}
		cr_assert_eq(ecam, 1);
		cr_assert_eq(ram, sizes[i], "%" PRIu64 " of %" PRIu64, ram, sizes[i]);
	}
}

Test(e820, nodes_that_adjoin_are_one_range)
{
	const uint64_t nodes[] = { 512 * MIB, 512 * MIB, 4 * GIB };
	struct guest_memory memory;
	struct e820_map map;

	cr_assert_eq(guest_memory_layout(&memory, nodes, 3), 0);
	e820_build(&memory, &map);
	cr_assert_eq(map.count, 6);
	cr_assert_eq(map.ranges[3].base, MIB);
	cr_assert_eq(map.ranges[3].size, 3 * GIB - MIB);
	cr_assert_eq(map.ranges[5].base, 4 * GIB);
	cr_assert_eq(map.ranges[5].size, 2 * GIB);
}
