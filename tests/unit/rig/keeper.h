/* SPDX-License-Identifier: MIT */
/* A device that keeps its requests until told, on a machine, and its driver. It knows if it is used
 * in ways that virtio/device.h says it is not. */
#ifndef AXVM_TESTS_KEEPER_H
#define AXVM_TESTS_KEEPER_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "rig/virtio_driver.h"

#define KEEPER_SIZE 8
#define KEEPER_QUEUES 2
#define KEEPER_FEATURE 3 /* of its own */
#define KEEPER_FULL                                                                                \
	(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_F_RING_RESET) |                \
	 VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_FEATURE(KEEPER_FEATURE))
#define KEEPER_DATA 0x40000
/* Posted to it: all that was kept is given back, with a length of 7. */
#define KEEPER_RELEASE VIRTIO_MAIL(0)

struct keeper {
	struct virtio_device device;
	uint32_t config[1024]; /* as much of it is the device's as `config_size` says: 8 bytes */
	struct iovec iov[VIRTQ_IOV_MAX(KEEPER_SIZE)];
	uint16_t kept[KEEPER_QUEUES][KEEPER_SIZE];
	uint16_t count[KEEPER_QUEUES];
	_Atomic uint32_t popped, activations, quiesces, resets, written, releases;
	/* of the queue, as they were during its last visit with a request */
	_Atomic uint32_t used_flags;
	_Atomic bool prompt;  /* complete at once */
	_Atomic bool returns; /* look and give back */
	/* before anything else look and give back so many times; counts down */
	_Atomic uint32_t peeks;
	_Atomic uint32_t peek_visits; /* visits that had some of those */
};

struct keeper_rig {
	struct test_machine m;
	struct keeper keeper;
	struct driver driver;
	struct ring rings[KEEPER_QUEUES];
};

/* Attached, with no loop running yet. */
void keeper_create(struct keeper_rig *rig);
/* Created, started and probed. */
void keeper_start(struct keeper_rig *rig);
/* From reset to DRIVER_OK. */
void keeper_bring_up(struct keeper_rig *rig, uint64_t features);
void keeper_stop(struct keeper_rig *rig);

/* A buffer of 16 bytes for the device to write; no kick. */
void keeper_offer(struct keeper_rig *rig, uint16_t queue, uint16_t head);
/* One of those, served at once. */
void keeper_serve(struct keeper_rig *rig, uint16_t queue);
/* Has it give back all it kept, and waits until what was posted before has been handled too. */
void keeper_release(struct keeper_rig *rig);
/* Waits until a counter has come to a value. */
void keeper_await(_Atomic uint32_t *counter, uint32_t value);

#endif
