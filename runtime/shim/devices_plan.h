/* SPDX-License-Identifier: MIT */
/* Where each device of a spec will be on the bus, and who serves it: decided without creating any. */
#ifndef AXVM_SHIM_DEVICES_PLAN_H
#define AXVM_SHIM_DEVICES_PLAN_H

#include "interface/spec.h"
#include "shim/plan_state.h"

struct shim_devices;

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

/* Whether the spec's machine has local APICs, and with them devices. */
bool plan_has_apic(const struct vm_spec *spec);

#endif
