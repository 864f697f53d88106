/* SPDX-License-Identifier: MIT */
/* virtio-net whose frames pass by the I/O thread: the two rings of its pair are the kernel's
 * (vhost-net). Theory in net_vhost.c. */
#ifndef AXVM_VIRTIO_NET_VHOST_H
#define AXVM_VIRTIO_NET_VHOST_H

#include "virtio/host.h"
#include "virtio/net_state.h"

/* Build time, before virtio_pci_attach: takes the pair's two rings out of the I/O thread's hands.
 * 0; -ENOTTY: fd is no vhost-net; -EOPNOTSUPP: it cannot do rings of ours; or what the loop and the
 * desk say. */
int net_vhost_create(struct net *net, int fd, int tap_fd, const struct virtio_host *host);
void net_vhost_destroy(struct net_vhost *vhost);

/* I/O thread. The loop runs. */
void net_vhost_begin(struct net_vhost *vhost);
/* Something may have changed about the rings: writes down what is wished now. */
void net_vhost_apply(struct net_vhost *vhost);
/* The control thread has done something. */
void net_vhost_settle(struct net_vhost *vhost);
/* Whether the kernel has let go of a ring. */
bool net_vhost_released(struct net_vhost *vhost, enum vhost_ring ring);

#endif
