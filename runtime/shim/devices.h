/* SPDX-License-Identifier: MIT */
/* The VM's devices: one static table from the spec to the bus, and the I/O threads that serve them.
 *
 * Each I/O thread has a loop of its own and serves the devices that it was dealt: in the order of the
 * table, then of the spec, device n goes to thread n modulo their number. There are
 * `io.threads_per_node` of them for each of the guest's nodes, but never more than devices; thread n
 * belongs to node n modulo the number of nodes. */
#ifndef AXVM_SHIM_DEVICES_H
#define AXVM_SHIM_DEVICES_H

#include "shim/devices_state.h"
#include "shim/plan_state.h"

/* The devices that devices_build() will create, where, and who serves them. Pure. */
void devices_plan(const struct vm_spec *spec, struct plan_devices *ret);

/* Creates the PCI host, every device the spec asks for and the rings that serve them. Build stage;
 * allocates. -errno with a problem. */
int devices_build(struct shim *shim);

/* What an I/O thread does before the gate (enable its ring) and after it (serve). */
int devices_enable(struct shim_io *io);
void devices_serve(struct shim_io *io);

/* Makes the system calls that devices asked for. Control thread, when it was woken. */
void devices_serve_control(struct shim *shim);

/* Asks the I/O threads to park, or to go on. Control thread; returns at once. */
void devices_pause(struct shim *shim);
bool devices_parked(const struct shim *shim);
void devices_resume(struct shim *shim);

/* Asks the I/O threads to finish what is in flight and hand out what is buffered. Control thread;
 * returns at once. Done when devices_finished(). */
void devices_stop(struct shim *shim);
bool devices_finished(const struct shim *shim);

/* Console output that was dropped because its reader did not keep up. */
uint64_t devices_console_dropped(const struct shim *shim);

#endif
