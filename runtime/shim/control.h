/* SPDX-License-Identifier: MIT */
/* The control loop: the one place where the control thread waits, and what it does when woken. */
#ifndef AXVM_SHIM_CONTROL_H
#define AXVM_SHIM_CONTROL_H

#include "base/base.h"

struct shim;

/* Creates the loop's descriptors, at their numbers. Stage arrive, while there is one thread: their
 * high numbers make the kernel enlarge the descriptor table, and for a table that threads share
 * this waits for a grace period, milliseconds on a busy host. -errno with a problem. */
int control_open(struct shim *shim);

/* Makes the loop watch fd 3, fd 4, signals and the wake-up. Stage build; -errno with a problem. */
int control_watch(struct shim *shim);

/* Takes the commands that were read after the launch, and all of fd 3 if it is a regular file. */
void control_begin(struct shim *shim);

/* Writes events, waits up to `timeout_ms` (-1: for good) and handles what is ready. */
void control_turn(struct shim *shim, int timeout_ms);

#endif
