/* SPDX-License-Identifier: MIT */
/* virtio-blk (VIRTIO 1.2 §5.2) over a raw image or block device. Theory in block.c. */
#ifndef AXVM_VIRTIO_BLOCK_H
#define AXVM_VIRTIO_BLOCK_H

#include "virtio/block_state.h"
#include "virtio/pci.h"

struct block_spec {
	const char *id;     /* borrowed */
	const char *serial; /* at most VIRTIO_BLK_ID_BYTES */
	uint16_t queues, queue_size;
	uint32_t block_size; /* 0: the file's own */
	bool write_through;  /* to begin with; the driver can choose (CONFIG_WCE) */
	bool keeps_blocks;   /* offer no discard, and unmap no zeroes, whatever the file can do */
	struct rate_config limit;
};

/* Build time, before io_loop_build; allocates. `block` is zeroed by the caller and must not move;
 * `file` stays the caller's and must outlive it. 0, -ENOMEM, -EINVAL (queues), or what
 * virtio_pci_attach says. */
int block_create(struct block *block, const struct block_spec *spec, struct disk_file *file,
                 const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed block is fine. */
void block_destroy(struct block *block);

/* Looks at the length of the file again and tells the guest of it; *ret_bytes is the capacity. One
 * thread at a time, any; after the seal the control thread (lseek). -EINVAL: the length is no
 * multiple of the block size; -EFBIG: it is more than the file's max_size, beyond which the kernel
 * may refuse to write. Nothing changes then. */
int block_refresh_capacity(struct block *block, uint64_t *ret_bytes);

/* Another rate limit from now on. One thread at a time, any; never blocks. */
void block_set_limit(struct block *block, const struct rate_config *limit);

/* A counter so far; any thread. */
uint64_t block_count(const struct block *block, enum block_counter counter);

#endif
