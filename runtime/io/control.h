/* SPDX-License-Identifier: MIT */
/* Control calls: what a device needs from a system call that its I/O thread may not make.
 *
 * An I/O thread's filter has no ioctl. A device that needs one (which offloads a TAP may use
 * follows from what the driver negotiated, long after the seal) has it made by the control thread.
 * Asking never waits: `run` is called some time later, and tells the device by mail
 * (io_client_post). A call is a level, not a queue: asked for again before it ran, it runs once,
 * and looks at the newest wish. */
#ifndef AXVM_IO_CONTROL_H
#define AXVM_IO_CONTROL_H

#include "base/base.h"

#define CONTROL_CALLS_MAX 64

struct control_call {
	void (*run)(struct control_call *call); /* on the control thread */
	uint32_t index;                         /* the desk's */
};

/* Zeroed but for wake_fd is empty. */
struct control_desk {
	int wake_fd; /* eventfd, borrowed: wakes the control thread */
	uint32_t count;
	struct control_call *calls[CONTROL_CALLS_MAX];
	_Atomic uint64_t pending;
};

/* Build time. The call is borrowed. -ENOSPC. */
int control_desk_add(struct control_desk *desk, struct control_call *call);

/* Has `call` run soon; any thread. Without a desk (NULL) it runs at once. */
void control_desk_ask(struct control_desk *desk, struct control_call *call);

/* Runs what was asked for. Control thread. */
void control_desk_serve(struct control_desk *desk);

#endif
