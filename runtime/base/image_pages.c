/* SPDX-License-Identifier: MIT */
/* The pages of the program itself. */
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

void image_forget_pages(void)
{
	advise(false, MADV_DONTNEED);
}

void image_keep_pages_small(void)
{
	advise(true, MADV_NOHUGEPAGE);
}
