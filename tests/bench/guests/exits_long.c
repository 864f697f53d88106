/* SPDX-License-Identifier: MIT */
/* The same as exits.c, for more than a second. */
#define TURNS 8192u
#include "exits.c"
