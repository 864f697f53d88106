/* SPDX-License-Identifier: MIT */
/* The I/O loop: one thread, one io_uring, one system call a turn. Theory of operation in loop.c. */
#ifndef AXVM_IO_LOOP_H
#define AXVM_IO_LOOP_H

#include <liburing.h>
#include <sched.h>
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
	void (*start)(struct io_client *client);                /* the loop begins: arm polls */
	void (*mail)(struct io_client *client, uint32_t bits);  /* what was posted */
	void (*end_of_turn)(struct io_client *client);          /* after io_client_dirty */
	void (*pause)(struct io_client *client);                /* start no more guest requests */
	bool (*idle)(const struct io_client *client);           /* no guest request in flight */
	void (*resume)(struct io_client *client);
	bool (*lingers)(const struct io_client *client);        /* a stop is worth waiting for */
	/* In a loop that polls: looks for requests that nobody announced, and starts them; true when
	 * there were any. `last`: the loop is about to sleep, so have them announced from now on. */
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
	/* Never tried on the loop's thread, always handed to a worker of the kernel's: for a file whose reads and writes may
	 * wait although poll(2) says that they need not (io_may_wait). */
	bool in_worker;
};

/* The result, negated, of an operation that the kernel gave up though nobody asked for it: it needs a worker
 * thread, and a limit denies one. To the kernel that is ECANCELED; a client gets that only for what it cancelled
 * itself and at the end, when the loop drains. No file gives this error. */
#define IO_NO_WORKER EUSERS

/* Kinds of work that a ring allows where a client does it. */
enum io_use {
	IO_USE_FILES = 1 << 0,   /* several buffers at once: disks, TAPs */
	IO_USE_STORAGE = 1 << 1, /* flush, discard, write zeroes */
	IO_USE_MEMORY = 1 << 2,  /* madvise(2) on guest memory */
	/* Descriptors are received (SCM_RIGHTS) and used as IO_DESCRIPTOR. Such a ring is not bound to
	 * registered files: it reaches all that its thread's table has, which the seal makes small. */
	IO_USE_DESCRIPTORS = 1 << 3,
	IO_USE_DISCARD = 1 << 4, /* a device's own discard command */
	IO_USE_WORKERS = 1 << 5, /* operations that are `in_worker`: a console on a terminal */
};

struct io_stats {
	_Atomic uint64_t turns, enters, sqes, cqes, interrupts, irq_errors, overflows;
};

enum io_phase { IO_BUILDING, IO_BUILT, IO_RUNNING, IO_QUIESCING, IO_PARKED, IO_LINGERING,
	        IO_DRAINING, IO_FINISHED };
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
	bool knows_workers; /* the kernel can bind a thread's workers before its first submission (Linux 5.19) */
	bool skip_success, linger_armed, linger_over, drain_over;
	int wake_fd, ring_fd_number, control_fd;
	void (*breach)(void *context, const struct io_breach *breach);
	void *breach_context;
	uint32_t wake_file;
	struct io_op wake_op, linger_op, drain_op, irq_op, cancel_op;
	struct __kernel_timespec linger_time, drain_time;
	_Atomic uint32_t linger_ms;
};

struct io_loop_config {
	int wake_fd_number; /* put the wake eventfd and the ring at these numbers; -1: anywhere */
	int ring_fd_number;
	uint32_t busy_poll_us; /* look for work that long before sleeping; 0: sleep at once */
	int control_fd; /* eventfd (borrowed), signalled when the loop has parked or ended, or -1 */
	/* Called on the loop's thread for a submission that the restrictions refused, which is a sign
	 * of a thread in other hands (io/restriction.h); should it return, or be NULL, the loop ends
	 * with -EPERM. */
	void (*breach)(void *context, const struct io_breach *breach);
	void *context;
};

/* ---- build: one thread; -errno on failure; may allocate. Order: init, add and reserve, build. */
int io_loop_init(struct io_loop *loop, const struct io_loop_config *config);
void io_loop_done(struct io_loop *loop); /* a zeroed loop too; the thread must have returned */
int io_loop_add_client(struct io_loop *loop, struct io_client *client,
                       const struct io_client_ops *ops);
/* A file (borrowed) for the fixed-file table; *ret_file is its index. -ENOSPC when full. */
int io_loop_add_file(struct io_loop *loop, int fd, uint32_t *ret_file);
/* Says that up to `operations` more may be in flight at once; polls, reads and interrupts alike. */
int io_loop_reserve(struct io_loop *loop, uint32_t operations);
/* What a client of this loop will do, beyond what every loop does: the ring allows the opcodes of
 * these uses and no others (restriction.c). */
void io_loop_uses(struct io_loop *loop, uint32_t uses);
/* Creates the ring, disabled, with its files and restrictions. */
int io_loop_build(struct io_loop *loop);

/* ---- the loop's thread. */
/* Binds the kernel's workers, which do for this thread what an operation would wait for, to `cpus`, a set of `size`
 * bytes. Left alone they run on all CPUs of the node that the thread is on (before Linux 6.2), whatever it was bound to.
 * The kernel keeps those of the set that the thread itself is bound to, where there is one (since Linux 6.2).
 * After the ring was built and before it is enabled. -EINVAL: a CPU that the thread's cgroup denies. A
 * kernel that has no such call (before Linux 5.19): 0, and nothing is done. io_uring_register(2),
 * IORING_REGISTER_IOWQ_AFF. */
int io_loop_bind_workers(struct io_loop *loop, const cpu_set_t *cpus, size_t size);
/* Enables the ring, binds it to the calling thread, and tries its restrictions. Before that thread's
 * seccomp filter. -EBADMSG: the ring does what it was restricted from, and *ret_what (constant) says
 * what. */
int io_loop_enable(struct io_loop *loop, const char **ret_what);
/* Runs until a stop has been carried out: 0, or -errno when the ring failed. */
int io_loop_run(struct io_loop *loop);

/* ---- any other thread. None of these waits, but for io_loop_await. */
/* Every client becomes idle, then the loop parks (IO_PARKED), until it is resumed. A pause that
 * takes too long can be taken back with io_loop_resume at any time. */
void io_loop_pause(struct io_loop *loop);
void io_loop_resume(struct io_loop *loop);
/* The end: quiesce, up to `linger_ms` for what clients still hand out, cancel the rest, return from
 * io_loop_run (IO_FINISHED). Final. */
void io_loop_stop(struct io_loop *loop, uint32_t linger_ms);
/* Whether that has been asked for. */
static inline bool io_loop_stopping(const struct io_loop *loop)
{
	return atomic_load_explicit(&loop->request, memory_order_relaxed) == IO_REQUEST_STOP;
}

enum io_phase io_loop_phase(const struct io_loop *loop);
/* Waits for `phase`, or for the end; returns what came. No time limit. */
enum io_phase io_loop_await(struct io_loop *loop, enum io_phase phase);
/* Sets bits in a client's mailbox and wakes the loop; never blocks. Before the ring is built the
 * mail is handled at once, on the calling thread. */
void io_client_post(struct io_client *client, uint32_t bits);

#endif
