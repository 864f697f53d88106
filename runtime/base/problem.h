/* SPDX-License-Identifier: MIT */
/* Problems: what went wrong, in words a person can act on, collected instead of logged.
 *
 * Library code neither logs nor exits. A function that can refuse something takes a
 * `struct problems *`, adds one entry for each reason it finds, and returns -errno. The shim turns
 * the list into the terminal event and the exit status. The codes are those of axvm.v1.ErrorCode;
 * interface/event.c asserts at compile time that they agree. */
#ifndef AXVM_PROBLEM_H
#define AXVM_PROBLEM_H

#include <stdio.h>

#include "base/base.h"

enum problem_code {
	PROBLEM_NONE = 0,
	PROBLEM_USAGE = 1,
	PROBLEM_CONTROL_FD_UNUSABLE = 2,
	PROBLEM_EVENT_FD_UNUSABLE = 3,
	PROBLEM_SPEC_EMPTY = 10,
	PROBLEM_SPEC_TRUNCATED = 11,
	PROBLEM_SPEC_TOO_LARGE = 12,
	PROBLEM_SPEC_MALFORMED = 13,
	PROBLEM_SPEC_DUPLICATE = 14,
	PROBLEM_SPEC_UNKNOWN_FIELD = 15,
	PROBLEM_SPEC_UNSUPPORTED = 16,
	PROBLEM_SPEC_INVALID = 17,
	PROBLEM_KERNEL_INVALID = 18,
	PROBLEM_INITRD_INVALID = 19,
	PROBLEM_CMDLINE_TOO_LONG = 20,
	PROBLEM_IMAGE_INVALID = 21,
	PROBLEM_COMMAND_INVALID = 22,
	PROBLEM_COMMAND_WRONG_STATE = 23,
	PROBLEM_RESOURCE_MISSING = 30,
	PROBLEM_RESOURCE_UNREADABLE = 31,
	PROBLEM_RESOURCE_WRONG_KIND = 32,
	PROBLEM_HOST_REFUSED = 40,
	PROBLEM_KVM_MISSING = 41,
	PROBLEM_KVM_DENIED = 42,
	PROBLEM_KVM_CAPABILITY_MISSING = 43,
	PROBLEM_HOST_LIMIT = 44,
	PROBLEM_MEMORY_UNAVAILABLE = 45,
	PROBLEM_PLACEMENT_FAILED = 46,
	PROBLEM_INTERNAL = 50,
	PROBLEM_OS_FAILED = 60,
	PROBLEM_KVM_FAILED = 61,
	PROBLEM_SANDBOX_FAILED = 70,
	PROBLEM_SANDBOX_VIOLATION = 71,
	PROBLEM_GUEST_FAILED = 80,
	PROBLEM_DEVICE_FAILED = 81,
};

#define PROBLEM_FIELD_MAX 96
#define PROBLEM_MESSAGE_MAX 320
#define PROBLEMS_MAX 24

struct problem {
	enum problem_code code;
	int error_number; /* errno, positive, or 0 */
	char field[PROBLEM_FIELD_MAX];
	char message[PROBLEM_MESSAGE_MAX];
};

/* What to do about a thread that a limit denies: the end of a PROBLEM_HOST_LIMIT's message. */
#define PROBLEM_RAISE_THREADS \
	"raise pids.max (TasksMax) of the shim's cgroup, or RLIMIT_NPROC"

/* A bounded list; zeroed is empty. What does not fit is counted, never lost silently. */
struct problems {
	struct problem list[PROBLEMS_MAX];
	size_t count;
	size_t not_listed;
};

/* As axvm.v1.Severity: a fatal problem ends the VM or keeps it from starting. */
enum problem_severity { PROBLEM_INFO, PROBLEM_WARNING, PROBLEM_ERROR, PROBLEM_FATAL };

/* What follows from a code: one row each, the source of the documentation's table. */
struct problem_class {
	enum problem_code code;
	const char *name;
	uint8_t exit_status;
	bool retryable;
	enum problem_severity severity;
	const char *meaning;
};

/* Adds a problem and returns -error_number, or -EINVAL when that is 0, so that a caller can
 * `return problems_add(…)`. `field` is the path in the spec, or NULL. Not thread-safe: one list
 * belongs to one thread. */
int problems_add(struct problems *problems, enum problem_code code, int error_number,
                 const char *field, const char *format, ...) _printf_(5, 6);

/* Adds what another thread found, once it finds no more. The last one's -error_number as problems_add, or 0. */
int problems_take_over(struct problems *problems, const struct problems *other);

#define PROBLEM_LINE_MAX (PROBLEM_FIELD_MAX + PROBLEM_MESSAGE_MAX + 1) /* ": ", and one NUL less */

/* For a person: the message, and before it its field unless the message names that itself. Returns `to`. */
const char *problem_line(const char *field, const char *message, char to[PROBLEM_LINE_MAX]);

/* The row of a code; never NULL (an unknown code is PROBLEM_INTERNAL). */
const struct problem_class *problem_class_of(enum problem_code code);

/* All rows, for documentation and tests. */
const struct problem_class *problem_classes(size_t *ret_count);

/* Prints the rows as a Markdown table, as the documentation has it. */
void problem_print_table(FILE *file);

#endif
