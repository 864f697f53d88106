/* SPDX-License-Identifier: MIT */
/* virtio-net over a TAP (VIRTIO 1.2 §5.1). Theory of operation in net.c. */
#ifndef AXVM_VIRTIO_NET_H
#define AXVM_VIRTIO_NET_H

#include "io/rate_limit.h"
#include "virtio/net_limits.h"
#include "virtio/pci.h"

struct net;

struct net_spec {
	const char *id; /* borrowed */
	/* One a pair: non-blocking, each read and write one frame with a header of 12 bytes before
	 * it (io/tap.h). The fds are borrowed until io_loop_build has taken the files. */
	const int *fds;
	/* What tap_set_offloads is called with on the control thread; borrowed. -1: no TAP, but
	 * something that carries frames without offloads of its own. */
	int tap_fd;
	/* vhost-net carries the frames of the one pair; borrowed. 0: the I/O thread does */
	int vhost_fd;
	uint16_t pairs;      /* 1 to NET_PAIRS_MAX */
	uint16_t queue_size; /* of each, a power of two */
	uint16_t mtu;        /* 0: not told to the guest */
	bool offloads;       /* offer checksums and segmentation, both ways */
	/* tap_missing_offloads: of those, what cannot be had towards the guest */
	uint32_t missing_offloads;
	uint8_t mac[NET_MAC_BYTES];
	struct rate_config rx_limit, tx_limit;
};

/* Frames, and bytes of frames without their headers. Received is what the guest received. */
struct net_stats {
	uint64_t rx_frames, rx_bytes, rx_dropped;
	uint64_t tx_frames, tx_bytes, tx_dropped;
	uint64_t rx_copied; /* frames that had to be finished through a buffer */
};

/* Build time, before io_loop_build; allocates. -EINVAL: pairs or sizes; -ENOMEM; or what
 * virtio_pci_attach and the loop say. */
int net_create(const struct net_spec *spec, const struct virtio_host *host, struct net **ret);
/* After the loop's thread has ended. NULL is fine. */
void net_destroy(struct net *net);

/* Another limit from now on: of what the guest receives, or transmits. Any thread but the loop's.
 * 0; -EOPNOTSUPP with vhost. */
int net_set_limit(struct net *net, bool transmit, const struct rate_config *config);

/* The device of it, for its counters. */
const struct virtio_device *net_device(const struct net *net);

/* Counters so far; any thread. */
void net_get_stats(const struct net *net, struct net_stats *ret_stats);

/* The address of a net whose spec has none: the first six bytes of SHA-256 over vm_id, "/" and id,
 * made locally administered and unicast. The same for ever, and to be worked out with sha256sum. */
void net_derive_mac(const char *vm_id, const char *id, uint8_t ret_mac[static NET_MAC_BYTES]);

#endif
