/* SPDX-License-Identifier: MIT */
/* The pages of the program itself, and of its stacks. */
#include "base/image_pages.h"

#include <link.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/base.h"

#define PAGE 4096u

struct ranges {
	bool written; /* of segments that are writable, or of those that are not */
	size_t count;
	struct {
		uintptr_t start, end;
	} list[8];
};

/* Collects the segments first and uses them afterwards, because the program headers lie in one of
 * them. */
static int note_segments(struct dl_phdr_info *info, size_t size, void *context)
{
	struct ranges *ranges = context;

	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum && ranges->count < ARRAY_SIZE(ranges->list); i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W) == ranges->written)
			continue;
		ranges->list[ranges->count].start = ALIGN_DOWN(start, PAGE);
		ranges->list[ranges->count++].end = ALIGN_UP(start + segment->p_memsz, PAGE);
	}
	return 1; /* the program itself comes first, and nothing else is of interest */
}

static void advise(bool written, int advice)
{
	struct ranges ranges = { .written = written };

	(void)dl_iterate_phdr(note_segments, &ranges);
	for (size_t i = 0; i < ranges.count; i++)
		(void)madvise((void *)ranges.list[i].start,
		              ranges.list[i].end - ranges.list[i].start, advice);
}

/* Where the linker has put what runs for ever (runtime/shim/steady.ld); NULL in programs that are
 * linked without that script. */
extern char steady_text[] __attribute__((weak, visibility("hidden")));
extern char steady_text_end[] __attribute__((weak, visibility("hidden")));
extern char steady_constants[] __attribute__((weak, visibility("hidden")));
extern char steady_constants_end[] __attribute__((weak, visibility("hidden")));

/* Makes a mapping of its own of them: a fault maps the pages around it, and since Linux 6.18 the
 * whole folio of the page cache, but no more than the mapping. */
static void set_apart(char *start, char *end)
{
	uintptr_t first = ALIGN_DOWN((uintptr_t)start, PAGE);

	if (end)
		(void)madvise((void *)first, ALIGN_UP((uintptr_t)end, PAGE) - first, MADV_RANDOM);
}

void image_forget_pages(void)
{
	set_apart(steady_text, steady_text_end);
	set_apart(steady_constants, steady_constants_end);
	advise(false, MADV_DONTNEED);
}

void image_keep_pages_small(void)
{
	advise(true, MADV_NOHUGEPAGE);
}

void image_forget_variables(void *start, const void *end)
{
	uintptr_t first = ALIGN_UP((uintptr_t)start, PAGE);
	uintptr_t last = ALIGN_DOWN((uintptr_t)end, PAGE);

	if (first < last)
		(void)madvise((void *)first, last - first, MADV_DONTNEED);
}

/* What is below the stack pointer is nobody's but for 128 bytes (System V ABI, AMD64, 3.2.2). FRAME
 * has room for them and for what this function and madvise(2) put there. */
#define FRAME 1024u

__attribute__((noinline)) void stack_forget_pages(size_t depth)
{
	uintptr_t kept = ALIGN_DOWN((uintptr_t)__builtin_frame_address(0) - FRAME, PAGE);

	(void)madvise((void *)(kept - depth), depth, MADV_DONTNEED);
}
