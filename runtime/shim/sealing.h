/* SPDX-License-Identifier: MIT */
/* What the shim does with the sandbox: a thread's way into its filter, and a thread's death by
 * it. */
#ifndef AXVM_SHIM_SEALING_H
#define AXVM_SHIM_SEALING_H

#include "sandbox/policy.h"
#include "shim/shim.h"

struct sandbox_seen;

/* Prepares the desk for death records and installs the handler; stage confine. */
int sealing_prepare(struct shim *shim);

/* Take the calling thread into the seal of its role: no file, no descriptor but those it needs (in
 * a table of its own; a vCPU's `vcpu_fd` becomes VCPU_FD, I/O thread n keeps its own wake-up and
 * ring), then its filter. 0, or -errno with a problem: the process must then end. */
int seal_vcpu_thread(struct shim *shim, int vcpu_fd, struct problems *problems);
int seal_io_thread(struct shim *shim, uint32_t index, struct problems *problems);

/* Called on vCPU 0's sealed thread: once all threads have been counted, has KVM start a thread of
 * its own (vcpu_try_run). sealing_finish() gets the result. */
void seal_try_kvm(struct shim *shim);

/* Waits until all threads have sealed themselves and arrived at the gate. -EPERM with a problem if
 * one made a denied call instead. */
int sealing_await(struct shim *shim);

/* Reads back the confinement of all threads, seals the calling thread (control), and puts the
 * Sealed event; `seen` is the result of sandbox_verify_process(). */
int sealing_finish(struct shim *shim, struct sandbox_seen *seen);

/* Whether a filter has stopped a thread. The first time, this becomes the shim's first problem. */
bool sealing_death(struct shim *shim);

#endif
