/* SPDX-License-Identifier: MIT */
/* The control loop: the one place where the control thread waits, and what it does when woken. */
#ifndef AXVM_SHIM_CONTROL_H
#define AXVM_SHIM_CONTROL_H

#include "base/base.h"

struct shim;

/* Creates the loop's descriptors, at their numbers. Arrive stage, while there is one thread: their
 * numbers make the kernel enlarge the table of descriptors, and where threads share it that waits
 * for a grace period, milliseconds on a busy host. -errno with a problem. */
int control_open(struct shim *shim);

/* Has the loop watch fd 3, fd 4, signals and the wake-up. Build stage; -errno with a problem. */
int control_watch(struct shim *shim);

/* Takes what was read behind the launch, and all of fd 3 where that is a regular file. */
void control_begin(struct shim *shim);

/* Writes events, waits up to `timeout_ms` (-1: for good) and handles what is ready. */
void control_turn(struct shim *shim, int timeout_ms);

#endif
