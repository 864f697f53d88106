/* SPDX-License-Identifier: MIT */
/* Between the macros and the runner. */
#ifndef AXVM_STAND_IN_H
#define AXVM_STAND_IN_H

#include <stdbool.h>

#define STAND_IN_SKIPPED 77 /* exit status of a test */

extern bool stand_in_has_failed;

#endif
