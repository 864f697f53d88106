/* SPDX-License-Identifier: MIT */
/* The VM's balloon: from the spec to the virtio device. */
#include "shim/devices_balloon.h"

#include "base/clock.h"
#include "interface/event.h"
#include "shim/deadline.h"
#include "shim/shim.h"

/* Bytes of a host page, by enum axvm_page_size. Transparent huge pages are split where needed. */
static const uint64_t host_pages[] = {
	[PAGE_SIZE_4K] = BALLOON_PAGE,
	[PAGE_SIZE_THP] = BALLOON_PAGE,
	[PAGE_SIZE_2M] = 2 * MIB,
	[PAGE_SIZE_1G] = GIB,
};

/* As long as a driver may stand still before it is said to have stopped. */
#define STANDSTILL_NS (10 * NS_PER_S)

/* On a vCPU's thread. What is told is decided by the control thread, and told once: however often a guest
 * writes, it gets no more than the control thread's attention. */
static void on_reached(void *context)
{
	machine_wake_control(&((struct shim *)context)->machine);
}

int devices_create_balloon(struct shim *shim, size_t index, const struct virtio_host *host)
{
	const struct vm_spec *spec = &shim->spec;
	const struct balloon_spec config = {
		.deflate_on_oom = spec->balloon.deflate_on_oom,
		.free_page_reporting = spec->balloon.free_page_reporting,
		.memory_locked = spec->memory.lock,
		.stats_interval_s = spec->balloon.stats_interval_s,
		.host_page = host_pages[spec->memory.page_size],
		.reached = on_reached,
		.context = shim,
	};

	(void)index;
	return balloon_create(&shim->devices.balloon, &config, host);
}

struct balloon *devices_balloon(struct shim *shim)
{
	return shim->devices.balloon.device.ops ? &shim->devices.balloon : NULL;
}

static void tell(struct shim *shim, const struct balloon_state *state, bool reached)
{
	uint64_t all = guest_memory_size(shim->devices.balloon.memory);
	const struct event_balloon_settled event = {
		.request_id = shim->balloon.request_id,
		.target_mib = shim->balloon.target_mib,
		/* A guest may say that it has given up more than there is. What it has reached it may have left. */
		.actual_mib = reached ? shim->balloon.target_mib
		                      : (all - MIN(state->actual_bytes, all)) / MIB,
		.reached = reached,
	};

	balloon_await(&shim->devices.balloon, false);
	shim->balloon = (struct shim_balloon){ 0 };
	(void)event_balloon_settled(&shim->events, &event);
}

int devices_balloon_ask(struct shim *shim, uint64_t request_id, uint64_t target_mib)
{
	struct shim_balloon *wait = &shim->balloon;
	struct balloon *balloon = devices_balloon(shim);
	struct balloon_state state;
	bool reached = wait->awaited && balloon_has_reached(balloon); /* the target that is in force */
	uint64_t bytes;

	if (__builtin_mul_overflow(target_mib, MIB, &bytes) || balloon_set_target(balloon, bytes) < 0)
		return -ERANGE;
	balloon_get_state(balloon, &state);
	if (wait->awaited)
		tell(shim, &state, reached);
	*wait = (struct shim_balloon){
		.awaited = true,
		.request_id = request_id,
		.target_mib = target_mib,
		.seen_bytes = state.actual_bytes,
		.standstill_ns = deadline_now_ns() + STANDSTILL_NS,
	};
	balloon_await(balloon, true);
	return 0;
}

void devices_balloon_settle(struct shim *shim)
{
	struct shim_balloon *wait = &shim->balloon;
	struct balloon_state state;

	if (!wait->awaited)
		return;
	balloon_get_state(&shim->devices.balloon, &state);
	if (balloon_has_reached(&shim->devices.balloon)) {
		tell(shim, &state, true);
	} else if (deadline_passed(wait->standstill_ns)) {
		/* A VM that is paused cannot get on. */
		if (state.actual_bytes == wait->seen_bytes && shim->lifecycle.state != STATE_PAUSED) {
			tell(shim, &state, false);
			return;
		}
		wait->seen_bytes = state.actual_bytes;
		wait->standstill_ns = deadline_now_ns() + STANDSTILL_NS;
	}
}

void devices_balloon_end(struct shim *shim)
{
	struct balloon_state state;

	if (!shim->balloon.awaited)
		return;
	balloon_get_state(&shim->devices.balloon, &state);
	tell(shim, &state, balloon_has_reached(&shim->devices.balloon));
}
