/* SPDX-License-Identifier: MIT */
/* The life of a VM: one table of state × happening. */
#ifndef AXVM_SHIM_LIFECYCLE_H
#define AXVM_SHIM_LIFECYCLE_H

#include "interface/event_writer.h"
#include "interface/stage.h"

/* What can happen to a VM. */
enum happening {
	HAPPENS_START,    /* the gate is open */
	HAPPENS_PAUSE,    /* a command */
	HAPPENS_RESUME,   /* a command */
	HAPPENS_SHUTDOWN, /* the power button is pressed: a command, a signal, the end of fd 3 */
	HAPPENS_STOP,     /* stop now: a command, a later signal, a time limit */
	HAPPENS_END,      /* the guest ended itself */
	HAPPENS_FAIL,     /* the runtime failed */
	HAPPENS_ACCOUNTED,
	HAPPENINGS,
};

struct lifecycle {
	enum axvm_state state;       /* STATE_STARTING to begin with */
	struct event_writer *events; /* NULL while there is nobody to tell */
};

/* Whether `what` may happen in the present state. */
bool lifecycle_allows(const struct lifecycle *lifecycle, enum happening what);

/* Changes the state and sends a StateChanged event with `reason` (a sentence or NULL). -EBUSY, and
 * nothing changes, if it may not happen now. Control thread. */
int lifecycle_happen(struct lifecycle *lifecycle, enum happening what, const char *reason);

/* "running", for people. */
const char *vm_state_name(enum axvm_state state);

#endif
