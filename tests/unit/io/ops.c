/* SPDX-License-Identifier: MIT */
/* Each operation as the ring gets it, field by field; and the desk of control calls. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/control.h"
#include "io/loop.h"
#include "io/op.h"

#define FIXED IOSQE_FIXED_FILE

static struct io_loop loop;
static struct io_op op, target;
static struct iovec iov[3];
static struct msghdr message;
static const struct __kernel_timespec time_1s = { .tv_sec = 1 };
static uint8_t bytes[16];

static void *const big = bytes;

/* A ring that nobody submits: what was queued can be looked at. */
static void set_up(void)
{
	const struct io_loop_config config = { .wake_fd_number = -1,
		                               .ring_fd_number = -1,
		                               .control_fd = -1 };
	struct io_uring_params params = { .flags = IORING_SETUP_R_DISABLED };

	cr_assert_eq(io_loop_init(&loop, &config), 0);
	cr_assert_eq(io_uring_queue_init_params(64, &loop.ring, &params), 0);
	atomic_store(&loop.phase, IO_RUNNING);
}

static void tear_down(void)
{
	io_loop_done(&loop);
}

static bool do_read(void)
{
	return io_read(&loop, &op, 5, bytes, 16, 0x123456789);
}
static bool do_write(void)
{
	return io_write(&loop, &op, 5, bytes, 16, 0x123456789);
}
static bool do_readv(void)
{
	return io_readv(&loop, &op, 5, iov, 3, 0x123456789);
}
static bool do_writev(void)
{
	return io_writev(&loop, &op, 5, iov, 3, 0x123456789);
}
static bool do_receive(void)
{
	return io_receive(&loop, &op, 5, iov, 3, false);
}
static bool do_receive_nowait(void)
{
	return io_receive(&loop, &op, 5, iov, 3, true);
}
static bool do_send(void)
{
	return io_send(&loop, &op, 5, iov, 3, false);
}
static bool do_send_nowait(void)
{
	return io_send(&loop, &op, 5, iov, 3, true);
}
static bool do_fsync(void)
{
	return io_fsync(&loop, &op, 5, false);
}
static bool do_fdatasync(void)
{
	return io_fsync(&loop, &op, 5, true);
}
static bool do_fallocate(void)
{
	return io_fallocate(&loop, &op, 5, 3, 0x123456789, 0x987654321);
}
static bool do_poll(void)
{
	return io_poll(&loop, &op, 5, POLLIN | POLLOUT);
}
static bool do_poll_many(void)
{
	return io_poll_multishot(&loop, &op, 5, POLLIN);
}
static bool do_timeout(void)
{
	return io_timeout(&loop, &op, &time_1s);
}
static bool do_madvise(void)
{
	return io_madvise(&loop, &op, big, 0x3ffff000, MADV_DONTNEED);
}
static bool do_madvise_most(void)
{
	return io_madvise(&loop, &op, big, 1ULL << 30, 24);
}
static bool do_madvise_more(void)
{
	return io_madvise(&loop, &op, big, 6ULL << 30, MADV_DONTNEED);
}
static bool do_madvise_4g(void)
{
	return io_madvise(&loop, &op, big, 4ULL << 30, MADV_DONTNEED);
}
static bool do_recvmsg(void)
{
	return io_recvmsg(&loop, &op, 5, &message, MSG_CMSG_CLOEXEC);
}
static bool do_shutdown(void)
{
	return io_shutdown(&loop, &op, 5, SHUT_WR);
}
static bool do_close(void)
{
	return io_close(&loop, &op, IO_DESCRIPTOR(5));
}
static bool do_cancel(void)
{
	return io_cancel(&loop, &target);
}
static bool do_read_descriptor(void)
{
	return io_read(&loop, &op, IO_DESCRIPTOR(5), bytes, 16, ~0ULL);
}

#define AT(pointer) ((uintptr_t)(pointer))

TestSuite(io_ops, .timeout = 60);
TestSuite(control_desk, .timeout = 60);

Test(io_ops, each_is_what_it_says, .init = set_up, .fini = tear_down)
{
	const struct {
		const char *name;
		bool (*start)(void);
		uint8_t opcode, flags;
		int fd;
		uint64_t addr, off;
		uint32_t len, more; /* rw_flags and its like */
		uint16_t index;
	} rows[] = {
		{ "read", do_read, IORING_OP_READ, FIXED, 5, AT(bytes), 0x123456789, 16, 0, 0 },
		{ "write", do_write, IORING_OP_WRITE, FIXED, 5, AT(bytes), 0x123456789, 16, 0, 0 },
		{ "readv", do_readv, IORING_OP_READV, FIXED, 5, AT(iov), 0x123456789, 3, 0, 0 },
		{ "writev", do_writev, IORING_OP_WRITEV, FIXED, 5, AT(iov), 0x123456789, 3, 0, 0 },
		{ "receive", do_receive, IORING_OP_READV, FIXED, 5, AT(iov), 0, 3, 0, 0 },
		{ "receive nowait", do_receive_nowait, IORING_OP_READV, FIXED, 5, AT(iov), 0, 3,
		  RWF_NOWAIT, 0 },
		{ "send", do_send, IORING_OP_WRITEV, FIXED, 5, AT(iov), 0, 3, 0, 0 },
		{ "send nowait", do_send_nowait, IORING_OP_WRITEV, FIXED, 5, AT(iov), 0, 3,
		  RWF_NOWAIT, 0 },
		{ "fsync", do_fsync, IORING_OP_FSYNC, FIXED, 5, 0, 0, 0, 0, 0 },
		{ "fdatasync", do_fdatasync, IORING_OP_FSYNC, FIXED, 5, 0, 0, 0,
		  IORING_FSYNC_DATASYNC, 0 },
		{ "fallocate", do_fallocate, IORING_OP_FALLOCATE, FIXED, 5, 0x987654321,
		  0x123456789, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 0 },
		{ "poll", do_poll, IORING_OP_POLL_ADD, FIXED, 5, 0, 0, 0, POLLIN | POLLOUT, 0 },
		{ "multishot poll", do_poll_many, IORING_OP_POLL_ADD, FIXED, 5, 0, 0,
		  IORING_POLL_ADD_MULTI, POLLIN, 0 },
		{ "timeout", do_timeout, IORING_OP_TIMEOUT, FIXED, -1, AT(&time_1s), 0, 1, 0, 0 },
		{ "madvise", do_madvise, IORING_OP_MADVISE, FIXED, -1, AT(bytes), 0, 0x3ffff000,
		  MADV_DONTNEED, 0 },
		{ "the most of it", do_madvise_most, IORING_OP_MADVISE, FIXED, -1, AT(bytes), 0,
		  1u << 30, 24, 0 },
		{ "more than that", do_madvise_more, IORING_OP_MADVISE, FIXED, -1, AT(bytes), 0,
		  1u << 30, MADV_DONTNEED, 0 },
		{ "and what is 0 in 32 bits", do_madvise_4g, IORING_OP_MADVISE, FIXED, -1,
		  AT(bytes), 0, 1u << 30, MADV_DONTNEED, 0 },
		{ "recvmsg", do_recvmsg, IORING_OP_RECVMSG, FIXED, 5, AT(&message), 0, 1,
		  MSG_CMSG_CLOEXEC, 0 },
		{ "shutdown", do_shutdown, IORING_OP_SHUTDOWN, FIXED, 5, 0, 0, SHUT_WR, 0, 0 },
		{ "close", do_close, IORING_OP_CLOSE, 0, 5, 0, 0, 0, 0, 0 },
		{ "cancel", do_cancel, IORING_OP_ASYNC_CANCEL, FIXED, -1, AT(&target), 0, 0, 0, 0 },
		{ "of a descriptor", do_read_descriptor, IORING_OP_READ, 0, 5, AT(bytes), ~0ULL, 16,
		  0, 0 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct io_uring_sqe *sqe = &loop.ring.sq.sqes[i];
		const void *user = rows[i].opcode == IORING_OP_ASYNC_CANCEL ? &loop.cancel_op : &op;

		cr_assert(rows[i].start());
		cr_assert_eq(sqe->opcode, rows[i].opcode, "%s", rows[i].name);
		cr_assert_eq(sqe->flags, rows[i].flags, "%s", rows[i].name);
		cr_assert_eq(sqe->fd, rows[i].fd, "%s: fd %d", rows[i].name, sqe->fd);
		cr_assert_eq(sqe->addr, rows[i].addr, "%s", rows[i].name);
		cr_assert_eq(sqe->off, rows[i].off, "%s", rows[i].name);
		cr_assert_eq(sqe->len, rows[i].len, "%s: %u", rows[i].name, sqe->len);
		cr_assert_eq((uint32_t)sqe->rw_flags, rows[i].more, "%s", rows[i].name);
		cr_assert_eq(sqe->buf_index, rows[i].index, "%s", rows[i].name);
		cr_assert_eq(sqe->user_data, AT(user), "%s", rows[i].name);
		cr_assert_eq(loop.in_flight, i + 1);
		cr_assert_eq(atomic_load(&loop.stats.sqes), i + 1);
	}
}

/* An interrupt is 1 written to an eventfd; its success needs no completion where the kernel can do
 * that. */
Test(io_ops, an_interrupt_is_a_write_to_its_eventfd, .init = set_up, .fini = tear_down)
{
	const struct io_uring_sqe *sqe = loop.ring.sq.sqes;

	for (int skip = 0; skip < 2; skip++, sqe++) {
		loop.skip_success = skip;
		io_interrupt(&loop, 7);
		cr_assert_eq(sqe->opcode, IORING_OP_WRITE);
		cr_assert_eq(sqe->fd, 7);
		cr_assert_eq(sqe->flags, FIXED | (skip ? IOSQE_CQE_SKIP_SUCCESS : 0));
		cr_assert_eq(sqe->len, 8);
		cr_assert_eq(sqe->off, 0);
		cr_assert_eq(*(const uint64_t *)(uintptr_t)sqe->addr, 1);
		cr_assert_eq(sqe->user_data, AT(&loop.irq_op));
	}
	cr_assert_eq(loop.in_flight, 0, "nobody waits for it");
	cr_assert_eq(atomic_load(&loop.stats.interrupts), 2);
}

/* Not before there is a ring, and not while it is being drained. */
Test(io_ops, nothing_is_queued_before_the_ring_or_while_it_drains, .init = set_up,
     .fini = tear_down)
{
	static const enum io_phase phases[] = { IO_BUILDING,  IO_BUILT,   IO_RUNNING,
		                                IO_QUIESCING, IO_PARKED,  IO_LINGERING,
		                                IO_DRAINING,  IO_FINISHED };
	uint32_t queued = 0;

	for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
		bool good = phases[i] != IO_BUILDING && phases[i] != IO_DRAINING &&
		            phases[i] != IO_FINISHED;

		atomic_store(&loop.phase, phases[i]);
		cr_assert_eq(do_read(), good, "phase %d", phases[i]);
		queued += good;
		cr_assert_eq(io_uring_sq_ready(&loop.ring), queued);
		cr_assert_eq(loop.in_flight, queued);
	}
}

/* ------------------------------------------------------------------------------------- the desk */

#define CALLS 64

static struct control_call calls[CALLS + 1];
static unsigned runs[CALLS + 1];

static void run_call(struct control_call *call)
{
	runs[call - calls]++;
}

static uint64_t signals(const struct control_desk *desk)
{
	uint64_t count = 0;

	return read(desk->wake_fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

Test(control_desk, each_call_is_made_that_was_asked_for)
{
	struct control_desk desk = { .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };

	cr_assert_geq(desk.wake_fd, 0);
	for (size_t i = 0; i < CALLS; i++) {
		calls[i].run = run_call;
		cr_assert_eq(control_desk_add(&desk, &calls[i]), 0);
	}
	cr_assert_eq(control_desk_add(&desk, &calls[CALLS]), -ENOSPC);
	control_desk_serve(&desk);
	for (size_t i = 0; i < CALLS; i++) {
		cr_assert_eq(runs[i], 0);
		/* Asked for more than once, made once; the control thread is woken once. */
		control_desk_ask(&desk, &calls[i]);
		control_desk_ask(&desk, &calls[i]);
		cr_assert_eq(runs[i], 0, "not on the asking thread");
		cr_assert_eq(signals(&desk), 1);
		control_desk_serve(&desk);
		control_desk_serve(&desk);
		for (size_t j = 0; j < CALLS; j++)
			cr_assert_eq(runs[j], j <= i, "call %zu after %zu", j, i);
	}
	/* All together. */
	for (size_t i = 0; i < CALLS; i++)
		control_desk_ask(&desk, &calls[i]);
	cr_assert_eq(signals(&desk), 1);
	control_desk_serve(&desk);
	for (size_t i = 0; i < CALLS; i++)
		cr_assert_eq(runs[i], 2);
	/* Without a desk at once. */
	control_desk_ask(NULL, &calls[3]);
	cr_assert_eq(runs[3], 3);
	close(desk.wake_fd);
}
