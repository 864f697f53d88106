/* SPDX-License-Identifier: MIT */
/* The I/O loop.
 *
 * A turn is: one io_uring_enter, which submits all that the last turn queued and sleeps until
 * something completes; the completions; the mail; and then, once for each client that asked for it,
 * end_of_turn, where a device publishes its used entries and raises its interrupts. Interrupts are
 * writes to eventfds in the same ring and so leave with the next enter, at no cost of their own.
 *
 * Doorbells and the loop's own wake-up are eventfds under a multishot poll, and are never read. A
 * multishot poll reports edges: each signal of an eventfd wakes its pollers whether or not the
 * counter was zero before, and the counter, 64 bits wide, would take centuries to overflow. Reading
 * it would only add a system call or an SQE for each doorbell. A doorbell may be reported once for
 * several kicks and once more than needed; a device drains its queue each time, so both are fine.
 *
 * Other threads talk to a client through its mailbox: they set bits in it atomically, then the
 * client's bit in `pending`; a thread that finds `pending` empty also signals the wake eventfd. The
 * loop takes all of `pending`, then all of each mailbox: release by the poster, acquire by the
 * loop.
 *
 * The ring is created disabled, so that its restrictions are in force from the first submission:
 * the opcodes of restriction.c that its clients' uses need, and IOSQE_FIXED_FILE on every SQE. It
 * can then reach no file that was not registered while the VM was built. Restrictions, fixed files:
 * io_uring_register(2).
 *
 * A loop that receives connections while it runs (IO_USE_DESCRIPTORS) does without the second
 * restriction. Its thread has a descriptor table of its own, as every sealed thread but one: the
 * ring, the eventfds that its filter lets it write to, and the descriptors that it receives. Beside
 * the registered files its ring can reach only these. The alternative, to register each received
 * descriptor, needs more in the filter (IORING_OP_FILES_UPDATE refuses IOSQE_FIXED_FILE, so it
 * takes io_uring_register and close), and it leaks: before Linux 6.13 a replaced file is released
 * only when every older operation has ended, and polls of doorbells never end. The peer of a
 * connection would not see it close. */
#include "io/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/futex.h"
#include "base/uses.h"
#include "base/wake.h"
#include "io/busy_poll.h"
#include "io/op.h"
#include "io/restriction.h"

#define OWN_OPERATIONS 8 /* wake poll, two timers, cancel of all, and a reserve */
#define ENTRIES_MAX 16384u
#define DRAIN_SECONDS 2

/* In order of preference; the first that the kernel accepts is used. */
static const uint32_t setup_choices[] = {
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	0,
};

/* ------------------------------------------------------------------------------------ build */

/* The loop's own eventfd, or the control thread's. */
static void signal_fd(int fd)
{
	SANDBOX_USES(io, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	SANDBOX_USES(io, write, arg0 in IO_WAKE_FD_BASE..IO_WAKE_FD_LAST && arg2 == EVENTFD_SIZE);
	SANDBOX_USES(vcpu, write, arg0 in IO_WAKE_FD_BASE..IO_WAKE_FD_LAST && arg2 == EVENTFD_SIZE);
	SANDBOX_USES(control, write,
	             arg0 in IO_WAKE_FD_BASE..IO_WAKE_FD_LAST && arg2 == EVENTFD_SIZE);
	(void)wake_eventfd(fd);
}

/* For locks that an I/O thread and a vCPU thread both take (registers, console buffer), and those
 * that vCPU threads share (configuration space, MSI-X tables). */
SANDBOX_USES(io, futex, arg1 == FUTEX_WAIT_PRIVATE && arg3 == 0);
SANDBOX_USES(vcpu, futex, arg1 == FUTEX_WAIT_PRIVATE && arg3 == 0);
SANDBOX_USES(vcpu, futex, arg1 == FUTEX_WAKE_PRIVATE);

static void set_phase(struct io_loop *loop, enum io_phase phase)
{
	atomic_store_explicit(&loop->phase, phase, memory_order_release);
	SANDBOX_USES(io, futex, arg1 == FUTEX_WAKE_PRIVATE);
	futex_wake_all(&loop->phase);
	if ((phase == IO_PARKED || phase == IO_FINISHED) && loop->control_fd >= 0)
		signal_fd(loop->control_fd);
}

/* Moves *fd to `number`, unless that is -1. */
static int place(int *fd, int number)
{
	if (number < 0 || *fd == number)
		return 0;
	if (dup3(*fd, number, O_CLOEXEC) < 0)
		return -errno;
	close(*fd);
	*fd = number;
	return 0;
}

static void wake_done(struct io_op *op, int result, uint32_t flags)
{
	struct io_loop *loop = CONTAINER_OF(op, struct io_loop, wake_op);

	(void)result;
	if (!(flags & IORING_CQE_F_MORE))
		(void)io_poll_multishot(loop, op, loop->wake_file, POLLIN);
}

static void linger_done(struct io_op *op, int result, uint32_t flags)
{
	(void)result;
	(void)flags;
	CONTAINER_OF(op, struct io_loop, linger_op)->linger_over = true;
}

static void drain_done(struct io_op *op, int result, uint32_t flags)
{
	(void)result;
	(void)flags;
	CONTAINER_OF(op, struct io_loop, drain_op)->drain_over = true;
}

static void irq_done(struct io_op *op, int result, uint32_t flags)
{
	struct io_loop *loop = CONTAINER_OF(op, struct io_loop, irq_op);

	(void)flags;
	if (result < 0)
		counter_add(&loop->stats.irq_errors, 1);
}

/* A cancellation that finds nothing is no failure: the operation was done already. */
static void cancel_done(struct io_op *op, int result, uint32_t flags)
{
	(void)op;
	(void)result;
	(void)flags;
}

int io_loop_init(struct io_loop *loop, const struct io_loop_config *config)
{
	int r;

	memset(loop, 0, sizeof(*loop));
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return -errno;
	loop->ring.ring_fd = -1;
	loop->wake_op.done = wake_done;
	loop->linger_op.done = linger_done;
	loop->drain_op.done = drain_done;
	loop->irq_op.done = irq_done;
	loop->cancel_op.done = cancel_done;
	loop->reserved = OWN_OPERATIONS;
	loop->ring_fd_number = config->ring_fd_number;
	loop->control_fd = config->control_fd;
	loop->busy_poll_us = config->busy_poll_us;
	loop->breach = config->breach;
	loop->breach_context = config->context;
	r = place(&loop->wake_fd, config->wake_fd_number);
	if (r < 0) {
		close_ptr(&loop->wake_fd);
		return r;
	}
	return io_loop_add_file(loop, loop->wake_fd, &loop->wake_file);
}

void io_loop_done(struct io_loop *loop)
{
	if (loop->file_count == 0)
		return;
	if (loop->ring.ring_fd >= 0)
		io_uring_queue_exit(&loop->ring);
	close_ptr(&loop->wake_fd);
	memset(loop, 0, sizeof(*loop));
}

int io_loop_add_client(struct io_loop *loop, struct io_client *client,
                       const struct io_client_ops *ops)
{
	if (loop->client_count == IO_CLIENTS_MAX)
		return -ENOSPC;
	client->ops = ops;
	client->loop = loop;
	client->index = loop->client_count;
	atomic_init(&client->mailbox, 0);
	loop->clients[loop->client_count++] = client;
	return 0;
}

int io_loop_add_file(struct io_loop *loop, int fd, uint32_t *ret_file)
{
	if (loop->file_count == IO_FILES_MAX)
		return -ENOSPC;
	loop->files[loop->file_count] = fd;
	*ret_file = loop->file_count++;
	return 0;
}

int io_loop_reserve(struct io_loop *loop, uint32_t operations)
{
	if (operations > ENTRIES_MAX - loop->reserved)
		return -ENOSPC;
	loop->reserved += operations;
	return 0;
}

void io_loop_uses(struct io_loop *loop, uint32_t uses)
{
	loop->uses |= uses;
}

/* A loop that polls must see in memory that completions wait. The kernel has no such flag for a
 * setup in which completions come unasked. */
static uint32_t polling_flags(const struct io_loop *loop, uint32_t choice)
{
	bool deferred = choice & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN);

	return loop->busy_poll_us > 0 && deferred ? IORING_SETUP_TASKRUN_FLAG : 0;
}

int io_loop_build(struct io_loop *loop)
{
	int r = -EINVAL;

	for (size_t i = 0; r == -EINVAL && i < ARRAY_SIZE(setup_choices); i++) {
		struct io_uring_params params = {
			.flags = setup_choices[i] | polling_flags(loop, setup_choices[i]) |
			         IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = loop->reserved * 2,
		};

		r = io_uring_queue_init_params(loop->reserved, &loop->ring, &params);
		if (r >= 0) {
			loop->setup_flags = setup_choices[i];
			loop->skip_success = params.features & IORING_FEAT_CQE_SKIP;
			loop->knows_workers = params.features & IORING_FEAT_LINKED_FILE;
		}
	}
	if (r < 0) {
		loop->ring.ring_fd = -1;
		return r;
	}
	r = place(&loop->ring.ring_fd, loop->ring_fd_number);
	if (r < 0)
		return r;
	loop->ring.enter_ring_fd = loop->ring.ring_fd;
	r = io_uring_register_files(&loop->ring, loop->files, loop->file_count);
	if (r < 0)
		return r;
	r = io_restrict(loop);
	if (r < 0)
		return r;
	set_phase(loop, IO_BUILT);
	return 0;
}

/* ------------------------------------------------------------------------------- other threads */

void io_client_post(struct io_client *client, uint32_t bits)
{
	struct io_loop *loop = client->loop;

	/* Release pairs with the acquire in io_client_take_mail. */
	atomic_fetch_or_explicit(&client->mailbox, bits, memory_order_release);
	if (atomic_load_explicit(&loop->phase, memory_order_acquire) == IO_BUILDING) {
		io_client_take_mail(client);
		if (client->ops->end_of_turn)
			client->ops->end_of_turn(client);
		return;
	}
	/* Release pairs with the acquire in `deliver_mail`. */
	if (atomic_fetch_or_explicit(&loop->pending, 1ULL << client->index, memory_order_acq_rel) ==
	    0)
		signal_fd(loop->wake_fd);
}

static void request(struct io_loop *loop, enum io_request what)
{
	uint32_t expected = atomic_load_explicit(&loop->request, memory_order_relaxed);

	/* A stop is final. */
	do {
		if (expected == IO_REQUEST_STOP)
			return;
	} while (!atomic_compare_exchange_weak_explicit(&loop->request, &expected, what,
	                                                memory_order_release,
	                                                memory_order_relaxed));
	signal_fd(loop->wake_fd);
}

void io_loop_pause(struct io_loop *loop)
{
	request(loop, IO_REQUEST_PAUSE);
}

void io_loop_resume(struct io_loop *loop)
{
	request(loop, IO_REQUEST_RUN);
}

void io_loop_stop(struct io_loop *loop, uint32_t linger_ms)
{
	atomic_store_explicit(&loop->linger_ms, linger_ms, memory_order_relaxed);
	request(loop, IO_REQUEST_STOP);
}

enum io_phase io_loop_phase(const struct io_loop *loop)
{
	return (enum io_phase)atomic_load_explicit(&loop->phase, memory_order_acquire);
}

enum io_phase io_loop_await(struct io_loop *loop, enum io_phase phase)
{
	uint32_t seen;

	while ((seen = atomic_load_explicit(&loop->phase, memory_order_acquire)) != phase &&
	       seen != IO_FINISHED)
		futex_wait(&loop->phase, seen);
	return (enum io_phase)seen;
}

/* --------------------------------------------------------------------------------- loop thread */

/* The kernel's workers belong to the thread that submits, not to the ring. Before the thread's
 * first submission there is nothing to bind, and after it the restrictions allow no registration.
 * But the kernel also creates the thread's context when it registers a ring's descriptor, which a
 * disabled ring allows. The registration is undone at once: the policy names descriptors by number,
 * and a registered one has none. */
int io_loop_bind_workers(struct io_loop *loop, const cpu_set_t *cpus, size_t size)
{
	struct io_uring_rsrc_update ring = { .offset = UINT32_MAX,
		                             .data = (uint64_t)loop->ring.ring_fd };
	int r, back;

	if (!loop->knows_workers)
		return 0;
	r = io_ring_register(loop, IORING_REGISTER_RING_FDS, &ring, 1);
	if (r != 1)
		return r < 0 ? r : -EIO;
	r = io_ring_register(loop, IORING_REGISTER_IOWQ_AFF, cpus, (unsigned)size);
	ring.data = 0;
	back = io_ring_register(loop, IORING_UNREGISTER_RING_FDS, &ring, 1);
	if (r < 0)
		return r;
	return back == 1 ? 0 : back < 0 ? back : -EIO;
}

int io_loop_enable(struct io_loop *loop, const char **ret_what)
{
	return io_restriction_enable(loop, ret_what);
}

static void deliver_mail(struct io_loop *loop)
{
	/* Acquire pairs with the release in io_client_post. */
	uint64_t pending = atomic_exchange_explicit(&loop->pending, 0, memory_order_acq_rel);

	while (pending != 0) {
		io_client_take_mail(loop->clients[__builtin_ctzll(pending)]);
		pending &= pending - 1;
	}
}

static void end_turn(struct io_loop *loop)
{
	uint64_t dirty = loop->dirty;

	loop->dirty = 0;
	while (dirty != 0) {
		struct io_client *client = loop->clients[__builtin_ctzll(dirty)];

		if (client->ops->end_of_turn)
			client->ops->end_of_turn(client);
		dirty &= dirty - 1;
	}
}

/* The result that an operation's client gets. */
static int result_of(const struct io_loop *loop, const struct io_op *op, int result)
{
	uint32_t phase = atomic_load_explicit(&loop->phase, memory_order_relaxed);

	return result == -ECANCELED && !op->cancelled && phase < IO_DRAINING ? -IO_NO_WORKER
	                                                                     : result;
}

/* Hands out completions. 0, or -EPERM if the ring's restrictions refused a submission. */
static int dispatch(struct io_loop *loop)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	unsigned seen = 0;

	io_uring_for_each_cqe(&loop->ring, head, cqe)
	{
		struct io_op *op = io_uring_cqe_get_data(cqe);
		struct io_breach breach;

		/* First, because the user_data of a refused submission may not be ours. */
		if (io_restriction_breach(loop, cqe, &breach)) {
			if (loop->breach)
				loop->breach(loop->breach_context, &breach);
			return -EPERM;
		}
		seen++;
		if (op != &loop->irq_op && !(cqe->flags & IORING_CQE_F_MORE))
			loop->in_flight--;
		op->done(op, result_of(loop, op, cqe->res), cqe->flags);
	}
	io_uring_cq_advance(&loop->ring, seen);
	counter_add(&loop->stats.cqes, seen);
	if (seen > 0)
		io_busy_poll_again(loop);
	return 0;
}

static void call_all(struct io_loop *loop, bool pause)
{
	for (uint32_t i = 0; i < loop->client_count; i++) {
		struct io_client *client = loop->clients[i];
		void (*call)(struct io_client *) = pause ? client->ops->pause : client->ops->resume;

		if (call)
			call(client);
	}
}

static bool all_idle(const struct io_loop *loop)
{
	for (uint32_t i = 0; i < loop->client_count; i++)
		if (loop->clients[i]->ops->idle && !loop->clients[i]->ops->idle(loop->clients[i]))
			return false;
	return true;
}

static bool any_lingers(const struct io_loop *loop)
{
	for (uint32_t i = 0; i < loop->client_count; i++)
		if (loop->clients[i]->ops->lingers &&
		    loop->clients[i]->ops->lingers(loop->clients[i]))
			return true;
	return false;
}

static void arm_linger(struct io_loop *loop)
{
	uint32_t ms = atomic_load_explicit(&loop->linger_ms, memory_order_relaxed);

	if (loop->linger_armed)
		return;
	loop->linger_armed = true;
	loop->linger_time = io_time(ms * NS_PER_MS);
	if (!io_timeout(loop, &loop->linger_op, &loop->linger_time))
		loop->linger_over = true;
}

/* Cancels everything and waits for a bounded time: a disk that hangs must not hang the shutdown. */
static void start_drain(struct io_loop *loop)
{
	struct io_uring_sqe *sqe;

	/* Makes room for the cancellation. Also, only submitted operations can be cancelled. */
	(void)io_uring_submit_and_get_events(&loop->ring);
	sqe = io_uring_get_sqe(&loop->ring);
	if (sqe) {
		io_uring_prep_cancel(sqe, NULL, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
		io_uring_sqe_set_data(sqe, &loop->cancel_op);
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
		loop->in_flight++;
	}
	loop->drain_time.tv_sec = DRAIN_SECONDS;
	if (!io_timeout(loop, &loop->drain_op, &loop->drain_time))
		loop->drain_over = true;
	set_phase(loop, IO_DRAINING);
}

/* Takes one step of the life cycle if one is due; true if it did. */
static bool step(struct io_loop *loop)
{
	/* Acquire pairs with the release in `request`. */
	int wanted = atomic_load_explicit(&loop->request, memory_order_acquire);

	switch ((enum io_phase)atomic_load_explicit(&loop->phase, memory_order_relaxed)) {
	case IO_RUNNING:
		if (wanted == IO_REQUEST_RUN)
			return false;
		/* Mail that was posted before the request is handled before it. */
		deliver_mail(loop);
		call_all(loop, true);
		set_phase(loop, IO_QUIESCING);
		return true;
	case IO_QUIESCING:
	case IO_PARKED:
		if (wanted == IO_REQUEST_RUN) {
			set_phase(loop, IO_RUNNING);
			call_all(loop, false);
			return true;
		}
		if (wanted == IO_REQUEST_STOP)
			arm_linger(loop);
		if (!all_idle(loop) && !loop->linger_over)
			return false;
		if (wanted == IO_REQUEST_STOP) {
			set_phase(loop, IO_LINGERING);
			return true;
		}
		if (atomic_load(&loop->phase) != IO_PARKED)
			set_phase(loop, IO_PARKED);
		return false;
	case IO_LINGERING:
		if (any_lingers(loop) && !loop->linger_over)
			return false;
		start_drain(loop);
		return true;
	case IO_DRAINING:
		/* The drain timer itself is one. */
		if (loop->in_flight > 1 && !loop->drain_over)
			return false;
		set_phase(loop, IO_FINISHED);
		return false;
	default:
		return false;
	}
}

int io_loop_run(struct io_loop *loop)
{
	set_phase(loop, IO_RUNNING);
	(void)io_poll_multishot(loop, &loop->wake_op, loop->wake_file, POLLIN);
	for (uint32_t i = 0; i < loop->client_count; i++)
		if (loop->clients[i]->ops->start)
			loop->clients[i]->ops->start(loop->clients[i]);
	for (;;) {
		bool busy;
		int r;

		end_turn(loop);
		while (step(loop))
			end_turn(loop);
		if (atomic_load_explicit(&loop->phase, memory_order_relaxed) == IO_FINISHED)
			return 0;
		busy = io_busy_poll(loop) ||
		       atomic_load_explicit(&loop->pending, memory_order_relaxed) != 0;
		counter_add(&loop->stats.turns, 1);
		counter_add(&loop->stats.enters, 1);
		SANDBOX_USES(io, io_uring_enter,
		             arg0 in IO_RING_FD_BASE..IO_RING_FD_LAST &&
		                     arg3 == IORING_ENTER_GETEVENTS && arg4 == 0);
		r = busy ? io_uring_submit_and_get_events(&loop->ring)
		         : io_uring_submit_and_wait(&loop->ring, 1);
		loop->turn_ns = 0;
		if (r >= 0 || r == -EINTR || r == -EAGAIN || r == -EBUSY)
			r = dispatch(loop);
		if (r < 0) {
			set_phase(loop, IO_FINISHED);
			return r;
		}
		deliver_mail(loop);
	}
}
