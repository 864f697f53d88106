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
	uint8_t exit_status; /* where it is not of_errors, or there is none */
	bool of_errors;      /* the status is that of the first error */
	const char *phrase;  /* "halted" */
	const char *meaning;
};

/* The row of an outcome; never NULL (what is unknown is a failure of the runtime). */
const struct outcome_class *outcome_class_of(enum axvm_outcome outcome);

/* The process's exit status. Where it is that of the errors, it is the first one's; when there are
 * none, 70, or 0 of a plan. `problems` may be NULL. */
int outcome_exit_status(enum axvm_outcome outcome, const struct problems *problems);

/* Prints the rows as a Markdown table, as the documentation has it. */
void outcome_print_table(FILE *file);

#endif
