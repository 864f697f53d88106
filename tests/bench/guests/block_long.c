/* SPDX-License-Identifier: MIT */
/* block.c with long reads, one after the other. */
#define DEPTH 4u
#define BYTES (128u << 10)
#define RANDOM 0
#define REQUESTS 1024u
#include "block.c"
