/* SPDX-License-Identifier: MIT */
/* Counters of the whole VM, gathered from the threads that keep them.
 *
 * The row of a kind (shim/device/device.h) reports what only devices of that kind count. This
 * file adds what every virtio device has (queues, latencies), from the device itself. */
#include "shim/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "interface/event.h"
#include "shim/deadline.h"
#include "shim/device/table.h"
#include "shim/reply.h"
#include "shim/shim.h"

/* "disk." and the longest id; with a queue and a counter behind it it is still a whole name. */
#define PREFIX_SIZE ((int)(sizeof("console.") + SPEC_ID_MAX))
static_assert(PREFIX_SIZE + sizeof(".queue.63.interrupts_suppressed") <= METRICS_NAME_MAX,
              "no name is cut off");

/* ---- rows of a snapshot ---------------------------------------------------------------------- */

static void add_rows(struct shim_metrics *metrics, const char *prefix,
                     const struct counter_row *rows, size_t count, const void *snapshot)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value;

		memcpy(&value, (const char *)snapshot + rows[i].offset, sizeof(value));
		if (value != COUNTER_NOT_TOLD)
			metrics_add(metrics, value, "%s.%s", prefix, rows[i].name);
	}
}

/* ---- vCPUs, KVM, memory, the I/O loop -------------------------------------------------------- */

/* Exits by kind over all vCPUs, "vcpus.exits.mmio", and the sum of each. */
static void add_vcpus(struct shim_metrics *metrics, const struct machine *machine)
{
	static const size_t prefix = sizeof("KVM_EXIT_") - 1;
	uint64_t kinds[VCPU_EXIT_KINDS] = { 0 };

	for (uint32_t i = 0; i < machine->vcpu_count; i++) {
		const struct vcpu *vcpu = &machine->vcpus[i];
		uint64_t sum = 0;

		for (uint32_t kind = 0; kind < VCPU_EXIT_KINDS; kind++) {
			uint64_t n = counter_read(&vcpu->stats.exits[kind]);

			kinds[kind] += n;
			sum += n;
		}
		metrics_add(metrics, sum, "vcpu.%u.exits", i);
	}
	for (uint32_t kind = 0; kind < VCPU_EXIT_KINDS; kind++) {
		char name[40];

		if (kinds[kind] == 0)
			continue;
		snprintf(name, sizeof(name), "%s", vcpu_exit_name(kind) + prefix);
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		metrics_add(metrics, kinds[kind], "vcpus.exits.%s", name);
	}
}

static void put_kvm(void *context, const char *name, uint64_t value)
{
	metrics_add(context, value, "%s", name);
}

/* Where the pages were when the VM was launched, by guest node. They were counted then because a
 * sealed process cannot ask again; kvm.pages_* count what KVM maps now. */
static void add_memory(struct shim_metrics *metrics, const struct shim *shim)
{
	static const struct counter_row rows[] = {
		COUNTER_ROW(numa_counts, pages_4k),
		COUNTER_ROW(numa_counts, pages_2m),
		COUNTER_ROW(numa_counts, pages_1g),
		COUNTER_ROW(numa_counts, remote_pages),
	};

	for (size_t i = 0; shim->ram.populated && i < shim->spec.memory.count; i++) {
		char prefix[48];

		snprintf(prefix, sizeof(prefix), "memory.node.%zu.placed", i);
		if (shim->placement.nodes[i].host_node >= 0)
			metrics_add(metrics, (uint64_t)shim->placement.nodes[i].host_node,
			            "memory.node.%zu.host_node", i);
		add_rows(metrics, prefix, rows, ARRAY_SIZE(rows), &shim->ram.nodes[i]);
	}
}

static void add_loop(struct shim_metrics *metrics, uint32_t index, const struct io_loop *loop)
{
	const struct {
		const char *name;
		const _Atomic uint64_t *value;
	} rows[] = {
		{ "turns", &loop->stats.turns },           { "enters", &loop->stats.enters },
		{ "submissions", &loop->stats.sqes },      { "completions", &loop->stats.cqes },
		{ "interrupts", &loop->stats.interrupts }, { "overflows", &loop->stats.overflows },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		metrics_add(metrics, counter_read(rows[i].value), "io.%u.%s", index, rows[i].name);
}

/* ---- devices --------------------------------------------------------------------------------- */

static const struct counter_row queue_rows[] = {
	COUNTER_ROW(virtio_queue_stats, requests),
	COUNTER_ROW(virtio_queue_stats, bytes_from_guest),
	COUNTER_ROW(virtio_queue_stats, bytes_to_guest),
	COUNTER_ROW(virtio_queue_stats, kicks),
	COUNTER_ROW(virtio_queue_stats, batches),
	COUNTER_ROW(virtio_queue_stats, interrupts),
	COUNTER_ROW(virtio_queue_stats, interrupts_suppressed),
};

static void add_latency(struct shim_metrics *metrics, const struct virtio_device *device,
                        const char *prefix)
{
	struct virtio_latency_stats latency;
	uint64_t seen = 0;

	virtio_get_latency(device, &latency);
	for (size_t i = 0; i < ARRAY_SIZE(latency.counts); i++)
		seen |= latency.counts[i];
	if (seen > 0)
		metrics_add_latency(metrics, &latency, "%s.latency_ns", prefix);
}

/* What every virtio device counts, and each of its queues that has been used. */
static void add_virtio(struct shim_metrics *metrics, const struct virtio_device *device,
                       const char *prefix)
{
	struct virtio_stats stats;

	virtio_get_stats(device, &stats);
	add_rows(metrics, prefix, queue_rows, ARRAY_SIZE(queue_rows), &stats.all);
	metrics_add(metrics, stats.failures, "%s.failures", prefix);
	metrics_add(metrics, stats.resets, "%s.resets", prefix);
	add_latency(metrics, device, prefix);
	for (uint16_t i = 0; device->queue_count > 1 && i < device->queue_count; i++) {
		struct virtio_queue_stats queue;
		char name[PREFIX_SIZE + sizeof(".queue.63")];

		virtio_get_queue_stats(device, i, &queue);
		snprintf(name, sizeof(name), "%.*s.queue.%u", PREFIX_SIZE - 1, prefix,
		         i % VIRTIO_QUEUES_MAX);
		if (queue.kicks > 0 || queue.requests > 0)
			add_rows(metrics, name, queue_rows, ARRAY_SIZE(queue_rows), &queue);
	}
}

static void add_device(struct shim_metrics *metrics, const struct device_row *row,
                       const struct device_counters *counters)
{
	char prefix[PREFIX_SIZE];

	snprintf(prefix, sizeof(prefix), "%s%s%s", row->kind, row->many ? "." : "",
	         row->many ? counters->device->id : "");
	add_rows(metrics, prefix, counters->rows, counters->rows_count, counters->snapshot);
	add_virtio(metrics, counters->device, prefix);
}

static void add_devices(struct shim_metrics *metrics, const struct shim_devices *devices)
{
	struct device_counters counters;

	for (uint32_t i = 0; i < devices->io_count; i++)
		add_loop(metrics, i, &devices->io[i].loop);
	for (size_t k = 0; k < DEVICE_KINDS; k++)
		for (size_t i = 0; device_rows[k]->metrics(devices, i, &counters); i++)
			add_device(metrics, device_rows[k], &counters);
}

/* ---- reports --------------------------------------------------------------------------------- */

static Axvm__V1__MetricsReport *gather(struct shim *shim)
{
	struct shim_metrics *metrics = &shim->metrics;

	metrics_begin(metrics);
	for (int i = STAGE_ARRIVE; i < STAGES_COUNT; i++)
		if (shim->stage_ns[i])
			metrics_add(metrics, shim->stage_ns[i], "stage.%s.ns",
			            stage_name((enum axvm_stage)i));
	metrics_add(metrics, event_writer_dropped(&shim->events), "events.dropped");
	add_memory(metrics, shim);
	kvm_stats_each(&shim->machine.stats, shim->machine.vcpu_count, put_kvm, metrics);
	add_vcpus(metrics, &shim->machine);
	if (shim->devices.present)
		add_devices(metrics, &shim->devices);
	return metrics_end(metrics);
}

int metrics_reply(struct shim *shim, uint64_t request_id)
{
	return reply_put_report(shim, request_id, gather(shim));
}

static void put(struct shim *shim)
{
	(void)event_writer_put(&shim->events, EVENT(METRICS, metrics, gather(shim)));
}

void metrics_last(struct shim *shim)
{
	if (shim->spec.metrics_interval_ms > 0)
		put(shim);
}

uint64_t metrics_tick(struct shim *shim)
{
	struct shim_metrics *metrics = &shim->metrics;
	uint64_t interval_ns = shim->spec.metrics_interval_ms * NS_PER_MS;

	if (interval_ns == 0)
		return 0;
	if (metrics->next_ns == 0)
		metrics->next_ns = deadline_now_ns() + interval_ns;
	if (deadline_passed(metrics->next_ns)) {
		put(shim);
		metrics->next_ns += interval_ns;
		/* After a stop or a long pause the shim sends one report, not all that were
		 * missed. */
		if (deadline_passed(metrics->next_ns))
			metrics->next_ns = deadline_now_ns() + interval_ns;
	}
	return metrics->next_ns;
}
