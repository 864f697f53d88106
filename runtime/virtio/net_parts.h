/* SPDX-License-Identifier: MIT */
/* Private to virtio-net: what net.c, net_rx.c, net_tx.c and net_control.c share. I/O thread, unless
 * a comment says otherwise. */
#ifndef AXVM_VIRTIO_NET_PARTS_H
#define AXVM_VIRTIO_NET_PARTS_H

#include "virtio/net_state.h"

#define NET_MAIL_OFFLOADS VIRTIO_MAIL(0)
#define NET_MAIL_LIMITS VIRTIO_MAIL(1)
#define NET_MAIL_VHOST VIRTIO_MAIL(2)

/* net.c */
/* Makes the device look at the gate's queues again in `wait_ns`. */
void net_wait(struct net *net, struct net_gate *gate, uint64_t wait_ns);
/* Sets the number of pairs in use, and which TAP queue feeds which receiver. */
void net_set_active(struct net *net, uint16_t pairs);
/* The TAP was removed: sends one event and takes the link down. */
void net_lose_tap(struct net *net, int error);
uint16_t net_control_queue(const struct net *net);

/* net_control.c */
void net_serve_control(struct net *net);

#endif
