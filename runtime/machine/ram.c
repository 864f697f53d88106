/* SPDX-License-Identifier: MIT */
/* Host memory behind guest RAM. */
#include "machine/ram.h"

#include <errno.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_2M_SHIFT 21
#define HUGE_1G_SHIFT 30

/* By enum ram_pages. Alignment also serves THP: KVM maps 2 MiB at a time only where guest-physical
 * and host-virtual addresses are congruent modulo 2 MiB. */
static const struct page_kind {
	uint64_t alignment;
	int map_flags;
	const char *name;
} kinds[] = {
	[RAM_PAGES_4K] = { 1ULL << HUGE_2M_SHIFT, 0, "4 KiB" },
	[RAM_PAGES_THP] = { 1ULL << HUGE_2M_SHIFT, 0, "transparent huge" },
	[RAM_PAGES_2M] = { 1ULL << HUGE_2M_SHIFT,
	                   MAP_HUGETLB | HUGE_2M_SHIFT << MAP_HUGE_SHIFT, "2 MiB huge" },
	[RAM_PAGES_1G] = { 1ULL << HUGE_1G_SHIFT,
	                   MAP_HUGETLB | HUGE_1G_SHIFT << MAP_HUGE_SHIFT, "1 GiB huge" },
};

static int refuse(struct problems *problems, uint32_t node, int error, const char *what,
                  const struct guest_region *region, const struct ram_config *config)
{
	char field[PROBLEM_FIELD_MAX];

	snprintf(field, sizeof(field), "memory.nodes[%u]", node);
	return problems_add(problems, PROBLEM_MEMORY_UNAVAILABLE, error, field,
	                    "cannot %s %llu MiB of %s pages%s: %s", what,
	                    (unsigned long long)(region->size / MIB), kinds[config->pages].name,
	                    config->host_node[node] >= 0 ? " on its host node" : "",
	                    strerror(error));
}

/* An aligned private mapping: one that is too large is made and its ends are given back. */
static uint8_t *map_aligned(uint64_t size, const struct page_kind *kind)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | kind->map_flags;
	uint64_t room = kind->map_flags ? size : size + kind->alignment;
	uint8_t *start = mmap(NULL, room, PROT_READ | PROT_WRITE, flags, -1, 0);
	uint64_t head;

	if (start == MAP_FAILED)
		return NULL;
	head = -(uint64_t)(uintptr_t)start & (kind->alignment - 1);
	if (kind->map_flags)
		return start;
	if (head > 0)
		munmap(start, head);
	if (room - head > size)
		munmap(start + head + size, room - head - size);
	return start + head;
}

static int bind_to(const struct guest_region *region, int host_node)
{
	unsigned long mask[16] = { 0 };

	if (host_node >= (int)(sizeof(mask) * 8))
		return -EINVAL;
	mask[host_node / 64] = 1UL << (host_node % 64);
	if (mbind(region->hva, region->size, MPOL_BIND, mask, sizeof(mask) * 8, 0) < 0)
		return -errno;
	return 0;
}

static int prepare(const struct ram_config *config, struct guest_region *region,
                   struct problems *problems)
{
	const struct page_kind *kind = &kinds[config->pages];
	int host_node = config->host_node[region->node];

	region->hva = map_aligned(region->size, kind);
	if (!region->hva)
		return refuse(problems, region->node, errno, "reserve", region, config);
	if (host_node >= 0) {
		int r = bind_to(region, host_node);

		if (r < 0)
			return refuse(problems, region->node, -r, "bind", region, config);
	}
	if (config->pages == RAM_PAGES_THP &&
	    madvise(region->hva, region->size, MADV_HUGEPAGE) < 0)
		return refuse(problems, region->node, errno, "get", region, config);
	/* A child would share guest memory copy-on-write; there is no child, so say so. */
	(void)madvise(region->hva, region->size, MADV_DONTFORK);
	if (config->populate && madvise(region->hva, region->size, MADV_POPULATE_WRITE) < 0)
		return refuse(problems, region->node, errno, "populate", region, config);
	if (config->lock && mlock(region->hva, region->size) < 0)
		return refuse(problems, region->node, errno, "lock", region, config);
	return 0;
}

int ram_acquire(const struct ram_config *config, struct guest_memory *memory,
                struct problems *problems)
{
	struct guest_memory layout = { 0 };
	int r = guest_memory_layout(&layout, config->node_size, config->nodes);

	if (r < 0)
		return problems_add(problems, PROBLEM_SPEC_INVALID, -r, "memory.nodes",
		                    "the nodes' sizes cannot be laid out");
	for (size_t i = 0; i < layout.count; i++) {
		int failed = prepare(config, &layout.regions[i], problems);

		r = failed < 0 ? failed : r;
	}
	if (r < 0) {
		for (size_t i = 0; i < layout.count; i++)
			if (layout.regions[i].hva)
				munmap(layout.regions[i].hva, layout.regions[i].size);
		return r;
	}
	*memory = layout;
	return 0;
}
