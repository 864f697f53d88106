/* SPDX-License-Identifier: MIT */
/* The inside of virtio-net: what net.c, net_rx.c, net_tx.c and net_control.c share. All of it
 * belongs to the I/O thread but for what says otherwise. */
#ifndef AXVM_VIRTIO_NET_PARTS_H
#define AXVM_VIRTIO_NET_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "io/control.h"
#include "virtio/net.h"
#include "virtio/net_queues.h"
#include "virtio/net_vhost.h"

#define NET_MAIL_OFFLOADS VIRTIO_MAIL(0)
#define NET_MAIL_LIMITS VIRTIO_MAIL(1)
#define NET_MAIL_VHOST VIRTIO_MAIL(2)

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
	uint32_t frame;    /* bytes of one of full size, unsegmented */
	uint16_t chains_per_read;
	uint16_t mtu;
	bool rx_ready; /* the TAP has been told what the driver takes */
	bool tap_gone;
	bool control_waits; /* for reads to end */
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
	_Atomic uint64_t rx_frames, rx_bytes, rx_dropped, tx_frames, tx_bytes, tx_dropped, rx_copied;
};

/* net.c */
/* Has the gate's queues looked at again in `wait_ns`. */
void net_wait(struct net *net, struct net_gate *gate, uint64_t wait_ns);
/* Pairs in use: which TAP queue feeds which receiver. */
void net_set_active(struct net *net, uint16_t pairs);
/* The TAP was removed: once an event, link down. */
void net_lose_tap(struct net *net, int error);
uint16_t net_control_queue(const struct net *net);

/* net_control.c */
void net_serve_control(struct net *net);

#endif
