/* SPDX-License-Identifier: MIT */
/* Where each device of a spec will be on the bus, and who serves it: decided without creating any. */
#ifndef AXVM_SHIM_DEVICES_PLAN_H
#define AXVM_SHIM_DEVICES_PLAN_H

#include <assert.h>

#include "guest/layout.h"
#include "interface/spec.h"

struct shim_devices;

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

/* Appends the devices of one kind that the spec asks for, all but their places. */
void plan_console(const struct vm_spec *spec, struct plan_devices *devices);
void plan_disks(const struct vm_spec *spec, struct plan_devices *devices);
void plan_rng(const struct vm_spec *spec, struct plan_devices *devices);
void plan_nets(const struct vm_spec *spec, struct plan_devices *devices);
void plan_balloon(const struct vm_spec *spec, struct plan_devices *devices);
void plan_vsock(const struct vm_spec *spec, struct plan_devices *devices);

/* Gives the devices their places, in their order. */
void plan_places(struct plan_devices *devices);

/* Whether what was built is what was planned: identity, BAR and vectors of every slot. -EBADMSG if not:
 * a bug, and a plan that would have told an untruth. */
int plan_devices_check(const struct plan_devices *plan, const struct shim_devices *built);

/* How many I/O threads a VM has. */
uint32_t devices_count_io(const struct vm_spec *spec);

#endif
