/* SPDX-License-Identifier: MIT */
/* bzImage: what is accepted and where it goes, and one refusal for each way to be wrong. The
 * image is built here by offsets of the boot protocol, not by the loader's structures. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "boot/boot.h"
#include "guest/layout.h"
#include "rig/boot_guest.h"

#define SETUP_SECTS 3
#define CODE_OFFSET ((SETUP_SECTS + 1) * 512)
#define CODE_SIZE 0x3000
#define FILE_SIZE (CODE_OFFSET + CODE_SIZE)
#define INIT_SIZE 0x800000
#define PREF 0x1000000ull
#define CMDLINE_SIZE 2047
#define HEADER_END 0x26c

struct bz {
	uint8_t bytes[FILE_SIZE + 0x2000];
	size_t size;
};

static void bz_new(struct bz *bz)
{
	uint8_t *b = bz->bytes;

	memset(b, 0, sizeof(bz->bytes));
	bz->size = FILE_SIZE;
	for (size_t i = CODE_OFFSET; i < FILE_SIZE; i++)
		b[i] = (uint8_t)(i * 7 + (i >> 8));
	b[0x1f1] = SETUP_SECTS;
	put(b + 0x1f4, CODE_SIZE / 16, 4);
	put(b + 0x1fe, 0xaa55, 2);
	b[0x200] = 0xeb;
	b[0x201] = HEADER_END - 0x202;
	memcpy(b + 0x202, "HdrS", 4);
	put(b + 0x206, 0x20f, 2);
	b[0x211] = 0x01 | 0x02 | 0x80;
	put(b + 0x214, 0x100000, 4);
	put(b + 0x22c, 0x7fffffff, 4);
	put(b + 0x230, 0x200000, 4);
	b[0x234] = 1;
	put(b + 0x236, 0x7f, 2);
	put(b + 0x238, CMDLINE_SIZE, 4);
	put(b + 0x248, 0x100, 4);
	put(b + 0x24c, 0x1000, 4);
	put(b + 0x23c, 2, 4);          /* hardware_subarch: likewise */
	put(b + 0x250, 0xdead0000, 8); /* setup_data: a loader's, to be cleared */
	put(b + 0x258, PREF, 8);
	put(b + 0x260, INIT_SIZE, 4);
}

static int load(const struct bz *bz, const struct guest_memory *memory, int initrd,
                const char *cmdline, struct problems *problems, struct boot_entry *entry)
{
	struct boot_linux_config config = {
		.kernel = { file_of(bz->bytes, bz->size), "boot.linux_boot.kernel" },
		.initrd = { initrd, "boot.linux_boot.initrd" },
		.cmdline = cmdline,
		.cmdline_field = "boot.linux_boot.cmdline",
		.rsdp = LAYOUT_ACPI,
	};

	return boot_load_linux(&config, memory, problems, entry);
}

Test(bzimage, loads_as_the_boot_protocol_says)
{
	const uint64_t nodes[] = { 17 * MIB + 4096, 64 * MIB - 4096 }; /* they meet in the kernel */
	struct guest_memory memory = guest_new(nodes, 2);
	uint64_t ram_end = 81 * MIB;
	uint8_t initrd[5000], back[5000], code[CODE_SIZE];
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;
	uint64_t base;

	bz_new(&bz);
	put(bz.bytes + 0x258, 17 * MIB, 8);
	put(bz.bytes + 0x230, 0x1000, 4);
	memset(initrd, 0x5a, sizeof(initrd));
	cr_assert_eq(load(&bz, &memory, file_of(initrd, sizeof(initrd)), "quiet x=1", &problems,
	                  &entry),
	             0, "%s", problems.list[0].message);

	cr_assert_eq(entry.mode, BOOT_LONG_MODE);
	cr_assert_eq(entry.rip, 17 * MIB + 0x200);
	cr_assert_eq(entry.rsi, LAYOUT_BOOT_PARAMS);
	cr_assert_eq(entry.code_selector, 0x10);
	cr_assert_eq(entry.data_selector, 0x18);
	cr_assert_eq(guest_memory_read(&memory, GPA(17 * MIB), code, sizeof(code)), 0);
	cr_assert_arr_eq(code, bz.bytes + CODE_OFFSET, sizeof(code));
	cr_assert_eq(peek(&memory, 17 * MIB + CODE_SIZE, 8), 0, "no byte beyond the code");

	base = peek(&memory, LAYOUT_BOOT_PARAMS + 0x218, 4);
	cr_assert_eq(base, ram_end - 8192, "as high as possible, page aligned");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x21c, 4), sizeof(initrd));
	cr_assert_eq(guest_memory_read(&memory, GPA(base), back, sizeof(back)), 0);
	cr_assert_arr_eq(back, initrd, sizeof(back));
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x0c0, 8), 0, "ext_ramdisk_*");

	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x228, 4), LAYOUT_CMDLINE);
	cr_assert_str_eq((char *)guest_memory_at(&memory, GPA(LAYOUT_CMDLINE), 10), "quiet x=1");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x070, 8), LAYOUT_ACPI);
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x1ef, 1), 0, "sentinel");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x210, 1), 0xff);
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x211, 1), 0x01, "LOADED_HIGH alone");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x214, 4), 17 * MIB);
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x250, 8), 0, "setup_data");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x23c, 4), 0, "a PC");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x258, 8), 17 * MIB, "header copied");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x260, 4), INIT_SIZE);
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS, 8), 0, "no screen");
}

Test(bzimage, header_beyond_its_length_is_not_copied)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	memset(bz.bytes + HEADER_END, 0xee, 0x100);
	cr_assert_eq(load(&bz, &memory, -1, NULL, &problems, &entry), 0);
	for (uint64_t i = HEADER_END; i < 0x2d0; i++)
		cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + i, 1), 0, "byte %" PRIx64, i);
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x218, 8), 0, "no initrd");
	cr_assert_eq(peek(&memory, LAYOUT_CMDLINE, 1), 0, "empty command line");
}

Test(bzimage, memory_map_is_in_boot_params)
{
	struct guest_memory memory = guest_of(5 * GIB);
	static const uint64_t want[][3] = {
		{ 0, LAYOUT_LOW_RAM_END, 1 },
		{ LAYOUT_LOW_RAM_END, LAYOUT_ACPI - LAYOUT_LOW_RAM_END, 2 },
		{ LAYOUT_ACPI, LAYOUT_ACPI_SIZE, 3 },
		{ MIB, 3 * GIB - MIB, 1 },
		{ LAYOUT_ECAM, LAYOUT_ECAM_SIZE, 2 },
		{ 4 * GIB, 2 * GIB, 1 },
	};
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), 0);
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x1e8, 1), ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		uint64_t at = LAYOUT_BOOT_PARAMS + 0x2d0 + i * 20;

		cr_assert_eq(peek(&memory, at, 8), want[i][0], "base %zu", i);
		cr_assert_eq(peek(&memory, at + 8, 8), want[i][1], "size %zu", i);
		cr_assert_eq(peek(&memory, at + 16, 4), want[i][2], "type %zu", i);
	}
}

Test(bzimage, a_kernel_is_placed_where_it_prefers)
{
	static const struct {
		uint64_t pref;
		uint32_t align;
		uint8_t relocatable;
		uint64_t want;
	} cases[] = {
		{ PREF, 0x200000, 1, PREF },
		{ PREF + 0x1000, 0x200000, 1, PREF + 0x200000 },
		{ 0, 0x1000, 1, MIB },
		{ 0x1000, 0x200000, 1, 2 * MIB },
		{ 3 * MIB, 0x1000000, 0, 3 * MIB },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_memory memory = guest_of(64 * MIB);
		struct problems problems = { 0 };
		struct boot_entry entry;
		struct bz bz;

		bz_new(&bz);
		put(bz.bytes + 0x258, cases[i].pref, 8);
		put(bz.bytes + 0x230, cases[i].align, 4);
		bz.bytes[0x234] = cases[i].relocatable;
		cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), 0, "%zu: %s", i,
		             problems.list[0].message);
		cr_assert_eq(entry.rip, cases[i].want + 0x200, "%zu: %" PRIx64, i, entry.rip);
	}
}

Test(bzimage, bytes_after_the_code_are_ignored)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	memset(bz.bytes + bz.size, 0xcc, 0x1000); /* a signature */
	bz.size += 0x1000;
	cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), 0);
	cr_assert_eq(peek(&memory, PREF + CODE_SIZE, 8), 0);
}

Test(bzimage, setup_sects_of_zero_means_four)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	bz.bytes[0x1f1] = 0;
	bz.size += 512;
	cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), 0);
	cr_assert_eq(peek(&memory, PREF, 8), get(bz.bytes + CODE_OFFSET + 512, 8));
}

/* One number in the header changed, one refusal. */
Test(bzimage, kernels_that_cannot_be_booted_are_refused)
{
	static const struct {
		uint16_t at;
		uint8_t width;
		uint64_t value;
		const char *words;
	} cases[] = {
		{ 0x1f1, 1, 200, "truncated" }, /* setup_sects beyond the file */
		{ 0x1f1, 1, SETUP_SECTS + 1, "truncated" },
		{ 0x1f4, 4, CODE_SIZE / 16 + 1, "truncated" },
		{ 0x1f4, 4, UINT32_MAX, "truncated" },
		{ 0x1f4, 4, 0, "syssize" },
		{ 0x1f4, 4, 0x20, "syssize" }, /* the entry would be the end */
		{ 0x1fe, 2, 0, "no Linux setup header" },
		{ 0x206, 2, 0x20b, "2.11" },
		{ 0x206, 2, 0x0000, "0.00" },
		{ 0x201, 1, 0x61, "ends at 0x263" },
		{ 0x201, 1, 0x8f, "ends at 0x291" },
		{ 0x201, 1, 0xff, "corrupt" },
		{ 0x211, 1, 0x80, "zImage" },
		{ 0x236, 2, 0x7e, "no 64-bit entry" },
		{ 0x248, 4, CODE_SIZE, "payload" },
		{ 0x248, 4, UINT32_MAX, "payload" },
		{ 0x260, 4, CODE_SIZE - 1, "init_size" },
		{ 0x260, 4, 0, "init_size" },
		{ 0x260, 4, 64 * MIB - PREF + 1, "more memory" },
		{ 0x260, 4, UINT32_MAX, "more memory" },
		{ 0x230, 4, 0, "power of two" },
		{ 0x230, 4, 0x300000, "power of two" },
		{ 0x230, 4, 0x80000000, "more memory" },
		{ 0x258, 8, 64 * MIB, "more memory" },
		{ 0x258, 8, UINT64_MAX, "more memory" },
		{ 0x258, 8, UINT64_MAX - INIT_SIZE + 1, "more memory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_memory memory = guest_of(64 * MIB);
		struct boot_entry entry = { .rip = 42 };
		struct problems problems = { 0 };
		struct bz bz;

		bz_new(&bz);
		put(bz.bytes + cases[i].at, cases[i].value, cases[i].width);
		cr_assert_lt(load(&bz, &memory, -1, "", &problems, &entry), 0, "%zu: %s", i,
		             cases[i].words);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               cases[i].words);
		cr_assert_eq(entry.rip, 42, "outputs are untouched on failure");
		cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x1fe, 2), 0, "nothing written");
	}
}

Test(bzimage, not_relocatable_below_1_mib_is_refused)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	bz.bytes[0x234] = 0;
	put(bz.bytes + 0x258, 0xff000, 8);
	cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), -EINVAL);
	expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
	               "not relocatable");
}

Test(bzimage, init_size_may_reach_the_last_byte)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	put(bz.bytes + 0x260, 64 * MIB - PREF, 4);
	cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), 0);
}

/* Cut off at every byte of the header, and at places in the code. */
Test(bzimage, truncated_anywhere_is_refused)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct bz bz;

	bz_new(&bz);
	for (size_t size = 0; size < FILE_SIZE; size += size < 0x300 ? 1 : 509) {
		struct problems problems = { 0 };
		struct boot_entry entry;

		bz.size = size;
		cr_assert_lt(load(&bz, &memory, -1, "", &problems, &entry), 0, "%zu", size);
		cr_assert_eq(problems.count, 1);
		cr_assert_eq(problems.list[0].code, ERROR_CODE_KERNEL_INVALID);
	}
	bz.size = FILE_SIZE - 16;
	struct problems problems = { 0 };
	struct boot_entry entry;

	cr_assert_lt(load(&bz, &memory, -1, "", &problems, &entry), 0);
	expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
	               "its header says");
	cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x1fe, 2), 0, "nothing written");
}

Test(bzimage, a_plan_tells_where_the_kernel_lies)
{
	struct boot_linux_config config = { .kernel = { -1, "k" }, .initrd = { -1, "i" } };
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_layout layout;
	struct bz bz;

	bz_new(&bz);
	config.kernel.fd = file_of(bz.bytes, bz.size);
	cr_assert_eq(boot_plan_linux(&config, &memory, &problems, &layout), 0, "%s",
	             problems.list[0].message);
	cr_assert_str_eq(layout.format, "bzImage");
	cr_assert_eq(layout.kernel_base, PREF);
	cr_assert_eq(layout.kernel_end, PREF + INIT_SIZE);
}

/* Each place that is written to beside the kernel must be there. */
Test(bzimage, places_that_are_not_ram)
{
	static const struct {
		uint64_t gpa;
		const char *what;
	} places[] = {
		{ 0x500, "descriptor table" }, { 0x7000, "boot parameters" },
		{ 0x20000, "command line" },   { 0x9000, "page tables" },
		{ 0xa000, "page tables" },     { 0xb000, "page tables" },
		{ 0xc000, "page tables" },     { 0xd000, "page tables" },
		{ 0xe000, "page tables" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct guest_memory memory = guest_without(ALIGN_DOWN(places[i].gpa, 4096));
		struct boot_entry entry = { .rip = 42 };
		struct problems problems = { 0 };
		struct bz bz;

		bz_new(&bz);
		cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), -EFAULT, "%zu", i);
		expect_no_ram(&problems, places[i].gpa, places[i].what, &entry);
	}
}

/* syssize counts paragraphs of 16 bytes, and the last one need not be whole. */
Test(bzimage, last_paragraph_may_be_cut_short)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	bz.size = FILE_SIZE - 15;
	cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), 0);
	cr_assert_eq(peek(&memory, PREF + CODE_SIZE - 16, 1), bz.bytes[FILE_SIZE - 16]);
	cr_assert_eq(peek(&memory, PREF + CODE_SIZE - 8, 8), 0, "nothing beyond the file");
}

Test(bzimage, command_line_bound_is_exact)
{
	static const uint32_t kernel_max[] = { CMDLINE_SIZE, 0x7fffffff };
	static const size_t want_max[] = { CMDLINE_SIZE, LAYOUT_CMDLINE_MAX - 1 };

	for (size_t i = 0; i < 2; i++) {
		struct guest_memory memory = guest_of(64 * MIB);
		char *cmdline = calloc(1, want_max[i] + 2);
		struct problems problems = { 0 };
		struct boot_entry entry;
		struct bz bz;

		bz_new(&bz);
		put(bz.bytes + 0x238, kernel_max[i], 4);
		memset(cmdline, 'x', want_max[i]);
		cr_assert_eq(load(&bz, &memory, -1, cmdline, &problems, &entry), 0);
		cr_assert_eq(peek(&memory, LAYOUT_CMDLINE + want_max[i] - 1, 2), 'x');
		cmdline[want_max[i]] = 'x';
		cr_assert_eq(load(&bz, &memory, -1, cmdline, &problems, &entry), -E2BIG);
		expect_problem(&problems, ERROR_CODE_CMDLINE_TOO_LONG, "boot.linux_boot.cmdline",
		               "takes");
		free(cmdline);
	}
}

/* From the kernel's end to the limit; one byte more is refused. */
Test(bzimage, initrd_room_is_exact)
{
	static const struct {
		uint64_t ram;
		uint32_t addr_max;
		uint64_t room;
	} cases[] = {
		{ 64 * MIB, 0x7fffffff, 64 * MIB - PREF - INIT_SIZE },
		{ 64 * MIB, 0x27fffff, 0x2800000 - PREF - INIT_SIZE },
		{ 64 * MIB, 0x1800fff, 0x1000 },
		{ 64 * MIB, PREF, 0 }, /* below the kernel's end: no room at all */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (uint64_t extra = cases[i].room ? 0 : 1; extra < 2; extra++) {
			struct guest_memory memory = guest_of(cases[i].ram);
			struct problems problems = { 0 };
			int fd = file_of("", 0), r;
			struct boot_entry entry;
			struct bz bz;

			bz_new(&bz);
			put(bz.bytes + 0x22c, cases[i].addr_max, 4);
			cr_assert_eq(ftruncate(fd, (off_t)(cases[i].room + extra)), 0);
			r = load(&bz, &memory, fd, "", &problems, &entry);
			if (extra == 0) {
				cr_assert_eq(r, 0, "%zu: %s", i, problems.list[0].message);
				cr_assert_eq(peek(&memory, LAYOUT_BOOT_PARAMS + 0x218, 4),
				             PREF + INIT_SIZE);
				continue;
			}
			cr_assert_eq(r, -EINVAL);
			expect_problem(&problems, ERROR_CODE_INITRD_INVALID,
			               "boot.linux_boot.initrd", "does not fit");
		}
	}
}

/* The room is 4096 bytes but begins off a page: nothing page aligned fits above the kernel. */
Test(bzimage, initrd_never_overlaps_an_unaligned_kernel_end)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	struct boot_entry entry;
	uint8_t initrd[4096] = { 1 };
	struct bz bz;

	bz_new(&bz);
	put(bz.bytes + 0x260, INIT_SIZE + 1, 4);
	put(bz.bytes + 0x22c, PREF + INIT_SIZE + 4096, 4);
	cr_assert_eq(load(&bz, &memory, file_of(initrd, sizeof(initrd)), "", &problems, &entry),
	             -EINVAL);
	expect_problem(&problems, ERROR_CODE_INITRD_INVALID, "boot.linux_boot.initrd",
	               "does not fit");
}

Test(bzimage, all_reasons_are_listed_at_once)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct problems problems = { 0 };
	char *cmdline = calloc(1, LAYOUT_CMDLINE_MAX + 1);
	struct boot_entry entry;
	struct bz bz;

	bz_new(&bz);
	bz.size = 100;
	memset(cmdline, 'x', LAYOUT_CMDLINE_MAX);
	cr_assert_lt(load(&bz, &memory, file_of("", 0), cmdline, &problems, &entry), 0);
	cr_assert_eq(problems.count, 3);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_KERNEL_INVALID);
	cr_assert_eq(problems.list[1].code, ERROR_CODE_INITRD_INVALID);
	cr_assert_not_null(strstr(problems.list[1].message, "is empty"));
	cr_assert_eq(problems.list[2].code, ERROR_CODE_CMDLINE_TOO_LONG);
	free(cmdline);
}

Test(bzimage, other_things_are_called_by_their_name)
{
	static const struct {
		const char *bytes;
		uint8_t at;
		const char *words;
	} cases[] = {
		{ "\x1f\x8b\x08", 0, "is a gzip file" },
		{ "\xfd"
		  "7zXZ",
		  0, "neither" }, /* its sixth byte is NUL: see below */
		{ "\x28\xb5\x2f\xfd", 0, "is a zstd file" },
		{ "BZh9", 0, "is a bzip2 file" },
		{ "ARM\x64", 56, "is an arm64 Image" },
		{ "RSC\x05", 56, "is a RISC-V Image" },
		{ "MZ", 0, "EFI program" },
		{ "070701", 0, "cpio archive" },
		{ "!<arch>\n", 0, "package" },
		{ "#!/bin/sh", 0, "script" },
		{ "hello", 0, "begins with 68 65 6c 6c" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_memory memory = guest_of(64 * MIB);
		struct problems problems = { 0 };
		struct boot_entry entry;
		struct bz bz = { .size = 4096 };

		memset(bz.bytes, 0xff, bz.size);
		memcpy(bz.bytes + cases[i].at, cases[i].bytes, strlen(cases[i].bytes));
		cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), -EINVAL);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               cases[i].words);
		if (i == 1) {
			bz.bytes[5] = 0;
			problems = (struct problems){ 0 };
			cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), -EINVAL);
			expect_problem(&problems, ERROR_CODE_KERNEL_INVALID,
			               "boot.linux_boot.kernel", "is an xz file");
		}
	}
}

/* Files of one to four bytes: the message shows what there is. */
Test(bzimage, tiny_files_are_refused)
{
	struct guest_memory memory = guest_of(64 * MIB);
	struct bz bz = { .bytes = { 1, 2, 3, 4 } };

	for (bz.size = 1; bz.size <= 4; bz.size++) {
		struct problems problems = { 0 };
		struct boot_entry entry;

		cr_assert_eq(load(&bz, &memory, -1, "", &problems, &entry), -EINVAL);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               "neither");
	}
}

Test(bzimage, kernel_fds_of_other_kinds_are_refused)
{
	struct guest_memory memory = guest_of(64 * MIB);
	int pipe_fds[2], fds[5];
	static const struct {
		enum axvm_error_code code;
		const char *words;
	} want[] = {
		{ ERROR_CODE_RESOURCE_WRONG_KIND, "is a pipe, not a regular file" },
		{ ERROR_CODE_RESOURCE_WRONG_KIND, "is a directory, not a regular file" },
		{ ERROR_CODE_RESOURCE_WRONG_KIND, "is a character device, not a regular file" },
		{ ERROR_CODE_RESOURCE_MISSING, "cannot be looked at" }, /* closed */
		{ ERROR_CODE_RESOURCE_UNREADABLE, "cannot be read" },   /* write-only */
	};
	struct bz bz;
	char path[64];

	bz_new(&bz);
	cr_assert_eq(pipe(pipe_fds), 0);
	fds[0] = pipe_fds[0];
	fds[1] = open("/", O_RDONLY | O_DIRECTORY);
	fds[2] = open("/dev/zero", O_RDONLY);
	fds[3] = 4000;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_of(bz.bytes, bz.size));
	fds[4] = open(path, O_WRONLY);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct boot_linux_config config = {
			.kernel = { fds[i], "k" },
			.initrd = { -1, "i" },
			.cmdline_field = "c",
		};
		struct problems problems = { 0 };
		struct boot_entry entry;

		cr_assert_lt(boot_load_linux(&config, &memory, &problems, &entry), 0, "%zu", i);
		expect_problem(&problems, want[i].code, "k", want[i].words);
	}
}
