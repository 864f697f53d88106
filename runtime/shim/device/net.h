/* SPDX-License-Identifier: MIT */
/* The VM's network devices, for the commands that address one. */
#ifndef AXVM_SHIM_DEVICE_NET_H
#define AXVM_SHIM_DEVICE_NET_H

#include "shim/device/state.h"

/* The net of that id; NULL: none. Borrowed. */
struct net *devices_net(struct shim_devices *devices, const char *id);

#endif
