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
	/* One for each pair: non-blocking; each read and write is one frame after a header of 12
	 * bytes (io/tap.h). Borrowed until io_loop_build() has registered them. */
	const int *fds;
	/* The fd for tap_set_offloads(), called on the control thread; borrowed. -1: not a TAP, so
	 * there are no offloads to set. */
	int tap_fd;
	/* vhost-net, which carries the frames of the one pair; borrowed. 0: the I/O thread does */
	int vhost_fd;
	uint16_t pairs;      /* 1 to NET_PAIRS_MAX */
	uint16_t queue_size; /* of each, a power of two */
	uint16_t mtu;        /* 0: not told to the guest */
	bool offloads;       /* offer checksums and segmentation, both ways */
	/* those that the TAP cannot do towards the guest (tap_missing_offloads) */
	uint32_t missing_offloads;
	uint8_t mac[NET_MAC_BYTES];
	struct rate_config rx_limit, tx_limit;
};

/* Frames, and bytes of frames without their headers. "rx" is what the guest received. */
struct net_stats {
	uint64_t rx_frames, rx_bytes, rx_dropped;
	uint64_t tx_frames, tx_bytes, tx_dropped;
	uint64_t rx_copied; /* frames that were completed through the spill buffer */
};

/* Build time, before io_loop_build; allocates. -EINVAL: pairs or sizes; -ENOMEM; or an error of
 * virtio_pci_attach() or of the loop. */
int net_create(const struct net_spec *spec, const struct virtio_host *host, struct net **ret);
/* After the loop's thread has ended. NULL is fine. */
void net_destroy(struct net *net);

/* Replaces the limit of what the guest receives, or transmits. Any thread but the loop's. 0;
 * -EOPNOTSUPP with vhost. */
int net_set_limit(struct net *net, bool transmit, const struct rate_config *config);

/* Its virtio device, for the counters. */
const struct virtio_device *net_device(const struct net *net);

/* Reads the counters; any thread. */
void net_get_stats(const struct net *net, struct net_stats *ret_stats);

/* Derives the MAC address of a net whose spec has none: the first six bytes of SHA-256 over vm_id,
 * "/" and id, made locally administered and unicast. This rule never changes; sha256sum gives the
 * same. */
void net_derive_mac(const char *vm_id, const char *id, uint8_t ret_mac[static NET_MAC_BYTES]);

#endif
