/* SPDX-License-Identifier: MIT */
/* What a device counts: a snapshot, which is a struct of uint64_t, and rows that name its
 * fields. */
#ifndef AXVM_SHIM_DEVICE_COUNTERS_H
#define AXVM_SHIM_DEVICE_COUNTERS_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

struct virtio_device;

struct counter_row {
	const char *name;
	size_t offset; /* in the snapshot, of a uint64_t */
};

/* clang-format off */
#define COUNTER_ROW(type, field) { #field, offsetof(struct type, field) }
/* clang-format on */

/* A value that nobody has told: it is left out. */
#define COUNTER_NOT_TOLD UINT64_MAX

/* Bytes; large enough for the snapshot of any kind. */
#define COUNTERS_SNAPSHOT_MAX 256

/* Of one device. */
struct device_counters {
	const struct virtio_device *device; /* what every virtio device counts is taken from it */
	const struct counter_row *rows;     /* what those of its kind count beside that */
	size_t rows_count;
	alignas(uint64_t) unsigned char snapshot[COUNTERS_SNAPSHOT_MAX];
};

/* Fills in all of *ret; copies the snapshot. */
void counters_take(struct device_counters *ret, const struct virtio_device *device,
                   const struct counter_row *rows, size_t rows_count, const void *snapshot,
                   size_t size);

/* The same, of an array of rows and a struct. */
#define COUNTERS_TAKE(ret, device, rows, snapshot)                                                 \
	counters_take(ret, device, rows, ARRAY_SIZE(rows), &(snapshot), sizeof(snapshot))

#endif
