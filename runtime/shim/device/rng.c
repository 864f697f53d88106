/* SPDX-License-Identifier: MIT */
/* The source of random bytes: from the spec to the virtio device. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "shim/device/rate.h"
#include "shim/device/table.h"

#define RANDOM_PATH "/dev/urandom"

static void plan(const struct vm_spec *spec, struct plan_devices *ret)
{
	if (spec->rng.present)
		places_add(ret, "", VIRTIO_ID_RNG, 1);
}

static void acquire(struct shim_devices *devices, bool handed_over)
{
	if (handed_over)
		return;
	devices->random_fd = -1;
	if (!devices->spec->rng.present)
		return;
	devices->random_fd = open(RANDOM_PATH, O_RDONLY | O_CLOEXEC);
	if (devices->random_fd < 0)
		problems_add(devices->problems, ERROR_CODE_OS_FAILED, errno, "rng",
		             "cannot open " RANDOM_PATH ": %s", errno_text(errno));
}

static int create(struct shim_devices *devices, size_t index, const struct virtio_host *host)
{
	const struct rng_spec spec = {
		.source_fd = devices->random_fd,
		.limit = rate_of(&devices->spec->rng.limit),
	};

	(void)index;
	return rng_create(&devices->rng, &spec, host);
}

static bool metrics(const struct shim_devices *devices, size_t index, struct device_counters *ret)
{
	static const struct counter_row rows[] = { { "bytes", 0 } };
	uint64_t bytes;

	if (index > 0 || !devices->spec->rng.present)
		return false;
	bytes = rng_bytes(&devices->rng);
	COUNTERS_TAKE(ret, &devices->rng.device, rows, bytes);
	return true;
}

const struct device_row device_rng = {
	.kind = "rng",
	.field = "rng",
	.plan = plan,
	.acquire = acquire,
	.create = create,
	.metrics = metrics,
};
