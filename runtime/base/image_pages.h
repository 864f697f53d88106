/* SPDX-License-Identifier: MIT */
/* The pages of the program itself. */
#ifndef AXVM_IMAGE_PAGES_H
#define AXVM_IMAGE_PAGES_H

/* Gives back the pages of the program's code and constants that start-up has touched. What is needed
 * again is faulted in from the page cache; most of it never is: what reads a spec and builds a VM
 * does not run one. Any thread; other threads may run meanwhile. madvise(2). */
void image_forget_pages(void);

#endif
