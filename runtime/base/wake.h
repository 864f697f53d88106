/* SPDX-License-Identifier: MIT */
/* Signalling an eventfd: how one thread wakes another. */
#ifndef AXVM_BASE_WAKE_H
#define AXVM_BASE_WAKE_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Adds 1 to an eventfd. 0 or -errno; a counter that is full (EAGAIN, after 2^64 signals that nobody
 * looked at) is readable, which is all that a signal is for. Any thread, signal handlers too: the
 * call itself, since a sanitizer has a write() of its own. After the seal the caller declares it
 * (SANDBOX_USES), with its numbers. */
static inline int wake_eventfd(int fd)
{
	static const uint64_t one = 1;

	return syscall(SYS_write, fd, &one, sizeof(one)) < 0 && errno != EAGAIN ? -errno : 0;
}

#endif
