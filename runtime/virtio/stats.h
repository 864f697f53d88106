/* SPDX-License-Identifier: MIT */
/* Counters of virtio devices. The I/O thread writes them, any thread reads them.
 *
 * A request's latency is the time between the turn of the loop in which it was taken from the ring
 * and the turn in which it was completed: the clock is read once a turn. A request completed in the
 * turn that took it therefore counts as 0. */
#ifndef AXVM_VIRTIO_STATS_H
#define AXVM_VIRTIO_STATS_H

#include "base/counter.h"

struct virtio_device;

/* Bounds are powers of two of nanoseconds, from 2^10 (1 µs) to 2^33 (8.6 s); longer times are
 * counted after the last. */
#define LATENCY_FIRST_BIT 10
#define LATENCY_BOUNDS 24

struct virtio_latency {
	_Atomic uint64_t counts[LATENCY_BOUNDS + 1];
	_Atomic uint64_t sum_ns;
};

/* Of a queue, or summed over a device's. */
struct virtio_queue_stats {
	uint64_t requests;         /* taken from the ring */
	uint64_t bytes_from_guest; /* in the parts of requests that the device reads */
	uint64_t bytes_to_guest;   /* written into requests */
	uint64_t kicks;            /* times the device was told to look at the queue */
	uint64_t batches;          /* times that completions were published */
	uint64_t interrupts;       /* of those, with an interrupt */
	/* of those, without one, because the driver asked for none */
	uint64_t interrupts_suppressed;
};

/* The same as the I/O thread keeps it. */
struct virtio_queue_counters {
	_Atomic uint64_t requests, bytes_from_guest, bytes_to_guest;
	_Atomic uint64_t kicks, batches, interrupts;
};

struct virtio_stats {
	struct virtio_queue_stats all;
	uint64_t failures; /* times it needed a reset */
	uint64_t resets;
};

struct virtio_latency_stats {
	uint64_t counts[LATENCY_BOUNDS + 1]; /* counts[i]: up to 2^(LATENCY_FIRST_BIT + i) ns */
	uint64_t sum_ns;
};

/* ---- the I/O thread */

void virtio_latency_add(struct virtio_latency *latency, uint64_t ns);

/* ---- any thread */

void virtio_get_stats(const struct virtio_device *device, struct virtio_stats *ret_stats);
/* `queue` is below device->queue_count. */
void virtio_get_queue_stats(const struct virtio_device *device, uint16_t queue,
                            struct virtio_queue_stats *ret_stats);
/* Of all queues but device->untimed_queues. */
void virtio_get_latency(const struct virtio_device *device, struct virtio_latency_stats *ret_stats);

#endif
