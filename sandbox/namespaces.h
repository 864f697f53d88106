/* SPDX-License-Identifier: MIT */
/* Namespaces of the process's own, and a root with nothing in it. */
#ifndef AXVM_SANDBOX_NAMESPACES_H
#define AXVM_SANDBOX_NAMESPACES_H

#include "sandbox/state.h"

/* Notes which namespaces the launcher has, through proc_fd. */
int namespaces_note(struct sandbox *sandbox, struct problems *problems);

/* A set of namespaces is an or of these, of enum sandbox_namespace. */
#define SANDBOX_BIT(kind) (1u << (kind))

/* Leaves those of the set, in one unshare(2), for the calling thread; a fixed host name. -EPERM
 * without a problem where the set has the user namespace and the host says that an ordinary user
 * may have none. */
int namespaces_unshare(uint32_t set, struct problems *problems);

/* Enters those of the set that another thread of the process is in; `task` is its path below
 * /proc/self. CAP_SYS_ADMIN; the mount namespace also takes the calling thread to that one's
 * root. */
int namespaces_join(const struct sandbox *sandbox, const char *task, uint32_t set,
                    struct problems *problems);

/* Makes an empty, read-only file system the root of the calling thread's mount namespace, which is
 * its own, and lets go of all others. Walks no path, leaves no mount reachable. */
int namespaces_empty_root(struct problems *problems);

/* Looks again: those that must differ from the launcher's do. Their names and inodes go to
 * `ret_names` and `ret_inodes` (room for SANDBOX_NAMESPACES_COUNT), their number to *ret_count. */
int sandbox_check_namespaces(const struct sandbox *sandbox, const char **ret_names,
                             uint64_t *ret_inodes, size_t *ret_count, struct problems *problems);

/* The root is still what it was made. */
int sandbox_check_root(const struct sandbox *sandbox, struct problems *problems);

#endif
