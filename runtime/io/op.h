/* SPDX-License-Identifier: MIT */
/* Operations a client of the loop starts. Loop thread only.
 *
 * `file` is an index of io_loop_add_file, or, in a loop with IO_USE_DESCRIPTORS, IO_DESCRIPTOR of a
 * descriptor that was received. An operation that the ring allows only for some use (restriction.c)
 * needs io_loop_uses() beforehand. Each returns true when the operation was queued: it is submitted
 * with the turn's one io_uring_enter and op->done is called later, never from within the call.
 * False: the ring is not built yet, or is being drained; nothing was queued. */
#ifndef AXVM_IO_OP_H
#define AXVM_IO_OP_H

#include <sys/socket.h>

#include "base/clock.h"
#include "io/loop_state.h"

#define IO_DESCRIPTOR_MASK 0xc0000000u
#define IO_DESCRIPTOR_TAG 0x80000000u
#define IO_DESCRIPTOR(fd) (IO_DESCRIPTOR_TAG | (uint32_t)(fd))

#define IO_CURRENT_POSITION (~0ULL) /* as read(2) and write(2): pipes, sockets, appending */

bool io_read(struct io_loop *loop, struct io_op *op, uint32_t file, void *buffer, uint32_t length,
             uint64_t offset);
bool io_write(struct io_loop *loop, struct io_op *op, uint32_t file, const void *buffer,
              uint32_t length, uint64_t offset);
/* The iovec array must live until the operation is done. */
bool io_readv(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
              uint32_t count, uint64_t offset);
bool io_writev(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
               uint32_t count, uint64_t offset);
/* Receives or sends one packet of a file that is O_NONBLOCK: done at once, or with -EAGAIN.
 * `nowait` is what io_nowait() returned for the file. */
bool io_receive(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
                uint32_t count, bool nowait);
bool io_send(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
             uint32_t count, bool nowait);
/* Whether operations on this fd need RWF_NOWAIT, because io_uring waits on it despite O_NONBLOCK.
 * Build time; may take a packet from it. */
bool io_nowait(int fd);
/* Whether reads and writes of this fd may block although poll(2) reports it ready. Operations on it
 * must then be `in_worker`, which needs IO_USE_WORKERS. Build time. */
bool io_may_wait(int fd);
bool io_fsync(struct io_loop *loop, struct io_op *op, uint32_t file, bool data_only);
/* fallocate(2) modes: discard and write zeroes. */
bool io_fallocate(struct io_loop *loop, struct io_op *op, uint32_t file, int mode, uint64_t offset,
                  uint64_t length);
/* A block device's own discard (BLOCK_URING_CMD_DISCARD, Linux 6.12); the loop has
 * IO_USE_DISCARD. */
bool io_discard(struct io_loop *loop, struct io_op *op, uint32_t file, uint64_t offset,
                uint64_t length);
/* The same as a submission, for a caller that has a ring of its own. */
void io_prep_discard(struct io_uring_sqe *sqe, int fd, uint64_t offset, uint64_t length);
/* Is done once, when `events` (POLLIN, POLLOUT) hold. */
bool io_poll(struct io_loop *loop, struct io_op *op, uint32_t file, uint32_t events);
/* Calls done at each edge of `events`, until it calls it without IORING_CQE_F_MORE; then arm it
 * again. */
bool io_poll_multishot(struct io_loop *loop, struct io_op *op, uint32_t file, uint32_t events);
/* A time for io_timeout(). */
static inline struct __kernel_timespec io_time(uint64_t ns)
{
	return (struct __kernel_timespec){ .tv_sec = (long long)(ns / NS_PER_S),
		                           .tv_nsec = (long long)(ns % NS_PER_S) };
}
/* Waits for the relative `time`, which must live until done is called with -ETIME. */
bool io_timeout(struct io_loop *loop, struct io_op *op, const struct __kernel_timespec *time);
/* madvise(2) on `length` bytes of this process's memory, at most IO_MADVISE_MAX of them. A worker
 * thread of the kernel's carries it out: the loop does not wait for pages to be freed. */
#define IO_MADVISE_MAX (1ULL << 30)
bool io_madvise(struct io_loop *loop, struct io_op *op, void *start, size_t length, int advice);
/* recvmsg(2); `message` and its buffers must live until it is done. */
bool io_recvmsg(struct io_loop *loop, struct io_op *op, uint32_t file, struct msghdr *message,
                unsigned flags);
/* shutdown(2). */
bool io_shutdown(struct io_loop *loop, struct io_op *op, uint32_t file, int how);
/* close(2), of an IO_DESCRIPTOR alone. */
bool io_close(struct io_loop *loop, struct io_op *op, uint32_t file);
/* Asks for an operation to end early: `target` is done with -ECANCELED or its own result.
 * No operation is done with -ECANCELED otherwise, before the loop drains (IO_NO_WORKER). */
bool io_cancel(struct io_loop *loop, struct io_op *target);

/* Adds 1 to an eventfd (an irqfd) of the fixed-file table. Nothing reports the result. */
void io_interrupt(struct io_loop *loop, uint32_t file);

/* CLOCK_MONOTONIC in nanoseconds, now; the loop's thread or before there is one. */
uint64_t io_now_ns(void);
/* The same, but the clock is read once a turn, at the first call. */
uint64_t io_turn_ns(struct io_loop *loop);

/* Makes the loop call end_of_turn at the end of this turn. */
void io_client_dirty(struct io_client *client);
/* Makes the loop call mail with `bits` in the next turn, without sleeping before it. */
void io_client_again(struct io_client *client, uint32_t bits);
/* Handles posted mail now. For a doorbell that overtakes the mail sent before it. */
void io_client_take_mail(struct io_client *client);

#endif
