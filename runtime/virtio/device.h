/* SPDX-License-Identifier: MIT */
/* The interface between a virtio device and its transport, for the author of a device.
 *
 * A device is a struct that embeds `struct virtio_device`, and a `static const` table of
 * operations. It knows nothing of PCI, interrupts, KVM or threads. In order:
 *
 *   1. foo_create(): fill in ops, id, features, queue_count, queue_sizes, config; io_loop_add_file
 *      for its fds, io_loop_uses and io_loop_reserve for its operations; then virtio_pci_attach.
 *   2. activate(): the driver is up; virtio_has(device, FEATURE) tells what was agreed.
 *   3. kick(): the driver made requests available, or could have. The shape is always
 *
 *          do {
 *                  while (virtio_pop(device, queue, &chain)) {
 *                          … copy the header out of the chain, check the copy …
 *                          virtio_push(device, queue, chain.head, bytes_written);
 *                  }
 *          } while (virtio_want_kicks(device, queue));
 *
 *      A request may as well be pushed later, from the `done` of an io_op. Used entries are
 *      published, and the interrupt raised, once at the end of the loop's turn.
 *   4. quiesce(queue): start no more requests, and cancel those that could wait for ever
 *      (virtio_unpop gives back a request not yet touched). The device must push every popped
 *      chain in finite time. quiesce comes before a reset of the device or the queue, and before
 *      a pause; kick is not called after it. After a reset comes activate, after a pause resume
 *      and kick.
 *   5. reset(): all chains are back; forget the driver.
 *
 * All of this runs on the I/O thread; only config_write runs on a vCPU thread, with the registers
 * locked. If the ring is malformed, virtio_pop reports it and returns false; the device does
 * nothing about it. Once a device has failed or is in reset, pushes are dropped: nothing is written
 * to the guest. */
#ifndef AXVM_VIRTIO_DEVICE_H
#define AXVM_VIRTIO_DEVICE_H

#include "base/base.h"
#include "io/loop.h"
#include "virtio/queue.h"

#define VIRTIO_QUEUES_MAX 64
/* The work that a device may do in a turn of the loop, shared evenly by its queues: descriptors of
 * chains taken, and units counted by virtio_work(). A unit takes about 25 ns, so a device uses less
 * than a millisecond a turn. */
#define VIRTIO_TURN_WORK 16384u
#define VIRTIO_FEATURE(bit) (1ULL << (bit))
/* Bits of io_client_post that belong to the device; the lower 16 are the transport's. */
#define VIRTIO_MAIL(n) (1u << (16 + (n)))

struct virtio_device;

struct virtio_device_ops {
	const char *name;   /* "console" */
	uint16_t device_id; /* VIRTIO 1.2 §5 */
	uint32_t pci_class; /* 0xccsspp */
	/* Required: kick. The others may be NULL. */
	void (*start)(struct virtio_device *device); /* the loop runs: arm polls of one's own */
	void (*activate)(struct virtio_device *device);
	void (*kick)(struct virtio_device *device, uint16_t queue);
	void (*quiesce)(struct virtio_device *device, uint16_t queue);
	void (*reset)(struct virtio_device *device);
	void (*resume)(struct virtio_device *device);
	void (*mail)(struct virtio_device *device, uint32_t bits); /* VIRTIO_MAIL bits posted */
	bool (*lingers)(const struct virtio_device *device); /* output a stop should wait for */
	/* The number of a queue's requests that were popped and are not being worked on (receive
	 * buffers in stock, requests between two operations): a pause does not wait for them. NULL:
	 * none. */
	uint16_t (*held)(const struct virtio_device *device, uint16_t queue);
	/* Whether the kernel has let go of the rings of a queue that it serves (`elsewhere`): a
	 * reset and a pause wait for it. NULL: they do not wait. */
	bool (*released)(struct virtio_device *device, uint16_t queue);
	/* A guest write wholly inside config; NULL: read-only. vCPU thread, registers locked. */
	void (*config_write)(struct virtio_device *device, uint32_t offset, const void *data,
	                     uint32_t length);
};

struct virtio_transport;

struct virtio_device {
	/* Set by the device before it is attached, borrowed. */
	const struct virtio_device_ops *ops;
	const char *id;              /* the spec's name for it: "root" */
	uint64_t features;           /* offered, beside those of the transport */
	uint16_t queue_count;        /* at most VIRTIO_QUEUES_MAX */
	const uint16_t *queue_sizes; /* the largest size of each, powers of two */
	void *config;                /* little-endian; changed by virtio_config_update */
	uint32_t config_size;        /* bytes, at most 4096 */
	/* Bits: queues that the kernel (vhost) serves instead of the I/O thread. Their rings are
	 * checked to lie in RAM and then not touched: no doorbell is watched, nothing popped or
	 * pushed. For such a queue kick means that virtio_running or the interrupt's eventfd may
	 * have changed. */
	uint64_t elsewhere;
	/* bits: queues whose buffers lie in stock, so that their time is no latency */
	uint64_t untimed_queues;
	/* For the device to read. */
	struct io_loop *loop;
	uint64_t negotiated;
	/* The transport's. */
	struct io_client client;
	struct virtio_transport *transport;
};

/* ---- on the I/O thread */

/* Whether a feature bit (its number) was negotiated. Meaningful from activate to reset. */
static inline bool virtio_has(const struct virtio_device *device, unsigned bit)
{
	return device->negotiated & VIRTIO_FEATURE(bit);
}

/* Takes the next request of a queue. False: there is none, or the device has failed, is paused or
 * in reset, or has used up its turn (then kick is called again in the next one). */
bool virtio_pop(struct virtio_device *device, uint16_t queue, struct virtq_chain *chain);
/* Counts work whose length the guest chooses, beyond the descriptors of its chains; a unit is the
 * cost of a descriptor. False: the queue has used up its turn, and virtio_pop returns nothing
 * either. The device then goes on in the next turn, for which it calls io_client_again() (a reset
 * and a pause wait for it, and no kick comes then). */
bool virtio_work(struct virtio_device *device, uint16_t queue, uint32_t units);
/* Gives back the request popped last, untouched. */
void virtio_unpop(struct virtio_device *device, uint16_t queue);
/* Completes a request; `length` bytes were written to its writable part. */
void virtio_push(struct virtio_device *device, uint16_t queue, uint16_t head, uint32_t length);
/* Asks for kicks again. True: more became available meanwhile, so go on popping. */
bool virtio_want_kicks(struct virtio_device *device, uint16_t queue);
/* Whether virtio_pop() could return a request. */
bool virtio_available(const struct virtio_device *device, uint16_t queue);
/* Whether requests may be worked on: not failed, paused, in reset, or without bus mastering. */
bool virtio_running(const struct virtio_device *device, uint16_t queue);
/* Whether the ring is still the driver's. In quiesce: false before a reset, true before a pause. */
bool virtio_live(const struct virtio_device *device, uint16_t queue);
/* Requests popped and not yet pushed. */
uint16_t virtio_in_flight(const struct virtio_device *device, uint16_t queue);

/* The ring of a queue that is served elsewhere, by addresses of this process; valid while
 * virtio_running(). */
struct virtio_ring_place {
	uint16_t size;
	uint32_t epoch; /* changes when the queue is enabled again, with index 0 */
	const void *desc;
	void *avail, *used;
	int doorbell_fd;
	int irq_fd; /* -1: blocked; call virtio_interrupt() instead */
};
void virtio_ring_place(const struct virtio_device *device, uint16_t queue,
                       struct virtio_ring_place *ret_place);
/* Raise an interrupt of such a queue, or kick whoever serves it. */
void virtio_interrupt(struct virtio_device *device, uint16_t queue);
void virtio_ring_doorbell(struct virtio_device *device, uint16_t queue);

/* Fails the device because the driver broke the rules: NEEDS_RESET, an event, and no more requests
 * until the driver resets it. `queue` is -1 if no queue is concerned; `message` must be constant,
 * since an event that comes too fast is kept for later (virtio/complaints.h). */
void virtio_fail(struct virtio_device *device, int queue, int error, const char *message);
/* Sends an event about a failure behind the device. The device goes on. */
void virtio_report(struct virtio_device *device, int queue, int error, const char *message);
/* Counts, in the next event, a failure that the device chose not to report. */
void virtio_not_told(struct virtio_device *device);

/* ---- on any thread */

/* Changes device configuration: new bytes, new generation, configuration interrupt. */
void virtio_config_update(struct virtio_device *device, uint32_t offset, const void *data,
                          uint32_t length);

#endif
