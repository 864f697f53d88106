/* SPDX-License-Identifier: MIT */
/* A guest-physical address. */
#ifndef AXVM_BASE_GPA_H
#define AXVM_BASE_GPA_H

#include <stdint.h>

/* A struct, so that the compiler refuses it where a pointer or a length belongs. Only
 * guest/memory.c turns it into a pointer. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(x) ((gpa_t){ (x) })

#endif
