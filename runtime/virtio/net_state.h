/* SPDX-License-Identifier: MIT */
/* The state of a net that its files share. I/O thread, unless a comment says otherwise. */
#ifndef AXVM_VIRTIO_NET_STATE_H
#define AXVM_VIRTIO_NET_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/control.h"
#include "io/op.h"
#include "io/rate_limit.h"
#include "io/vhost.h"
#include "virtio/net_limits.h"
#include "virtio/net_queues.h"

struct net;

/* A ring as the I/O thread wants it, or as the control thread has last set it. */
struct net_vhost_state {
	bool on;
	uint32_t epoch; /* of the ring; a new epoch begins at index 0 */
	uint16_t base;
	struct vhost_place place;
};

struct net_vhost {
	struct net *net;   /* NULL: the device has no vhost */
	int fd, tap_fd;    /* borrowed */
	uint64_t features; /* that the kernel's vhost-net knows */
	struct control_call call;
	pthread_mutex_t lock;
	/* Under the lock. */
	struct net_vhost_state wished[VHOST_RINGS], done[VHOST_RINGS];
	uint64_t negotiated;
	/* numbers of the last wish made, and of the last one carried out */
	uint64_t asked, answered;
	int error;
	/* By ring: interrupts that wait until their vector is unmasked. */
	struct net_vhost_notifier {
		struct net_vhost *vhost;
		enum vhost_ring ring;
		int fd; /* eventfd; owned */
		uint32_t file;
		struct io_op op;
	} notifiers[VHOST_RINGS];
};

struct net_gate {
	struct rate_limit limit;
	struct io_op timer_op;
	struct __kernel_timespec time;
	bool armed;
};

struct net {
	struct virtio_device device;
	struct virtio_net_config config;
	uint16_t *queue_sizes; /* owned */
	uint16_t pairs;
	uint16_t active; /* pairs the driver uses */
	uint8_t mac[NET_MAC_BYTES];
	uint32_t readable; /* TAP queues that may have a frame */
	uint32_t frame;    /* bytes of a frame of full size, unsegmented */
	uint16_t chains_per_read;
	uint16_t mtu;
	bool rx_ready; /* the TAP's offloads are those that the driver accepts */
	bool tap_gone;
	bool control_waits;             /* the control queue waits for reads to end */
	struct net_receiver *receivers; /* by pair; owned, as the next two */
	struct net_sender *senders;
	struct net_source *sources;
	struct net_gate rx_gate, tx_gate;
	struct iovec control_iov[NET_SEGMENTS];
	/* Shared with the control thread. */
	struct control_desk *desk;
	struct control_call offload_call;
	int tap_fd;
	_Atomic uint32_t offloads_wanted;
	_Atomic uint32_t offloads_done;
	_Atomic int offload_error;
	pthread_mutex_t limit_lock;
	struct rate_config limits[2]; /* rx, tx; under the lock */
	struct net_vhost vhost;
	_Atomic uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped,
		rx_copied;
};

#endif
