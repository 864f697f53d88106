/* SPDX-License-Identifier: MIT */
/* Disks: from the spec to virtio devices. */
#include "shim/device/disk.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "shim/device/rate.h"
#include "shim/device/table.h"

static void plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	for (size_t i = 0; i < spec->disks_count; i++)
		places_add(ret, spec->disks[i].id, VIRTIO_ID_BLOCK, spec->disks[i].queues);
}

/* A block size of the spec's own must be one that the file can be used with. */
static void check_block_size(const struct spec_disk *disk, size_t index,
                             const struct disk_file *file, struct problems *problems)
{
	char field[PROBLEM_FIELD_MAX];

	if (disk->block_size == 0)
		return;
	snprintf(field, sizeof(field), "disks[%zu].block_size", index);
	if (file->direct && disk->block_size < file->logical_block)
		problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, EINVAL, field,
		             "is %u; with direct it must be at least the image's own, %u",
		             disk->block_size, file->logical_block);
	if (file->size % disk->block_size != 0)
		problems_add(problems, ERROR_CODE_IMAGE_INVALID, EINVAL, field,
		             "is %u; the image's length, %llu bytes, must be a multiple of it",
		             disk->block_size, (unsigned long long)file->size);
}

/* The image's size, and the size that it may grow to, must be within the kernel's limit for file
 * writes: a write beyond the limit would fail, and the guest would see a disk that it cannot
 * write. */
static void check_max_size(const struct spec_disk *disk, size_t index, const struct disk_file *file,
                           struct problems *problems)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	char field[PROBLEM_FIELD_MAX];

	snprintf(field, sizeof(field), "disks[%zu].max_size", index);
	if (file->size > file->max_size)
		problems_add(
			problems, ERROR_CODE_IMAGE_INVALID, EINVAL, field,
			"is %llu, and the image has %llu bytes already: make it as much at least",
			(unsigned long long)file->max_size, (unsigned long long)file->size);
	if (file->read_only || !file->regular)
		return;
	(void)getrlimit(RLIMIT_FSIZE, &limit);
	if (limit.rlim_cur == RLIM_INFINITY || file->max_size <= limit.rlim_cur)
		return;
	if (disk->max_size == 0)
		snprintf(field, sizeof(field), "disks[%zu].image", index);
	problems_add(
		problems, ERROR_CODE_HOST_LIMIT, EFBIG, field,
		"%llu bytes are more than the launcher's limit on file sizes, %llu: raise RLIMIT_FSIZE "
		"(ulimit -f)",
		(unsigned long long)file->max_size, (unsigned long long)limit.rlim_cur);
}

static void acquire_disk(const struct spec_disk *disk, size_t index, struct disk_file *ret,
                         struct problems *problems)
{
	char field[PROBLEM_FIELD_MAX];
	const struct disk_file_config config = {
		.fd = disk->image.kind == RESOURCE_SOURCE_FD ? disk->image.fd : -1,
		.path = disk->image.path,
		.field = field,
		.read_only = disk->read_only,
		.direct = disk->direct,
		.max_size = disk->max_size,
	};

	snprintf(field, sizeof(field), "disks[%zu].image", index);
	ret->fd = -1;
	if (disk_file_open(&config, ret, problems) < 0)
		return;
	check_block_size(disk, index, ret, problems);
	check_max_size(disk, index, ret, problems);
}

static void acquire(struct shim_devices *devices, bool handed_over)
{
	for (size_t i = 0; i < devices->spec->disks_count; i++)
		if ((devices->spec->disks[i].image.kind == RESOURCE_SOURCE_FD) == handed_over)
			acquire_disk(&devices->spec->disks[i], i, &devices->disk_files[i],
			             devices->problems);
}

static void check(struct shim_devices *devices, struct resource_claims *claims)
{
	for (size_t i = 0; i < devices->spec->disks_count; i++)
		resource_claim(claims, devices->disk_files[i].fd,
		               !devices->spec->disks[i].read_only, "disks[%zu].image", i);
}

static int create(struct shim_devices *devices, size_t index, const struct virtio_host *host)
{
	const struct spec_disk *disk = &devices->spec->disks[index];
	const struct block_spec spec = {
		.id = disk->id,
		.serial = disk->serial,
		.queues = (uint16_t)disk->queues,
		.queue_size = (uint16_t)disk->queue_size,
		.block_size = disk->block_size,
		.write_through = disk->cache == CACHE_MODE_WRITE_THROUGH,
		.keeps_blocks = !disk->discard,
		.limit = rate_of(&disk->limit),
	};

	if (!devices->disks)
		devices->disks = calloc(devices->spec->disks_count, sizeof(*devices->disks));
	if (!devices->disks)
		return -ENOMEM;
	return block_create(&devices->disks[index], &spec, &devices->disk_files[index], host);
}

/* Raises the file size limit to the largest size that a writable image file may grow to. */
static void needs(const struct shim_devices *devices, struct device_needs *needs)
{
	for (size_t i = 0; i < devices->spec->disks_count; i++) {
		const struct disk_file *file = &devices->disk_files[i];

		if (file->regular && !file->read_only)
			needs->file_size = MAX(needs->file_size, file->max_size);
	}
}

/* clang-format off */
#define COUNT(name_, counter) { name_, (counter) * sizeof(uint64_t) }
/* clang-format on */

static bool metrics(const struct shim_devices *devices, size_t index, struct device_counters *ret)
{
	static const struct counter_row rows[] = {
		COUNT("reads", BLOCK_READS),           COUNT("writes", BLOCK_WRITES),
		COUNT("flushes", BLOCK_FLUSHES),       COUNT("discards", BLOCK_DISCARDS),
		COUNT("bytes_read", BLOCK_BYTES_READ), COUNT("bytes_written", BLOCK_BYTES_WRITTEN),
		COUNT("errors", BLOCK_ERRORS),         COUNT("throttled", BLOCK_THROTTLED),
		COUNT("bounced", BLOCK_BOUNCED),
	};
	uint64_t counts[BLOCK_COUNTERS];

	if (index >= devices->spec->disks_count)
		return false;
	for (int i = 0; i < BLOCK_COUNTERS; i++)
		counts[i] = block_count(&devices->disks[index], (enum block_counter)i);
	COUNTERS_TAKE(ret, &devices->disks[index].device, rows, counts);
	return true;
}

struct block *devices_disk(struct shim_devices *devices, const char *id)
{
	for (size_t i = 0; devices->disks && i < devices->spec->disks_count; i++)
		if (!strcmp(devices->spec->disks[i].id, id))
			return &devices->disks[i];
	return NULL;
}

const struct device_row device_disk = {
	.kind = "disk",
	.field = "disks",
	.many = true,
	.plan = plan,
	.acquire = acquire,
	.check = check,
	.create = create,
	.needs = needs,
	.metrics = metrics,
};
