/* SPDX-License-Identifier: MIT */
/* The VM's balloon: from the spec to the virtio device. */
#ifndef AXVM_SHIM_DEVICES_BALLOON_H
#define AXVM_SHIM_DEVICES_BALLOON_H

#include "virtio/balloon.h"

struct shim;

/* Row of the device table. Stage build. */
int devices_create_balloon(struct shim *shim, size_t index, const struct virtio_host *host);

/* The balloon; NULL: the spec has none. */
struct balloon *devices_balloon(struct shim *shim);

/* Asks the guest to keep so much, after telling what has come of a command before it that was still waited for. The
 * balloon is there; -ERANGE, and nothing is changed. Control thread. */
int devices_balloon_ask(struct shim *shim, uint64_t request_id, uint64_t target_mib);

/* Tells, once for each command, that the guest has done what it was asked, or stands still. Control thread, at
 * every turn, and at shim->balloon.standstill_ns. */
void devices_balloon_settle(struct shim *shim);

/* Tells what has come of a command that the end of the VM overtakes. Control thread, once the guest has stopped. */
void devices_balloon_end(struct shim *shim);

#endif
