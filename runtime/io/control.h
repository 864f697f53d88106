/* SPDX-License-Identifier: MIT */
/* Control calls: system calls that the control thread makes for a device.
 *
 * An I/O thread's filter allows no ioctl. A device that needs one after the seal (a TAP's offloads
 * follow from what the driver negotiates) has the control thread make it. Asking never waits: `run`
 * is called some time later and tells the device by mail (io_client_post). Requests do not queue: a
 * call that is asked for twice before it runs runs once, with the newest values. */
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

/* Makes the control thread run `call` soon. Any thread. Without a desk (NULL) it runs at once, on
 * the caller's thread. */
void control_desk_ask(struct control_desk *desk, struct control_call *call);

/* Runs the calls that were asked for. Control thread. */
void control_desk_serve(struct control_desk *desk);

#endif
