/* SPDX-License-Identifier: MIT */
/* The VM's console: from the spec to the virtio device. */
#ifndef AXVM_SHIM_DEVICES_CONSOLE_H
#define AXVM_SHIM_DEVICES_CONSOLE_H

#include "virtio/console.h"

struct shim;

/* Checks the console's ends, which have been taken over or opened, and holds those open that others open; what is wrong goes to the shim's problems. Stage
 * acquire. */
void devices_acquire_console(struct shim *shim);

/* Row of the device table. Stage build. */
int devices_create_console(struct shim *shim, size_t index, const struct virtio_host *host);

#endif
