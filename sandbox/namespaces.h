/* SPDX-License-Identifier: MIT */
/* Gives the process its own namespaces and an empty root. */
#ifndef AXVM_SANDBOX_NAMESPACES_H
#define AXVM_SANDBOX_NAMESPACES_H

#include "sandbox/state.h"

/* Records the launcher's namespaces, through proc_fd. */
int namespaces_note(struct sandbox *sandbox, struct problems *problems);

/* A set of namespaces is an or of these, of enum sandbox_namespace. */
#define SANDBOX_BIT(kind) (1u << (kind))

/* Leaves the namespaces of the set, in one unshare(2), for the calling thread, and sets a fixed
 * host name. -EPERM without a problem if the set has the user namespace and the host denies it to
 * ordinary users. */
int namespaces_unshare(uint32_t set, struct problems *problems);

/* Enters the namespaces of the set that another thread of the process is in; `task` is its path
 * below /proc/self. Needs CAP_SYS_ADMIN. The mount namespace also moves the calling thread to that
 * namespace's root. */
int namespaces_join(const struct sandbox *sandbox, const char *task, uint32_t set,
                    struct problems *problems);

/* Makes an empty, read-only file system the root of the calling thread's own mount namespace, and
 * detaches all other mounts. Walks no path. */
int namespaces_empty_root(struct problems *problems);

/* Checks that the namespaces which must differ from the launcher's do differ. Their names and
 * inodes go to `ret_names` and `ret_inodes` (room for SANDBOX_NAMESPACES_COUNT), their number to
 * *ret_count. */
int sandbox_check_namespaces(const struct sandbox *sandbox, const char **ret_names,
                             uint64_t *ret_inodes, size_t *ret_count, struct problems *problems);

/* Checks that the root is still the empty file system. */
int sandbox_check_root(const struct sandbox *sandbox, struct problems *problems);

#endif
