/* SPDX-License-Identifier: MIT */
/* What is free on a host's nodes, and whether guest memory fits. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cpulist.h"
#include "host/meminfo.h"
#include "machine/numa.h"

#define PAGE_4K 4096ULL

/* Reads a file of the kernel's into a string, as much as fits; "" if it cannot be read. Without
 * stdio, because for each thread that uses it the C library would make a heap. */
static void read_text(const char *path, char *text, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 1;

	while (fd >= 0 && n > 0 && used < size - 1) {
		n = read(fd, text + used, size - 1 - used);
		used += n > 0 ? (size_t)n : 0;
	}
	text[used] = '\0';
}

static uint64_t free_kib(const char *root, int node, uint64_t share)
{
	char path[128], text[8192];

	snprintf(path, sizeof(path), "%s/sys/devices/system/node/node%d/meminfo", root ? root : "",
	         node);
	read_text(path, text, sizeof(text));
	return meminfo_room_kib(text, share);
}

static uint64_t free_huge(const char *root, int node, uint64_t page_size)
{
	char path[160], text[32];

	snprintf(path, sizeof(path),
	         "%s/sys/devices/system/node/node%d/hugepages/hugepages-%llukB/"
	         "free_hugepages",
	         root ? root : "", node, (unsigned long long)(page_size / KIB));
	read_text(path, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static uint64_t available(const char *root, int node, uint64_t page_size, uint64_t share)
{
	return page_size == PAGE_4K ? free_kib(root, node, share) * KIB
	                            : free_huge(root, node, page_size) * page_size;
}

/* The sum over all online nodes; their numbers may have gaps and go up to 1023. */
static uint64_t available_anywhere(const char *root, uint64_t page_size, uint64_t share)
{
	struct cpu_bitmap online = { 0 };
	char path[128], list[4096];
	uint64_t have = 0;

	snprintf(path, sizeof(path), "%s/sys/devices/system/node/online", root ? root : "");
	read_text(path, list, sizeof(list));
	if (cpu_bitmap_parse(list, &online) < 0)
		online = (struct cpu_bitmap){ 0 };
	if (cpu_bitmap_count(&online) == 0)
		cpu_bitmap_add(&online, 0); /* a kernel without NUMA has no list */
	for (uint32_t node = cpu_bitmap_next(&online, 0); node < CPU_BITMAP_MAX;
	     node = cpu_bitmap_next(&online, node + 1))
		have += available(root, (int)node, page_size, share);
	return have;
}

uint64_t numa_room(const char *root, int node, uint64_t page_size, uint64_t share)
{
	return node < 0 ? available_anywhere(root, page_size, share)
	                : available(root, node, page_size, share);
}

struct demand {
	int host_node;
	uint64_t page_size;
	uint64_t bytes;
	uint32_t guest_node; /* the first that asks */
};

static int check_demand(const struct demand *demand, const char *root, struct problems *problems)
{
	uint64_t have = numa_room(root, demand->host_node, demand->page_size, NUMA_SHARE_BEFORE);
	char field[PROBLEM_FIELD_MAX], where[48], kind[48] = "memory";

	if (demand->host_node >= 0)
		snprintf(where, sizeof(where), "host node %d", demand->host_node);
	else
		snprintf(where, sizeof(where), "this host");
	if (demand->bytes <= have)
		return 0;
	if (demand->page_size != PAGE_4K)
		snprintf(kind, sizeof(kind), "huge pages of %llu KiB",
		         (unsigned long long)(demand->page_size / KIB));
	snprintf(field, sizeof(field), "memory.nodes[%u]", demand->guest_node);
	return problems_add(
		problems, ERROR_CODE_MEMORY_UNAVAILABLE, ENOMEM, field,
		"%s: %llu MiB of %s were asked for, %llu MiB are free: ask for less, or free some",
		where, (unsigned long long)(demand->bytes / MIB), kind,
		(unsigned long long)(have / MIB));
}

int numa_check_free(const struct numa_range *ranges, size_t count, const char *root,
                    struct problems *problems)
{
	struct demand demands[NUMA_RANGES_MAX];
	size_t used = 0;
	int r = 0;

	if (count > NUMA_RANGES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		while (k < used && (demands[k].host_node != ranges[i].host_node ||
		                    demands[k].page_size != ranges[i].page_size))
			k++;
		if (k == used)
			demands[used++] = (struct demand){ ranges[i].host_node, ranges[i].page_size,
				                           0, ranges[i].guest_node };
		if (__builtin_add_overflow(demands[k].bytes, ranges[i].size, &demands[k].bytes))
			demands[k].bytes = UINT64_MAX;
	}
	for (size_t k = 0; k < used; k++)
		if (check_demand(&demands[k], root, problems) < 0)
			r = -ENOMEM;
	return r;
}
