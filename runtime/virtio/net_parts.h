/* SPDX-License-Identifier: MIT */
/* The inside of virtio-net: what net.c, net_rx.c, net_tx.c and net_control.c share. All of it
 * belongs to the I/O thread but for what says otherwise. */
#ifndef AXVM_VIRTIO_NET_PARTS_H
#define AXVM_VIRTIO_NET_PARTS_H

#include "virtio/net_state.h"

#define NET_MAIL_OFFLOADS VIRTIO_MAIL(0)
#define NET_MAIL_LIMITS VIRTIO_MAIL(1)
#define NET_MAIL_VHOST VIRTIO_MAIL(2)

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
