/* SPDX-License-Identifier: MIT */
/* block.c at depth 32. */
#define DEPTH 32u
#define BYTES 4096u
#define RANDOM 1
#define REQUESTS 4096u
#include "block.c"
