/* SPDX-License-Identifier: MIT */
/* An output stream on which the writer never waits. Theory in nowait_stream.c. */
#ifndef AXVM_CLI_NOWAIT_STREAM_H
#define AXVM_CLI_NOWAIT_STREAM_H

#include <stdio.h>

#include "base/base.h"

struct nowait_stream {
	FILE *file;   /* to write to; unbuffered, so each stdio call is tried at once */
	int fd;       /* the destination; borrowed */
	int again_fd; /* the same pipe or terminal, opened O_NONBLOCK; -1: fd is neither */
	bool is_socket;
	int error; /* errno of the failed write, since which output is dropped; 0: none */
	uint8_t *bytes;
	size_t start, end, size;
};

/* Zeroed is closed. 0 or -errno. */
int nowait_open(struct nowait_stream *stream, int fd);
/* Writes the bytes that can be written without waiting. True if none are left; otherwise call it
 * again when `fd` is POLLOUT. After any other error the bytes are dropped. */
bool nowait_flush(struct nowait_stream *stream);
/* The number of bytes that wait for their reader. */
size_t nowait_waiting(const struct nowait_stream *stream);
/* Closes the stream; bytes that still wait are lost. */
void nowait_close(struct nowait_stream *stream);

#endif
