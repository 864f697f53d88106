/* SPDX-License-Identifier: MIT */
/* TAP devices: taken over by fd or attached to by name, and made ready for virtio-net. */
#ifndef AXVM_IO_TAP_H
#define AXVM_IO_TAP_H

#include "base/problem.h"

/* Bytes of the header before each frame: struct virtio_net_hdr_v1, little-endian. */
#define TAP_HEADER_BYTES 12
/* The kernel's own limit is 256. */
#define TAP_QUEUES_MAX 64

struct tap_request {
	const char *name; /* an existing TAP to attach to; NULL or "": fds instead */
	const int *fds;   /* one for each queue, attached already */
	uint32_t queues;
	const char *field; /* of the spec, for problems */
};

/* Writes one fd for each queue to ret_fds: non-blocking, with a header of TAP_HEADER_BYTES, all
 * offloads off. Fds that the request gives keep their numbers. -errno with a problem for each
 * fault, which says what to do. Start-up only: opens files. */
int tap_take(const struct tap_request *request, int *ret_fds, struct problems *problems);

/* Those of TUN_F_CSUM, _TSO4, _TSO6 and _TSO_ECN that this TAP refuses. It tries each of them and
 * leaves all off. `fd` is any of its queues. Start-up only. */
unsigned int tap_missing_offloads(int fd);

/* Sets the offloads that frames from the TAP may use, TUN_F_* bits, for all its queues. `fd` is any
 * of them. Control thread; `fd` lies in the TAP block of the fd layout. 0 or -errno. */
int tap_set_offloads(int fd, unsigned int offloads);

#endif
