/* SPDX-License-Identifier: MIT */
/* Counters of the whole VM, gathered from the threads that keep them. */
#include "shim/metrics.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shim/control.h"
#include "shim/event.h"
#include "shim/shim.h"

#define NS_PER_MS 1000000ULL

static void add(struct shim_metrics *metrics, uint64_t value, const char *format, ...)
	_printf_(3, 4);

static void add(struct shim_metrics *metrics, uint64_t value, const char *format, ...)
{
	struct event_counter *counter;
	va_list args;

	if (metrics->count == ARRAY_SIZE(metrics->counters))
		return;
	counter = &metrics->counters[metrics->count++];
	counter->value = value;
	va_start(args, format);
	vsnprintf(counter->name, sizeof(counter->name), format, args);
	va_end(args);
}

/* Exits by kind over all vCPUs, "vcpus.exits.mmio", and the sum of each. */
static void add_vcpus(struct shim_metrics *metrics, const struct machine *machine)
{
	static const size_t prefix = sizeof("KVM_EXIT_") - 1;
	uint64_t kinds[VCPU_EXIT_KINDS] = { 0 };

	for (uint32_t i = 0; i < machine->vcpu_count; i++) {
		const struct vcpu *vcpu = &machine->vcpus[i];
		uint64_t sum = 0;

		for (uint32_t kind = 0; kind < VCPU_EXIT_KINDS; kind++) {
			uint64_t n = atomic_load_explicit(&vcpu->stats.exits[kind],
			                                  memory_order_relaxed);

			kinds[kind] += n;
			sum += n;
		}
		add(metrics, sum, "vcpu.%u.exits", i);
	}
	for (uint32_t kind = 0; kind < VCPU_EXIT_KINDS; kind++) {
		char name[40];

		if (kinds[kind] == 0)
			continue;
		snprintf(name, sizeof(name), "%s", vcpu_exit_name(kind) + prefix);
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		add(metrics, kinds[kind], "vcpus.exits.%s", name);
	}
}

static void add_loop(struct shim_metrics *metrics, const struct io_loop *loop)
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
		add(metrics, atomic_load_explicit(rows[i].value, memory_order_relaxed), "io.0.%s",
		    rows[i].name);
}

static void add_virtio(struct shim_metrics *metrics, const struct virtio_device *device,
                       const char *name)
{
	struct virtio_stats stats;

	virtio_get_stats(device, &stats);
	add(metrics, stats.requests, "%s.requests", name);
	add(metrics, stats.kicks, "%s.kicks", name);
	add(metrics, stats.interrupts, "%s.interrupts", name);
	add(metrics, stats.failures, "%s.failures", name);
	add(metrics, stats.resets, "%s.resets", name);
}

static void add_disk(struct shim_metrics *metrics, const struct block *disk, const char *id)
{
	static const char *const names[BLOCK_COUNTERS] = {
		[BLOCK_READS] = "reads",           [BLOCK_WRITES] = "writes",
		[BLOCK_FLUSHES] = "flushes",       [BLOCK_DISCARDS] = "discards",
		[BLOCK_BYTES_READ] = "bytes_read", [BLOCK_BYTES_WRITTEN] = "bytes_written",
		[BLOCK_ERRORS] = "errors",         [BLOCK_THROTTLED] = "throttled",
		[BLOCK_BOUNCED] = "bounced",
	};

	for (int i = 0; i < BLOCK_COUNTERS; i++)
		add(metrics, block_count(disk, (enum block_counter)i), "disk.%s.%s", id, names[i]);
}

static void add_net(struct shim_metrics *metrics, const struct net *net, const char *id)
{
	struct net_stats stats;

	net_get_stats(net, &stats);
	add(metrics, stats.rx_frames, "net.%s.rx_frames", id);
	add(metrics, stats.rx_bytes, "net.%s.rx_bytes", id);
	add(metrics, stats.rx_dropped, "net.%s.rx_dropped", id);
	add(metrics, stats.tx_frames, "net.%s.tx_frames", id);
	add(metrics, stats.tx_bytes, "net.%s.tx_bytes", id);
	add(metrics, stats.tx_dropped, "net.%s.tx_dropped", id);
}

static void add_devices(struct shim_metrics *metrics, struct shim *shim)
{
	struct shim_devices *devices = &shim->devices;

	if (!devices->present)
		return;
	add_loop(metrics, &devices->loop);
	if (shim->spec.console.present) {
		struct console_stats stats;

		console_get_stats(&devices->console, &stats);
		add_virtio(metrics, &devices->console.device, "console");
		add(metrics, stats.bytes_out, "console.bytes_out");
		add(metrics, stats.bytes_in, "console.bytes_in");
		add(metrics, stats.bytes_dropped, "console.bytes_dropped");
	}
	for (size_t i = 0; i < shim->spec.disks_count; i++)
		add_disk(metrics, &devices->disks[i], shim->spec.disks[i].id);
	for (size_t i = 0; i < shim->spec.nets_count; i++)
		add_net(metrics, devices->nets.list[i], shim->spec.nets[i].id);
}

static void gather(struct shim *shim)
{
	struct shim_metrics *metrics = &shim->metrics;

	metrics->count = 0;
	add_vcpus(metrics, &shim->machine);
	add_devices(metrics, shim);
	add(metrics, event_writer_dropped(&shim->events), "events.dropped");
	for (int i = STAGE_ARRIVE; i < STAGES_COUNT; i++)
		if (shim->stage_ns[i])
			add(metrics, shim->stage_ns[i], "stage.%s.ns", stage_name((enum stage)i));
}

void metrics_reply(struct shim *shim, uint64_t request_id)
{
	struct event_reply reply = {
		.request_id = request_id,
		.stage = shim->stage,
		.state = shim->lifecycle.state,
	};

	gather(shim);
	reply.counters = shim->metrics.counters;
	reply.counters_count = shim->metrics.count;
	(void)event_reply(&shim->events, &reply);
}

uint64_t metrics_tick(struct shim *shim)
{
	struct shim_metrics *metrics = &shim->metrics;
	uint64_t interval_ns = shim->spec.metrics_interval_ms * NS_PER_MS;

	if (interval_ns == 0)
		return 0;
	if (metrics->next_ns == 0)
		metrics->next_ns = control_now_ns() + interval_ns;
	if (control_passed(metrics->next_ns)) {
		gather(shim);
		(void)event_metrics(&shim->events, metrics->counters, metrics->count);
		metrics->next_ns += interval_ns;
		/* After a stop or a long pause: one report, not all that were missed. */
		if (control_passed(metrics->next_ns))
			metrics->next_ns = control_now_ns() + interval_ns;
	}
	return metrics->next_ns;
}
