/* SPDX-License-Identifier: MIT */
/* Attaching a virtio device to the PCI bus (VIRTIO 1.2 §4.1). Theory of operation in pci.c. */
#ifndef AXVM_VIRTIO_PCI_H
#define AXVM_VIRTIO_PCI_H

#include "bus/pci.h"
#include "io/control.h"
#include "virtio/device.h"
#include "virtio/stats.h"

/* Layout of BAR 0. */
#define VIRTIO_BAR_SIZE 0x8000u
#define VIRTIO_BAR_COMMON 0x0000u
#define VIRTIO_BAR_ISR 0x1000u
#define VIRTIO_BAR_DEVICE 0x2000u
#define VIRTIO_BAR_NOTIFY 0x3000u
#define VIRTIO_BAR_NOTIFY_STEP 4u
#define VIRTIO_BAR_MSIX_TABLE 0x4000u
#define VIRTIO_BAR_MSIX_PBA 0x5000u

/* What a device tells its owner, at most COMPLAINTS_PER_S times a second (virtio/complaints.h). `message` and
 * `device_id` live as long as the call. */
struct virtio_event {
	const char *device_id;
	const char *message;
	bool needs_reset;
	int queue;        /* -1: none in particular */
	int error_number; /* errno, positive, or 0 */
	uint64_t suppressed; /* events that were not told since the device's last one */
};

/* What a device is attached to; all borrowed for its life. */
struct virtio_host {
	const struct guest_memory *memory;
	struct pci_host *pci;
	struct io_loop *loop;
	struct control_desk *control; /* NULL: control calls are made on the asking thread */
	/* Called on the I/O thread, and before that on the building thread; must not block. */
	void (*event)(void *context, const struct virtio_event *event);
	void *context;
};

/* Build time, before io_loop_build; allocates. Adds the function to the bus (a doorbell a queue, a
 * vector a queue and one for configuration) and the device to the loop. -EINVAL: impossible
 * queues or config; else what pci, msix, loop or the fabric say. On failure all is undone, save
 * that places in the loop's and the bus's tables stay taken: the build has failed then. */
int virtio_pci_attach(struct virtio_device *device, const struct virtio_host *host);
/* After the loop's thread has ended, before the bus is done with. An unattached device is fine. */
void virtio_pci_detach(struct virtio_device *device);

#endif
