/* SPDX-License-Identifier: MIT */
/* What the boot tests share: a guest's RAM, files that hold given bytes, little-endian access. */
#ifndef AXVM_TESTS_BOOT_GUEST_H
#define AXVM_TESTS_BOOT_GUEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/problem.h"
#include "boot/boot.h"
#include "guest/memory.h"

/* Regions are mapped one by one and apart, so that nothing works by their lying side by side. */
static inline struct guest_memory guest_new(const uint64_t *node_sizes, size_t nodes)
{
	struct guest_memory memory;

	cr_assert_eq(guest_memory_layout(&memory, node_sizes, nodes), 0);
	for (size_t i = 0; i < memory.count; i++) {
		uint64_t size = memory.regions[i].size;
		uint8_t *map = mmap(NULL, size + 2 * 4096, PROT_NONE,
		                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		cr_assert_neq((void *)map, MAP_FAILED);
		cr_assert_eq(mprotect(map + 4096, size, PROT_READ | PROT_WRITE), 0);
		memory.regions[i].hva = map + 4096;
	}
	return memory;
}

static inline struct guest_memory guest_of(uint64_t bytes)
{
	return guest_new(&bytes, 1);
}

/* 64 MiB but for one page below 1 MiB, which is not RAM. */
static inline struct guest_memory guest_without(uint64_t page)
{
	const uint64_t sizes[] = { MIB, 63 * MIB };
	struct guest_memory memory = guest_new(sizes, 2), holed = { .count = 0 };

	if (page > 0)
		holed.regions[holed.count++] = memory.regions[0];
	holed.regions[0].size = page;
	holed.regions[holed.count] = memory.regions[0];
	holed.regions[holed.count].base = GPA(page + 4096);
	holed.regions[holed.count].hva += page + 4096;
	holed.regions[holed.count++].size = MIB - page - 4096;
	holed.regions[holed.count++] = memory.regions[1];
	return holed;
}

/* A file in memory; the test's process ends soon, nobody closes it. */
static inline int file_of(const void *bytes, size_t length)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, length), (ssize_t)length);
	return fd;
}

static inline void put(uint8_t *at, uint64_t value, size_t width)
{
	for (size_t i = 0; i < width; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t get(const uint8_t *at, size_t width)
{
	uint64_t value = 0;

	for (size_t i = 0; i < width; i++)
		value |= (uint64_t)at[i] << (8 * i);
	return value;
}

/* The smallest kernel with a PVH note: 16 bytes at 16 MiB, entered at the third of them. Returns
 * its size, of at most 0x200. */
static inline size_t pvh_kernel(uint8_t *to)
{
	memset(to, 0, 0x200);
	memcpy(to, "\177ELF\2\1\1", 7);
	put(to + 16, 2, 2);  /* ET_EXEC */
	put(to + 18, 62, 2); /* EM_X86_64 */
	put(to + 20, 1, 4);
	put(to + 32, 64, 8); /* program headers */
	put(to + 52, 64, 2);
	put(to + 54, 56, 2);
	put(to + 56, 2, 2);
	put(to + 64, 1, 4); /* PT_LOAD: from, to, size in the file and in memory, alignment */
	put(to + 64 + 8, 0x1f0, 8);
	put(to + 64 + 24, 16 * MIB, 8);
	put(to + 64 + 32, 16, 8);
	put(to + 64 + 40, 16, 8);
	put(to + 64 + 48, 4, 8);
	put(to + 120, 4, 4); /* PT_NOTE */
	put(to + 120 + 8, 0x100, 8);
	put(to + 120 + 32, 24, 8);
	put(to + 120 + 40, 24, 8);
	put(to + 120 + 48, 4, 8);
	put(to + 0x100, 4, 4); /* "Xen", XEN_ELFNOTE_PHYS32_ENTRY */
	put(to + 0x104, 8, 4);
	put(to + 0x108, 18, 4);
	memcpy(to + 0x10c, "Xen", 4);
	put(to + 0x110, 16 * MIB + 2, 8);
	memset(to + 0x1f0, 0x90, 16);
	return 0x200;
}

/* A little-endian number in guest memory. */
static inline uint64_t peek(const struct guest_memory *memory, uint64_t gpa, size_t width)
{
	uint8_t bytes[8];

	cr_assert_eq(guest_memory_read(memory, GPA(gpa), bytes, width), 0, "no RAM at %" PRIx64,
	             gpa);
	return get(bytes, width);
}

/* The errno of a refusal. */
static inline int boot_errno(const struct problem *problem)
{
	static const struct {
		enum axvm_error_code code;
		const char *words;
		int error;
	} rows[] = {
		{ ERROR_CODE_RESOURCE_MISSING, "", EBADF },
		{ ERROR_CODE_RESOURCE_UNREADABLE, "", EBADF },
		{ ERROR_CODE_CMDLINE_TOO_LONG, "", E2BIG },
		{ ERROR_CODE_HOST_LIMIT, "", ENOSPC },
		{ ERROR_CODE_SPEC_INVALID, "there is no RAM", EFAULT },
		{ ERROR_CODE_KERNEL_INVALID, "empty", ENODATA },
		{ ERROR_CODE_INITRD_INVALID, "empty", ENODATA },
		{ ERROR_CODE_IMAGE_INVALID, "empty", ENODATA },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (problem->code == rows[i].code && strstr(problem->message, rows[i].words))
			return rows[i].error;
	return EINVAL;
}

/* Exactly one problem: this code, this field, and a message that contains `words`. */
static inline void expect_problem(const struct problems *problems, enum axvm_error_code code,
                                  const char *field, const char *words)
{
	const struct problem *problem = &problems->list[0];

	cr_assert_eq(problems->count, 1, "%zu problems, wanted: %s", problems->count, words);
	cr_assert_eq(problem->code, code, "code %d: %s", problem->code, problem->message);
	cr_assert_str_eq(problem->field, field);
	cr_assert_not_null(strstr(problem->message, words), "'%s' lacks '%s'", problem->message,
	                   words);
	cr_assert_eq(problem->error_number, boot_errno(problem), "%s: %d", problem->message,
	             problem->error_number);
}

/* A load into memory that lacks a page: refused for want of that place, once, and no entry. */
static inline void expect_no_ram(const struct problems *problems, uint64_t gpa, const char *what,
                                 const struct boot_entry *entry)
{
	char words[96];

	snprintf(words, sizeof(words), "there is no RAM at 0x%" PRIx64 " for the %s: give", gpa,
	         what);
	expect_problem(problems, ERROR_CODE_SPEC_INVALID, "memory.nodes", words);
	cr_assert_eq(entry->rip, 42, "untouched");
}

#endif
