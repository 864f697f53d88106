/* SPDX-License-Identifier: MIT */
/* Parses long options by a table: `--name value`, `--name=value`, `--name`. */
#ifndef AXVM_CLI_FLAGS_H
#define AXVM_CLI_FLAGS_H

#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/* The kind of a value, for completion. */
enum flag_value { FLAG_NONE, FLAG_TEXT, FLAG_FILE };

struct flag {
	const char *name; /* without the dashes */
	enum flag_value value;
	/* Takes the value (NULL if the flag has none). 0, or an exit status after a message on
	 * stderr. NULL: the verb has its own parser, and the row is for completion. */
	int (*set)(void *context, const char *value);
};

struct flags {
	const char *verb; /* for messages: "run" */
	const struct flag *rows;
	size_t count;
};

/* Calls the setters, and moves words that are not flags to the front of argv[1...]; "--" ends
 * flags, "-" is a word. argv[0] is untouched. 0 with *ret_count words left, or the exit status
 * after a message on stderr. */
int flags_parse(const struct flags *flags, int argc, char **argv, void *context, int *ret_count);

/* A number in [min, max], decimal or 0x. 0 or -EINVAL. */
int flags_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);

/* A size with a suffix K, M, G or T (powers of 1024; "MiB" and "MB" are the same); without one,
 * MiB. *ret in bytes. 0 or -EINVAL. */
int flags_size(const char *text, uint64_t *ret);

/* Cuts the next item off a list "a,b=c,d": *ret_value is NULL for an item without "=". False at the
 * end. Writes NUL bytes into the text. */
bool flags_item(char **list, char **ret_name, char **ret_value);

#endif
