/* SPDX-License-Identifier: MIT */
/* The pages of the program itself. */
#include "base/image_pages.h"

#include <link.h>
#include <stddef.h>
#include <sys/mman.h>

#include "base/base.h"

#define PAGE 4096u

/* Only segments that are never written: their pages are the file's. */
static int forget_segments(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
		uintptr_t start = ALIGN_DOWN(info->dlpi_addr + segment->p_vaddr, PAGE);
		uintptr_t end = ALIGN_UP(info->dlpi_addr + segment->p_vaddr + segment->p_memsz, PAGE);

		if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
			(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 1; /* the program itself comes first, and it is all there is */
}

void image_forget_pages(void)
{
	(void)dl_iterate_phdr(forget_segments, NULL);
}
