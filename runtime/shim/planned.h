/* SPDX-License-Identifier: MIT */
/* The event that tells a plan. */
#ifndef AXVM_SHIM_PLANNED_H
#define AXVM_SHIM_PLANNED_H

#include "boot/boot.h"

struct shim;

/* The parts of a plan that are not in struct shim. Strings are borrowed; NULL: absent. */
struct planned {
	bool placed; /* there is a place for the VM: all that follows from it is told, too */
	const char *other_profile;
	const char *claims, *claims_error;
	bool will_claim;
	bool loaded_unknown;
	struct boot_layout loaded; /* format NULL: nothing is told of it */
};

/* Sends the plan in shim->verdict, placement, topology and plan as one event. -errno of
 * event_writer_put(); it is never too large for an empty ring. Control thread. */
int planned_tell(struct shim *shim, const struct planned *planned);

#endif
