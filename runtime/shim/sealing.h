/* SPDX-License-Identifier: MIT */
/* What the shim does with the sandbox: a thread's way into its filter, and a thread's death by
 * it. */
#ifndef AXVM_SHIM_SEALING_H
#define AXVM_SHIM_SEALING_H

#include "sandbox/policy.h"
#include "shim/shim.h"

/* Prepares the desk for death records and installs the handler; stage confine. */
int sealing_prepare(struct shim *shim);

/* Takes the calling thread, not the control thread, into the seal of its role: no file, no
 * descriptor but those of its role (in a table of its own; a vCPU's `vcpu_fd` becomes VCPU_FD, -1
 * is none), then its filter. 0, or -errno with a problem: the process must then end. */
int seal_thread(struct shim *shim, enum sandbox_role role, int vcpu_fd, struct problems *problems);

/* Waits until all threads have sealed themselves and arrived at the gate. -EPERM with a problem
 * when one made a denied call instead. */
int sealing_await(struct shim *shim);

/* Reads everything back, seals the calling thread, the control thread, and puts the Sealed
 * event. */
int sealing_finish(struct shim *shim);

/* Whether a thread has died of its filter; the first time, that becomes the shim's first
 * problem. */
bool sealing_death(struct shim *shim);

#endif
