/* SPDX-License-Identifier: MIT */
/* virtio-vsock, stream sockets (VIRTIO 1.2 §5.10). Theory in vsock.c; what goes over the channel to
 * the orchestrator is in vsock_channel.h. */
#ifndef AXVM_VIRTIO_VSOCK_H
#define AXVM_VIRTIO_VSOCK_H

#include "virtio/pci.h"
#include "virtio/vsock_state.h"

struct vsock_spec {
	uint64_t cid;   /* the guest's, 3 or above */
	int channel_fd; /* borrowed: UNIX SOCK_SEQPACKET */
};

struct vsock_stats {
	uint64_t connections;       /* that were opened, both ways */
	uint64_t to_guest, to_host; /* bytes */
	uint64_t resets;            /* sent to the guest, in answer to whatever */
	uint64_t dropped;           /* packets of the guest's that could not be answered */
	uint64_t places_taken;
};

/* Build time, before io_loop_build; maps memory, and makes the loop one with descriptors of its own
 * (IO_USE_DESCRIPTORS). `vsock` is zeroed by the caller and must not move. Returns 0, -ENOMEM, or
 * what virtio_pci_attach says. */
int vsock_create(struct vsock *vsock, const struct vsock_spec *spec,
                 const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed vsock is fine. */
void vsock_destroy(struct vsock *vsock);

/* Counters so far; any thread. */
void vsock_get_stats(const struct vsock *vsock, struct vsock_stats *ret_stats);

#endif
