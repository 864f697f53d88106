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
	bool write_through;  /* at first; the driver can change it (CONFIG_WCE) */
	bool keeps_blocks;   /* offer no discard and never unmap for zeroes, even if the file can */
	struct rate_config limit;
};

/* Build time, before io_loop_build; allocates. `block` is zeroed by the caller and must not move;
 * `file` stays the caller's and must outlive it. 0, -ENOMEM, -EINVAL (queues), or an error of
 * virtio_pci_attach(). */
int block_create(struct block *block, const struct block_spec *spec, struct disk_file *file,
                 const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed block is fine. */
void block_destroy(struct block *block);

/* Reads the file's length again and tells the guest; *ret_bytes is the new capacity. Any one thread
 * at a time; after the seal the control thread only (lseek). -EINVAL: the length is not a multiple
 * of the block size; -EFBIG: it exceeds the file's max_size, beyond which the kernel may refuse to
 * write. Nothing changes then. */
int block_refresh_capacity(struct block *block, uint64_t *ret_bytes);

/* Replaces the rate limit. Any one thread at a time; never blocks. */
void block_set_limit(struct block *block, const struct rate_config *limit);

/* The value of a counter; any thread. */
uint64_t block_count(const struct block *block, enum block_counter counter);

#endif
