/* SPDX-License-Identifier: MIT */
/* The bounded way from any thread to fd 4. */
#ifndef AXVM_INTERFACE_EVENT_WRITER_H
#define AXVM_INTERFACE_EVENT_WRITER_H

#include <pthread.h>

#include "base/base.h"
#include "proto/axvm.pb-c.h"

#define EVENT_RING_SIZE (64 * 1024)
/* A terminal event with every error it can list takes under 12 KiB. */
#define EVENT_TERMINAL_SIZE (16 * 1024)
#define EVENT_FINISH_MS 2000
/* What event_flush() writes in one call at most, in chunks of PIPE_BUF: all there can be when it
 * begins, and as much again. */
#define EVENT_FLUSH_CHUNKS (2 * (EVENT_RING_SIZE + EVENT_TERMINAL_SIZE) / 4096)

/* About 80 KiB, touched as far as used: static or mapped. Everything but `fd` and `socket`, which
 * do not change, is under the lock. */
struct event_writer {
	int fd; /* borrowed */
	bool socket;
	pthread_mutex_t lock;
	int wake_fd;
	int failed;           /* errno of the write that ended all writing, or 0 */
	bool ended;           /* the terminal event is in its place */
	uint64_t sequence;    /* of the latest event, kept or dropped */
	uint64_t dropped;     /* since the latest one kept */
	uint64_t dropped_all; /* since the start */
	char vm_id[65];
	size_t start, end;                   /* of the bytes waiting in ring */
	size_t kept;                         /* bytes of room that are spoken for */
	size_t terminal_start, terminal_end; /* the same in terminal */
	uint8_t ring[EVENT_RING_SIZE];
	uint8_t terminal[EVENT_TERMINAL_SIZE];
};

/* Prepares a writer to `fd`, which stays the caller's, as do its flags: it may be shared with the
 * launcher. SIGPIPE must be ignored by the process. 0 or -errno. */
int event_writer_init(struct event_writer *writer, int fd);
void event_writer_done(struct event_writer *writer);

/* The name that events bear from now on. */
void event_writer_set_vm_id(struct event_writer *writer, const char *vm_id);

/* An eventfd (borrowed) to be written to when an event comes into an empty ring; -1 is none. */
void event_writer_set_wake_fd(struct event_writer *writer, int wake_fd);

/* Encodes the event, all but its body filled in here, behind those that wait. Any thread; allocates
 * nothing and waits for nothing but the lock. -ENOBUFS when there is no room: the event is dropped
 * and counted in the next one. -EPIPE when writing has failed before, -ESHUTDOWN after the terminal
 * event. */
int event_writer_put(struct event_writer *writer, Axvm__V1__Event *event);

/* Keeps room for an event of up to `bytes`, its header included, which event_writer_put_kept() will
 * use: no other event gets it. -ENOBUFS when there is none; where writing has failed nothing needs
 * any. */
int event_writer_keep(struct event_writer *writer, size_t bytes);

/* event_writer_put() of an event for which `kept` bytes are kept (or fewer, or none), which are
 * given back. -ENOBUFS when it is larger and has no room: then it is as if it had not been
 * tried. */
int event_writer_put_kept(struct event_writer *writer, Axvm__V1__Event *event, size_t kept);

/* The same for the terminal event, which has a place of its own and is the last: exactly once, then
 * -EALREADY. Fills in events_dropped, and leaves errors out at the end when they do not fit. */
int event_writer_put_terminal(struct event_writer *writer, Axvm__V1__Event *event);

/* Writes what can be written without blocking. One thread only, the control thread. 0 when nothing
 * is left, 1 when there is more but it is somebody else's turn (whoever puts events as fast as they
 * are written must not keep the control thread), -EAGAIN when fd 4 takes no more for now (wait for
 * POLLOUT), -errno when it never will again: -EPIPE when the reader has gone. */
int event_flush(struct event_writer *writer);

/* Flushes until all is written or `timeout_ms` are over: 0, -ETIMEDOUT, or -errno as above. */
int event_finish(struct event_writer *writer, int timeout_ms);

/* Waits, without a system call and for a bounded number of turns, until nobody holds the writer's
 * lock. False when someone still does: perhaps the calling thread itself, which was interrupted. */
bool event_writer_wait_idle(struct event_writer *writer, uint32_t turns);

/* Events dropped since the start. */
uint64_t event_writer_dropped(struct event_writer *writer);

#endif
