/* SPDX-License-Identifier: MIT */
/* How much a net may have. */
#ifndef AXVM_VIRTIO_NET_LIMITS_H
#define AXVM_VIRTIO_NET_LIMITS_H

#include "virtio/device.h"

/* A pair is two queues, and there is one more for control. */
#define NET_PAIRS_MAX ((VIRTIO_QUEUES_MAX - 1) / 2)
#define NET_MAC_BYTES 6

#endif
