/* SPDX-License-Identifier: MIT */
/* Problems: reasons for a failure, in words that a person can act on. They are collected, not
 * logged.
 *
 * Library code neither logs nor exits. A function that can refuse something takes a
 * `struct problems *`, adds one entry for each reason it finds, and returns -errno. The shim turns
 * the list into the terminal event and the exit status. The codes are the
 * schema's (axvm.v1.ErrorCode). */
#ifndef AXVM_PROBLEM_H
#define AXVM_PROBLEM_H

#include <stdio.h>

#include "base/base.h"
#include "proto/enums.h"

#define PROBLEM_FIELD_MAX 96
#define PROBLEM_MESSAGE_MAX 320
#define PROBLEMS_MAX 24

struct problem {
	enum axvm_error_code code;
	int error_number; /* errno, positive, or 0 */
	char field[PROBLEM_FIELD_MAX];
	char message[PROBLEM_MESSAGE_MAX];
};

/* What to do if a limit denies a thread: the end of the message of such an
 * ERROR_CODE_HOST_LIMIT. */
#define PROBLEM_RAISE_THREADS "raise pids.max (TasksMax) of the shim's cgroup, or RLIMIT_NPROC"

/* A bounded list; zeroed is empty. Problems that do not fit are counted in `not_listed`. */
struct problems {
	struct problem list[PROBLEMS_MAX];
	size_t count;
	size_t not_listed;
};

/* What a code means: one row a code. The table in the documentation is printed from these. */
struct problem_class {
	enum axvm_error_code code;
	const char *name;
	uint8_t exit_status;
	bool retryable;
	enum axvm_severity severity; /* a fatal problem ends the VM or keeps it from starting */
	const char *meaning;
};

/* Adds a problem and returns -error_number, or -EINVAL when that is 0, so that a caller can
 * `return problems_add(…)`. `field` is the path in the spec, or NULL. Not thread-safe: one list
 * belongs to one thread. */
int problems_add(struct problems *problems, enum axvm_error_code code, int error_number,
                 const char *field, const char *format, ...) _printf_(5, 6);

/* Appends the list of another thread that no longer adds to it. Returns what problems_add()
 * returned for the last one, or 0 if `other` is empty. */
int problems_take_over(struct problems *problems, const struct problems *other);

#define PROBLEM_LINE_MAX (PROBLEM_FIELD_MAX + PROBLEM_MESSAGE_MAX + 1) /* ": ", and one NUL less */

/* Writes a line for a person: the field, unless the message names it already, then the message.
 * Returns `to`. */
const char *problem_line(const char *field, const char *message, char to[PROBLEM_LINE_MAX]);

/* The row of a code; never NULL (an unknown code is ERROR_CODE_INTERNAL). */
const struct problem_class *problem_class_of(enum axvm_error_code code);

/* All rows, for documentation and tests. */
const struct problem_class *problem_classes(size_t *ret_count);

/* Prints the rows as a Markdown table, as the documentation has it. */
void problem_print_table(FILE *file);

#endif
