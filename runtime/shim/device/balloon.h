/* SPDX-License-Identifier: MIT */
/* The VM's balloon, for the command that addresses it. */
#ifndef AXVM_SHIM_DEVICE_BALLOON_H
#define AXVM_SHIM_DEVICE_BALLOON_H

#include "shim/device/state.h"

/* The balloon; NULL: this VM has none. Borrowed. */
struct balloon *devices_balloon(struct shim_devices *devices);

/* Asks the guest to keep this much memory, after it has reported an earlier command that was still
 * under way. The balloon must exist. -ERANGE: nothing is changed. An event reports the command's
 * result later. Control thread; `now_ns` is CLOCK_MONOTONIC. */
int devices_balloon_ask(struct shim_devices *devices, uint64_t request_id, uint64_t target_mib,
                        uint64_t now_ns);

#endif
