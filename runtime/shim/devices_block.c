/* SPDX-License-Identifier: MIT */
/* The VM's disks and its source of random bytes: from the spec to virtio devices. */
#include "shim/devices_block.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "shim/rate.h"
#include "shim/shim.h"

#define RANDOM_PATH "/dev/urandom"

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

/* The image must fit, and so must what it may become, into the limit that the kernel holds each write to a
 * file to: one beyond would fail, and the guest would be told of a disk that cannot be written. */
static void check_max_size(const struct spec_disk *disk, size_t index, const struct disk_file *file,
                           struct problems *problems)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	char field[PROBLEM_FIELD_MAX];

	snprintf(field, sizeof(field), "disks[%zu].max_size", index);
	if (file->size > file->max_size)
		problems_add(problems, ERROR_CODE_IMAGE_INVALID, EINVAL, field,
		             "is %llu, and the image has %llu bytes already: make it as much at least",
		             (unsigned long long)file->max_size, (unsigned long long)file->size);
	if (file->read_only || !file->regular)
		return;
	(void)getrlimit(RLIMIT_FSIZE, &limit);
	if (limit.rlim_cur == RLIM_INFINITY || file->max_size <= limit.rlim_cur)
		return;
	if (disk->max_size == 0)
		snprintf(field, sizeof(field), "disks[%zu].image", index);
	problems_add(problems, ERROR_CODE_HOST_LIMIT, EFBIG, field,
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

void devices_acquire_disks(struct shim *shim, bool by_number)
{
	for (size_t i = 0; i < shim->spec.disks_count; i++)
		if ((shim->spec.disks[i].image.kind == RESOURCE_SOURCE_FD) == by_number)
			acquire_disk(&shim->spec.disks[i], i, &shim->devices.disk_files[i],
			             &shim->problems);
}

void devices_acquire_rng(struct shim *shim)
{
	shim->devices.random_fd = -1;
	if (!shim->spec.rng.present)
		return;
	shim->devices.random_fd = open(RANDOM_PATH, O_RDONLY | O_CLOEXEC);
	if (shim->devices.random_fd < 0)
		problems_add(&shim->problems, ERROR_CODE_OS_FAILED, errno, "rng",
		             "cannot open " RANDOM_PATH ": %s", strerror(errno));
}

int devices_create_disk(struct shim *shim, size_t index, const struct virtio_host *host)
{
	struct shim_devices *devices = &shim->devices;
	const struct spec_disk *disk = &shim->spec.disks[index];
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
		devices->disks = calloc(shim->spec.disks_count, sizeof(*devices->disks));
	if (!devices->disks)
		return -ENOMEM;
	return block_create(&devices->disks[index], &spec, &devices->disk_files[index], host);
}

int devices_create_rng(struct shim *shim, size_t index, const struct virtio_host *host)
{
	const struct rng_spec spec = {
		.source_fd = shim->devices.random_fd,
		.limit = rate_of(&shim->spec.rng.limit),
	};

	(void)index;
	return rng_create(&shim->devices.rng, &spec, host);
}

uint64_t devices_largest_file(const struct shim *shim)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < shim->spec.disks_count; i++) {
		const struct disk_file *file = &shim->devices.disk_files[i];

		if (file->regular && !file->read_only)
			largest = MAX(largest, file->max_size);
	}
	return largest;
}

struct block *devices_disk(struct shim *shim, const char *id)
{
	for (size_t i = 0; shim->devices.disks && i < shim->spec.disks_count; i++)
		if (!strcmp(shim->spec.disks[i].id, id))
			return &shim->devices.disks[i];
	return NULL;
}
