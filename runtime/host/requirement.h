/* SPDX-License-Identifier: MIT */
/* The names of requirements that a profile may have; admission has the table (admit.c). */
#ifndef AXVM_HOST_REQUIREMENT_H
#define AXVM_HOST_REQUIREMENT_H

#include <stdbool.h>

/* Whether there is a requirement of that name. */
bool admit_knows(const char *name);

#endif
