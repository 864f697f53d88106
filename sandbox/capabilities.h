/* SPDX-License-Identifier: MIT */
/* Capabilities out of every set, and no way to get one back. */
#ifndef AXVM_SANDBOX_CAPABILITIES_H
#define AXVM_SANDBOX_CAPABILITIES_H

#include "sandbox/proc.h"
#include "sandbox/state.h"

/* Whether a process of that status has the capabilities that the steps need over the launcher's
 * namespaces; else it needs a user namespace. */
bool sandbox_has_capabilities(const struct sandbox_status *status);

/* The same of the calling thread, without /proc. */
bool capabilities_suffice(void);

/* Empties the bounding set and locks the securebits, so that no exec, no change of ids and no
 * ambient set ever gives a capability. Needs CAP_SETPCAP: an ordinary user has it in a user
 * namespace only. */
int capabilities_bound(struct sandbox *sandbox, struct problems *problems);

/* Empties the effective, permitted, inheritable and ambient sets, and reads all sets back. */
int capabilities_drop(struct sandbox *sandbox, struct problems *problems);

/* The securebits as set. 0, or -errno with a problem. */
int sandbox_check_securebits(const struct sandbox *sandbox, struct problems *problems);

#endif
