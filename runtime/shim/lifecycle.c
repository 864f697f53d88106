/* SPDX-License-Identifier: MIT */
/* The life of a VM: one table of state × happening. */
#include "shim/lifecycle.h"

#include <assert.h>
#include <errno.h>

#include "interface/event.h"

#define STATES (VM_FAILED + 1)
/* Cells hold the next state plus one: an empty cell is a happening that may not be. */
#define TO(state_) ((state_) + 1)

static const uint8_t table[STATES][HAPPENINGS] = {
	[VM_STARTING] = { [HAPPENS_START] = TO(VM_RUNNING), [HAPPENS_STOP] = TO(VM_STOPPING),
	                  [HAPPENS_FAIL] = TO(VM_FAILED) },
	[VM_RUNNING] = { [HAPPENS_PAUSE] = TO(VM_PAUSED), [HAPPENS_SHUTDOWN] = TO(VM_RUNNING),
	                 [HAPPENS_STOP] = TO(VM_STOPPING), [HAPPENS_END] = TO(VM_STOPPING),
	                 [HAPPENS_FAIL] = TO(VM_FAILED) },
	/* A paused guest cannot heed the power button: it is let go on first. */
	[VM_PAUSED] = { [HAPPENS_RESUME] = TO(VM_RUNNING), [HAPPENS_SHUTDOWN] = TO(VM_RUNNING),
	                [HAPPENS_STOP] = TO(VM_STOPPING), [HAPPENS_END] = TO(VM_STOPPING),
	                [HAPPENS_FAIL] = TO(VM_FAILED) },
	[VM_STOPPING] = { [HAPPENS_STOP] = TO(VM_STOPPING), [HAPPENS_END] = TO(VM_STOPPING),
	                  [HAPPENS_FAIL] = TO(VM_FAILED), [HAPPENS_ACCOUNTED] = TO(VM_STOPPED) },
	[VM_FAILED] = { [HAPPENS_STOP] = TO(VM_FAILED), [HAPPENS_FAIL] = TO(VM_FAILED) },
};
static_assert(ARRAY_SIZE(table) == STATES, "a row for every state");

bool lifecycle_allows(const struct lifecycle *lifecycle, enum happening what)
{
	return table[lifecycle->state][what] != 0;
}

int lifecycle_happen(struct lifecycle *lifecycle, enum happening what, const char *reason)
{
	enum vm_state from = lifecycle->state;

	if (!lifecycle_allows(lifecycle, what))
		return -EBUSY;
	lifecycle->state = (enum vm_state)(table[from][what] - 1);
	if (lifecycle->state != from && lifecycle->events)
		(void)event_state_changed(lifecycle->events, from, lifecycle->state, reason);
	return 0;
}

const char *vm_state_name(enum vm_state state)
{
	static const char *const names[] = {
		[VM_STARTING] = "starting", [VM_RUNNING] = "running", [VM_PAUSED] = "paused",
		[VM_STOPPING] = "stopping", [VM_STOPPED] = "stopped", [VM_FAILED] = "failed",
	};

	return (size_t)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}
