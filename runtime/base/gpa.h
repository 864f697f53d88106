/* SPDX-License-Identifier: MIT */
/* A guest-physical address. */
#ifndef AXVM_BASE_GPA_H
#define AXVM_BASE_GPA_H

#include <stdint.h>

/* A struct, so that it is never mistaken for a pointer or a length; guest/memory.c alone makes a
 * pointer of it. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x) ((gpa_t){ (x) })

#endif
