/* SPDX-License-Identifier: MIT */
/* Private to the transport: what pci.c and registers.c (vCPUs), transport.c and
 * transport_queue.c (I/O thread) share. */
#ifndef AXVM_VIRTIO_TRANSPORT_H
#define AXVM_VIRTIO_TRANSPORT_H

#include <pthread.h>

#include "bus/msix.h"
#include "bus/pci.h"
#include "io/op.h"
#include "virtio/complaints.h"
#include "virtio/device.h"
#include "virtio/host.h"
#include "virtio/stats.h"

/* Bits of the mailbox. */
#define MAIL_STATE 0x1u  /* status or queue registers ask for a transition */
#define MAIL_KICK 0x2u   /* bits in `kicks` */
#define MAIL_REPLAY 0x4u /* msix_replay */
#define MAIL_CONFIG 0x8u /* configuration changed */
#define MAIL_SCAN 0x10u  /* look at every queue */
#define MAIL_TRANSPORT 0xffffu

/* Registers of one queue (VIRTIO 1.2 §4.1.4.3). Frozen from `enabled` until its reset is done. */
struct queue_registers {
	uint16_t size;
	uint16_t vector;
	bool enabled;
	bool resetting; /* queue_reset was written, and has not completed */
	uint64_t desc;
	uint64_t avail;
	uint64_t used;
};

/* The registers that the guest reads and writes. All under `lock`. */
struct virtio_registers {
	pthread_mutex_t lock;
	uint8_t status;
	uint8_t generation;
	bool live;      /* DRIVER_OK was accepted, and no reset has completed since */
	bool resetting; /* 0 was written to a live device's status; not completed */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint64_t driver_features;
	uint16_t queue_select;
	struct queue_registers queues[VIRTIO_QUEUES_MAX];
};

/* A queue: the I/O thread's state. */
struct virtio_queue {
	struct virtio_device *device;
	struct virtq ring;
	struct io_op doorbell_op;
	int doorbell_fd; /* owned */
	uint32_t doorbell_file;
	uint16_t index;
	uint16_t vector;
	uint64_t turn;       /* turn of the loop to which the next two belong */
	uint32_t budget;     /* pops left in that turn */
	uint32_t work;       /* units of VIRTIO_TURN_WORK left in that turn */
	bool again;          /* one of the two ran out: a kick is due in the next turn */
	uint32_t epoch;      /* times it was enabled */
	bool watched;        /* drained; polled instead of kicked */
	bool resetting;      /* draining for queue_reset */
	uint64_t *taken_ns;  /* when each request was taken, by its head; owned */
	uint32_t last_bytes; /* readable bytes of the request taken last */
	struct virtio_queue_counters counters;
};

struct virtio_transport {
	struct virtio_device *device;
	struct virtio_host host;
	uint64_t offered; /* all features */
	struct virtio_registers registers;
	struct virtio_queue *queues;
	_Atomic uint64_t kicks; /* queues kicked by an exit instead of a doorbell */
	_Atomic uint16_t config_vector;
	_Atomic uint8_t isr;
	_Atomic bool bus_master;
	/* I/O thread. */
	uint64_t dirty_queues;
	bool active; /* between activate and reset */
	bool broken;
	bool draining; /* reset in progress */
	bool paused;
	struct virtio_complaints complaints;
	struct virtio_latency latency;
	_Atomic uint64_t failures, resets;
	/* PCI. */
	struct pci_function function;
	struct pci_doorbell *doorbells;
	struct msix msix;
	uint32_t *irq_files; /* by vector */
	uint8_t access_capability;
};

/* registers.c. `offset` is within common configuration; any width and alignment is safe. */
uint64_t virtio_common_read(struct virtio_transport *t, uint32_t offset, uint32_t width);
void virtio_common_write(struct virtio_transport *t, uint32_t offset, uint32_t width,
                         uint64_t value);
/* All registers as after a reset, status 0. Lock held, or build time. */
void virtio_registers_reset(struct virtio_transport *t);
void virtio_queue_registers_reset(struct virtio_transport *t, uint16_t queue);

/* transport_queue.c. Begins a queue's turn, if the loop has begun one since. I/O thread. */
void virtio_begin_turn(const struct virtio_device *device, struct virtio_queue *q);
/* Has a queue's completions published at the end of the turn. I/O thread. */
void virtio_mark_dirty(struct virtio_transport *t, uint16_t queue);

/* transport.c. */
extern const struct io_client_ops virtio_client_ops;
void virtio_doorbell_done(struct io_op *op, int result, uint32_t flags);

#endif
