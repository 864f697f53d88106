/* SPDX-License-Identifier: MIT */
/* Signalling an eventfd: how one thread wakes another. */
#ifndef AXVM_BASE_WAKE_H
#define AXVM_BASE_WAKE_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Adds 1 to an eventfd. 0 or -errno. A full counter (EAGAIN, after 2^64 signals that nobody read)
 * counts as success, since the eventfd is readable. Any thread, and signal handlers: it makes the
 * system call directly, because a sanitizer replaces write(). After the seal the caller declares
 * the call (SANDBOX_USES) with its descriptor's number. */
static inline int wake_eventfd(int fd)
{
	static const uint64_t one = 1;

	return syscall(SYS_write, fd, &one, sizeof(one)) < 0 && errno != EAGAIN ? -errno : 0;
}

#endif
