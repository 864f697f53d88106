/* SPDX-License-Identifier: MIT */
/* A write to a pipe blocks when its reader stalls, and a blocked program handles no signalfd. Here
 * the bytes wait in memory instead, and the caller's loop polls for POLLOUT.
 *
 * O_NONBLOCK belongs to the open file description, which other processes share: a shell's terminal,
 * a neighbour in a pipeline. So a pipe or a terminal is opened again, for a description of our own;
 * a socket is written to with MSG_DONTWAIT; any other file, mostly a regular one, is written when
 * poll(2) reports it ready, in pieces that fit the one free page of a pipe. */
#include "launch/cli/nowait_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t write_some(const struct nowait_stream *stream, const uint8_t *bytes, size_t n)
{
	struct pollfd ready = { stream->fd, POLLOUT, 0 };

	if (stream->again_fd >= 0)
		return write(stream->again_fd, bytes, n);
	if (stream->is_socket)
		return send(stream->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (poll(&ready, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(stream->fd, bytes, MIN(n, (size_t)PIPE_BUF));
}

bool nowait_flush(struct nowait_stream *stream)
{
	while (stream->start < stream->end) {
		ssize_t n = write_some(stream, stream->bytes + stream->start,
		                       stream->end - stream->start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			stream->error = errno;
		stream->start = n < 0 ? stream->end : stream->start + (size_t)n;
	}
	stream->start = stream->end = 0;
	return true;
}

static bool make_room(struct nowait_stream *stream, size_t n)
{
	size_t size = MAX(stream->size, (size_t)4096);
	uint8_t *bytes;

	if (stream->start > 0) {
		stream->end -= stream->start;
		memmove(stream->bytes, stream->bytes + stream->start, stream->end);
		stream->start = 0;
	}
	while (size - stream->end < n)
		size *= 2;
	if (size == stream->size)
		return true;
	bytes = realloc(stream->bytes, size);
	if (!bytes)
		return false;
	stream->bytes = bytes;
	stream->size = size;
	return true;
}

/* Always takes all bytes, even if they are then dropped: an error would stay in the stream. */
static ssize_t take(void *cookie, const char *bytes, size_t n)
{
	struct nowait_stream *stream = cookie;

	if (stream->error == 0 && make_room(stream, n)) {
		memcpy(stream->bytes + stream->end, bytes, n);
		stream->end += n;
		(void)nowait_flush(stream);
	}
	return (ssize_t)n;
}

int nowait_open(struct nowait_stream *stream, int fd)
{
	const cookie_io_functions_t functions = { .write = take };
	struct stat st;
	char path[32];

	if (fstat(fd, &st) < 0)
		return -errno;
	*stream = (struct nowait_stream){ .fd = fd,
		                          .again_fd = -1,
		                          .is_socket = S_ISSOCK(st.st_mode) };
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (S_ISFIFO(st.st_mode) || isatty(fd))
		stream->again_fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	stream->file = fopencookie(stream, "w", functions);
	if (!stream->file) {
		close_ptr(&stream->again_fd);
		return -ENOMEM;
	}
	(void)setvbuf(stream->file, NULL, _IONBF, 0);
	return 0;
}

size_t nowait_waiting(const struct nowait_stream *stream)
{
	return stream->end - stream->start;
}

void nowait_close(struct nowait_stream *stream)
{
	if (!stream->file)
		return;
	(void)fclose(stream->file);
	close_ptr(&stream->again_fd);
	free(stream->bytes);
	*stream = (struct nowait_stream){ 0 };
}
