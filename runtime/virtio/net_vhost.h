/* SPDX-License-Identifier: MIT */
/* virtio-net by vhost-net: the kernel serves the two rings of its pair, and no frame passes through
 * the I/O thread. Theory in net_vhost.c. */
#ifndef AXVM_VIRTIO_NET_VHOST_H
#define AXVM_VIRTIO_NET_VHOST_H

#include "virtio/host.h"
#include "virtio/net_state.h"

/* Build time, before virtio_pci_attach(): marks the pair's two rings as served by the kernel. 0;
 * -ENOTTY: fd is not a vhost-net; -EOPNOTSUPP: it lacks a feature that our rings need; or an error
 * of the loop or the desk. */
int net_vhost_create(struct net *net, int fd, int tap_fd, const struct virtio_host *host);
void net_vhost_destroy(struct net_vhost *vhost);

/* The rest is for the I/O thread. Called once the loop runs. */
void net_vhost_begin(struct net_vhost *vhost);
/* Called when something about the rings may have changed: records what is wanted now. */
void net_vhost_apply(struct net_vhost *vhost);
/* Called after the control thread has carried something out. */
void net_vhost_settle(struct net_vhost *vhost);
/* Whether the kernel has let go of a ring. */
bool net_vhost_released(struct net_vhost *vhost, enum vhost_ring ring);

#endif
