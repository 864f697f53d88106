/* SPDX-License-Identifier: MIT */
/* A kind of device: one row, which its file fills in.
 *
 * The stages, the control loop and the metrics walk the table of rows (table.h) by the functions of
 * devices.h, and know no kind by name. What a kind has nothing of is NULL; only `kind`, `field`,
 * `plan`, `create` and `metrics` are always there. Functions that add problems add them to
 * devices->problems. */
#ifndef AXVM_SHIM_DEVICE_DEVICE_H
#define AXVM_SHIM_DEVICE_DEVICE_H

#include "shim/device/counters.h"
#include "shim/device/places.h"
#include "shim/device/resources.h"
#include "shim/device/state.h"
#include "virtio/host.h"

/* What the limits of the process must leave room for when it is sealed. */
struct device_needs {
	uint64_t file_size;   /* bytes, of the largest file that is written; 0: there is none */
	uint32_t descriptors; /* that are received while the VM runs */
};

struct device_row {
	const char *kind;  /* in plans, and at the beginning of its counters' names: "disk" */
	const char *field; /* of the spec: "disks" */
	/* a spec may have several, each with an id that is part of its counters' names */
	bool many;

	/* Adds the devices that the spec asks for (places_add()). Pure. */
	void (*plan)(const struct vm_spec *spec, struct plan_devices *ret);

	/* Stage acquire. First for all kinds: takes over what was handed over by number. Then for
	 * all kinds: opens all else. What is wrong is added to the problems; the launch goes on to
	 * find the rest. */
	void (*acquire)(struct shim_devices *devices, bool handed_over);
	/* Stage acquire, when all that the spec names is open: checks what could not be checked
	 * before, and claims what must not be in two places (resource_claim()). */
	void (*check)(struct shim_devices *devices, struct resource_claims *claims);

	/* Stage build: creates the kind's device of that number and attaches it. -errno. */
	int (*create)(struct shim_devices *devices, size_t index, const struct virtio_host *host);

	/* Stage confine. Adds to what the others need. */
	void (*needs)(const struct shim_devices *devices, struct device_needs *needs);
	/* Stage seal, once the threads have been counted: starts threads of the kernel's. -errno
	 * with a problem. */
	int (*seal)(struct shim_devices *devices);

	/* Control thread, at every turn: tells what has come of commands. When it is to be looked
	 * at again (CLOCK_MONOTONIC ns), or 0. */
	uint64_t (*settle)(struct shim_devices *devices, uint64_t now_ns, bool paused);
	/* Control thread, once the guest has stopped: tells what has come of commands that the end
	 * overtakes. */
	void (*end)(struct shim_devices *devices);

	/* The counters of the kind's device of that number; false: there is none. Control thread;
	 * takes no lock. */
	bool (*metrics)(const struct shim_devices *devices, size_t index,
	                struct device_counters *ret);
};

#endif
