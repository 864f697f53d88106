/* SPDX-License-Identifier: MIT */
/* vhost-net: a kernel thread that moves frames between two rings of a guest and a TAP
 * (linux/vhost.h). One descriptor of /dev/vhost-net is one receive and one transmit ring. */
#ifndef AXVM_IO_VHOST_H
#define AXVM_IO_VHOST_H

#include "guest/memory.h"

enum vhost_ring { VHOST_RX, VHOST_TX, VHOST_RINGS };

/* A ring as the driver has laid it out, by addresses of this process, and its eventfds. */
struct vhost_place {
	uint16_t size;
	const void *desc;
	void *avail, *used;
	int kick; /* the driver's doorbell */
	int call; /* the driver's interrupt */
};

/* The virtio features that the host's vhost-net offers. 0 or -errno; -ENOTTY: not a vhost-net. */
int vhost_get_features(int fd, uint64_t *ret_features);

/* Makes this process the owner and gives the kernel the map of guest memory. The kernel starts its
 * thread now, in this process or beside it. The thread never returns to user space, so no filter is
 * on it; it has the caller's limits, ids and CPUs. Stage seal, after the threads were counted and
 * before the control thread's filter. 0 or -errno. */
int vhost_own(int fd, const struct guest_memory *memory);

/* The control thread calls the rest, at any time; 0 or -errno. `fd` is at or above
 * VHOST_FD_BASE. */

/* Sets the negotiated features; bits that vhost does not know are left out. While no ring runs. */
int vhost_set_features(int fd, uint64_t features);
/* Starts serving a ring at its index `base`. */
int vhost_start(int fd, enum vhost_ring ring, const struct vhost_place *place, uint16_t base,
                int tap_fd);
/* Stops serving a ring: waits until the kernel's thread has let go of it. *ret_base is the index at
 * which to go on. */
int vhost_stop(int fd, enum vhost_ring ring, uint16_t *ret_base);
/* Changes the eventfd for interrupts, while the ring runs. */
int vhost_set_call(int fd, enum vhost_ring ring, int call);

#endif
