/* SPDX-License-Identifier: MIT */
/* Removes all capabilities from every set, so that none can be regained. */
#ifndef AXVM_SANDBOX_CAPABILITIES_H
#define AXVM_SANDBOX_CAPABILITIES_H

#include "sandbox/proc.h"
#include "sandbox/state.h"

/* Whether a process with that status has the capabilities that the steps need in the launcher's
 * namespaces; if not, it needs a user namespace. */
bool sandbox_has_capabilities(const struct sandbox_status *status);

/* The same for the calling thread, without /proc. */
bool capabilities_suffice(void);

/* Empties the bounding set and locks the securebits, so that no exec, no change of ids and no
 * ambient set ever gives a capability. Needs CAP_SETPCAP: an ordinary user has it in a user
 * namespace only. */
int capabilities_bound(struct sandbox *sandbox, struct problems *problems);

/* Empties the effective, permitted, inheritable and ambient sets, and reads all sets back. */
int capabilities_drop(struct sandbox *sandbox, struct problems *problems);

/* Reads the securebits back and compares them with what was set. 0, or -errno with a problem. */
int sandbox_check_securebits(const struct sandbox *sandbox, struct problems *problems);

#endif
