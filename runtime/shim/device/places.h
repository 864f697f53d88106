/* SPDX-License-Identifier: MIT */
/* Where each device of a spec will be on the bus, and who serves it: decided without creating
 * any. */
#ifndef AXVM_SHIM_DEVICE_PLACES_H
#define AXVM_SHIM_DEVICE_PLACES_H

#include <assert.h>

#include "guest/layout.h"
#include "interface/spec.h"

struct pci_host;

/* Device 0 is the host bridge. */
#define PLAN_DEVICES_MAX (LAYOUT_PCI_DEVICES_MAX - 1)
static_assert(PLAN_DEVICES_MAX == SPEC_DEVICES_MAX, "a spec has as many as the bus");

struct plan_device {
	const char *kind;   /* "disk" */
	const char *id;     /* of the spec, borrowed; "" where there is one of a kind */
	uint16_t virtio_id; /* VIRTIO 1.2 §5 */
	uint16_t queues;    /* and one vector more than that, for configuration changes */
	uint32_t slot;      /* device number on bus 0 */
	uint32_t bar;       /* guest-physical address of BAR 0 */
	uint32_t first_gsi; /* of its vectors, which follow one another */
	uint32_t io;        /* the I/O thread that serves it */
};

struct plan_devices {
	size_t count;
	struct plan_device list[PLAN_DEVICES_MAX];
};

/* Whether the spec's machine has local APICs, and with them devices. */
bool plan_has_apic(const struct vm_spec *spec);

/* Appends a device, all but its kind and its place. */
void places_add(struct plan_devices *devices, const char *id, uint16_t virtio_id, uint32_t queues);

/* Gives the devices their places, in their order. */
void places_give(struct plan_devices *devices);

/* Checks that every slot has the planned identity, BAR and vectors. -EBADMSG if not, which is a
 * bug: the plan was wrong. */
int places_check(const struct plan_devices *plan, const struct pci_host *built);

#endif
