/* SPDX-License-Identifier: MIT */
/* ELF kernels with a PVH note: what is accepted and where it goes, and one refusal for each way
 * to be wrong. The file is built here by offsets of the ELF specification. */
#include <errno.h>

#include "boot/boot.h"
#include "guest/layout.h"
#include "rig/boot_guest.h"

#define RAM (64 * MIB)
#define PHDRS 64
#define PHDR_SIZE 56
#define NOTES 0x200
#define NOTES_SIZE 0x40
#define TEXT 0x1000
#define TEXT_SIZE 0x1800
#define DATA 0x3000
#define DATA_SIZE 0x234
#define FILE_SIZE (DATA + DATA_SIZE)
#define TEXT_BASE 0x1000000ull
#define DATA_BASE 0x1800000ull
#define DATA_MEMORY 0x5000
#define ENTRY (TEXT_BASE + 0x123)

/* Where program header `i` has its fields. */
#define PHDR(i, field) (PHDRS + PHDR_SIZE * (i) + (field))
#define P_TYPE 0
#define P_OFFSET 8
#define P_PADDR 24
#define P_FILESZ 32
#define P_MEMSZ 40
#define P_ALIGN 48

struct elf {
	uint8_t bytes[FILE_SIZE];
	size_t size;
};

static void put_phdr(struct elf *elf, size_t i, uint32_t type, uint64_t offset, uint64_t paddr,
                     uint64_t filesz, uint64_t memsz)
{
	put(elf->bytes + PHDR(i, P_TYPE), type, 4);
	put(elf->bytes + PHDR(i, P_OFFSET), offset, 8);
	put(elf->bytes + PHDR(i, P_PADDR), paddr, 8);
	put(elf->bytes + PHDR(i, P_FILESZ), filesz, 8);
	put(elf->bytes + PHDR(i, P_MEMSZ), memsz, 8);
	put(elf->bytes + PHDR(i, P_ALIGN), 4, 8);
}

/* 0: text, 1: data and bss, 2: notes: a foreign one, then PVH's. */
static void elf_new(struct elf *elf)
{
	uint8_t *b = elf->bytes;

	memset(b, 0, sizeof(elf->bytes));
	elf->size = FILE_SIZE;
	memcpy(b, "\177ELF\2\1\1", 7);
	put(b + 16, 2, 2);  /* ET_EXEC */
	put(b + 18, 62, 2); /* EM_X86_64 */
	put(b + 20, 1, 4);
	put(b + 32, PHDRS, 8);
	put(b + 52, 64, 2);
	put(b + 54, PHDR_SIZE, 2);
	put(b + 56, 3, 2);
	put_phdr(elf, 0, 1, TEXT, TEXT_BASE, TEXT_SIZE, TEXT_SIZE);
	put_phdr(elf, 1, 1, DATA, DATA_BASE, DATA_SIZE, DATA_MEMORY);
	put_phdr(elf, 2, 4, NOTES, 0, NOTES_SIZE, NOTES_SIZE);
	put(b + NOTES, 6, 4);
	put(b + NOTES + 4, 3, 4);
	put(b + NOTES + 8, 18, 4);
	memcpy(b + NOTES + 12, "Linux", 6);
	put(b + NOTES + 24, 4, 4);
	put(b + NOTES + 28, 8, 4);
	put(b + NOTES + 32, 18, 4);
	memcpy(b + NOTES + 36, "Xen", 4);
	put(b + NOTES + 40, ENTRY, 8);
	for (size_t i = TEXT; i < FILE_SIZE; i++)
		b[i] = (uint8_t)(i * 13 + (i >> 8)) | 1;
}

static int load(const struct elf *elf, const struct guest_memory *memory, int initrd,
                const char *cmdline, struct problems *problems, struct boot_entry *entry)
{
	struct boot_linux_config config = {
		.kernel = { file_of(elf->bytes, elf->size), "boot.linux_boot.kernel" },
		.initrd = { initrd, "boot.linux_boot.initrd" },
		.cmdline = cmdline,
		.cmdline_field = "boot.linux_boot.cmdline",
		.rsdp = LAYOUT_ACPI,
	};

	return boot_load_linux(&config, memory, problems, entry);
}

Test(elf, loads_segments_and_start_info)
{
	const uint64_t nodes[] = { 16 * MIB + 4096, RAM - 16 * MIB - 4096 };
	struct guest_memory memory = guest_new(nodes, 2); /* they meet in the text */
	const uint64_t info = LAYOUT_PVH_START_INFO;
	struct problems problems = { 0 };
	uint8_t back[TEXT_SIZE], initrd[100] = { 9 };
	struct boot_entry entry;
	uint64_t modules, map;
	struct elf elf;

	elf_new(&elf);
	cr_assert_eq(load(&elf, &memory, file_of(initrd, sizeof(initrd)), "a b", &problems, &entry),
	             0, "%s", problems.list[0].message);
	cr_assert_eq(entry.mode, BOOT_PVH32);
	cr_assert_eq(entry.rip, ENTRY);
	cr_assert_eq(entry.rbx, info);
	cr_assert_eq(entry.cr3, 0);
	cr_assert_eq(entry.code_selector, 0x08);
	cr_assert_eq(entry.data_selector, 0x18);
	cr_assert_eq(guest_memory_read(&memory, GPA(TEXT_BASE), back, TEXT_SIZE), 0);
	cr_assert_arr_eq(back, elf.bytes + TEXT, TEXT_SIZE);
	cr_assert_eq(guest_memory_read(&memory, GPA(DATA_BASE), back, DATA_SIZE), 0);
	cr_assert_arr_eq(back, elf.bytes + DATA, DATA_SIZE);
	for (uint64_t i = DATA_SIZE; i < DATA_MEMORY; i++)
		cr_assert_eq(peek(&memory, DATA_BASE + i, 1), 0);

	cr_assert_eq(peek(&memory, info, 4), 0x336ec578);
	cr_assert_eq(peek(&memory, info + 4, 4), 1, "version");
	cr_assert_eq(peek(&memory, info + 8, 4), 0, "flags");
	cr_assert_eq(peek(&memory, info + 12, 4), 1, "modules");
	modules = peek(&memory, info + 16, 8);
	cr_assert_str_eq((char *)guest_memory_at(&memory, GPA(peek(&memory, info + 24, 8)), 4),
	                 "a b");
	cr_assert_eq(peek(&memory, info + 32, 8), LAYOUT_ACPI);
	map = peek(&memory, info + 40, 8);
	cr_assert_eq(peek(&memory, info + 48, 4), 5);
	cr_assert_eq(peek(&memory, modules, 8), RAM - 4096);
	cr_assert_eq(peek(&memory, modules + 8, 8), sizeof(initrd));
	cr_assert_eq(peek(&memory, RAM - 4096, 1), 9);
	cr_assert_eq(peek(&memory, map + 3 * 24, 8), MIB, "RAM from 1 MiB");
	cr_assert_eq(peek(&memory, map + 3 * 24 + 8, 8), RAM - MIB);
	cr_assert_eq(peek(&memory, map + 3 * 24 + 16, 4), 1);
}

Test(elf, bss_and_unused_pages_are_not_touched)
{
	struct guest_memory memory = guest_of(RAM);
	struct problems problems = { 0 };
	struct boot_entry entry;
	unsigned char resident = 0;
	struct elf elf;

	elf_new(&elf);
	put(elf.bytes + PHDR(1, P_MEMSZ), 0x800000, 8);
	cr_assert_eq(load(&elf, &memory, -1, "", &problems, &entry), 0);
	cr_assert_eq(mincore(guest_memory_at(&memory, GPA(DATA_BASE + 0x400000), 4096), 4096,
	                     &resident),
	             0);
	cr_assert_eq(resident & 1, 0);
	cr_assert_eq(mincore(guest_memory_at(&memory, GPA(DATA_BASE), 4096), 4096, &resident), 0);
	cr_assert_eq(resident & 1, 1, "the check can tell");
}

Test(elf, no_initrd_is_no_module)
{
	struct guest_memory memory = guest_of(RAM);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct elf elf;

	elf_new(&elf);
	cr_assert_eq(load(&elf, &memory, -1, NULL, &problems, &entry), 0);
	cr_assert_eq(peek(&memory, LAYOUT_PVH_START_INFO + 12, 4), 0);
	cr_assert_eq(peek(&memory, LAYOUT_PVH_START_INFO + 16, 8), 0);
}

Test(elf, note_may_hold_four_bytes_and_segments_may_touch)
{
	struct guest_memory memory = guest_of(RAM);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct elf elf;

	elf_new(&elf);
	put(elf.bytes + NOTES + 28, 4, 4);
	put(elf.bytes + NOTES + 44, 0xffffffff, 4); /* not part of the address */
	put(elf.bytes + PHDR(1, P_PADDR), TEXT_BASE + TEXT_SIZE, 8);
	cr_assert_eq(load(&elf, &memory, -1, "", &problems, &entry), 0, "%s",
	             problems.list[0].message);
	cr_assert_eq(entry.rip, ENTRY);
}

/* Each place that is written to beside the segments must be there. */
Test(elf, places_that_are_not_ram)
{
	static const struct {
		uint64_t gpa;
		const char *what;
	} places[] = {
		{ 0x500, "descriptor table" },
		{ 0x6000, "PVH start info" },
		{ 0x20000, "command line" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct guest_memory memory = guest_without(ALIGN_DOWN(places[i].gpa, 4096));
		struct boot_entry entry = { .rip = 42 };
		struct problems problems = { 0 };
		struct elf elf;

		elf_new(&elf);
		cr_assert_eq(load(&elf, &memory, -1, "", &problems, &entry), -EFAULT, "%zu", i);
		expect_no_ram(&problems, places[i].gpa, places[i].what, &entry);
	}
}

/* What a plan tells of a kernel is from its lowest byte to its highest, in whatever order its
 * segments are. */
Test(elf, a_plan_tells_where_the_kernel_lies)
{
	static const struct {
		uint64_t text, data;
	} orders[] = { { TEXT_BASE, DATA_BASE }, { DATA_BASE, TEXT_BASE } };

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		struct boot_linux_config config = { .kernel = { -1, "k" }, .initrd = { -1, "i" } };
		struct guest_memory memory = guest_of(RAM);
		struct problems problems = { 0 };
		struct boot_layout layout;
		struct elf elf;

		elf_new(&elf);
		put(elf.bytes + PHDR(0, P_PADDR), orders[i].text, 8);
		put(elf.bytes + PHDR(1, P_PADDR), orders[i].data, 8);
		put(elf.bytes + NOTES + 40, orders[i].text, 8);
		config.kernel.fd = file_of(elf.bytes, elf.size);
		cr_assert_eq(boot_plan_linux(&config, &memory, &problems, &layout), 0, "%s",
		             problems.list[0].message);
		cr_assert_str_eq(layout.format, "ELF");
		cr_assert_eq(layout.kernel_base, TEXT_BASE);
		cr_assert_eq(layout.kernel_end, DATA_BASE + (i ? TEXT_SIZE : DATA_MEMORY));
		cr_assert_eq(layout.initrd_size, 0);
		config.initrd.fd = file_of(elf.bytes, 5000);
		cr_assert_eq(boot_plan_linux(&config, &memory, &problems, &layout), 0);
		cr_assert_eq(layout.initrd_base, RAM - 8192);
		cr_assert_eq(layout.initrd_size, 5000);
		cr_assert_eq(peek(&memory, TEXT_BASE, 8), 0, "a plan writes nothing");
	}
}

/* One number changed, one refusal. */
Test(elf, files_that_cannot_be_booted_are_refused)
{
	static const struct {
		uint16_t at;
		uint8_t width;
		uint64_t value;
		const char *words;
	} cases[] = {
		{ 4, 1, 1, "not for x86-64" },
		{ 5, 1, 2, "not for x86-64" },
		{ 18, 2, 183, "not for x86-64" },
		{ 16, 2, 1, "not an executable" },
		{ 16, 2, 3, "not an executable" },
		{ 54, 2, 32, "program headers of 32" },
		{ 56, 2, 0, "0 program headers" },
		{ 56, 2, 65, "65 program headers" },
		{ 56, 2, 0xffff, "65535 program headers" },
		{ 32, 8, FILE_SIZE - 3 * PHDR_SIZE + 1, "program headers at byte" },
		{ 32, 8, UINT64_MAX, "program headers at byte" },
		{ 32, 8, UINT64_MAX - 3 * PHDR_SIZE + 1, "program headers at byte" },
		{ PHDR(1, P_MEMSZ), 8, DATA_SIZE - 1, "more bytes in the file" },
		{ PHDR(1, P_OFFSET), 8, DATA + 1, "segment 1 is" },
		{ PHDR(1, P_OFFSET), 8, UINT64_MAX, "segment 1 is" },
		{ PHDR(1, P_OFFSET), 8, UINT64_MAX - DATA_SIZE + 1, "segment 1 is" },
		{ PHDR(0, P_PADDR), 8, 0, "below 1 MiB" },
		{ PHDR(0, P_PADDR), 8, LAYOUT_BOOT_PARAMS, "below 1 MiB" },
		{ PHDR(0, P_PADDR), 8, LAYOUT_ACPI, "below 1 MiB" },
		{ PHDR(0, P_PADDR), 8, MIB - 1, "below 1 MiB" },
		{ PHDR(1, P_PADDR), 8, RAM - DATA_MEMORY + 1, "more memory" },
		{ PHDR(1, P_PADDR), 8, RAM, "more memory" },
		{ PHDR(1, P_PADDR), 8, UINT64_MAX, "more memory" },
		{ PHDR(1, P_PADDR), 8, UINT64_MAX - DATA_MEMORY + 1, "more memory" },
		{ PHDR(1, P_PADDR), 8, LAYOUT_ECAM, "more memory" },
		{ PHDR(1, P_PADDR), 8, 4 * GIB, "more memory" },
		{ PHDR(1, P_MEMSZ), 8, RAM - DATA_BASE + 1, "more memory" },
		{ PHDR(1, P_MEMSZ), 8, UINT64_MAX, "more memory" },
		{ PHDR(1, P_PADDR), 8, TEXT_BASE + TEXT_SIZE - 1, "overlaps" },
		{ PHDR(1, P_PADDR), 8, TEXT_BASE - DATA_MEMORY + 1, "overlaps" },
		{ PHDR(1, P_PADDR), 8, TEXT_BASE, "overlaps" },
		{ PHDR(2, P_TYPE), 4, 0, "without a PVH" },
		{ PHDR(2, P_FILESZ), 8, 24, "without a PVH" }, /* ends after the foreign one */
		{ PHDR(2, P_FILESZ), 8, 0, "without a PVH" },
		{ PHDR(2, P_FILESZ), 8, 30, "without a PVH" }, /* half a note header is left */
		{ PHDR(2, P_FILESZ), 8, 47, "beyond its segment" },
		{ PHDR(2, P_FILESZ), 8, 36, "beyond its segment" },
		{ PHDR(2, P_OFFSET), 8, FILE_SIZE - NOTES_SIZE + 1, "its notes are" },
		{ PHDR(2, P_OFFSET), 8, UINT64_MAX, "its notes are" },
		{ PHDR(2, P_FILESZ), 8, UINT64_MAX, "its notes are" },
		{ NOTES, 4, UINT32_MAX, "beyond its segment" },
		{ NOTES + 4, 4, UINT32_MAX, "beyond its segment" },
		{ NOTES + 32, 4, 17, "without a PVH" },
		{ NOTES + 36, 4, 0x00206558, "without a PVH" },
		{ NOTES + 24, 4, 3, "without a PVH" },
		{ NOTES + 28, 4, 2, "without a PVH" },
		{ NOTES + 40, 8, TEXT_BASE - 1, "in none of its segments" },
		{ NOTES + 40, 8, TEXT_BASE + TEXT_SIZE, "in none of its segments" },
		{ NOTES + 40, 8, DATA_BASE + DATA_SIZE, "in none of its segments" }, /* bss */
		{ NOTES + 40, 8, (1ULL << 32) + ENTRY, "in none of its segments" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_memory memory = guest_of(RAM);
		struct boot_entry entry = { .rip = 42 };
		struct problems problems = { 0 };
		struct elf elf;

		elf_new(&elf);
		put(elf.bytes + cases[i].at, cases[i].value, cases[i].width);
		cr_assert_eq(load(&elf, &memory, -1, "", &problems, &entry), -EINVAL, "%zu: %s", i,
		             cases[i].words);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               cases[i].words);
		cr_assert_eq(entry.rip, 42);
		cr_assert_eq(peek(&memory, LAYOUT_PVH_START_INFO, 4), 0, "nothing written");
	}
}

Test(elf, absurd_amount_of_notes_is_refused)
{
	struct guest_memory memory = guest_of(RAM);
	struct boot_linux_config config = {
		.kernel = { -1, "k" },
		.initrd = { -1, "i" },
	};
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct elf elf;

	elf_new(&elf);
	put(elf.bytes + PHDR(2, P_FILESZ), 64 * KIB + 1, 8);
	config.kernel.fd = file_of(elf.bytes, elf.size);
	cr_assert_eq(ftruncate(config.kernel.fd, MIB), 0);
	cr_assert_eq(boot_load_linux(&config, &memory, &problems, &entry), -EINVAL);
	expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "k", "bytes of notes");
}

Test(elf, truncated_anywhere_is_refused)
{
	struct guest_memory memory = guest_of(RAM);
	struct elf elf;

	elf_new(&elf);
	for (size_t size = 4; size < FILE_SIZE; size += size < NOTES + NOTES_SIZE ? 1 : 101) {
		struct problems problems = { 0 };
		struct boot_entry entry;

		elf.size = size;
		cr_assert_eq(load(&elf, &memory, -1, "", &problems, &entry), -EINVAL, "%zu", size);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               "is truncated");
	}
}

/* Linux would cut a longer one off without a word. */
Test(elf, command_line_of_2047_bytes_is_the_longest)
{
	struct guest_memory memory = guest_of(RAM);
	struct problems problems = { 0 };
	struct boot_entry entry;
	char cmdline[2049] = "";
	struct elf elf;

	elf_new(&elf);
	memset(cmdline, 'x', 2047);
	cr_assert_eq(load(&elf, &memory, -1, cmdline, &problems, &entry), 0);
	cmdline[2047] = 'x';
	cr_assert_eq(load(&elf, &memory, -1, cmdline, &problems, &entry), -E2BIG);
	expect_problem(&problems, ERROR_CODE_CMDLINE_TOO_LONG, "boot.linux_boot.cmdline", "2047");
}

Test(elf, initrd_lies_above_every_segment)
{
	struct guest_memory memory = guest_of(RAM);
	struct problems problems = { 0 };
	int fd = file_of("", 0);
	struct boot_entry entry;
	struct elf elf;
	const uint64_t end = ALIGN_UP(DATA_BASE + DATA_MEMORY, 4096);

	elf_new(&elf);
	cr_assert_eq(ftruncate(fd, (off_t)(RAM - end)), 0);
	cr_assert_eq(load(&elf, &memory, fd, "", &problems, &entry), 0);
	cr_assert_eq(peek(&memory, peek(&memory, LAYOUT_PVH_START_INFO + 16, 8), 8), end);
	cr_assert_eq(ftruncate(fd, (off_t)(RAM - end + 1)), 0);
	cr_assert_eq(load(&elf, &memory, fd, "", &problems, &entry), -EINVAL);
	expect_problem(&problems, ERROR_CODE_INITRD_INVALID, "boot.linux_boot.initrd",
	               "does not fit");
}

/* A segment without memory is nothing, wherever it says that it lies; and it takes no place from
 * others. */
Test(elf, empty_segments_are_passed_over)
{
	static const uint64_t places[] = { 0, 0x1000, TEXT_BASE, RAM, 3 * GIB, UINT64_MAX };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct guest_memory memory = guest_of(RAM);
		struct problems problems = { 0 };
		struct boot_entry entry;
		struct elf elf;

		elf_new(&elf);
		put_phdr(&elf, 1, 1, DATA, places[i], 0, 0);
		cr_assert_eq(load(&elf, &memory, -1, NULL, &problems, &entry), 0, "%s",
		             problems.list[0].message);
		cr_assert_eq(entry.rip, ENTRY);
		/* Of a file with nothing else there is no entry. */
		put_phdr(&elf, 0, 1, TEXT, TEXT_BASE, 0, 0);
		cr_assert_lt(load(&elf, &memory, -1, NULL, &problems, &entry), 0);
	}
}

/* The last note may end short of its alignment: there the segment ends, and the walk with it. */
Test(elf, the_last_note_may_end_anywhere)
{
	for (uint32_t desc = 0; desc <= 8; desc++) {
		struct guest_memory memory = guest_of(RAM);
		struct problems problems = { 0 };
		struct boot_entry entry;
		struct elf elf;

		elf_new(&elf);
		/* of the foreign note, whose name is padded to 8 bytes */
		put(elf.bytes + NOTES + 4, desc, 4);
		put_phdr(&elf, 2, 4, NOTES, 0, 20 + desc, 20 + desc);
		cr_assert_lt(load(&elf, &memory, -1, NULL, &problems, &entry), 0);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               "without a PVH entry note");
	}
}

/* Of two PVH notes the first is the entry. */
Test(elf, the_first_pvh_note_counts)
{
	struct guest_memory memory = guest_of(RAM);
	struct problems problems = { 0 };
	struct boot_entry entry;
	struct elf elf;

	elf_new(&elf);
	put(elf.bytes + 56, 4, 2);
	put_phdr(&elf, 3, 4, NOTES + 0x80, 0, 24, 24);
	memcpy(elf.bytes + NOTES + 0x80, elf.bytes + NOTES + 24, 24);
	put(elf.bytes + NOTES + 0x80 + 16, ENTRY + 16, 8);
	cr_assert_eq(load(&elf, &memory, -1, NULL, &problems, &entry), 0, "%s",
	             problems.list[0].message);
	cr_assert_eq(entry.rip, ENTRY);
}

/* ---- notes beside PVH's ---------------------------------------------------------------------- */

/* Appends a note: `gap` bytes of padding, then header, name and description, padded to `align`.
 * Bytes of descriptions are such that whoever takes them for a header goes astray. */
struct placed {
	const char *name;
	uint32_t type, desc, gap, align;
};

static uint64_t add_note(uint8_t *at, const struct placed *note)
{
	uint64_t name = note->gap + 12, desc = ALIGN_UP(name + strlen(note->name) + 1, 4);

	put(at + note->gap, strlen(note->name) + 1, 4);
	put(at + note->gap + 4, note->desc, 4);
	put(at + note->gap + 8, note->type, 4);
	memcpy(at + name, note->name, strlen(note->name));
	memset(at + desc, 0xab, note->desc);
	return ALIGN_UP(desc + note->desc - note->gap, note->align) + note->gap;
}

/* clang-format off */
#define PROPERTY(gap_) { "GNU", 5, 16, gap_, 8 }
#define BUILD_ID(align_) { "GNU", 3, 20, 0, align_ }
#define OTHER(align_) { "Other", 1, 8, 0, align_ } /* 28 bytes */
#define PVH { "Xen", 18, 8, 0, 4 }
/* clang-format on */

/* What ld, and those who read the specification otherwise, make of p_align: PVH's note is found
 * behind all of it. */
Test(elf, notes_of_two_alignments)
{
	static const struct {
		uint64_t p_align;
		struct placed notes[6];
	} rows[] = {
		{ 4, { PVH } },
		{ 4, { BUILD_ID(4), OTHER(4), PVH } },
		{ 8, { PVH } },
		{ 8, { PROPERTY(0), PVH } },
		{ 8, { PROPERTY(0), BUILD_ID(4), PVH } },
		{ 8, { BUILD_ID(4), PVH } },
		{ 8, { PROPERTY(0), BUILD_ID(4), OTHER(4), PVH } },
		/* The property note is not the first, and lies on a multiple of 8. */
		{ 8, { BUILD_ID(4), PROPERTY(4), PVH } },
		{ 8, { BUILD_ID(4), PROPERTY(4), BUILD_ID(4), PVH } },
		{ 8, { BUILD_ID(4), OTHER(4), PROPERTY(0), OTHER(4), PVH } },
		/* A property that is no multiple of 8 long is padded all the same. */
		{ 8, { { "GNU", 5, 12, 0, 8 }, BUILD_ID(4), PVH } },
		/* Each padded to 8, as the specification of 64-bit objects once had it. */
		{ 8, { BUILD_ID(8), PVH } },
		{ 8, { PROPERTY(0), BUILD_ID(8), OTHER(8), PVH } },
		{ 8, { OTHER(8), BUILD_ID(8), PVH } },
		/* The first linkers to know the property note said 4 of it. */
		{ 4, { PROPERTY(0), BUILD_ID(4), PVH } },
		{ 1, { BUILD_ID(4), PVH } },
		{ 0, { BUILD_ID(4), PVH } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest_memory memory = guest_of(RAM);
		struct problems problems = { 0 };
		struct boot_entry entry = { 0 };
		uint64_t size = 0;
		struct elf elf;

		elf_new(&elf);
		memset(elf.bytes + NOTES, 0, NOTES_SIZE);
		for (const struct placed *note = rows[i].notes; note->name; note++) {
			size += add_note(elf.bytes + NOTES + size, note);
			if (note->type == 18)
				put(elf.bytes + NOTES + size - 8, ENTRY, 8);
		}
		put_phdr(&elf, 2, 4, NOTES, 0, size, size);
		put(elf.bytes + PHDR(2, P_ALIGN), rows[i].p_align, 8);
		cr_expect_eq(load(&elf, &memory, -1, NULL, &problems, &entry), 0, "row %zu: %s", i,
		             problems.list[0].message);
		cr_expect_eq(entry.rip, ENTRY, "row %zu", i);
	}
}

/* A segment of notes that cannot be read is passed over: the entry is in the next one. Where it is
 * in none, the refusal names the first that could not be read. */
Test(elf, unreadable_notes_do_not_end_the_search)
{
	static const struct {
		uint64_t offset, size;
		uint32_t name, desc; /* of the first note there; 0: as it is */
		const char *says;
	} rows[] = {
		{ FILE_SIZE - 11, 12, 0, 0, "its notes are 12 bytes at byte 12841" },
		{ UINT64_MAX, 1, 0, 0, "its notes are 1 bytes" },
		{ NOTES + 0x80, UINT64_MAX, 0, 0, "its notes are" },
		{ NOTES + 0x80, 65 * KIB, 0, 0, "66560 bytes of notes" },
		{ NOTES + 0x80, 24, UINT32_MAX, 8, "a note at byte 640 runs beyond its segment" },
		{ NOTES + 0x80, 24, 4, UINT32_MAX, "a note at byte 640 runs beyond its segment" },
		{ NOTES + 0x80, 24, 4, 9, "a note at byte 640 runs beyond its segment" },
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		struct boot_linux_config config = { .kernel = { -1, "boot.linux_boot.kernel" },
			                            .initrd = { -1, "i" } };
		struct guest_memory memory = guest_of(RAM);
		struct problems problems = { 0 };
		struct boot_entry entry = { 0 };
		bool there = i < ARRAY_SIZE(rows);
		size_t row = i % ARRAY_SIZE(rows);
		struct elf elf;

		elf_new(&elf);
		put(elf.bytes + 56, 4, 2);
		put_phdr(&elf, 3, 4, NOTES, 0, NOTES_SIZE, NOTES_SIZE);
		put_phdr(&elf, 2, 4, rows[row].offset, 0, rows[row].size, rows[row].size);
		put(elf.bytes + NOTES + 0x80, rows[row].name, 4);
		put(elf.bytes + NOTES + 0x84, rows[row].desc, 4);
		if (!there)
			put(elf.bytes + NOTES + 32, 17, 4);
		config.kernel.fd = file_of(elf.bytes, elf.size);
		/* So that there is as much of the file as those 65 KiB. */
		cr_assert_eq(ftruncate(config.kernel.fd,
		                       rows[row].size == 65 * KIB ? MIB : FILE_SIZE),
		             0);
		cr_expect_eq(boot_load_linux(&config, &memory, &problems, &entry),
		             there ? 0 : -EINVAL, "row %zu: %s", i, problems.list[0].message);
		if (there)
			cr_expect_eq(entry.rip, ENTRY, "row %zu", i);
		else
			expect_problem(&problems, ERROR_CODE_KERNEL_INVALID,
			               "boot.linux_boot.kernel", rows[row].says);
	}
}

/* A segment of memory alone is held to the same places as any other, and the kernel ends where it
 * does. */
Test(elf, a_segment_without_bytes_in_the_file_takes_its_place)
{
	static const struct {
		uint64_t base, size;
		const char *refused;
	} rows[] = {
		{ RAM - 0x5000, 0x5000, NULL },
		{ TEXT_BASE + TEXT_SIZE, 1, NULL },
		{ TEXT_BASE - 1, 1, NULL },
		{ MIB, 1, NULL },
		{ MIB - 1, 1, "below 1 MiB" },
		{ 0, 1, "below 1 MiB" },
		{ RAM - 0x5000, 0x5001, "give the guest more memory" },
		{ RAM, 1, "give the guest more memory" },
		{ TEXT_BASE, 1, "overlaps another" },
		{ TEXT_BASE + TEXT_SIZE - 1, 1, "overlaps another" },
		{ TEXT_BASE - 1, 2, "overlaps another" },
		{ MIB, RAM - MIB, "overlaps another" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct boot_linux_config config = { .kernel = { -1, "boot.linux_boot.kernel" },
			                            .initrd = { -1, "i" } };
		struct guest_memory memory = guest_of(RAM);
		struct problems problems = { 0 };
		struct boot_layout layout;
		struct boot_entry entry;
		struct elf elf;

		elf_new(&elf);
		put_phdr(&elf, 1, 1, DATA, rows[i].base, 0, rows[i].size);
		cr_expect_eq(load(&elf, &memory, -1, NULL, &problems, &entry),
		             rows[i].refused ? -EINVAL : 0, "row %zu", i);
		if (rows[i].refused) {
			expect_problem(&problems, ERROR_CODE_KERNEL_INVALID,
			               "boot.linux_boot.kernel", rows[i].refused);
			continue;
		}
		cr_expect_eq(peek(&memory, rows[i].base, 1), 0, "row %zu", i);
		config.kernel.fd = file_of(elf.bytes, elf.size);
		cr_assert_eq(boot_plan_linux(&config, &memory, &problems, &layout), 0, "row %zu",
		             i);
		cr_expect_eq(layout.kernel_base, MIN(TEXT_BASE, rows[i].base), "row %zu", i);
		cr_expect_eq(layout.kernel_end,
		             MAX(TEXT_BASE + TEXT_SIZE, rows[i].base + rows[i].size), "row %zu", i);
		/* It has no code. */
		put(elf.bytes + NOTES + 40, rows[i].base, 8);
		cr_expect_eq(load(&elf, &memory, -1, NULL, &problems, &entry), -EINVAL, "row %zu",
		             i);
		expect_problem(&problems, ERROR_CODE_KERNEL_INVALID, "boot.linux_boot.kernel",
		               "is in none of its segments");
	}
}
