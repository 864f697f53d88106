/* SPDX-License-Identifier: MIT */
/* The read-back: what the kernel says of every thread once all but the control thread are
 * sealed. */
#ifndef AXVM_SANDBOX_VERIFY_H
#define AXVM_SANDBOX_VERIFY_H

#include "sandbox/confine.h"

#define SANDBOX_FDS_MAX 1024

/* What was found. The names are constant strings. */
struct sandbox_seen {
	uint32_t threads; /* the control thread among them */
	const char *namespaces[SANDBOX_NAMESPACES_COUNT + 1];
	uint64_t namespace_inodes[SANDBOX_NAMESPACES_COUNT + 1];
	size_t namespaces_count;
	uint32_t fds[SANDBOX_FDS_MAX]; /* of the control thread */
	size_t fds_count;
};

/* Compares every thread's status, the namespaces, the root, the attributes and the descriptors
 * with what was done. `sealed` threads must be there under one filter of their own each,
 * and one, the caller, which is not. -EBADMSG with a problem for the first thing that differs. */
int sandbox_verify(const struct sandbox *sandbox, uint32_t sealed, struct sandbox_seen *ret_seen,
                   struct problems *problems);

/* Closes what was kept for the read-back. */
void sandbox_close_proc(struct sandbox *sandbox);

#endif
