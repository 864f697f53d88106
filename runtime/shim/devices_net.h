/* SPDX-License-Identifier: MIT */
/* The VM's network devices: from the spec to TAPs and virtio devices. */
#ifndef AXVM_SHIM_DEVICES_NET_H
#define AXVM_SHIM_DEVICES_NET_H

#include "virtio/net.h"

struct shim;

/* Takes over the TAPs that were handed over by number, or attaches to all others; all that is wrong
 * goes to the shim's problems. Stage acquire. */
void devices_acquire_nets(struct shim *shim, bool by_number);

/* Row of the device table. Stage build. */
int devices_create_net(struct shim *shim, size_t index, const struct virtio_host *host);

/* Starts the kernel's side of nets with vhost. Stage seal, once the threads have been counted. -errno
 * with a problem. */
int devices_own_vhosts(struct shim *shim);

/* The net of that id, for commands; NULL: none. */
struct net *devices_net(struct shim *shim, const char *id);

#endif
