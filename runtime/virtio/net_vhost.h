/* SPDX-License-Identifier: MIT */
/* virtio-net whose frames pass by the I/O thread: the two rings of its pair are the kernel's
 * (vhost-net). Theory in net_vhost.c. */
#ifndef AXVM_VIRTIO_NET_VHOST_H
#define AXVM_VIRTIO_NET_VHOST_H

#include <pthread.h>

#include "io/control.h"
#include "io/op.h"
#include "io/vhost.h"
#include "virtio/pci.h"

struct net;

/* A ring as the I/O thread wishes it, or as the control thread has last made it. */
struct net_vhost_state {
	bool on;
	uint32_t epoch; /* of the ring's enabling: another one begins at index 0 */
	uint16_t base;
	struct vhost_place place;
};

struct net_vhost {
	struct net *net; /* NULL: the device has no vhost */
	int fd, tap_fd;  /* borrowed */
	uint64_t features; /* that the kernel's vhost-net knows */
	struct control_call call;
	pthread_mutex_t lock;
	/* Under the lock. */
	struct net_vhost_state wished[VHOST_RINGS], done[VHOST_RINGS];
	uint64_t negotiated;
	uint64_t asked, answered; /* wishes written down, and of them the last that was carried out */
	int error;
	/* Interrupts that wait for a mask, by ring; and the kernel's complaints. */
	struct net_vhost_notifier {
		struct net_vhost *vhost;
		enum vhost_ring ring;
		int fd; /* eventfd; owned */
		uint32_t file;
		struct io_op op;
	} notifiers[VHOST_RINGS];
};

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
