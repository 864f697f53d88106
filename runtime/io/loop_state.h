/* SPDX-License-Identifier: MIT */
/* The loop's own state, its clients and its operations. A user of the loop includes io/loop.h. */
#ifndef AXVM_IO_LOOP_STATE_H
#define AXVM_IO_LOOP_STATE_H

#include <liburing.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/counter.h"

#define IO_CLIENTS_MAX 64
#define IO_FILES_MAX 512

struct io_loop;
struct io_client;
struct io_breach;

/* A device as the loop sees it. All are called on the loop's thread (but see io_client_post); any
 * may be NULL. */
struct io_client_ops {
	void (*start)(struct io_client *client);               /* the loop begins: arm polls */
	void (*mail)(struct io_client *client, uint32_t bits); /* what was posted */
	void (*end_of_turn)(struct io_client *client);         /* after io_client_dirty */
	void (*pause)(struct io_client *client);               /* start no more guest requests */
	bool (*idle)(const struct io_client *client);          /* no guest request in flight */
	void (*resume)(struct io_client *client);
	bool (*lingers)(const struct io_client *client); /* a stop is worth waiting for */
	/* In a loop that polls: looks for requests that were not announced and starts them; true if
	 * there were any. `last`: the loop is about to sleep, so the client asks for
	 * announcements. */
	bool (*poll)(struct io_client *client, bool last);
};

struct io_client {
	const struct io_client_ops *ops;
	struct io_loop *loop;
	uint32_t index;
	_Atomic uint32_t mailbox;
};

/* One operation in flight. It belongs to the kernel from the call that starts it until `done` is
 * called without IORING_CQE_F_MORE in `flags`; so do the buffers it names. `result` is bytes, poll
 * events or -errno. */
struct io_op {
	void (*done)(struct io_op *op, int result, uint32_t flags);
	bool cancelled; /* the loop's own: io_cancel was asked for it */
	/* The kernel always hands it to a worker and never tries it on the loop's thread: for a
	 * file whose reads and writes may block although poll(2) reports it ready (io_may_wait). */
	bool in_worker;
};

/* The error of an operation that needs a worker thread of the kernel's, where a limit denies one.
 * The kernel reports ECANCELED for it; the loop gives a client ECANCELED only for an operation that
 * the client cancelled, and when the loop drains. No file returns EUSERS. */
#define IO_NO_WORKER EUSERS

/* Kinds of work. A ring allows only the kinds that its clients need. */
enum io_use {
	IO_USE_FILES = 1 << 0,   /* several buffers at once: disks, TAPs */
	IO_USE_STORAGE = 1 << 1, /* flush, discard, write zeroes */
	IO_USE_MEMORY = 1 << 2,  /* madvise(2) on guest memory */
	/* Descriptors are received (SCM_RIGHTS) and used as IO_DESCRIPTOR. Such a ring is not
	 * restricted to registered files: it reaches every descriptor of its thread's own table, of
	 * which the seal leaves few. */
	IO_USE_DESCRIPTORS = 1 << 3,
	IO_USE_DISCARD = 1 << 4, /* a device's own discard command */
	IO_USE_WORKERS = 1 << 5, /* operations that are `in_worker`: a console on a terminal */
};

struct io_stats {
	_Atomic uint64_t turns, enters, sqes, cqes, interrupts, irq_errors, overflows;
};

enum io_phase {
	IO_BUILDING,
	IO_BUILT,
	IO_RUNNING,
	IO_QUIESCING,
	IO_PARKED,
	IO_LINGERING,
	IO_DRAINING,
	IO_FINISHED
};
enum io_request { IO_REQUEST_RUN, IO_REQUEST_PAUSE, IO_REQUEST_STOP };

struct io_loop {
	struct io_uring ring;
	struct io_stats stats;
	_Atomic uint32_t phase;   /* enum io_phase; a futex */
	_Atomic uint32_t request; /* enum io_request */
	_Atomic uint64_t pending; /* clients with mail */
	uint64_t dirty;           /* clients that asked for end_of_turn; loop thread */
	uint64_t turn_ns;         /* what the clock said in this turn; 0: not asked; loop thread */
	struct io_client *clients[IO_CLIENTS_MAX];
	uint32_t client_count;
	int files[IO_FILES_MAX];
	uint32_t file_count;
	uint32_t reserved; /* operations in flight, at most */
	uint32_t in_flight;
	uint32_t setup_flags; /* what the kernel granted */
	uint32_t uses;        /* enum io_use, of all clients */
	uint32_t busy_poll_us;
	uint64_t busy_until_ns; /* loop thread */
	/* the kernel can bind a thread's workers before its first submission (Linux 5.19) */
	bool knows_workers;
	bool skip_success, linger_armed, linger_over, drain_over;
	int wake_fd, ring_fd_number, control_fd;
	void (*breach)(void *context, const struct io_breach *breach);
	void *breach_context;
	uint32_t wake_file;
	struct io_op wake_op, linger_op, drain_op, irq_op, cancel_op;
	struct __kernel_timespec linger_time, drain_time;
	_Atomic uint32_t linger_ms;
};

#endif
