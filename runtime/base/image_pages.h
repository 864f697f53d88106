/* SPDX-License-Identifier: MIT */
/* The pages of the program itself, and of its stacks. */
#ifndef AXVM_IMAGE_PAGES_H
#define AXVM_IMAGE_PAGES_H

#include <stddef.h>

/* Gives back the pages of the program's code and constants that start-up has touched. The kernel
 * faults a page in again from the page cache when the VM needs it, which is seldom: the code that
 * reads a spec and builds a VM does not run again. What the linker's script lists as needed for
 * ever is faulted in without its neighbours. Any thread; other threads may run meanwhile.
 * madvise(2). */
void image_forget_pages(void);

/* Keeps the program's variables in 4 KiB pages. A kernel that gives huge pages unasked would
 * otherwise use 2 MiB for each part of them that is touched, at once or later (khugepaged). Any
 * thread, before the first touch. madvise(2); a kernel without huge pages refuses the call, which
 * is no error: there is nothing to prevent. */
void image_keep_pages_small(void);

/* Gives back the whole pages between two of the program's variables: they read as zero from then
 * on. For results of the launch that nobody reads any more. madvise(2). */
void image_forget_variables(void *start, const void *end);

/* Gives back the pages of the caller's stack that deeper calls have used, `depth` bytes down from
 * here. Each page there must belong to that stack or not be mapped. madvise(2). */
void stack_forget_pages(size_t depth);

#endif
