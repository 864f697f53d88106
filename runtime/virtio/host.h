/* SPDX-License-Identifier: MIT */
/* What a virtio device is attached to, and the events that it sends its owner. */
#ifndef AXVM_VIRTIO_HOST_H
#define AXVM_VIRTIO_HOST_H

#include <stdbool.h>
#include <stdint.h>

struct control_desk;
struct guest_memory;
struct io_loop;
struct pci_host;

/* An event of a device, at most COMPLAINTS_PER_S a second (virtio/complaints.h). `message` and
 * `device_id` are valid during the call. */
struct virtio_event {
	const char *device_id;
	const char *message;
	bool needs_reset;
	int queue;           /* -1: none in particular */
	int error_number;    /* errno, positive, or 0 */
	uint64_t suppressed; /* events that were not sent since the device's last one */
};

/* What a device is attached to; all borrowed for its life. */
struct virtio_host {
	const struct guest_memory *memory;
	struct pci_host *pci;
	struct io_loop *loop;
	struct control_desk *control; /* NULL: control calls run on the asking thread */
	/* Called on the I/O thread, and before that on the building thread; must not block. */
	void (*event)(void *context, const struct virtio_event *event);
	void *context;
};

#endif
