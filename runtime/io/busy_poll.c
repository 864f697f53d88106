/* SPDX-License-Identifier: MIT */
/* Polls for work for a while before the loop sleeps.
 *
 * Work comes from two sides. Completions: the kernel sets a flag in the ring if it has some for the
 * next enter (IORING_SETUP_TASKRUN_FLAG), or has put them into the ring. Requests: clients look at
 * their queues themselves, so the guest saves its kicks. Before the loop sleeps, clients ask for
 * kicks again, and look once more. */
#include "io/busy_poll.h"

#include "io/op.h"

#define NS_PER_US 1000ULL

/* The kernel writes the ring's flags meanwhile. */
static bool ring_has_something(struct io_loop *loop)
{
	return io_uring_sq_ready(&loop->ring) > 0 || io_uring_cq_ready(&loop->ring) > 0 ||
	       (__atomic_load_n(loop->ring.sq.kflags, __ATOMIC_RELAXED) &
	        (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static bool posted(const struct io_loop *loop)
{
	return atomic_load_explicit(&loop->pending, memory_order_relaxed) != 0;
}

/* Every client is asked, so that none starves another. */
static bool poll_clients(struct io_loop *loop, bool last)
{
	bool found = false;

	for (uint32_t i = 0; i < loop->client_count; i++)
		if (loop->clients[i]->ops->poll &&
		    loop->clients[i]->ops->poll(loop->clients[i], last))
			found = true;
	return found;
}

void io_busy_poll_again(struct io_loop *loop)
{
	if (loop->busy_poll_us > 0)
		loop->busy_until_ns = io_turn_ns(loop) + loop->busy_poll_us * NS_PER_US;
}

bool io_busy_poll(struct io_loop *loop)
{
	if (loop->busy_poll_us == 0)
		return false;
	do {
		if (poll_clients(loop, false)) {
			io_busy_poll_again(loop);
			return true;
		}
		if (ring_has_something(loop) || posted(loop))
			return true;
		__builtin_ia32_pause();
		loop->turn_ns = 0;
	} while (io_turn_ns(loop) < loop->busy_until_ns);
	return poll_clients(loop, true) || posted(loop);
}
