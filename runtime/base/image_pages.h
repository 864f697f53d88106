/* SPDX-License-Identifier: MIT */
/* The pages of the program itself. */
#ifndef AXVM_IMAGE_PAGES_H
#define AXVM_IMAGE_PAGES_H

/* Gives back the pages of the program's code and constants that start-up has touched. The kernel
 * faults a page in again from the page cache when the VM needs it, which is seldom: the code that
 * reads a spec and builds a VM does not run again. Any thread; other threads may run meanwhile.
 * madvise(2). */
void image_forget_pages(void);

/* Keeps the program's variables in 4 KiB pages. A kernel that gives huge pages unasked would
 * otherwise use 2 MiB for each part of them that is touched, at once or later (khugepaged). Any
 * thread, before the first touch. madvise(2); a kernel without huge pages refuses the call, which
 * is no error: there is nothing to prevent. */
void image_keep_pages_small(void);

#endif
