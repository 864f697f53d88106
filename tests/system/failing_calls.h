/* SPDX-License-Identifier: MIT */
/* Which system calls can fail, with what, and which of those failures a launch may survive. */
#ifndef AXVM_TESTS_FAILING_CALLS_H
#define AXVM_TESTS_FAILING_CALLS_H

#include "base/base.h"

#define CALL_ERRORS_MAX 4

struct call {
	long nr;
	unsigned long arguments[3];
	char path[48]; /* what the thread opened last */
};

/* `done`: the call is carried out all the same, as close(2) is when it reports an error. */
struct call_errors {
	long nr;
	bool done;
	int list[CALL_ERRORS_MAX];
};

const struct call_errors *call_errors_of(long nr);
/* Whether there is a host on which it can. */
bool call_can_fail(const struct call *call);
/* Whether a launch may survive its failure with `error` (0: with whatever). *ret_row: a number for
 * the reason, the same for calls alike, below CALL_ROWS_MAX. */
bool call_is_dispensable(const struct call *call, int error, size_t *ret_row);
#define CALL_ROWS_MAX 96

#endif
