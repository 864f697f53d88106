/* SPDX-License-Identifier: MIT */
/* What spawn.c and vm.c of libaxvm share. */
#ifndef AXVM_LAUNCH_VM_H
#define AXVM_LAUNCH_VM_H

#include "base/base.h"
#include "launch/axvm.h"

struct axvm_vm {
	pid_t pid;
	int pidfd;
	int control_fd; /* a stream socket: a shim that is gone is -EPIPE, not SIGPIPE */
	int event_fd;
	bool reaped;
	int wait_status;
	bool events_ended; /* fd 4 is at its end, what it held may still be in the decoder */
	bool events_over;  /* there is no event any more, or none that can be read */
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
