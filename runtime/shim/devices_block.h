/* SPDX-License-Identifier: MIT */
/* The VM's disks and its source of random bytes: from the spec to virtio devices. */
#ifndef AXVM_SHIM_DEVICES_BLOCK_H
#define AXVM_SHIM_DEVICES_BLOCK_H

#include "virtio/block.h"
#include "virtio/rng.h"

struct shim;

/* Open, check and lock what the devices need; all that is wrong goes to the shim's problems. Disks
 * that were handed over by number, or all others. Stage acquire. */
void devices_acquire_disks(struct shim *shim, bool by_number);
void devices_acquire_rng(struct shim *shim);

/* Rows of the device table. Stage build. */
int devices_create_disk(struct shim *shim, size_t index, const struct virtio_host *host);
int devices_create_rng(struct shim *shim, size_t index, const struct virtio_host *host);

/* Bytes, the most that any image that is a written file may be grown to; 0: there is none. After
 * acquire. */
uint64_t devices_largest_file(const struct shim *shim);

/* The disk of that id, for commands; NULL: none. */
struct block *devices_disk(struct shim *shim, const char *id);

#endif
