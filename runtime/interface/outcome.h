/* SPDX-License-Identifier: MIT */
/* How a VM ended, and the exit status that says so. */
#ifndef AXVM_INTERFACE_OUTCOME_H
#define AXVM_INTERFACE_OUTCOME_H

#include <stdio.h>

#include "base/base.h"
#include "base/problem.h"

/* As axvm.v1.Outcome. */
enum vm_outcome {
	OUTCOME_UNSPECIFIED = 0,
	OUTCOME_POWER_OFF = 1,
	OUTCOME_HALTED = 2,
	OUTCOME_GUEST_RESET = 3,
	OUTCOME_TRIPLE_FAULT = 4,
	OUTCOME_GUEST_PANIC = 5,
	OUTCOME_VCPU_FAILED = 6,
	OUTCOME_STOPPED_BY_HOST = 7,
	OUTCOME_LAUNCH_FAILED = 8,
	OUTCOME_RUNTIME_FAILED = 9,
};

struct outcome_class {
	enum vm_outcome outcome;
	const char *name;
	uint8_t exit_status; /* unless of_errors */
	bool of_errors;      /* the status is that of the first error */
	const char *phrase;  /* "halted" */
	const char *meaning;
};

/* The row of an outcome; never NULL (what is unknown is a failure of the runtime). */
const struct outcome_class *outcome_class_of(enum vm_outcome outcome);

/* The process's exit status. Where it is that of the errors, it is the first one's, and 70 when
 * there are none. `problems` may be NULL. */
int outcome_exit_status(enum vm_outcome outcome, const struct problems *problems);

/* Prints the rows as a Markdown table, as the documentation has it. */
void outcome_print_table(FILE *file);

#endif
