/* SPDX-License-Identifier: MIT */
/* The pages of the program itself, and of its stacks. */
#ifndef AXVM_IMAGE_PAGES_H
#define AXVM_IMAGE_PAGES_H

#include <stddef.h>

/* Gives back the pages of the program's code and constants that start-up has touched. What is
 * needed again is faulted in from the page cache; most of it never is: what reads a spec and builds
 * a VM does not run one. What is known to be needed, by the linker's script, is faulted in without
 * what lies beside it. Any thread; other threads may run meanwhile. madvise(2). */
void image_forget_pages(void);

/* Has the program's variables in small pages: where the kernel gives huge ones unasked, one that is
 * touched here and there would take 2 MiB of each that it begins, at once or when the kernel comes
 * by. Any thread, before the first touch. madvise(2); a kernel without huge pages refuses, and
 * needs nothing. */
void image_keep_pages_small(void);

/* Gives back the whole pages between two of the program's variables: what lies there is zero from
 * now on. For what the launch has worked out and nobody reads any more. madvise(2). */
void image_forget_variables(void *start, const void *end);

/* Gives back what deeper calls than this one have used of the caller's stack, `depth` bytes down
 * from here, all of which must be of that stack or not mapped. madvise(2). */
void stack_forget_pages(size_t depth);

#endif
