/* SPDX-License-Identifier: MIT */
/* The VM's disks, for the commands that address one. */
#ifndef AXVM_SHIM_DEVICE_DISK_H
#define AXVM_SHIM_DEVICE_DISK_H

#include "shim/device/state.h"

/* The disk of that id; NULL: none. Borrowed. */
struct block *devices_disk(struct shim_devices *devices, const char *id);

#endif
