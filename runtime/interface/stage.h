/* SPDX-License-Identifier: MIT */
/* The stages of the process and the states of its VM, numbered as in the schema. */
#ifndef AXVM_INTERFACE_STAGE_H
#define AXVM_INTERFACE_STAGE_H

enum stage {
	STAGE_NONE = 0,
	STAGE_ARRIVE = 1,
	STAGE_LEARN = 2,
	STAGE_ADMIT = 3,
	STAGE_ACQUIRE = 4,
	STAGE_BUILD = 5,
	STAGE_CONFINE = 6,
	STAGE_STAFF = 7,
	STAGE_SEAL = 8,
	STAGE_RUN = 9,
	STAGE_ACCOUNT = 10,
};
#define STAGES_COUNT 11

enum vm_state {
	VM_STARTING = 0,
	VM_RUNNING = 1,
	VM_PAUSED = 2,
	VM_STOPPING = 3,
	VM_STOPPED = 4,
	VM_FAILED = 5,
};

/* "arrive", as the README has it; never NULL. */
const char *stage_name(enum stage stage);

#endif
