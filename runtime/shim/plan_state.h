/* SPDX-License-Identifier: MIT */
/* What was planned: the machine as the guest sees it. */
#ifndef AXVM_SHIM_PLAN_STATE_H
#define AXVM_SHIM_PLAN_STATE_H

#include <assert.h>

#include "base/sha256.h"
#include "boot/acpi.h"
#include "guest/layout.h"
#include "guest/memory.h"
#include "interface/spec.h"

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

struct machine_plan {
	struct guest_memory memory; /* a layout: nothing is behind it */
	struct plan_devices devices;
	struct acpi_image acpi; /* Linux only; `used` 0: none */
	char digest[SHA256_HEX_SIZE]; /* of all that the guest can see of its machine */
};

#endif
