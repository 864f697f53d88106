/* SPDX-License-Identifier: MIT */
/* A look at each piece that is populated: madvise(2) of the whole program is
 * machine/machine.c's. */
#ifndef AXVM_TESTS_POPULATING_H
#define AXVM_TESTS_POPULATING_H

#include <stddef.h>

/* Called before each MADV_POPULATE_WRITE with its length, by the thread that asks for it; NULL:
 * nobody looks. */
extern void (*populating_seen)(size_t length);

#endif
