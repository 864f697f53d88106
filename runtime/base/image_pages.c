/* SPDX-License-Identifier: MIT */
/* The pages of the program itself. */
#include "base/image_pages.h"

#include <link.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/base.h"

#define PAGE 4096u

struct ranges {
	size_t count;
	struct {
		uintptr_t start, end;
	} list[8];
};

struct ranges_wanted {
	bool written; /* of segments that are, or those that never are */
	struct ranges found;
};

/* Noted first and used afterwards, because the program headers lie in one of them. */
static int note_segments(struct dl_phdr_info *info, size_t size, void *context)
{
	struct ranges_wanted *wanted = context;
	struct ranges *ranges = &wanted->found;

	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum && ranges->count < ARRAY_SIZE(ranges->list); i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W) == wanted->written)
			continue;
		ranges->list[ranges->count].start = ALIGN_DOWN(start, PAGE);
		ranges->list[ranges->count++].end = ALIGN_UP(start + segment->p_memsz, PAGE);
	}
	return 1; /* the program itself comes first, and it is all there is */
}

static void advise(bool written, int advice)
{
	struct ranges_wanted wanted = { .written = written };

	(void)dl_iterate_phdr(note_segments, &wanted);
	for (size_t i = 0; i < wanted.found.count; i++)
		(void)madvise((void *)wanted.found.list[i].start,
		              wanted.found.list[i].end - wanted.found.list[i].start, advice);
}

void image_forget_pages(void)
{
	advise(false, MADV_DONTNEED);
}

void image_keep_pages_small(void)
{
	advise(true, MADV_NOHUGEPAGE);
}
