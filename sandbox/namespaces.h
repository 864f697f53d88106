/* SPDX-License-Identifier: MIT */
/* Namespaces of the process's own, and a root with nothing in it. */
#ifndef AXVM_SANDBOX_NAMESPACES_H
#define AXVM_SANDBOX_NAMESPACES_H

#include "sandbox/confine.h"

/* Notes which namespaces the launcher has, through proc_fd. */
int namespaces_note(struct sandbox *sandbox, struct problems *problems);

/* Leaves them, in one unshare(2); a fixed host name. */
int namespaces_leave(struct sandbox *sandbox, struct problems *problems);

/* Makes an empty, read-only file system the root and lets go of all others. */
int namespaces_empty_root(struct sandbox *sandbox, struct problems *problems);

/* Looks again: those that must differ from the launcher's do. Their names go to `ret_names` (room
 * for SANDBOX_NAMESPACES_COUNT), their number to *ret_count. */
int sandbox_check_namespaces(const struct sandbox *sandbox, const char **ret_names,
                             size_t *ret_count, struct problems *problems);

/* The root is still what it was made. */
int sandbox_check_root(const struct sandbox *sandbox, struct problems *problems);

#endif
