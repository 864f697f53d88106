/* SPDX-License-Identifier: MIT */
/* The events of a device, at most so many a second: a guest can break and reset a device as often
 * as it likes, and what that costs its owner must have a bound. Theory in complaints.c. */
#ifndef AXVM_VIRTIO_COMPLAINTS_H
#define AXVM_VIRTIO_COMPLAINTS_H

#include "io/loop.h"
#include "io/rate_limit.h"
#include "virtio/host.h"

#define COMPLAINTS_PER_S 10
#define COMPLAINTS_BURST 20

struct virtio_complaints {
	struct io_loop *loop;
	void (*event)(void *context, const struct virtio_event *event); /* NULL: nobody listens */
	void *context;
	/* The loop's thread. */
	struct rate_limit limit;
	struct virtio_event held; /* the latest one that was not sent */
	bool holds, armed;
	uint64_t suppressed; /* events that were not sent since the last one that was */
	struct io_op timer_op;
	struct __kernel_timespec time;
};

/* Build time; takes one operation of the loop (io_loop_reserve). */
int virtio_complaints_init(struct virtio_complaints *c, const struct virtio_host *host);

/* Sends an event, or keeps it until its turn comes. Its strings live as long as the device does.
 * Loop's thread, or that which builds. */
void virtio_complain(struct virtio_complaints *c, const struct virtio_event *event);

/* The loop runs: what was kept before has its timer from now on. */
void virtio_complaints_start(struct virtio_complaints *c);

#endif
