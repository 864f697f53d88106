/* SPDX-License-Identifier: MIT */
/* What a process takes along through exec from whoever started it: cleared and read back, or
 * told. */
#ifndef AXVM_SANDBOX_INHERITED_H
#define AXVM_SANDBOX_INHERITED_H

#include "sandbox/state.h"

#define SANDBOX_SLACK_NS 50000 /* timer slack of a process that nobody has given another */

/* Stage arrive: clears what is to be cleared. Nothing fails here: what comes of it is read back.
 * One thread. */
void inherited_clear(struct sandbox *sandbox);

/* Stage confine, with /proc/self open and the capabilities that there were: reads all of it, and
 * lists what is not as in a process that nobody has prepared, by name and value, for
 * Sealed.inherited. Returns 0. */
int inherited_tell(struct sandbox *sandbox, struct problems *problems);

/* The name of the i-th row of the table, NULL past the last; whether it is cleared. Constant
 * storage. */
const char *inherited_name(size_t i, bool *ret_cleared);

#endif
