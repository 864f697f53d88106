/* SPDX-License-Identifier: MIT */
/* The read-back: checks every thread by what the kernel reports, once all but the control thread
 * are sealed. */
#ifndef AXVM_SANDBOX_VERIFY_H
#define AXVM_SANDBOX_VERIFY_H

#include "sandbox/confine.h"

#define SANDBOX_FDS_MAX 1024

/* The findings of the read-back. The names are constant strings. */
struct sandbox_seen {
	uint32_t threads; /* the control thread among them */
	const char *namespaces[SANDBOX_NAMESPACES_COUNT + 1];
	uint64_t namespace_inodes[SANDBOX_NAMESPACES_COUNT + 1];
	size_t namespaces_count;
	uint32_t fds[SANDBOX_FDS_MAX]; /* of the control thread */
	size_t fds_count;
	uint64_t file_size; /* the most bytes that they let a file grow to */
};

/* Compares the process's ids, namespaces, root and attributes with what was set. -EBADMSG with a
 * problem for the first difference. The next call completes `ret_seen`. */
int sandbox_verify_process(const struct sandbox *sandbox, struct sandbox_seen *ret_seen,
                           struct problems *problems);

/* Compares every thread's status and descriptors. There must be `sealed` threads under one filter
 * each, and one thread without a filter, the caller. */
int sandbox_verify_threads(const struct sandbox *sandbox, uint32_t sealed,
                           struct sandbox_seen *seen, struct problems *problems);

/* The part of it that lists the control thread's own descriptors: checks that none is a directory,
 * and finds how far they let files grow. */
int sandbox_verify_descriptors(const struct sandbox *sandbox, struct sandbox_seen *seen,
                               struct problems *problems);

/* Closes the descriptors that were kept for the read-back. */
void sandbox_close_proc(struct sandbox *sandbox);

#endif
