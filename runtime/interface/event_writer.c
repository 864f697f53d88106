/* SPDX-License-Identifier: MIT */
/* The bounded way from any thread to fd 4.
 *
 * Events are encoded under a mutex into a buffer from which the control thread writes. Whole
 * events are dropped when they come, never later, so that every accepted event is written in full,
 * in order, and the stream stays a well-formed message. The terminal event has a place of its own.
 *
 * fd 4 is the launcher's, its file description perhaps shared, so O_NONBLOCK is not for us to
 * set. Sockets take MSG_DONTWAIT. For a pipe, POLLOUT means a free page, and a write of at most
 * PIPE_BUF bytes then fits (pipe(7)): it does not block. A terminal makes no such promise, and
 * fds.c refuses one. The writer calls ppoll(2) because, when a process was stopped and continues,
 * the kernel resumes a poll(2) with a time limit as restart_syscall(2), which no policy allows. */
#include "interface/event_writer.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/uses.h"
#include "base/varint.h"
#include "base/wake.h"
#include "interface/version.h"
#include "interface/wire.h"

/* Field 1, length-prefixed: EventStream.events. */
#define TAG_EVENTS 0x0a
#define HEADER_MAX 6

static uint64_t stamp_ns(clockid_t clock)
{
	SANDBOX_USES(control, clock_gettime, arg0 == CLOCK_MONOTONIC);
	SANDBOX_USES(control, clock_gettime, arg0 == CLOCK_REALTIME);
	SANDBOX_USES(io, clock_gettime, arg0 == CLOCK_MONOTONIC);
	SANDBOX_USES(io, clock_gettime, arg0 == CLOCK_REALTIME);
	return clock_ns(clock);
}

int event_writer_init(struct event_writer *writer, int fd)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* Clears all but the buffers: their pages stay untouched until they are used. */
	memset(writer, 0, offsetof(struct event_writer, ring));
	r = pthread_mutex_init(&writer->lock, NULL);
	if (r > 0)
		return -r;
	writer->fd = fd;
	writer->wake_fd = -1;
	writer->socket = S_ISSOCK(st.st_mode);
	return 0;
}

void event_writer_done(struct event_writer *writer)
{
	(void)pthread_mutex_destroy(&writer->lock);
}

void event_writer_set_vm_id(struct event_writer *writer, const char *vm_id)
{
	pthread_mutex_lock(&writer->lock);
	snprintf(writer->vm_id, sizeof(writer->vm_id), "%s", vm_id);
	pthread_mutex_unlock(&writer->lock);
}

void event_writer_set_wake_fd(struct event_writer *writer, int wake_fd)
{
	pthread_mutex_lock(&writer->lock);
	writer->wake_fd = wake_fd;
	pthread_mutex_unlock(&writer->lock);
}

uint64_t event_writer_dropped(struct event_writer *writer)
{
	uint64_t dropped;

	pthread_mutex_lock(&writer->lock);
	dropped = writer->dropped_all;
	pthread_mutex_unlock(&writer->lock);
	return dropped;
}

bool event_writer_wait_idle(struct event_writer *writer, uint32_t turns)
{
	while (turns-- > 0) {
		if (pthread_mutex_trylock(&writer->lock) == 0) {
			pthread_mutex_unlock(&writer->lock);
			return true;
		}
		__builtin_ia32_pause();
	}
	return false;
}

/* Fills in what every event has. */
static void stamp(struct event_writer *writer, Axvm__V1__Event *event)
{
	event->has_sequence = 1;
	event->sequence = ++writer->sequence;
	event->has_interface_version = event->sequence == 1;
	event->interface_version = AXVM_INTERFACE_VERSION;
	event->has_monotonic_ns = 1;
	event->monotonic_ns = stamp_ns(CLOCK_MONOTONIC);
	event->has_wall_ns = 1;
	event->wall_ns = stamp_ns(CLOCK_REALTIME);
	event->has_dropped = writer->dropped > 0;
	event->dropped = writer->dropped;
	event->vm_id = writer->vm_id[0] ? writer->vm_id : NULL;
}

/* Encodes the event as a field of EventStream; returns its length, at most size + HEADER_MAX. */
static size_t encode(const Axvm__V1__Event *event, size_t size, uint8_t *to)
{
	size_t at = 0;

	to[at++] = TAG_EVENTS;
	at += varint_put(to + at, size);
	(void)axvm__v1__event__pack(event, to + at);
	wire_mend_strings(&axvm__v1__event__descriptor, to + at, size);
	return at + size;
}

/* Whether one more event fits beside the `kept` bytes that are reserved. */
static size_t room(const struct event_writer *writer, size_t kept)
{
	return EVENT_RING_SIZE - MIN(writer->end - writer->start + kept, (size_t)EVENT_RING_SIZE);
}

/* An event that has room, of `size` bytes. */
static void append(struct event_writer *writer, const Axvm__V1__Event *event, size_t size)
{
	bool was_empty = writer->start == writer->end;

	if (size + HEADER_MAX > EVENT_RING_SIZE - writer->end) {
		writer->end -= writer->start;
		memmove(writer->ring, writer->ring + writer->start, writer->end);
		writer->start = 0;
	}
	writer->end += encode(event, size, writer->ring + writer->end);
	writer->dropped = 0;
	SANDBOX_USES(control, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	SANDBOX_USES(io, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	if (was_empty && writer->wake_fd >= 0)
		(void)wake_eventfd(writer->wake_fd);
}

static int put_locked(struct event_writer *writer, Axvm__V1__Event *event)
{
	size_t size;

	if (writer->ended)
		return -ESHUTDOWN;
	stamp(writer, event);
	size = axvm__v1__event__get_packed_size(event);
	if (writer->failed || size + HEADER_MAX > room(writer, writer->kept)) {
		writer->dropped++;
		writer->dropped_all++;
		return writer->failed ? -EPIPE : -ENOBUFS;
	}
	append(writer, event, size);
	return 0;
}

static int put_kept_locked(struct event_writer *writer, Axvm__V1__Event *event, size_t kept)
{
	size_t others = writer->kept - MIN(kept, writer->kept);
	size_t size;

	if (writer->ended)
		return -ESHUTDOWN;
	if (!writer->failed) {
		stamp(writer, event);
		size = axvm__v1__event__get_packed_size(event);
		if (size + HEADER_MAX > room(writer, others)) {
			writer->sequence--;
			return -ENOBUFS;
		}
		append(writer, event, size);
	}
	writer->kept = others;
	return writer->failed ? -EPIPE : 0;
}

int event_writer_put(struct event_writer *writer, Axvm__V1__Event *event)
{
	int r;

	pthread_mutex_lock(&writer->lock);
	r = put_locked(writer, event);
	pthread_mutex_unlock(&writer->lock);
	return r;
}

int event_writer_put_kept(struct event_writer *writer, Axvm__V1__Event *event, size_t kept)
{
	int r;

	pthread_mutex_lock(&writer->lock);
	r = put_kept_locked(writer, event, kept);
	pthread_mutex_unlock(&writer->lock);
	return r;
}

int event_writer_keep(struct event_writer *writer, size_t bytes)
{
	int r = 0;

	pthread_mutex_lock(&writer->lock);
	if (!writer->failed && bytes > room(writer, writer->kept))
		r = -ENOBUFS;
	else
		writer->kept += bytes;
	pthread_mutex_unlock(&writer->lock);
	return r;
}

static int put_terminal_locked(struct event_writer *writer, Axvm__V1__Event *event)
{
	Axvm__V1__Terminal *terminal = event->terminal;
	size_t size;

	if (writer->ended)
		return -EALREADY;
	stamp(writer, event);
	terminal->has_events_dropped = 1;
	terminal->events_dropped = writer->dropped_all;
	size = axvm__v1__event__get_packed_size(event);
	while (size + HEADER_MAX > EVENT_TERMINAL_SIZE && terminal->n_errors > 0) {
		terminal->n_errors--;
		size = axvm__v1__event__get_packed_size(event);
	}
	if (size + HEADER_MAX > EVENT_TERMINAL_SIZE)
		return -EMSGSIZE;
	writer->terminal_end = encode(event, size, writer->terminal);
	writer->ended = true;
	return 0;
}

int event_writer_put_terminal(struct event_writer *writer, Axvm__V1__Event *event)
{
	int r;

	pthread_mutex_lock(&writer->lock);
	r = put_terminal_locked(writer, event);
	pthread_mutex_unlock(&writer->lock);
	return r;
}

/* Copies the next bytes to be written, so that the lock is not held during the write. */
static size_t peek(struct event_writer *writer, uint8_t *to, size_t size, bool *ret_of_terminal)
{
	size_t n;

	pthread_mutex_lock(&writer->lock);
	n = MIN(size, writer->end - writer->start);
	memcpy(to, writer->ring + writer->start, n);
	*ret_of_terminal = n == 0;
	if (n == 0) {
		n = MIN(size, writer->terminal_end - writer->terminal_start);
		memcpy(to, writer->terminal + writer->terminal_start, n);
	}
	pthread_mutex_unlock(&writer->lock);
	return n;
}

/* Removes the n bytes that peek() returned and that have been written. Meanwhile other threads can
 * only have added events behind them, and moved the ring with all its bytes. */
static void advance(struct event_writer *writer, size_t n, bool of_terminal)
{
	pthread_mutex_lock(&writer->lock);
	if (of_terminal)
		writer->terminal_start += n;
	else
		writer->start += n;
	if (writer->start == writer->end)
		writer->start = writer->end = 0;
	pthread_mutex_unlock(&writer->lock);
}

static int write_some(const struct event_writer *writer, const uint8_t *bytes, size_t n)
{
	const struct timespec at_once = { 0 };
	struct pollfd room = { .fd = writer->fd, .events = POLLOUT };
	ssize_t done;

	if (writer->socket) {
		SANDBOX_USES(control, sendto,
		             arg0 == EVENT_FD && arg3 == MSG_DONTWAIT | MSG_NOSIGNAL && arg4 == 0);
		do
			done = send(writer->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (done < 0 && errno == EINTR);
		return done < 0 ? -errno : (int)done;
	}
	SANDBOX_USES(control, ppoll, arg1 == 1 && arg3 == 0);
	if (ppoll(&room, 1, &at_once, NULL) < 0 && errno != EINTR)
		return -errno;
	if (room.revents & (POLLERR | POLLNVAL))
		return room.revents & POLLERR ? -EPIPE : -EBADF;
	if (!(room.revents & POLLOUT))
		return -EAGAIN;
	SANDBOX_USES(control, write, arg0 == EVENT_FD);
	done = write(writer->fd, bytes, n);
	return done >= 0 ? (int)done : errno == EINTR ? -EAGAIN : -errno;
}

static int fail(struct event_writer *writer, int error_number)
{
	pthread_mutex_lock(&writer->lock);
	writer->failed = error_number;
	writer->start = writer->end = 0;
	pthread_mutex_unlock(&writer->lock);
	return -error_number;
}

int event_flush(struct event_writer *writer)
{
	uint8_t chunk[PIPE_BUF];

	if (writer->failed)
		return -writer->failed;
	for (unsigned chunks = 0; chunks < EVENT_FLUSH_CHUNKS; chunks++) {
		bool of_terminal;
		size_t n = peek(writer, chunk, sizeof(chunk), &of_terminal);
		int r;

		if (n == 0)
			return 0;
		r = write_some(writer, chunk, n);
		if (r == -EAGAIN)
			return r;
		if (r < 0)
			return fail(writer, -r);
		advance(writer, (size_t)r, of_terminal);
	}
	return 1;
}

int event_finish(struct event_writer *writer, int timeout_ms)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		struct pollfd room = { .fd = writer->fd, .events = POLLOUT };
		struct timespec left;
		uint64_t now;
		int r = event_flush(writer);

		if (r != -EAGAIN && r != 1)
			return r;
		now = clock_ns(CLOCK_MONOTONIC);
		if (now >= until)
			return -ETIMEDOUT;
		left.tv_sec = (time_t)((until - now) / NS_PER_S);
		left.tv_nsec = (long)((until - now) % NS_PER_S);
		if (ppoll(&room, 1, &left, NULL) < 0 && errno != EINTR)
			return -errno;
	}
}
