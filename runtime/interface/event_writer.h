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
/* The most chunks of PIPE_BUF that event_flush() writes in one call: twice as many bytes as can
 * wait when it begins. */
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

/* Sets the vm_id of all further events. */
void event_writer_set_vm_id(struct event_writer *writer, const char *vm_id);

/* Sets an eventfd (borrowed) that is signalled when an event comes into an empty ring; -1: none. */
void event_writer_set_wake_fd(struct event_writer *writer, int wake_fd);

/* Encodes the event after those that wait; fills in all fields but its body. Any thread; allocates
 * nothing and waits only for the lock. -ENOBUFS: no room, so the event is dropped and counted in
 * the next one. -EPIPE: writing has failed before; -ESHUTDOWN: after the terminal event. */
int event_writer_put(struct event_writer *writer, Axvm__V1__Event *event);

/* Reserves room for an event of up to `bytes`, with its header, for event_writer_put_kept(): no
 * other event gets it. -ENOBUFS if there is none. 0 also after writing has failed, when no event
 * needs room. */
int event_writer_keep(struct event_writer *writer, size_t bytes);

/* Like event_writer_put(), for an event with `kept` reserved bytes (or fewer, or none), which it
 * gives back. -ENOBUFS if the event is larger and does not fit: nothing has changed then. */
int event_writer_put_kept(struct event_writer *writer, Axvm__V1__Event *event, size_t kept);

/* The same for the terminal event, which has a place of its own and is the last: exactly once, then
 * -EALREADY. Fills in events_dropped, and leaves errors out at the end when they do not fit. */
int event_writer_put_terminal(struct event_writer *writer, Axvm__V1__Event *event);

/* Writes the bytes that fd 4 takes without blocking. Control thread only. 0: nothing is left; 1:
 * there is more, but the call has done its share (a thread that puts events as fast as they are
 * written must not keep the control thread here); -EAGAIN: fd 4 takes no more for now (wait for
 * POLLOUT); -errno: it never will again, -EPIPE if the reader has gone. */
int event_flush(struct event_writer *writer);

/* Flushes until all is written or `timeout_ms` are over: 0, -ETIMEDOUT, or -errno as above. */
int event_finish(struct event_writer *writer, int timeout_ms);

/* Waits, without a system call and for a bounded number of turns, until nobody holds the writer's
 * lock. False when someone still does: perhaps the calling thread itself, which was interrupted. */
bool event_writer_wait_idle(struct event_writer *writer, uint32_t turns);

/* Events dropped since the start. */
uint64_t event_writer_dropped(struct event_writer *writer);

#endif
