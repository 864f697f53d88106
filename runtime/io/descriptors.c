/* SPDX-License-Identifier: MIT */
/* A thread with a descriptor table of its own. */
#include "io/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <unistd.h>

#define TAKEN 5 /* standard streams, control and event stream */

/* The lowest descriptor kept from `first` on, or UINT_MAX. */
static unsigned next_kept(const int *kept, size_t count, unsigned first)
{
	unsigned next = UINT_MAX;

	for (size_t i = 0; i < count; i++)
		if (kept[i] >= 0 && (unsigned)kept[i] >= first)
			next = MIN(next, (unsigned)kept[i]);
	return next;
}

int io_leave_descriptors(const int *kept, size_t count, int filler)
{
	unsigned first = 0;

	if (unshare(CLONE_FILES) < 0)
		return -errno;
	for (;;) {
		unsigned next = next_kept(kept, count, first);
		unsigned last = next == UINT_MAX ? next : next - 1;

		if (next != first && close_range(first, last, 0) < 0)
			return -errno;
		if (next == UINT_MAX)
			break;
		first = next + 1;
	}
	for (int fd = 0; fd < TAKEN; fd++)
		if (fcntl(fd, F_GETFD) < 0 && dup3(filler, fd, O_CLOEXEC) < 0)
			return -errno;
	return 0;
}
