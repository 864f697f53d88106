/* SPDX-License-Identifier: MIT */
/* virtio-rng (VIRTIO 1.2 §5.4): random bytes of the host's generator. */
#ifndef AXVM_VIRTIO_RNG_H
#define AXVM_VIRTIO_RNG_H

#include "io/rate_limit.h"
#include "virtio/device.h"
#include "virtio/pci.h"

#define RNG_QUEUE_SIZE 8
#define RNG_REQUEST_MAX 4096 /* bytes; the driver asks again for more */

struct rng_spec {
	int source_fd; /* borrowed: /dev/urandom */
	struct rate_config limit;
};

struct rng_request {
	struct io_op op;
	struct rng *rng;
	uint16_t head;
	bool busy;
};

struct rng {
	struct virtio_device device;
	uint32_t source_file;
	/* I/O thread. */
	struct rng_request requests[RNG_QUEUE_SIZE];
	struct rate_limit limit;
	bool throttled; /* until the timer is done */
	struct io_op timer_op;
	struct __kernel_timespec timer;
	struct iovec iov[VIRTQ_IOV_MAX(RNG_QUEUE_SIZE)];
	_Atomic uint64_t bytes;
};

/* Build time, before io_loop_build. `rng` is zeroed by the caller and must not move. Returns 0 or
 * an error of virtio_pci_attach(). */
int rng_create(struct rng *rng, const struct rng_spec *spec, const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed rng is fine. */
void rng_destroy(struct rng *rng);

/* Bytes handed to the guest; any thread. */
uint64_t rng_bytes(const struct rng *rng);

#endif
