/* SPDX-License-Identifier: MIT */
/* The I/O loop: one thread, one io_uring, one system call a turn. Theory of operation in loop.c. */
#ifndef AXVM_IO_LOOP_H
#define AXVM_IO_LOOP_H

#include <sched.h>

#include "io/loop_state.h"

struct io_loop_config {
	int wake_fd_number; /* the numbers that the wake eventfd and the ring get; -1: any */
	int ring_fd_number;
	uint32_t busy_poll_us; /* look for work that long before sleeping; 0: sleep at once */
	int control_fd; /* eventfd (borrowed), signalled when the loop has parked or ended, or -1 */
	/* Called on the loop's thread for a submission that the restrictions refused: a sign that a
	 * guest has taken over the thread (io/restriction.h). If it returns, or is NULL, the loop
	 * ends with -EPERM. */
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
/* Reserves room for `operations` more in flight at once: polls, reads and interrupts alike. */
int io_loop_reserve(struct io_loop *loop, uint32_t operations);
/* Adds uses (enum io_use) of a client to this loop. Beyond what every loop needs, the ring allows
 * only the opcodes of these uses (restriction.c). */
void io_loop_uses(struct io_loop *loop, uint32_t uses);
/* Creates the ring, disabled, with its files and restrictions. */
int io_loop_build(struct io_loop *loop);

/* ---- the loop's thread. */
/* Binds the kernel's workers, which carry out operations that would block this thread, to `cpus`, a
 * set of `size` bytes. Before Linux 6.2 unbound workers run on all CPUs of the thread's node, even
 * if the thread is bound; since 6.2 the kernel keeps only those CPUs of the set that the thread is
 * bound to, if there are any. Call it after the ring was built and before it is enabled. -EINVAL:
 * the thread's cgroup denies a CPU of the set. A kernel without this call (before Linux 5.19): 0,
 * and nothing is done. io_uring_register(2), IORING_REGISTER_IOWQ_AFF. */
int io_loop_bind_workers(struct io_loop *loop, const cpu_set_t *cpus, size_t size);
/* Enables the ring, binds it to the calling thread, and tries its restrictions. Call it before that
 * thread installs its seccomp filter. -EBADMSG: the ring did something that the restrictions
 * forbid, and *ret_what (constant) says what. */
int io_loop_enable(struct io_loop *loop, const char **ret_what);
/* Runs until a stop has been carried out. 0, or -errno if the ring failed. */
int io_loop_run(struct io_loop *loop);

/* ---- any other thread. None of these waits, but for io_loop_await. */
/* Asks every client to become idle; then the loop parks (IO_PARKED) until it is resumed.
 * io_loop_resume() cancels a pause that takes too long, at any time. */
void io_loop_pause(struct io_loop *loop);
void io_loop_resume(struct io_loop *loop);
/* Ends the loop: it quiesces, gives clients up to `linger_ms` to hand out their output, cancels the
 * rest, and returns from io_loop_run() (IO_FINISHED). A stop cannot be taken back. */
void io_loop_stop(struct io_loop *loop, uint32_t linger_ms);
/* Whether io_loop_stop() was called. */
static inline bool io_loop_stopping(const struct io_loop *loop)
{
	return atomic_load_explicit(&loop->request, memory_order_relaxed) == IO_REQUEST_STOP;
}

enum io_phase io_loop_phase(const struct io_loop *loop);
/* Waits for `phase`, or for IO_FINISHED; returns the phase that came. No time limit. */
enum io_phase io_loop_await(struct io_loop *loop, enum io_phase phase);
/* Sets bits in a client's mailbox and wakes the loop; never blocks. Before the ring is built the
 * mail is handled at once, on the calling thread. */
void io_client_post(struct io_client *client, uint32_t bits);

#endif
