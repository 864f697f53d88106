/* SPDX-License-Identifier: MIT */
/* The balloon: from the spec to the virtio device, and what comes of a command. */
#include "shim/device/balloon.h"

#include <errno.h>
#include <linux/virtio_ids.h>

#include "base/clock.h"
#include "shim/device/table.h"

static void plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	if (spec->balloon.present)
		places_add(ret, "", VIRTIO_ID_BALLOON, BALLOON_QUEUES);
}

/* Bytes of a host page, by enum axvm_page_size. Transparent huge pages are split where needed. */
static const uint64_t host_pages[] = {
	[PAGE_SIZE_4K] = BALLOON_PAGE,
	[PAGE_SIZE_THP] = BALLOON_PAGE,
	[PAGE_SIZE_2M] = 2 * MIB,
	[PAGE_SIZE_1G] = GIB,
};

/* How long a driver may make no progress before the shim reports that it has stopped. */
#define STANDSTILL_NS (10 * NS_PER_S)

/* On a vCPU's thread. What is told is decided by the control thread, and told once: however often a
 * guest writes, it gets no more than the control thread's attention. */
static void on_reached(void *context)
{
	machine_wake_control(((const struct shim_devices *)context)->machine);
}

static int create(struct shim_devices *devices, size_t index, const struct virtio_host *host)
{
	const struct vm_spec *spec = devices->spec;
	const struct balloon_spec config = {
		.deflate_on_oom = spec->balloon.deflate_on_oom,
		.free_page_reporting = spec->balloon.free_page_reporting,
		.memory_locked = spec->memory.lock,
		.stats_interval_s = spec->balloon.stats_interval_s,
		.host_page = host_pages[spec->memory.page_size],
		.reached = on_reached,
		.context = devices,
	};

	(void)index;
	return balloon_create(&devices->balloon, &config, host);
}

struct balloon *devices_balloon(struct shim_devices *devices)
{
	return devices->balloon.device.ops ? &devices->balloon : NULL;
}

static void tell(struct shim_devices *devices, const struct balloon_state *state, bool reached)
{
	struct shim_balloon *wait = &devices->balloon_command;
	uint64_t all = guest_memory_size(devices->balloon.memory);
	Axvm__V1__BalloonSettled body = AXVM__V1__BALLOON_SETTLED__INIT;

	EVENT_SET(&body, request_id, wait->request_id);
	EVENT_SET(&body, target_mib, wait->target_mib);
	/* A guest may claim that it has given up more memory than it has. It may also have left a
	 * reached target by now, so the target itself is reported. */
	EVENT_SET(&body, actual_mib,
	          reached ? wait->target_mib : (all - MIN(state->actual_bytes, all)) / MIB);
	EVENT_SET(&body, reached, reached);
	balloon_await(&devices->balloon, false);
	*wait = (struct shim_balloon){ 0 };
	(void)event_writer_put(devices->events, EVENT(BALLOON_SETTLED, balloon_settled, &body));
}

int devices_balloon_ask(struct shim_devices *devices, uint64_t request_id, uint64_t target_mib,
                        uint64_t now_ns)
{
	struct shim_balloon *wait = &devices->balloon_command;
	struct balloon *balloon = &devices->balloon;
	struct balloon_state state;
	/* the target that is in force */
	bool reached = wait->awaited && balloon_has_reached(balloon);
	uint64_t bytes;

	if (__builtin_mul_overflow(target_mib, MIB, &bytes) ||
	    balloon_set_target(balloon, bytes) < 0)
		return -ERANGE;
	balloon_get_state(balloon, &state);
	if (wait->awaited)
		tell(devices, &state, reached);
	*wait = (struct shim_balloon){
		.awaited = true,
		.request_id = request_id,
		.target_mib = target_mib,
		.seen_bytes = state.actual_bytes,
		.standstill_ns = now_ns + STANDSTILL_NS,
	};
	balloon_await(balloon, true);
	return 0;
}

/* Once for each command: the guest has done what it was asked, or stands still. */
static uint64_t settle(struct shim_devices *devices, uint64_t now_ns, bool paused)
{
	struct shim_balloon *wait = &devices->balloon_command;
	struct balloon_state state;

	if (!wait->awaited)
		return 0;
	balloon_get_state(&devices->balloon, &state);
	if (balloon_has_reached(&devices->balloon)) {
		tell(devices, &state, true);
	} else if (now_ns >= wait->standstill_ns) {
		/* A paused guest cannot make progress. */
		if (state.actual_bytes == wait->seen_bytes && !paused) {
			tell(devices, &state, false);
			return 0;
		}
		wait->seen_bytes = state.actual_bytes;
		wait->standstill_ns = now_ns + STANDSTILL_NS;
	}
	return wait->standstill_ns;
}

static void end(struct shim_devices *devices)
{
	struct balloon_state state;

	if (!devices->balloon_command.awaited)
		return;
	balloon_get_state(&devices->balloon, &state);
	tell(devices, &state, balloon_has_reached(&devices->balloon));
}

/* VIRTIO 1.2 §5.5.6.4: what the guest says of its memory, by tag. */
/* clang-format off */
#define GUEST_STAT(name_, tag)                                                                     \
	{ name_, offsetof(struct balloon_state, stats) + (tag) * sizeof(uint64_t) }
/* clang-format on */

static bool metrics(const struct shim_devices *devices, size_t index, struct device_counters *ret)
{
	static const struct counter_row rows[] = {
		{ "wanted_bytes", offsetof(struct balloon_state, target_bytes) },
		COUNTER_ROW(balloon_state, actual_bytes),
		COUNTER_ROW(balloon_state, returned_bytes),
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
	struct balloon_state state;

	if (index > 0 || !devices->spec->balloon.present)
		return false;
	balloon_get_state(&devices->balloon, &state);
	COUNTERS_TAKE(ret, &devices->balloon.device, rows, state);
	return true;
}

const struct device_row device_balloon = {
	.kind = "balloon",
	.field = "balloon",
	.plan = plan,
	.create = create,
	.settle = settle,
	.end = end,
	.metrics = metrics,
};
