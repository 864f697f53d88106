/* SPDX-License-Identifier: MIT */
/* Host memory behind guest RAM. */
#include "machine/ram.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/denied.h"

static_assert(GUEST_REGIONS_MAX <= NUMA_RANGES_MAX, "a range for each region");

#define HUGE_2M_SHIFT 21
#define HUGE_1G_SHIFT 30

/* By enum ram_pages. Alignment also serves THP: KVM maps 2 MiB at a time only where guest-physical
 * and host-virtual addresses are congruent modulo 2 MiB. */
static const struct page_kind {
	uint64_t alignment;
	uint64_t page_size;
	int map_flags;
	const char *name;
} kinds[] = {
	[RAM_PAGES_4K] = { 1ULL << HUGE_2M_SHIFT, 4 * KIB, 0, "4 KiB" },
	[RAM_PAGES_THP] = { 1ULL << HUGE_2M_SHIFT, 4 * KIB, 0, "transparent huge" },
	[RAM_PAGES_2M] = { 1ULL << HUGE_2M_SHIFT, 2 * MIB,
	                   MAP_HUGETLB | HUGE_2M_SHIFT << MAP_HUGE_SHIFT, "2 MiB huge" },
	[RAM_PAGES_1G] = { 1ULL << HUGE_1G_SHIFT, GIB,
	                   MAP_HUGETLB | HUGE_1G_SHIFT << MAP_HUGE_SHIFT, "1 GiB huge" },
};

/* By the size that was asked for: a region can be a part of it. */
static int refuse(struct problems *problems, uint32_t node, int error, const char *what,
                  const struct ram_config *config)
{
	char field[PROBLEM_FIELD_MAX];

	snprintf(field, sizeof(field), "memory.nodes[%u]", node);
	return problems_add(problems, ERROR_CODE_MEMORY_UNAVAILABLE, error, field,
	                    "cannot %s %llu MiB of %s pages%s: %s%s", what,
	                    (unsigned long long)(config->node_size[node] / MIB),
	                    kinds[config->pages].name,
	                    config->host_node[node] >= 0 ? " on its host node" : "",
	                    errno_text(error), error == ENOMEM ? "; ask for less" : "");
}

/* Refuses because mbind(2) failed. If it is not allowed at all, less memory would not help. */
static int refuse_bind(struct problems *problems, int error, const struct guest_region *region,
                       const struct ram_config *config)
{
	char field[PROBLEM_FIELD_MAX], why[DENIED_TEXT_MAX];

	if (!denied_by_host(error))
		return refuse(problems, region->node, error, "bind", config);
	snprintf(field, sizeof(field), "memory.nodes[%u]", region->node);
	return problems_add(problems, ERROR_CODE_HOST_LIMIT, error, field,
	                    "cannot bind memory to its host node (mbind): %s",
	                    denied_here(DENIED_MEMORY_POLICY, error, why));
}

/* Makes an aligned private mapping: maps too much and gives both ends back. */
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

/* mlock(2) would populate too, but threads are faster, and a failure is found before it. */
static bool populates(const struct ram_config *config)
{
	return config->populate || config->lock || kinds[config->pages].map_flags != 0;
}

/* Maps and binds one region; nothing is touched yet. */
static int reserve(const struct ram_config *config, struct guest_region *region,
                   struct problems *problems)
{
	int host_node = config->host_node[region->node];

	region->hva = map_aligned(region->size, &kinds[config->pages]);
	if (!region->hva)
		return refuse(problems, region->node, errno, "reserve", config);
	if (host_node >= 0) {
		int r = numa_bind_memory(region->hva, region->size, host_node);

		if (r < 0)
			return refuse_bind(problems, -r, region, config);
	}
	if (config->pages == RAM_PAGES_THP && madvise(region->hva, region->size, MADV_HUGEPAGE) < 0)
		return refuse(problems, region->node, errno, "get", config);
	/* A child would share guest memory copy-on-write. The shim has no child, so exclude the
	 * memory. */
	(void)madvise(region->hva, region->size, MADV_DONTFORK);
	return 0;
}

static size_t ranges_of(const struct ram_config *config, const struct guest_memory *memory,
                        struct numa_range *ret_ranges)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		ret_ranges[i] = (struct numa_range){
			.start = region->hva,
			.size = region->size,
			.page_size = kinds[config->pages].page_size,
			.host_node = config->host_node[region->node],
			.guest_node = region->node,
		};
	}
	return memory->count;
}

static int check_free(const struct ram_config *config, const struct guest_memory *memory,
                      struct problems *problems)
{
	struct numa_range ranges[GUEST_REGIONS_MAX];
	size_t count = ranges_of(config, memory, ranges);

	return populates(config) ? numa_check_free(ranges, count, NULL, problems) : 0;
}

/* Bytes of this process that are locked, as /proc/self/status has them. */
static uint64_t locked_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long kib = 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmLck: %lu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * KIB;
}

/* Locks each region, and reads back that as much is locked. Huge pages of hugetlbfs are never paged
 * out, and the kernel does not count them as locked. */
static int lock_all(const struct ram_config *config, const struct guest_memory *memory,
                    struct problems *problems)
{
	uint64_t before = locked_bytes(), wanted = 0, locked;

	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];

		if (mlock(region->hva, region->size) < 0)
			return refuse(problems, region->node, errno, "lock", config);
		wanted += kinds[config->pages].map_flags ? 0 : region->size;
	}
	locked = locked_bytes();
	if (locked >= before && locked - before >= wanted)
		return 0;
	return problems_add(
		problems, ERROR_CODE_MEMORY_UNAVAILABLE, ENOMEM, "memory.lock",
		"%llu MiB were to be locked, and the kernel says that %llu MiB are: launch again, or "
		"without memory.lock",
		(unsigned long long)(wanted / MIB),
		(unsigned long long)((locked - MIN(before, locked)) / MIB));
}

/* Reads back from the kernel that every page is there, and on which node. */
static int read_back(const struct ram_config *config, const struct numa_range *ranges, size_t count,
                     struct ram_placement *placement, struct problems *problems)
{
	struct numa_counts counts[GUEST_REGIONS_MAX];
	int r = numa_read_back(ranges, count, counts);

	if (r < 0)
		return problems_add(problems, ERROR_CODE_PLACEMENT_FAILED, -r, "memory.nodes",
		                    "the kernel does not tell where guest memory is: %s",
		                    errno_text(-r));
	placement->populated = true;
	for (size_t i = 0; i < count; i++) {
		struct numa_counts *node = &placement->nodes[ranges[i].guest_node];

		node->pages_4k += counts[i].pages_4k;
		node->pages_2m += counts[i].pages_2m;
		node->pages_1g += counts[i].pages_1g;
		node->remote_pages += counts[i].remote_pages;
		node->absent_pages += counts[i].absent_pages;
		placement->remote_pages += counts[i].remote_pages;
	}
	return ram_judge(config, placement, problems);
}

/* Adds a problem for each node that lacks pages. */
static int judge_absent(const struct ram_config *config, const struct ram_placement *placement,
                        struct problems *problems)
{
	uint64_t page_size = kinds[config->pages].page_size;
	char field[PROBLEM_FIELD_MAX];
	int r = 0;

	for (size_t i = 0; i < config->nodes; i++) {
		uint64_t absent = placement->nodes[i].absent_pages;

		if (absent == 0)
			continue;
		snprintf(field, sizeof(field), "memory.nodes[%zu]", i);
		r = problems_add(
			problems, ERROR_CODE_MEMORY_UNAVAILABLE, ENOMEM, field,
			"%llu of %llu pages of %llu KiB are not there after they were populated%s",
			(unsigned long long)absent,
			(unsigned long long)(config->node_size[i] / page_size),
			(unsigned long long)(page_size / KIB),
			config->lock ? ": free memory on this host, or ask for less"
				     : ", paged out perhaps: free memory on this host, or set "
				       "memory.lock");
	}
	return r;
}

int ram_judge(const struct ram_config *config, const struct ram_placement *placement,
              struct problems *problems)
{
	int r = judge_absent(config, placement, problems);

	if (placement->remote_pages > config->remote_pages_allowed)
		return problems_add(
			problems, ERROR_CODE_PLACEMENT_FAILED, EREMOTE, "memory.nodes",
			"%llu pages of guest memory are not on their host node; "
			"memory.remote_pages_allowed is %llu: free memory on that node, or allow more",
			(unsigned long long)placement->remote_pages,
			(unsigned long long)config->remote_pages_allowed);
	return r;
}

static int fill(const struct ram_config *config, const struct guest_memory *memory,
                struct ram_placement *placement, struct problems *problems)
{
	struct numa_range ranges[GUEST_REGIONS_MAX];
	size_t count = ranges_of(config, memory, ranges);
	int r;

	if (populates(config)) {
		r = numa_populate(ranges, count, config->facts, 0, NULL, problems);
		if (r < 0)
			return r;
	}
	r = config->lock ? lock_all(config, memory, problems) : 0;
	if (r < 0 || !populates(config))
		return r;
	return read_back(config, ranges, count, placement, problems);
}

int ram_acquire(const struct ram_config *config, struct guest_memory *memory,
                struct ram_placement *ret_placement, struct problems *problems)
{
	struct guest_memory layout = { 0 };
	struct ram_placement placement = { 0 };
	int r = guest_memory_layout(&layout, config->node_size, config->nodes);

	if (r < 0)
		return problems_add(
			problems, ERROR_CODE_SPEC_INVALID, -r, "memory.nodes",
			"the sizes of the nodes do not fit into the guest's address space: give the guest less");
	/* Before mmap(2), whose error does not tell which node is short of memory, or by how
	 * much. */
	r = check_free(config, &layout, problems);
	for (size_t i = 0, count = r < 0 ? 0 : layout.count; i < count; i++) {
		int failed = reserve(config, &layout.regions[i], problems);

		r = failed < 0 ? failed : r;
	}
	if (r == 0)
		r = fill(config, &layout, &placement, problems);
	if (r < 0) {
		for (size_t i = 0; i < layout.count; i++)
			if (layout.regions[i].hva)
				munmap(layout.regions[i].hva, layout.regions[i].size);
		return r;
	}
	*memory = layout;
	*ret_placement = placement;
	return 0;
}
