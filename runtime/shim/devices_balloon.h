/* SPDX-License-Identifier: MIT */
/* The VM's balloon: from the spec to the virtio device. */
#ifndef AXVM_SHIM_DEVICES_BALLOON_H
#define AXVM_SHIM_DEVICES_BALLOON_H

#include "virtio/balloon.h"

struct shim;

/* Row of the device table. Stage build. */
int devices_create_balloon(struct shim *shim, size_t index, const struct virtio_host *host);

/* The balloon, for commands (balloon_set_target) and status; NULL: the spec has none. */
struct balloon *devices_balloon(struct shim *shim);

#endif
