/* SPDX-License-Identifier: MIT */
/* Process attributes that the launcher set and that survive exec: cleared and read back, or
 * reported. */
#ifndef AXVM_SANDBOX_INHERITED_H
#define AXVM_SANDBOX_INHERITED_H

#include "sandbox/state.h"

#define SANDBOX_SLACK_NS 50000 /* the default timer slack of a process */

/* Stage arrive: clears the attributes that must be cleared. It reports no error, since the result
 * is read back. One thread. */
void inherited_clear(struct sandbox *sandbox);

/* Stage confine, with /proc/self open and the original capabilities: reads all attributes, and
 * lists those that differ from a plain process, by name and value, for Sealed.inherited. Returns
 * 0. */
int inherited_tell(struct sandbox *sandbox, struct problems *problems);

/* The name of the i-th row of the table, NULL past the last; whether it is cleared. Constant
 * storage. */
const char *inherited_name(size_t i, bool *ret_cleared);

#endif
