/* SPDX-License-Identifier: MIT */
/* How a VM ended, and the exit status that says so. */
#ifndef AXVM_INTERFACE_OUTCOME_H
#define AXVM_INTERFACE_OUTCOME_H

#include <stdio.h>

#include "base/base.h"
#include "base/problem.h"

struct outcome_class {
	enum axvm_outcome outcome;
	const char *name;
	uint8_t exit_status; /* the status if it is not of_errors, or if there is no error */
	bool of_errors;      /* the status is that of the first error */
	const char *phrase;  /* "halted" */
	const char *meaning;
};

/* The row of an outcome; never NULL (an unknown one is a failure of the runtime). */
const struct outcome_class *outcome_class_of(enum axvm_outcome outcome);

/* The process's exit status. If the outcome takes it from the errors, it is that of the first one;
 * without errors 70, or 0 for a plan. `problems` may be NULL. */
int outcome_exit_status(enum axvm_outcome outcome, const struct problems *problems);

/* Prints the rows as a Markdown table, as the documentation has it. */
void outcome_print_table(FILE *file);

#endif
