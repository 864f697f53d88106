/* SPDX-License-Identifier: MIT */
/* Capabilities out of every set. */
#ifndef AXVM_SANDBOX_CAPABILITIES_H
#define AXVM_SANDBOX_CAPABILITIES_H

#include "base/problem.h"

/* Empties the effective, permitted, inheritable, ambient and bounding sets of the calling thread (the
 * only one, so that all later ones inherit it) and reads them back. The bounding set needs
 * CAP_SETPCAP; a process without any capability cannot gain one either, because no_new_privs is
 * set. -EPERM with a problem when a set is not empty afterwards. capabilities(7). */
int sandbox_drop_capabilities(struct problems *problems);

#endif
