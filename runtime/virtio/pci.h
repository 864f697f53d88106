/* SPDX-License-Identifier: MIT */
/* Attaching a virtio device to the PCI bus (VIRTIO 1.2 §4.1). Theory of operation in pci.c. */
#ifndef AXVM_VIRTIO_PCI_H
#define AXVM_VIRTIO_PCI_H

#include "bus/pci.h"
#include "io/control.h"
#include "virtio/device.h"
#include "virtio/host.h"
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

/* Build time, before io_loop_build; allocates. Adds the function to the bus (a doorbell a queue, a
 * vector a queue and one for configuration) and the device to the loop. -EINVAL: impossible queues
 * or config; else an error of pci, msix, the loop or the fabric. On failure everything is undone
 * except entries in the loop's and the bus's tables, which stay taken: the build has failed
 * then. */
int virtio_pci_attach(struct virtio_device *device, const struct virtio_host *host);
/* After the loop's thread has ended, before the bus is done with. An unattached device is fine. */
void virtio_pci_detach(struct virtio_device *device);

#endif
