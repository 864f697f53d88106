/* SPDX-License-Identifier: MIT */
/* Limits the events of a device.
 *
 * A token bucket gives one token for each event. An event without a token is kept, in the place of
 * an earlier one, and sent with the next token and the number of events that were dropped. So a
 * reader always learns the last state of a device, at most a tenth of a second late, and how many
 * events it missed. A timer runs only while an event is kept. */
#include "virtio/complaints.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/problem.h"
#include "io/op.h"

/* Adds what to do if the kernel could not start a worker, whatever the operation was. */
static const char *with_advice(const struct virtio_event *event, char text[PROBLEM_MESSAGE_MAX])
{
	if (event->error_number != IO_NO_WORKER)
		return event->message;
	snprintf(text, PROBLEM_MESSAGE_MAX,
	         "%s; the kernel could not start a thread for it: " PROBLEM_RAISE_THREADS,
	         event->message);
	return text;
}

static void tell(struct virtio_complaints *c, const struct virtio_event *event)
{
	struct virtio_event told = *event;
	char text[PROBLEM_MESSAGE_MAX];

	told.message = with_advice(event, text);
	told.suppressed = c->suppressed;
	c->suppressed = 0;
	c->holds = false;
	if (c->event)
		c->event(c->context, &told);
}

/* Arms the timer for the next token. False: the loop accepts no operation any more. */
static bool arm(struct virtio_complaints *c, uint64_t wait_ns)
{
	uint32_t phase = atomic_load_explicit(&c->loop->phase, memory_order_relaxed);

	if (c->armed || phase == IO_BUILDING || phase == IO_BUILT)
		return true;
	c->time = io_time(wait_ns);
	c->armed = io_timeout(c->loop, &c->timer_op, &c->time);
	return c->armed;
}

/* Sends what is kept, or waits for the token that it needs. */
static void try_held(struct virtio_complaints *c)
{
	uint64_t wait_ns = rate_limit_take(&c->limit, io_turn_ns(c->loop), 0, 1);

	/* Without a timer the VM is about to end, so the event is sent now. */
	if (wait_ns == 0 || !arm(c, wait_ns))
		tell(c, &c->held);
}

void virtio_complain(struct virtio_complaints *c, const struct virtio_event *event)
{
	c->suppressed += c->holds;
	c->held = *event;
	c->holds = true;
	try_held(c);
}

static void timer_done(struct io_op *op, int result, uint32_t flags)
{
	struct virtio_complaints *c = CONTAINER_OF(op, struct virtio_complaints, timer_op);

	(void)flags;
	c->armed = false;
	if (!c->holds)
		return;
	if (result == -ECANCELED)
		tell(c, &c->held);
	else
		try_held(c);
}

void virtio_complaints_start(struct virtio_complaints *c)
{
	if (c->holds)
		try_held(c);
}

int virtio_complaints_init(struct virtio_complaints *c, const struct virtio_host *host)
{
	static const struct rate_config rate = { .ops_per_s = COMPLAINTS_PER_S,
		                                 .ops_burst = COMPLAINTS_BURST };

	*c = (struct virtio_complaints){
		.loop = host->loop,
		.event = host->event,
		.context = host->context,
		.timer_op = { .done = timer_done },
	};
	rate_limit_init(&c->limit, &rate, 0);
	return io_loop_reserve(host->loop, 1);
}
