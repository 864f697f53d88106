/* SPDX-License-Identifier: MIT */
/* The pages of the program itself. */
#ifndef AXVM_IMAGE_PAGES_H
#define AXVM_IMAGE_PAGES_H

/* Gives back the pages of the program's code and constants that start-up has touched. What is
 * needed again is faulted in from the page cache; most of it never is: what reads a spec and builds
 * a VM does not run one. Any thread; other threads may run meanwhile. madvise(2). */
void image_forget_pages(void);

/* Has the program's variables in small pages: where the kernel gives huge ones unasked, one that is
 * touched here and there would take 2 MiB of each that it begins, at once or when the kernel comes
 * by. Any thread, before the first touch. madvise(2); a kernel without huge pages refuses, and
 * needs nothing. */
void image_keep_pages_small(void);

#endif
