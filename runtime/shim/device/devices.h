/* SPDX-License-Identifier: MIT */
/* The VM's devices: what the stages, the control loop and the metrics ask of all kinds, by the
 * table of them, and the I/O threads that serve them.
 *
 * Each I/O thread has a loop of its own and serves the devices that it was dealt: by the kinds'
 * turns on the bus, then in the order of the spec, device n goes to thread n modulo their number.
 * There are `io.threads_per_node` of them for each of the guest's nodes, but never more than
 * devices; thread n belongs to node n modulo the number of nodes. */
#ifndef AXVM_SHIM_DEVICE_DEVICES_H
#define AXVM_SHIM_DEVICE_DEVICES_H

#include "shim/device/device.h"

/* Gives the devices their surroundings, before any other call but a plan. All is borrowed for the
 * devices' life; problems are added to `problems` up to stage seal. */
void devices_init(struct shim_devices *devices, const struct vm_spec *spec, struct machine *machine,
                  struct event_writer *events, struct problems *problems);

/* The devices that devices_build() will create, where, and who serves them. Pure. */
void devices_plan(const struct vm_spec *spec, struct plan_devices *ret);

/* How many I/O threads a VM has. Pure. */
uint32_t devices_count_io(const struct vm_spec *spec);

/* Checks that the built devices are the planned ones. -EBADMSG if not. */
int devices_check_plan(const struct shim_devices *devices, const struct plan_devices *plan);

/* Stage acquire, in this order: takes over resources given by number; opens the others that the
 * spec names; checks them, and adds to `claims` those that must not be used twice. Every fault is
 * added to the problems. */
void devices_acquire(struct shim_devices *devices, bool handed_over);
void devices_check(struct shim_devices *devices, struct resource_claims *claims);

/* Creates the PCI host, every device the spec asks for and the rings that serve them. Build stage;
 * allocates. -errno with a problem. */
int devices_build(struct shim_devices *devices);

/* What the process's limits must leave room for. After acquire. */
struct device_needs devices_needs(const struct shim_devices *devices);

/* Starts the kernel's side of devices that have one. Stage seal, once the threads have been
 * counted. -errno with a problem. */
int devices_seal(struct shim_devices *devices);

/* What an I/O thread does before the gate (enable its ring) and after it (serve). */
int devices_enable(struct shim_io *io);
void devices_serve(struct shim_io *io);

/* Makes the system calls that devices asked for. Control thread, when it was woken. */
void devices_serve_control(struct shim_devices *devices);

/* Tells what has come of commands to devices. Returns when to look again (CLOCK_MONOTONIC ns), or
 * 0. Control thread, at every turn, and at that time. */
uint64_t devices_settle(struct shim_devices *devices, uint64_t now_ns, bool paused);

/* Reports commands that the end of the VM overtakes. Control thread, once the guest has stopped. */
void devices_end(struct shim_devices *devices);

/* Asks the I/O threads to park, or to go on. Control thread; returns at once. */
void devices_pause(struct shim_devices *devices);
bool devices_parked(const struct shim_devices *devices);
void devices_resume(struct shim_devices *devices);

/* Asks the I/O threads to finish what is in flight and hand out what is buffered. Control thread;
 * returns at once. Done when devices_finished(). */
void devices_stop(struct shim_devices *devices);
bool devices_finished(const struct shim_devices *devices);

#endif
