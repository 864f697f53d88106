/* SPDX-License-Identifier: MIT */
/* How a VM has ended, out of what was seen of its end; and what its metrics are named after. */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#include "interface/wire.h"
#include "shim/control.h"
#include "shim/deadline.h"
#include "shim/device/console.h"
#include "shim/device/devices.h"
#include "shim/metrics.h"
#include "shim/shim.h"
#include "virtio/net_parts.h"
#include "virtio/transport.h"

static struct shim shim;

static enum axvm_outcome outcome(bool running, enum machine_end end, bool stop, bool panicked,
                                 bool problem)
{
	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	shim.running = running;
	shim.machine.end = end;
	shim.shutdown.stop = stop;
	shim.shutdown.panicked = panicked;
	if (problem)
		problems_add(&shim.problems, ERROR_CODE_OS_FAILED, 0, NULL, "a problem");
	return stage_outcome(&shim);
}

Test(outcome, each_end_is_told_as_what_it_is)
{
	static const struct {
		enum machine_end end;
		enum axvm_outcome outcome;
	} ends[] = {
		{ MACHINE_END_POWER_OFF, OUTCOME_POWER_OFF },
		{ MACHINE_END_HALTED, OUTCOME_HALTED },
		{ MACHINE_END_RESET, OUTCOME_GUEST_RESET },
		{ MACHINE_END_TRIPLE_FAULT, OUTCOME_TRIPLE_FAULT },
		{ MACHINE_END_PANIC, OUTCOME_GUEST_PANIC },
		{ MACHINE_END_VCPU_FAILED, OUTCOME_VCPU_FAILED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		cr_assert_eq(outcome(true, ends[i].end, false, false, false), ends[i].outcome);
		/* The guest was faster than the stop. */
		cr_assert_eq(outcome(true, ends[i].end, true, false, false), ends[i].outcome);
		/* A failure of ours stands above what the guest did. */
		cr_assert_eq(outcome(true, ends[i].end, false, false, true),
		             OUTCOME_RUNTIME_FAILED);
		/* A panic too, unless the guest went on to switch itself off. */
		cr_assert_eq(outcome(true, ends[i].end, false, true, false),
		             ends[i].end == MACHINE_END_POWER_OFF ? OUTCOME_POWER_OFF
		                                                  : OUTCOME_GUEST_PANIC);
	}
	cr_assert_eq(outcome(true, MACHINE_END_NONE, true, false, false), OUTCOME_STOPPED_BY_HOST);
	cr_assert_eq(outcome(true, MACHINE_END_NONE, true, true, false), OUTCOME_GUEST_PANIC);
	cr_assert_eq(outcome(false, MACHINE_END_NONE, false, false, true), OUTCOME_LAUNCH_FAILED);
	cr_assert_eq(outcome(false, MACHINE_END_NONE, false, false, false), OUTCOME_LAUNCH_FAILED);
	cr_assert_eq(outcome(false, MACHINE_END_NONE, true, false, false), OUTCOME_STOPPED_BY_HOST);
}

/* ---- metrics by name ------------------------------------------------------------------------- */

static Axvm__V1__Event *event;

/* The report of a metrics command. */
static const Axvm__V1__MetricsReport *report_of_shim(void)
{
	static uint8_t bytes[EVENT_RING_SIZE];
	struct wire_cursor cursor = { bytes, bytes };
	struct wire_field field;
	int fd = memfd_create("events", MFD_CLOEXEC);

	cr_assert_eq(event_writer_init(&shim.events, fd), 0);
	metrics_reply(&shim, 7);
	cr_assert_eq(event_flush(&shim.events), 0);
	cursor.end += pread(fd, bytes, sizeof(bytes), 0);
	cr_assert_eq(wire_next(&cursor, &field), 1);
	event = axvm__v1__event__unpack(NULL, field.length, field.bytes);
	cr_assert(event && event->reply && event->reply->request_id == 7 && event->reply->metrics);
	close(fd);
	return event->reply->metrics;
}

static void expect_counter(const Axvm__V1__MetricsReport *report, const char *name, uint64_t value)
{
	for (size_t i = 0; i < report->n_counters; i++)
		if (strcmp(report->counters[i]->name, name) == 0) {
			cr_assert_eq(report->counters[i]->value, value, "%s is %zu", name,
			             (size_t)report->counters[i]->value);
			return;
		}
	cr_assert_fail("no counter %s", name);
}

static bool has_counter(const Axvm__V1__MetricsReport *report, const char *name)
{
	for (size_t i = 0; i < report->n_counters; i++)
		if (strcmp(report->counters[i]->name, name) == 0)
			return true;
	return false;
}

/* vCPUs, stages and placed memory: each counter is its own source's, by kind and in sum. */
Test(outcome, counters_of_the_machine)
{
	const Axvm__V1__MetricsReport *report;

	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	shim.machine.vcpu_count = 2;
	shim.machine.vcpus[0].stats.exits[KVM_EXIT_IO] = 3;
	shim.machine.vcpus[0].stats.exits[KVM_EXIT_MMIO] = 4;
	shim.machine.vcpus[1].stats.exits[KVM_EXIT_MMIO] = 5;
	shim.stage_ns[STAGE_LEARN] = 123;
	shim.stage_ns[STAGE_ACCOUNT] = 456;
	shim.ram.populated = true;
	shim.spec.memory.count = 2;
	shim.placement.nodes[0].host_node = 3;
	shim.placement.nodes[1].host_node = -1;
	shim.ram.nodes[0] = (struct numa_counts){
		.pages_4k = 11, .pages_2m = 12, .pages_1g = 13, .remote_pages = 14
	};
	shim.ram.nodes[1] = (struct numa_counts){ .pages_4k = 21 };
	report = report_of_shim();
	expect_counter(report, "vcpu.0.exits", 7);
	expect_counter(report, "vcpu.1.exits", 5);
	expect_counter(report, "vcpus.exits.io", 3);
	expect_counter(report, "vcpus.exits.mmio", 9);
	cr_assert_not(has_counter(report, "vcpus.exits.hlt"), "a kind that there was none of");
	expect_counter(report, "stage.learn.ns", 123);
	expect_counter(report, "stage.account.ns", 456);
	cr_assert_not(has_counter(report, "stage.admit.ns"));
	expect_counter(report, "events.dropped", 0);
	expect_counter(report, "memory.node.0.host_node", 3);
	cr_assert_not(has_counter(report, "memory.node.1.host_node"));
	expect_counter(report, "memory.node.0.placed.pages_4k", 11);
	expect_counter(report, "memory.node.0.placed.pages_2m", 12);
	expect_counter(report, "memory.node.0.placed.pages_1g", 13);
	expect_counter(report, "memory.node.0.placed.remote_pages", 14);
	expect_counter(report, "memory.node.1.placed.pages_4k", 21);
	axvm__v1__event__free_unpacked(event, NULL);
}

/* The balloon's: a value of its own for each source; what the guest has not told is left out. */
Test(outcome, counters_of_the_balloon)
{
	static const char *const stats[] = {
		"swap_in_bytes",      "swap_out_bytes", "major_faults",
		"minor_faults",       "free_bytes",     "total_bytes",
		"available_bytes",    "cache_bytes",    "huge_page_allocations",
		"huge_page_failures",
	};
	static struct virtio_transport transport;
	struct balloon *balloon = &shim.devices.balloon;
	const Axvm__V1__MetricsReport *report;
	char name[64];

	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	shim.devices.present = shim.spec.balloon.present = true;
	balloon->device.transport = &transport;
	transport.failures = 104;
	transport.resets = 105;
	balloon->target_pages = 2;
	balloon->actual_pages = 3;
	balloon->returned_bytes = 101;
	balloon->failures = 102;
	balloon->stats_count = 103;
	for (size_t i = 0; i < BALLOON_STATS; i++)
		balloon->stats[i] = 200 + i;
	balloon->stats[4] = UINT64_MAX;
	report = report_of_shim();
	expect_counter(report, "balloon.wanted_bytes", 8192);
	expect_counter(report, "balloon.actual_bytes", 12288);
	expect_counter(report, "balloon.returned_bytes", 101);
	expect_counter(report, "balloon.discard_failures", 102);
	expect_counter(report, "balloon.guest_reports", 103);
	expect_counter(report, "balloon.failures", 104);
	expect_counter(report, "balloon.resets", 105);
	for (size_t i = 0; i < ARRAY_SIZE(stats); i++) {
		snprintf(name, sizeof(name), "balloon.guest.%s", stats[i]);
		if (i == 4)
			cr_assert_not(has_counter(report, name), "what was not told");
		else
			expect_counter(report, name, 200 + i);
	}
	axvm__v1__event__free_unpacked(event, NULL);
}

/* ---- what every kind of device counts -------------------------------------------------------- */

/* A device of a kind, as the transport has it: two queues, of which one has been used. */
static void attach(struct virtio_device *device, const char *id, uint64_t from)
{
	static struct virtio_transport transports[8];
	static struct virtio_queue queues[8][2];
	static size_t used;
	struct virtio_transport *transport = &transports[used];
	struct virtio_queue_counters *counters = &queues[used][1].counters;

	device->id = id;
	device->queue_count = 2;
	device->transport = transport;
	transport->queues = queues[used++];
	counters->requests = from;
	counters->bytes_from_guest = from + 1;
	counters->bytes_to_guest = from + 2;
	counters->batches = from + 30;
	counters->interrupts = from + 20;
	transport->failures = from + 4;
	transport->resets = from + 5;
	/* Of two kinds there have been none but the shortest, or the longest. */
	transport->latency.counts[0] = from == 6000 ? 0 : from + 6;
	transport->latency.counts[LATENCY_BOUNDS] = from == 5000 ? 0 : from + 7;
	transport->latency.sum_ns = from + 8;
}

static const Axvm__V1__Histogram *histogram_of(const Axvm__V1__MetricsReport *report,
                                               const char *name)
{
	for (size_t i = 0; i < report->n_histograms; i++)
		if (strcmp(report->histograms[i]->name, name) == 0)
			return report->histograms[i];
	cr_assert_fail("no histogram %s", name);
	return NULL;
}

/* Under its prefix: its sums, the queue that was used and not the other, its latencies. */
static void expect_attached(const Axvm__V1__MetricsReport *report, const char *prefix,
                            uint64_t from)
{
	static const struct {
		const char *name;
		uint64_t value;
		bool of_queue;
	} rows[] = {
		{ "requests", 0, true },       { "bytes_from_guest", 1, true },
		{ "bytes_to_guest", 2, true }, { "batches", 30, true },
		{ "interrupts", 20, true },    { "failures", 4, false },
		{ "resets", 5, false },
	};
	const Axvm__V1__Histogram *latency;
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		snprintf(name, sizeof(name), "%s.%s", prefix, rows[i].name);
		expect_counter(report, name, from + rows[i].value);
		snprintf(name, sizeof(name), "%s.queue.1.%s", prefix, rows[i].name);
		if (rows[i].of_queue)
			expect_counter(report, name, from + rows[i].value);
		snprintf(name, sizeof(name), "%s.queue.0.%s", prefix, rows[i].name);
		cr_assert_not(has_counter(report, name), "%s was not used", name);
	}
	snprintf(name, sizeof(name), "%s.interrupts_suppressed", prefix);
	expect_counter(report, name, 10);
	snprintf(name, sizeof(name), "%s.kicks", prefix);
	expect_counter(report, name, 0);
	snprintf(name, sizeof(name), "%s.latency_ns", prefix);
	latency = histogram_of(report, name);
	cr_assert(latency->n_bounds == LATENCY_BOUNDS && latency->n_counts == LATENCY_BOUNDS + 1);
	cr_assert(latency->bounds[0] == 1ULL << LATENCY_FIRST_BIT &&
	          latency->bounds[1] == 2ULL << LATENCY_FIRST_BIT);
	cr_assert_eq(latency->counts[0], from == 6000 ? 0 : from + 6);
	cr_assert(latency->counts[LATENCY_BOUNDS] == (from == 5000 ? 0 : from + 7) &&
	          latency->counts[1] == 0);
	cr_assert_eq(latency->sum, from + 8);
}

/* Each counter is its own source's, by the name of its device; an I/O loop's likewise. */
Test(outcome, counters_of_every_device)
{
	static const char *const disk[] = { "reads",    "writes",     "flushes",
		                            "discards", "bytes_read", "bytes_written",
		                            "errors",   "throttled",  "bounced" };
	static const char *const net_names[] = { "rx_frames", "rx_bytes", "rx_dropped",
		                                 "tx_frames", "tx_bytes", "tx_dropped",
		                                 "rx_copied" };
	static const char *const loop[] = { "turns",       "enters",     "submissions",
		                            "completions", "interrupts", "overflows" };
	static struct block disks[2];
	static struct net net;
	struct shim_devices *devices = &shim.devices;
	const Axvm__V1__MetricsReport *report;
	char name[64];

	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	devices->present = shim.spec.console.present = shim.spec.rng.present =
		shim.spec.vsock.present = true;
	devices->io_count = 2;
	devices->io[1].loop.stats = (struct io_stats){
		.turns = 1, .enters = 2, .sqes = 3, .cqes = 4, .interrupts = 5, .overflows = 6
	};
	attach(&devices->console.device, "console", 1000);
	devices->console.bytes_out = 11;
	devices->console.bytes_in = 12;
	devices->console.bytes_dropped = 13;
	devices->disks = disks;
	shim.spec.disks_count = 2;
	attach(&disks[0].device, "root", 2000);
	attach(&disks[1].device, "data", 3000);
	for (size_t i = 0; i < BLOCK_COUNTERS; i++)
		disks[1].counters[i] = 40 + i;
	devices->nets.list[0] = &net;
	shim.spec.nets_count = 1;
	attach(&net.device, "eth", 4000);
	net.rx_frames = 60;
	net.rx_bytes = 61;
	net.rx_dropped = 62;
	net.tx_frames = 63;
	net.tx_bytes = 64;
	net.tx_dropped = 65;
	net.rx_copied = 66;
	attach(&devices->rng.device, "rng", 5000);
	devices->rng.bytes = 70;
	attach(&devices->vsock.device, "vsock", 6000);
	devices->vsock.opened = 80;
	devices->vsock.places_taken = 81;
	devices->vsock.to_guest = 82;
	devices->vsock.to_host = 83;
	devices->vsock.resets_sent = 84;
	devices->vsock.dropped = 85;
	report = report_of_shim();
	for (size_t i = 0; i < ARRAY_SIZE(loop); i++) {
		snprintf(name, sizeof(name), "io.1.%s", loop[i]);
		expect_counter(report, name, 1 + i);
		snprintf(name, sizeof(name), "io.0.%s", loop[i]);
		expect_counter(report, name, 0);
	}
	expect_attached(report, "console", 1000);
	expect_counter(report, "console.bytes_out", 11);
	expect_counter(report, "console.bytes_in", 12);
	expect_counter(report, "console.bytes_dropped", 13);
	expect_attached(report, "disk.root", 2000);
	expect_attached(report, "disk.data", 3000);
	for (size_t i = 0; i < ARRAY_SIZE(disk); i++) {
		snprintf(name, sizeof(name), "disk.data.%s", disk[i]);
		expect_counter(report, name, 40 + i);
	}
	expect_attached(report, "net.eth", 4000);
	for (size_t i = 0; i < ARRAY_SIZE(net_names); i++) {
		snprintf(name, sizeof(name), "net.eth.%s", net_names[i]);
		expect_counter(report, name, 60 + i);
	}
	expect_attached(report, "rng", 5000);
	expect_counter(report, "rng.bytes", 70);
	expect_attached(report, "vsock", 6000);
	expect_counter(report, "vsock.connections", 80);
	expect_counter(report, "vsock.connections_open", 81);
	expect_counter(report, "vsock.bytes_to_guest_sockets", 82);
	expect_counter(report, "vsock.bytes_to_host_sockets", 83);
	expect_counter(report, "vsock.connection_resets", 84);
	expect_counter(report, "vsock.packets_dropped", 85);
	cr_assert_eq(devices_console_dropped(&shim.devices), 13);
	axvm__v1__event__free_unpacked(event, NULL);
}

/* How many metrics events have been told. */
static size_t told(int fd)
{
	static uint8_t bytes[EVENT_RING_SIZE];
	struct wire_cursor cursor = { bytes, bytes };
	struct wire_field field;
	size_t count = 0;

	cr_assert_eq(event_flush(&shim.events), 0);
	cursor.end += pread(fd, bytes, sizeof(bytes), 0);
	while (wire_next(&cursor, &field) > 0) {
		event = axvm__v1__event__unpack(NULL, field.length, field.bytes);
		cr_assert_eq(event->body_case, AXVM__V1__EVENT__BODY_METRICS);
		axvm__v1__event__free_unpacked(event, NULL);
		count++;
	}
	return count;
}

/* Reports come by the interval, one for each that is over and one for many that were missed; the
 * last at the end; and none of them where no interval was asked for. */
Test(outcome, reports_by_interval)
{
	const uint64_t hour_ns = 3600000000000;
	int fd = memfd_create("events", MFD_CLOEXEC);
	uint64_t next, now;

	memset(&shim, 0, sizeof(shim));
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	cr_assert_eq(event_writer_init(&shim.events, fd), 0);
	cr_assert_eq(metrics_tick(&shim), 0);
	metrics_last(&shim);
	cr_assert_eq(told(fd), 0, "none was asked for");
	shim.spec.metrics_interval_ms = 3600000;
	next = metrics_tick(&shim);
	cr_assert_geq(next + 1000000000, deadline_now_ns() + hour_ns);
	cr_assert_eq(metrics_tick(&shim), next);
	cr_assert_eq(told(fd), 0, "it is not over yet");
	shim.metrics.next_ns = next - hour_ns;
	cr_assert_eq(metrics_tick(&shim), next, "from deadline to deadline");
	cr_assert_eq(told(fd), 1);
	/* Since the boot, at least. */
	shim.spec.metrics_interval_ms = 1;
	shim.metrics.next_ns = 1;
	now = deadline_now_ns();
	cr_assert_gt(metrics_tick(&shim), now, "not all that were missed");
	cr_assert_eq(told(fd), 2);
	metrics_last(&shim);
	cr_assert_eq(told(fd), 3);
	close(fd);
}
