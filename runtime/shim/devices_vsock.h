/* SPDX-License-Identifier: MIT */
/* The VM's vsock device: from the spec to the virtio device. */
#ifndef AXVM_SHIM_DEVICES_VSOCK_H
#define AXVM_SHIM_DEVICES_VSOCK_H

#include "virtio/vsock.h"

struct shim;

/* Takes the channel over and checks that it is one; what is wrong goes to the shim's problems. Stage
 * acquire, while the descriptors handed over are all there is. */
void devices_acquire_vsock(struct shim *shim);

/* Row of the device table. Stage build. */
int devices_create_vsock(struct shim *shim, size_t index, const struct virtio_host *host);

#endif
