/* SPDX-License-Identifier: MIT */
/* The steps of the sandbox that belong to the process as a whole: attributes and descriptors. */
#ifndef AXVM_SANDBOX_PROCESS_H
#define AXVM_SANDBOX_PROCESS_H

#include <stddef.h>

#include "base/problem.h"
#include "sandbox/confine.h"

/* First of all: the launcher noted, no new privileges, not dumpable, what exec has left cleared, no
 * environment, a private umask, SIGPIPE ignored, nothing among the internal descriptors. -errno
 * with a problem. One thread, at the start of the process. */
int sandbox_arrive(struct sandbox *sandbox, struct problems *problems);

/* Closes every descriptor from 5 to the internal ones that is not among the n in `keep`; sorts
 * `keep`. */
int sandbox_close_foreign(int *keep, size_t n, struct problems *problems);

#endif
