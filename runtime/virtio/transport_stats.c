/* SPDX-License-Identifier: MIT */
/* The counters of virtio devices. */
#include "virtio/stats.h"

#include "virtio/transport.h"

/* The first bound that is not below `ns`. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned bits = ns > 1 ? 64u - (unsigned)__builtin_clzll(ns - 1) : 0;

	if (bits <= LATENCY_FIRST_BIT)
		return 0;
	return MIN(bits - LATENCY_FIRST_BIT, (unsigned)LATENCY_BOUNDS);
}

void virtio_latency_add(struct virtio_latency *latency, uint64_t ns)
{
	counter_add(&latency->counts[bucket_of(ns)], 1);
	counter_add(&latency->sum_ns, ns);
}

void virtio_get_queue_stats(const struct virtio_device *device, uint16_t queue,
                            struct virtio_queue_stats *ret_stats)
{
	const struct virtio_queue_counters *from = &device->transport->queues[queue].counters;
	uint64_t interrupts = counter_read(&from->interrupts);
	/* A batch is counted before its interrupt. */
	uint64_t batches = counter_read(&from->batches);

	*ret_stats = (struct virtio_queue_stats){
		.requests = counter_read(&from->requests),
		.bytes_from_guest = counter_read(&from->bytes_from_guest),
		.bytes_to_guest = counter_read(&from->bytes_to_guest),
		.kicks = counter_read(&from->kicks),
		.batches = batches,
		.interrupts = interrupts,
		.interrupts_suppressed = batches > interrupts ? batches - interrupts : 0,
	};
}

void virtio_get_stats(const struct virtio_device *device, struct virtio_stats *ret_stats)
{
	struct virtio_stats stats = {
		.failures = counter_read(&device->transport->failures),
		.resets = counter_read(&device->transport->resets),
	};

	for (uint16_t i = 0; i < device->queue_count; i++) {
		struct virtio_queue_stats one;

		virtio_get_queue_stats(device, i, &one);
		stats.all.requests += one.requests;
		stats.all.bytes_from_guest += one.bytes_from_guest;
		stats.all.bytes_to_guest += one.bytes_to_guest;
		stats.all.kicks += one.kicks;
		stats.all.batches += one.batches;
		stats.all.interrupts += one.interrupts;
		stats.all.interrupts_suppressed += one.interrupts_suppressed;
	}
	*ret_stats = stats;
}

void virtio_get_latency(const struct virtio_device *device, struct virtio_latency_stats *ret_stats)
{
	const struct virtio_latency *from = &device->transport->latency;

	for (size_t i = 0; i < ARRAY_SIZE(ret_stats->counts); i++)
		ret_stats->counts[i] = counter_read(&from->counts[i]);
	ret_stats->sum_ns = counter_read(&from->sum_ns);
}
