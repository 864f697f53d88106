/* SPDX-License-Identifier: MIT */
/* The life of a VM: one table of state × happening. */
#include "shim/lifecycle.h"

#include <assert.h>
#include <errno.h>

#include "interface/event.h"

#define STATES (STATE_FAILED + 1)

/* The next state; an empty cell is a happening that may not be. */
static const uint8_t table[STATES][HAPPENINGS] = {
	[STATE_STARTING] = { [HAPPENS_START] = STATE_RUNNING,
	                     [HAPPENS_STOP] = STATE_STOPPING,
	                     [HAPPENS_FAIL] = STATE_FAILED },
	[STATE_RUNNING] = { [HAPPENS_PAUSE] = STATE_PAUSED,
	                    [HAPPENS_SHUTDOWN] = STATE_RUNNING,
	                    [HAPPENS_STOP] = STATE_STOPPING,
	                    [HAPPENS_END] = STATE_STOPPING,
	                    [HAPPENS_FAIL] = STATE_FAILED },
	/* A paused guest cannot heed the power button: it is let go on first. */
	[STATE_PAUSED] = { [HAPPENS_RESUME] = STATE_RUNNING,
	                   [HAPPENS_SHUTDOWN] = STATE_RUNNING,
	                   [HAPPENS_STOP] = STATE_STOPPING,
	                   [HAPPENS_END] = STATE_STOPPING,
	                   [HAPPENS_FAIL] = STATE_FAILED },
	[STATE_STOPPING] = { [HAPPENS_STOP] = STATE_STOPPING,
	                     [HAPPENS_END] = STATE_STOPPING,
	                     [HAPPENS_FAIL] = STATE_FAILED,
	                     [HAPPENS_ACCOUNTED] = STATE_STOPPED },
	[STATE_FAILED] = { [HAPPENS_STOP] = STATE_FAILED, [HAPPENS_FAIL] = STATE_FAILED },
};
static_assert(ARRAY_SIZE(table) == STATES, "a row for every state");

bool lifecycle_allows(const struct lifecycle *lifecycle, enum happening what)
{
	return table[lifecycle->state][what] != STATE_UNSPECIFIED;
}

static void tell(const struct lifecycle *lifecycle, enum axvm_state from, const char *reason)
{
	Axvm__V1__StateChanged body = AXVM__V1__STATE_CHANGED__INIT;

	EVENT_SET(&body, from, (Axvm__V1__State)from);
	EVENT_SET(&body, to, (Axvm__V1__State)lifecycle->state);
	body.reason = EVENT_TEXT(reason);
	(void)event_writer_put(lifecycle->events, EVENT(STATE_CHANGED, state_changed, &body));
}

int lifecycle_happen(struct lifecycle *lifecycle, enum happening what, const char *reason)
{
	enum axvm_state from = lifecycle->state;

	if (!lifecycle_allows(lifecycle, what))
		return -EBUSY;
	lifecycle->state = (enum axvm_state)table[from][what];
	if (lifecycle->state != from && lifecycle->events)
		tell(lifecycle, from, reason);
	return 0;
}

const char *vm_state_name(enum axvm_state state)
{
	static const char *const names[] = {
		[STATE_UNSPECIFIED] = "unknown", [STATE_STARTING] = "starting",
		[STATE_RUNNING] = "running",     [STATE_PAUSED] = "paused",
		[STATE_STOPPING] = "stopping",   [STATE_STOPPED] = "stopped",
		[STATE_FAILED] = "failed",
	};

	return (size_t)state < ARRAY_SIZE(names) ? names[state] : "unknown";
}
