/* SPDX-License-Identifier: MIT */
/* What the programs for stock Linux guests, and their partners on the host, do with stream
 * sockets. */
#ifndef AXVM_GUESTS_LINUX_STREAM_H
#define AXVM_GUESTS_LINUX_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

/* True when all of it was written. */
static inline bool write_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length > 0) {
		ssize_t n = write(fd, at, length);

		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

/* Returns how many bytes were read: fewer at the end of file, or after an error. */
static inline size_t read_all(int fd, void *data, size_t length)
{
	size_t have = 0;

	while (have < length) {
		ssize_t n = read(fd, (char *)data + have, length - have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

#endif
