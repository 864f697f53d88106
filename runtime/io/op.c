/* SPDX-License-Identifier: MIT */
/* Operations: one function an opcode, all through one way of getting an SQE. */
#include "io/op.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>

#include "base/uses.h"
#include "base/wake.h"

static const uint64_t one = 1;

/* The ring holds everything that can be in flight (io_loop_reserve). If a client reserved too
 * little, a full ring costs an extra submission; the request is not lost. */
static struct io_uring_sqe *get_sqe(struct io_loop *loop)
{
	uint32_t phase = atomic_load_explicit(&loop->phase, memory_order_relaxed);
	struct io_uring_sqe *sqe;

	if (phase == IO_BUILDING || phase >= IO_DRAINING)
		return NULL;
	sqe = io_uring_get_sqe(&loop->ring);
	if (!sqe) {
		counter_add(&loop->stats.overflows, 1);
		counter_add(&loop->stats.enters, 1);
		(void)io_uring_submit_and_get_events(&loop->ring);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	if (sqe)
		counter_add(&loop->stats.sqes, 1);
	return sqe;
}

static bool queue(struct io_loop *loop, struct io_uring_sqe *sqe, struct io_op *op)
{
	bool descriptor = ((uint32_t)sqe->fd & IO_DESCRIPTOR_MASK) == IO_DESCRIPTOR_TAG;

	if (descriptor)
		sqe->fd &= (int)~IO_DESCRIPTOR_TAG;
	op->cancelled = false;
	io_uring_sqe_set_data(sqe, op);
	io_uring_sqe_set_flags(sqe, (descriptor ? 0 : IOSQE_FIXED_FILE) |
	                                    (op->in_worker ? IOSQE_ASYNC : 0));
	loop->in_flight++;
	return true;
}

bool io_read(struct io_loop *loop, struct io_op *op, uint32_t file, void *buffer, uint32_t length,
             uint64_t offset)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_read(sqe, (int)file, buffer, length, offset);
	return queue(loop, sqe, op);
}

bool io_write(struct io_loop *loop, struct io_op *op, uint32_t file, const void *buffer,
              uint32_t length, uint64_t offset)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_write(sqe, (int)file, buffer, length, offset);
	return queue(loop, sqe, op);
}

bool io_readv(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
              uint32_t entries, uint64_t offset)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_readv(sqe, (int)file, iov, entries, offset);
	return queue(loop, sqe, op);
}

bool io_writev(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
               uint32_t entries, uint64_t offset)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_writev(sqe, (int)file, iov, entries, offset);
	return queue(loop, sqe, op);
}

/* For a file without RWF_NOWAIT, io_uring calls the file's poll and then writes on the caller's
 * thread (since Linux 6.9). A terminal is ready when it has room for a byte, and then waits for the
 * rest. */
bool io_may_wait(int fd)
{
	return isatty(fd) == 1;
}

/* On a file that supports RWF_NOWAIT io_uring waits, despite O_NONBLOCK, unless the flag is given.
 * For any other file it refuses the flag. */
bool io_nowait(int fd)
{
	uint8_t byte;
	const struct iovec iov = { .iov_base = &byte, .iov_len = 1 };

	return preadv2(fd, &iov, 1, -1, RWF_NOWAIT) >= 0 || errno != EOPNOTSUPP;
}

bool io_receive(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
                uint32_t entries, bool nowait)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_readv2(sqe, (int)file, iov, entries, 0, nowait ? RWF_NOWAIT : 0);
	return queue(loop, sqe, op);
}

bool io_send(struct io_loop *loop, struct io_op *op, uint32_t file, const struct iovec *iov,
             uint32_t entries, bool nowait)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_writev2(sqe, (int)file, iov, entries, 0, nowait ? RWF_NOWAIT : 0);
	return queue(loop, sqe, op);
}

bool io_fsync(struct io_loop *loop, struct io_op *op, uint32_t file, bool data_only)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_fsync(sqe, (int)file, data_only ? IORING_FSYNC_DATASYNC : 0);
	return queue(loop, sqe, op);
}

bool io_fallocate(struct io_loop *loop, struct io_op *op, uint32_t file, int mode, uint64_t offset,
                  uint64_t length)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_fallocate(sqe, (int)file, mode, (off_t)offset, (off_t)length);
	return queue(loop, sqe, op);
}

/* linux/blkdev.h of 6.12; this header may be older. */
#define DISCARD_COMMAND _IO(0x12, 0)

void io_prep_discard(struct io_uring_sqe *sqe, int fd, uint64_t offset, uint64_t length)
{
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = DISCARD_COMMAND;
	sqe->addr = offset;
	sqe->addr3 = length;
}

bool io_discard(struct io_loop *loop, struct io_op *op, uint32_t file, uint64_t offset,
                uint64_t length)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_prep_discard(sqe, (int)file, offset, length);
	return queue(loop, sqe, op);
}

bool io_poll(struct io_loop *loop, struct io_op *op, uint32_t file, uint32_t events)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, (int)file, events);
	return queue(loop, sqe, op);
}

bool io_poll_multishot(struct io_loop *loop, struct io_op *op, uint32_t file, uint32_t events)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_poll_multishot(sqe, (int)file, events);
	return queue(loop, sqe, op);
}

bool io_timeout(struct io_loop *loop, struct io_op *op, const struct __kernel_timespec *time)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	/* The kernel only reads it; liburing's prototype lacks the const. */
	io_uring_prep_timeout(sqe, (struct __kernel_timespec *)(uintptr_t)time, 0, 0);
	return queue(loop, sqe, op);
}

bool io_madvise(struct io_loop *loop, struct io_op *op, void *start, size_t length, int advice)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	/* The opcode has 32 bits for the length. */
	if (!sqe)
		return false;
	io_uring_prep_madvise(sqe, start, (off_t)MIN(length, (size_t)IO_MADVISE_MAX), advice);
	return queue(loop, sqe, op);
}

bool io_recvmsg(struct io_loop *loop, struct io_op *op, uint32_t file, struct msghdr *message,
                unsigned flags)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_recvmsg(sqe, (int)file, message, flags);
	return queue(loop, sqe, op);
}

bool io_shutdown(struct io_loop *loop, struct io_op *op, uint32_t file, int how)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_shutdown(sqe, (int)file, how);
	return queue(loop, sqe, op);
}

bool io_close(struct io_loop *loop, struct io_op *op, uint32_t file)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	io_uring_prep_close(sqe, (int)file);
	return queue(loop, sqe, op);
}

bool io_cancel(struct io_loop *loop, struct io_op *target)
{
	struct io_uring_sqe *sqe = get_sqe(loop);

	if (!sqe)
		return false;
	target->cancelled = true;
	io_uring_prep_cancel(sqe, target, 0);
	return queue(loop, sqe, &loop->cancel_op);
}

void io_interrupt(struct io_loop *loop, uint32_t file)
{
	struct io_uring_sqe *sqe;

	counter_add(&loop->stats.interrupts, 1);
	if (atomic_load_explicit(&loop->phase, memory_order_relaxed) == IO_BUILDING) {
		/* No ring yet, and no filter either. */
		if (wake_eventfd(loop->files[file]) < 0)
			counter_add(&loop->stats.irq_errors, 1);
		return;
	}
	sqe = get_sqe(loop);
	if (!sqe)
		return;
	io_uring_prep_write(sqe, (int)file, &one, sizeof(one), 0);
	io_uring_sqe_set_data(sqe, &loop->irq_op);
	io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE |
	                                    (loop->skip_success ? IOSQE_CQE_SKIP_SUCCESS : 0));
}

uint64_t io_now_ns(void)
{
	SANDBOX_USES(io, clock_gettime, arg0 == CLOCK_MONOTONIC);
	return monotonic_ns();
}

uint64_t io_turn_ns(struct io_loop *loop)
{
	if (loop->turn_ns == 0)
		loop->turn_ns = io_now_ns();
	return loop->turn_ns;
}

void io_client_dirty(struct io_client *client)
{
	if (client->loop)
		client->loop->dirty |= 1ULL << client->index;
}

void io_client_again(struct io_client *client, uint32_t bits)
{
	/* The loop looks at `pending` before it sleeps. */
	atomic_fetch_or_explicit(&client->mailbox, bits, memory_order_relaxed);
	atomic_fetch_or_explicit(&client->loop->pending, 1ULL << client->index,
	                         memory_order_release);
}

void io_client_take_mail(struct io_client *client)
{
	/* Acquire pairs with the release in io_client_post. */
	uint32_t bits = atomic_exchange_explicit(&client->mailbox, 0, memory_order_acquire);

	if (bits && client->ops->mail)
		client->ops->mail(client, bits);
}
