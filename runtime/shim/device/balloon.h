/* SPDX-License-Identifier: MIT */
/* The VM's balloon, for the command that addresses it. */
#ifndef AXVM_SHIM_DEVICE_BALLOON_H
#define AXVM_SHIM_DEVICE_BALLOON_H

#include "shim/device/state.h"

/* The balloon; NULL: this VM has none. Borrowed. */
struct balloon *devices_balloon(struct shim_devices *devices);

/* Asks the guest to keep so much, after telling what has come of a command before it that was still
 * waited for. The balloon is there; -ERANGE, and nothing is changed. What comes of the command is
 * told later, as an event. Control thread; `now_ns` is CLOCK_MONOTONIC. */
int devices_balloon_ask(struct shim_devices *devices, uint64_t request_id, uint64_t target_mib,
                        uint64_t now_ns);

#endif
