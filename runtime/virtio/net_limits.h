/* SPDX-License-Identifier: MIT */
/* Limits of a net. */
#ifndef AXVM_VIRTIO_NET_LIMITS_H
#define AXVM_VIRTIO_NET_LIMITS_H

#include "virtio/device.h"

/* A pair is two queues; one more queue is for control. */
#define NET_PAIRS_MAX ((VIRTIO_QUEUES_MAX - 1) / 2)
#define NET_MAC_BYTES 6

#endif
