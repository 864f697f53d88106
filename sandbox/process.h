/* SPDX-License-Identifier: MIT */
/* The steps of the sandbox that belong to the process as a whole: attributes and descriptors. */
#ifndef AXVM_SANDBOX_PROCESS_H
#define AXVM_SANDBOX_PROCESS_H

#include <stddef.h>

#include "base/problem.h"
#include "sandbox/confine.h"

/* The first steps: notes the launcher, sets no_new_privs, makes the process not dumpable, clears
 * inherited attributes and the environment, sets a private umask, ignores SIGPIPE, closes the
 * internal descriptor numbers. -errno with a problem. One thread, at the start of the process. */
int sandbox_arrive(struct sandbox *sandbox, struct problems *problems);

/* Closes every descriptor from 5 to the internal ones that is not among the n in `keep`; sorts
 * `keep`. */
int sandbox_close_foreign(int *keep, size_t n, struct problems *problems);

#endif
