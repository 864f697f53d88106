/* SPDX-License-Identifier: MIT */
/* virtio-vsock, stream sockets (VIRTIO 1.2 §5.10). Theory in vsock.c; vsock_channel.h defines the
 * messages to and from the orchestrator. */
#ifndef AXVM_VIRTIO_VSOCK_H
#define AXVM_VIRTIO_VSOCK_H

#include "virtio/pci.h"
#include "virtio/vsock_state.h"

struct vsock_spec {
	uint64_t cid;   /* the guest's, 3 or above */
	int channel_fd; /* borrowed: UNIX SOCK_SEQPACKET */
};

struct vsock_stats {
	uint64_t connections;       /* opened, both ways */
	uint64_t to_guest, to_host; /* bytes */
	uint64_t resets;            /* sent to the guest, for any reason */
	uint64_t dropped;           /* packets from the guest that could not be answered */
	uint64_t places_taken;
};

/* Build time, before io_loop_build(); maps memory, and gives the loop's thread a descriptor table
 * of its own (IO_USE_DESCRIPTORS). `vsock` is zeroed by the caller and must not move. Returns 0,
 * -ENOMEM, or an error of virtio_pci_attach(). */
int vsock_create(struct vsock *vsock, const struct vsock_spec *spec,
                 const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed vsock is fine. */
void vsock_destroy(struct vsock *vsock);

/* Reads the counters; any thread. */
void vsock_get_stats(const struct vsock *vsock, struct vsock_stats *ret_stats);

#endif
