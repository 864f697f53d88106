/* SPDX-License-Identifier: MIT */
/* The `axvm` command as its user has it: a line in; its status and what it said, on which stream,
 * out. */
#ifndef AXVM_TESTS_AXVM_SAY_H
#define AXVM_TESTS_AXVM_SAY_H

#include <stddef.h>

struct said {
	int status;
	char *out, *err; /* NUL-terminated */
	size_t out_size;
};

/* `axvm LINE`, words apart at spaces; `input` becomes its standard input, -1: /dev/null. */
struct said axvm_say(const char *line, int input);
void said_done(struct said *said);

/* A file of the calling test's own, with these bytes, as a descriptor to read from the start. */
int axvm_say_input(const void *bytes, size_t n);

#endif
