/* SPDX-License-Identifier: MIT */
/* The state that spawn.c and vm.c of libaxvm share. */
#ifndef AXVM_LAUNCH_VM_H
#define AXVM_LAUNCH_VM_H

#include "base/base.h"
#include "launch/axvm.h"

struct axvm_vm {
	pid_t pid;
	int pidfd;
	/* a stream socket: once the shim is gone a write gives EPIPE and no SIGPIPE */
	int control_fd;
	int event_fd;
	bool reaped;
	int wait_status;
	bool events_ended; /* fd 4 is at its end; the decoder may still hold events */
	bool events_over;  /* no further event will come, or none that can be decoded */
	bool stated;       /* there was a terminal event, with this status */
	uint32_t stated_status;
	struct axvm_decoder *decoder;
	uint64_t next_request_id;
	uint8_t *queue; /* for fd 3: from start to end */
	size_t queue_start, queue_end, queue_room;
};

/* Appends one field of ControlStream to the queue. 0, -ENOMEM. */
int vm_queue(struct axvm_vm *vm, uint32_t field, const void *bytes, size_t n);

#endif
