/* SPDX-License-Identifier: MIT */
/* The control loop: the one place where the control thread waits, and what it does when woken. */
#ifndef AXVM_SHIM_CONTROL_H
#define AXVM_SHIM_CONTROL_H

#include "base/base.h"

struct shim;

/* Creates the loop's descriptors, at their numbers. Arrive stage, while there is one thread: their
 * numbers make the kernel enlarge the table of descriptors, and where threads share it that waits for
 * a grace period, milliseconds on a busy host. -errno with a problem. */
int control_open(struct shim *shim);

/* Has the loop watch fd 3, fd 4, signals and the wake-up. Build stage; -errno with a problem. */
int control_watch(struct shim *shim);

/* Takes what was read behind the launch, and all of fd 3 where that is a regular file. */
void control_begin(struct shim *shim);

/* Writes events, waits up to `timeout_ms` (-1: for good) and handles what is ready. */
void control_turn(struct shim *shim, int timeout_ms);

/* Tells a panic that the guest has reported and that was not told yet, and starts the clock within which
 * the guest may go on. */
void control_heed_panic(struct shim *shim);

/* CLOCK_MONOTONIC, nanoseconds. */
uint64_t control_now_ns(void);
/* Milliseconds from now to a deadline (0: none), but at most `timeout_ms` (-1: for good). */
int control_timeout(uint64_t deadline_ns, int timeout_ms);
/* Whether a deadline (0: none) is over. */
bool control_passed(uint64_t deadline_ns);

/* All that was there at `looked_ns` has been handled: requests for the end that come from now on are new
 * ones, where the time for them to be the same is over. After each turn. */
void control_settle(struct shim *shim, uint64_t looked_ns);

/* Ends the VM as soon as the loop comes round; `why` (static) is for the terminal event. */
void control_stop(struct shim *shim, const char *why);

/* A command asks for the end: presses the power button and sets the clock anew; a machine without local
 * APICs, which has no interrupt to tell it by, is stopped. Close behind another request it is the same one
 * (base/burst.h): the button is not pressed again, and the clock is the command's all the same. 0, or -EBUSY
 * when the VM's state forbids it. */
int control_shutdown(struct shim *shim, uint32_t timeout_ms, uint64_t now_ns, const char *why);

/* The end of fd 3, or a signal, asks for the end. As above, by the spec's timeout; a clock that a command or
 * another request has set stays as it is. A signal that comes after another one, and not close behind a
 * request, stops the VM. */
void control_ask_for_end(struct shim *shim, uint64_t now_ns, const char *why);
void control_signal(struct shim *shim, uint64_t now_ns);

#endif
