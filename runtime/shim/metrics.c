/* SPDX-License-Identifier: MIT */
/* Counters of the whole VM, gathered from the threads that keep them.
 *
 * What a device counts is a snapshot, a struct of uint64_t, and rows that name its fields; one function
 * a kind of device finds the device and takes the snapshot. What every virtio device has (queues,
 * latencies) is added from the device itself. */
#include "shim/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "shim/deadline.h"
#include "shim/shim.h"

/* "disk." and the longest id; with a queue and a counter behind it it is still a whole name. */
#define PREFIX_SIZE ((int)(sizeof("console.") + SPEC_ID_MAX))
static_assert(PREFIX_SIZE + sizeof(".queue.63.interrupts_suppressed") <= EVENT_METRIC_NAME_MAX,
              "no name is cut off");
/* A snapshot's value that nobody has told: it is left out. */
#define NOT_TOLD UINT64_MAX

/* ---- rows of a snapshot ------------------------------------------------------------------------ */

struct row {
	const char *name;
	size_t offset;
};

#define ROW(type, field)                                                                           \
	{                                                                                          \
		#field, offsetof(struct type, field)                                               \
	}

static void add_rows(struct shim_metrics *metrics, const char *prefix, const struct row *rows,
                     size_t count, const void *snapshot)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value;

		memcpy(&value, (const char *)snapshot + rows[i].offset, sizeof(value));
		if (value != NOT_TOLD)
			metrics_add(metrics, value, "%s.%s", prefix, rows[i].name);
	}
}

/* ---- vCPUs, KVM, memory, the I/O loop ------------------------------------------------------------ */

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

/* Where the pages were when the VM was launched, by guest node. It is counted then because a sealed
 * process cannot ask again; what KVM maps now is in kvm.pages_*. */
static void add_memory(struct shim_metrics *metrics, const struct shim *shim)
{
	static const struct row rows[] = {
		ROW(numa_counts, pages_4k),
		ROW(numa_counts, pages_2m),
		ROW(numa_counts, pages_1g),
		ROW(numa_counts, remote_pages),
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

/* ---- devices ----------------------------------------------------------------------------------- */

/* Large enough for any snapshot. */
union snapshot {
	uint64_t block[BLOCK_COUNTERS];
	uint64_t bytes;
	struct console_stats console;
	struct net_stats net;
	struct balloon_state balloon;
	struct vsock_stats vsock;
};

/* The i-th device of a kind, with its snapshot; NULL when there are no more. */
typedef const struct virtio_device *(take_fn)(const struct shim *shim, size_t i,
                                              union snapshot *ret);

static const struct virtio_device *take_console(const struct shim *shim, size_t i,
                                                union snapshot *ret)
{
	if (i > 0 || !shim->spec.console.present)
		return NULL;
	console_get_stats(&shim->devices.console, &ret->console);
	return &shim->devices.console.device;
}

static const struct virtio_device *take_disk(const struct shim *shim, size_t i,
                                             union snapshot *ret)
{
	if (i >= shim->spec.disks_count)
		return NULL;
	for (int j = 0; j < BLOCK_COUNTERS; j++)
		ret->block[j] = block_count(&shim->devices.disks[i], (enum block_counter)j);
	return &shim->devices.disks[i].device;
}

static const struct virtio_device *take_net(const struct shim *shim, size_t i, union snapshot *ret)
{
	if (i >= shim->spec.nets_count)
		return NULL;
	net_get_stats(shim->devices.nets.list[i], &ret->net);
	return net_device(shim->devices.nets.list[i]);
}

static const struct virtio_device *take_rng(const struct shim *shim, size_t i, union snapshot *ret)
{
	if (i > 0 || !shim->spec.rng.present)
		return NULL;
	ret->bytes = rng_bytes(&shim->devices.rng);
	return &shim->devices.rng.device;
}

static const struct virtio_device *take_balloon(const struct shim *shim, size_t i,
                                                union snapshot *ret)
{
	if (i > 0 || !shim->spec.balloon.present)
		return NULL;
	balloon_get_state(&shim->devices.balloon, &ret->balloon);
	return &shim->devices.balloon.device;
}

static const struct virtio_device *take_vsock(const struct shim *shim, size_t i,
                                              union snapshot *ret)
{
	if (i > 0 || !shim->spec.vsock.present)
		return NULL;
	vsock_get_stats(&shim->devices.vsock, &ret->vsock);
	return &shim->devices.vsock.device;
}

#define COUNTER(name_, index)                                                                      \
	{                                                                                          \
		name_, (index) * sizeof(uint64_t)                                                  \
	}
/* VIRTIO 1.2 §5.5.6.4: what the guest says of its memory, by tag. */
#define GUEST_STAT(name_, tag)                                                                     \
	{                                                                                          \
		name_, offsetof(struct balloon_state, stats) + (tag) * sizeof(uint64_t)            \
	}

static const struct row console_rows[] = {
	ROW(console_stats, bytes_out),
	ROW(console_stats, bytes_in),
	ROW(console_stats, bytes_dropped),
	ROW(console_stats, bytes_over_limit),
};
static const struct row disk_rows[] = {
	COUNTER("reads", BLOCK_READS),
	COUNTER("writes", BLOCK_WRITES),
	COUNTER("flushes", BLOCK_FLUSHES),
	COUNTER("discards", BLOCK_DISCARDS),
	COUNTER("bytes_read", BLOCK_BYTES_READ),
	COUNTER("bytes_written", BLOCK_BYTES_WRITTEN),
	COUNTER("errors", BLOCK_ERRORS),
	COUNTER("throttled", BLOCK_THROTTLED),
	COUNTER("bounced", BLOCK_BOUNCED),
};
static const struct row net_rows[] = {
	ROW(net_stats, rx_frames), ROW(net_stats, rx_bytes),   ROW(net_stats, rx_dropped),
	ROW(net_stats, tx_frames), ROW(net_stats, tx_bytes),   ROW(net_stats, tx_dropped),
	ROW(net_stats, rx_copied),
};
static const struct row rng_rows[] = { COUNTER("bytes", 0) };
static const struct row balloon_rows[] = {
	{ "wanted_bytes", offsetof(struct balloon_state, target_bytes) },
	ROW(balloon_state, actual_bytes),
	ROW(balloon_state, returned_bytes),
	{ "discard_failures", offsetof(struct balloon_state, failures) },
	{ "guest_reports", offsetof(struct balloon_state, stats_count) },
	GUEST_STAT("guest.swap_in_bytes", 0),
	GUEST_STAT("guest.swap_out_bytes", 1),
	GUEST_STAT("guest.major_faults", 2),
	GUEST_STAT("guest.minor_faults", 3),
	GUEST_STAT("guest.free_bytes", 4),
	GUEST_STAT("guest.total_bytes", 5),
	GUEST_STAT("guest.available_bytes", 6),
	GUEST_STAT("guest.cache_bytes", 7),
	GUEST_STAT("guest.huge_page_allocations", 8),
	GUEST_STAT("guest.huge_page_failures", 9),
};
static const struct row vsock_rows[] = {
	ROW(vsock_stats, connections),
	{ "connections_open", offsetof(struct vsock_stats, places_taken) },
	{ "bytes_to_guest_sockets", offsetof(struct vsock_stats, to_guest) },
	{ "bytes_to_host_sockets", offsetof(struct vsock_stats, to_host) },
	{ "connection_resets", offsetof(struct vsock_stats, resets) },
	{ "packets_dropped", offsetof(struct vsock_stats, dropped) },
};

static const struct kind {
	const char *name;
	bool many; /* the device's id is part of the name */
	take_fn *take;
	const struct row *rows;
	size_t rows_count;
} kinds[] = {
	{ "console", false, take_console, console_rows, ARRAY_SIZE(console_rows) },
	{ "disk", true, take_disk, disk_rows, ARRAY_SIZE(disk_rows) },
	{ "net", true, take_net, net_rows, ARRAY_SIZE(net_rows) },
	{ "rng", false, take_rng, rng_rows, ARRAY_SIZE(rng_rows) },
	{ "balloon", false, take_balloon, balloon_rows, ARRAY_SIZE(balloon_rows) },
	{ "vsock", false, take_vsock, vsock_rows, ARRAY_SIZE(vsock_rows) },
};

static const struct row queue_rows[] = {
	ROW(virtio_queue_stats, requests),
	ROW(virtio_queue_stats, bytes_from_guest),
	ROW(virtio_queue_stats, bytes_to_guest),
	ROW(virtio_queue_stats, kicks),
	ROW(virtio_queue_stats, batches),
	ROW(virtio_queue_stats, interrupts),
	ROW(virtio_queue_stats, interrupts_suppressed),
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
		snprintf(name, sizeof(name), "%.*s.queue.%u", PREFIX_SIZE - 1,
		         prefix, i % VIRTIO_QUEUES_MAX);
		if (queue.kicks > 0 || queue.requests > 0)
			add_rows(metrics, name, queue_rows, ARRAY_SIZE(queue_rows), &queue);
	}
}

static void add_devices(struct shim_metrics *metrics, const struct shim *shim)
{
	const struct virtio_device *device;
	union snapshot snapshot;

	for (uint32_t i = 0; i < shim->devices.io_count; i++)
		add_loop(metrics, i, &shim->devices.io[i].loop);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; (device = kinds[k].take(shim, i, &snapshot)); i++) {
			char prefix[PREFIX_SIZE];

			snprintf(prefix, sizeof(prefix), "%s%s%s", kinds[k].name,
			         kinds[k].many ? "." : "", kinds[k].many ? device->id : "");
			add_rows(metrics, prefix, kinds[k].rows, kinds[k].rows_count, &snapshot);
			add_virtio(metrics, device, prefix);
		}
}

/* ---- reports ------------------------------------------------------------------------------------ */

static struct event_report gather(struct shim *shim)
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
		add_devices(metrics, shim);
	return metrics_end(metrics);
}

int metrics_reply(struct shim *shim, uint64_t request_id)
{
	struct event_report report = gather(shim);
	const struct event_reply reply = {
		.request_id = request_id,
		.stage = shim->stage,
		.state = shim->lifecycle.state,
		.report = &report,
	};

	return event_reply(&shim->events, &reply);
}

void metrics_last(struct shim *shim)
{
	struct event_report report;

	if (shim->spec.metrics_interval_ms == 0)
		return;
	report = gather(shim);
	(void)event_metrics(&shim->events, &report);
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
		struct event_report report = gather(shim);

		(void)event_metrics(&shim->events, &report);
		metrics->next_ns += interval_ns;
		/* After a stop or a long pause: one report, not all that were missed. */
		if (deadline_passed(metrics->next_ns))
			metrics->next_ns = deadline_now_ns() + interval_ns;
	}
	return metrics->next_ns;
}
