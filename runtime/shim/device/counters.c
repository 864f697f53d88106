/* SPDX-License-Identifier: MIT */
/* The snapshot of one device's counters. */
#include "shim/device/counters.h"

#include <assert.h>
#include <string.h>

void counters_take(struct device_counters *ret, const struct virtio_device *device,
                   const struct counter_row *rows, size_t rows_count, const void *snapshot,
                   size_t size)
{
	assert(size <= sizeof(ret->snapshot));
	ret->device = device;
	ret->rows = rows;
	ret->rows_count = rows_count;
	memcpy(ret->snapshot, snapshot, size);
}
