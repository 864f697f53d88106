/* SPDX-License-Identifier: MIT */
/* Limits the events of a device: a guest can break and reset a device as often as it likes, and the
 * cost of that for the device's owner must have a bound. Theory in complaints.c. */
#ifndef AXVM_VIRTIO_COMPLAINTS_H
#define AXVM_VIRTIO_COMPLAINTS_H

#include "io/loop.h"
#include "io/rate_limit.h"
#include "virtio/host.h"

#define COMPLAINTS_PER_S 10
#define COMPLAINTS_BURST 20

struct virtio_complaints {
	struct io_loop *loop;
	/* NULL: events are dropped */
	void (*event)(void *context, const struct virtio_event *event);
	void *context;
	/* The loop's thread. */
	struct rate_limit limit;
	struct virtio_event held; /* the latest event that was not sent */
	bool holds, armed;
	uint64_t suppressed; /* events that were not sent since the last one that was */
	struct io_op timer_op;
	struct __kernel_timespec time;
};

/* Build time; takes one operation of the loop (io_loop_reserve). */
int virtio_complaints_init(struct virtio_complaints *c, const struct virtio_host *host);

/* Sends an event, or keeps it until the limit allows it. Its strings must live as long as the
 * device. The loop's thread, or the building thread. */
void virtio_complain(struct virtio_complaints *c, const struct virtio_event *event);

/* Starts the timer for an event that was kept before the loop ran. */
void virtio_complaints_start(struct virtio_complaints *c);

#endif
