/* SPDX-License-Identifier: MIT */
/* Adds problems for failed steps of the sandbox. */
#ifndef AXVM_SANDBOX_STEP_H
#define AXVM_SANDBOX_STEP_H

#include <errno.h>
#include <string.h>

#include "base/problem.h"

/* Adds the problem of a step whose system call has just set errno, and returns -errno. */
static inline int step_failed(struct problems *problems, const char *what)
{
	return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, errno, NULL, "%s: %s", what,
	                    errno_text(errno));
}

/* The same for a value that was read back and is wrong. */
static inline int step_differs(struct problems *problems, const char *what)
{
	return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, EBADMSG, NULL, "sandbox check: %s",
	                    what);
}

#endif
