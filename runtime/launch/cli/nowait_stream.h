/* SPDX-License-Identifier: MIT */
/* A stream for output that its writer is never made to wait for. Theory in nowait_stream.c. */
#ifndef AXVM_CLI_NOWAIT_STREAM_H
#define AXVM_CLI_NOWAIT_STREAM_H

#include <stdio.h>

#include "base/base.h"

struct nowait_stream {
	FILE *file;   /* to write to; unbuffered: each call of stdio's is tried at once */
	int fd;       /* where it goes; borrowed */
	int again_fd; /* the same pipe or terminal, opened without waiting; -1: it is none */
	bool is_socket;
	int error; /* errno of the write that failed, since when all is dropped; 0: none */
	uint8_t *bytes;
	size_t start, end, size;
};

/* Zeroed is closed. 0 or -errno. */
int nowait_open(struct nowait_stream *stream, int fd);
/* Writes what can be written without waiting. True when nothing waits any more; else poll(2) says
 * on `fd` when to call again (POLLOUT). What cannot be written for another reason is dropped. */
bool nowait_flush(struct nowait_stream *stream);
/* Bytes that wait for their reader. */
size_t nowait_waiting(const struct nowait_stream *stream);
/* What waits is lost. */
void nowait_close(struct nowait_stream *stream);

#endif
