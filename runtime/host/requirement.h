/* SPDX-License-Identifier: MIT */
/* What a profile may ask of a host, by name; admission has the table (admit.c). */
#ifndef AXVM_HOST_REQUIREMENT_H
#define AXVM_HOST_REQUIREMENT_H

#include <stdbool.h>

/* Whether there is a requirement of that name. */
bool admit_knows(const char *name);

#endif
