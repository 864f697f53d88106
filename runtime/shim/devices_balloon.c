/* SPDX-License-Identifier: MIT */
/* The VM's balloon: from the spec to the virtio device. */
#include "shim/devices_balloon.h"

#include "shim/shim.h"

/* Bytes of a host page, by enum spec_page_size. Transparent huge pages are split where needed. */
static const uint64_t host_pages[] = {
	[SPEC_PAGES_4K] = BALLOON_PAGE,
	[SPEC_THP] = BALLOON_PAGE,
	[SPEC_HUGE_2M] = 2 * MIB,
	[SPEC_HUGE_1G] = GIB,
};

int devices_create_balloon(struct shim *shim, size_t index, const struct virtio_host *host)
{
	const struct vm_spec *spec = &shim->spec;
	const struct balloon_spec config = {
		.deflate_on_oom = spec->balloon.deflate_on_oom,
		.free_page_reporting = spec->balloon.free_page_reporting,
		.memory_locked = spec->memory.lock,
		.stats_interval_s = spec->balloon.stats_interval_s,
		.host_page = host_pages[spec->memory.page_size],
	};

	(void)index;
	return balloon_create(&shim->devices.balloon, &config, host);
}

struct balloon *devices_balloon(struct shim *shim)
{
	return shim->devices.balloon.device.ops ? &shim->devices.balloon : NULL;
}
