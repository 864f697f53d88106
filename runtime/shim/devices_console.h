/* SPDX-License-Identifier: MIT */
/* The VM's console: from the spec to the virtio device. */
#ifndef AXVM_SHIM_DEVICES_CONSOLE_H
#define AXVM_SHIM_DEVICES_CONSOLE_H

#include "virtio/console.h"

struct shim;

/* Holds the console's ends open where clients come and go (resource_hold_open), and checks that its limit is
 * of a file; what is wrong goes to the shim's problems. The ends have been taken over or opened. Stage acquire. */
void devices_acquire_console(struct shim *shim);

/* Row of the device table. Stage build. */
int devices_create_console(struct shim *shim, size_t index, const struct virtio_host *host);

#endif
