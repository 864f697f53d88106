/* SPDX-License-Identifier: MIT */
/* Guest memory on its host node: room checked before, bound before the first touch, populated by
 * threads on the node, and read back page by page.
 *
 * Of libnuma only the header is used. In its static archive even mbind() comes with the whole
 * library: a constructor that reads /sys and /proc at every launch, and getaddrinfo(). The system
 * calls are made directly. */
#ifndef AXVM_MACHINE_NUMA_H
#define AXVM_MACHINE_NUMA_H

#include "base/problem.h"
#include "host/facts.h"
#include "host/meminfo.h"

#define NUMA_RANGES_MAX 16

/* Part of guest memory, mapped. `page_size` is 4 KiB, 2 MiB or 1 GiB: what the mapping is made of
 * (4 KiB for transparent huge pages). */
struct numa_range {
	void *start;
	size_t size;
	uint64_t page_size;
	int host_node; /* -1: not bound */
	uint32_t guest_node;
};

/* Pages of one range by where and what they are. */
struct numa_counts {
	uint64_t pages_4k, pages_2m, pages_1g;
	uint64_t remote_pages; /* of the range's page size, off its node */
	uint64_t absent_pages; /* likewise, not populated */
};

/* MPOL_BIND for memory not touched yet. `length` bytes, whole pages. -errno of mbind(2). */
int numa_bind_memory(void *start, size_t length, int host_node);

/* The same for allocations that the calling thread causes, in the kernel too (a vCPU's own state):
 * preferred, not bound, so that the kernel does not fail for want of one page. -1 undoes it. */
int numa_prefer(int host_node);

/* Of a node's memory, the share that the kernel keeps for itself: its reserves, and what it counts
 * late. A launch leaves that much, and may come into it by half while it goes on. */
#define NUMA_SHARE_BEFORE MEMINFO_SHARE
#define NUMA_SHARE_MEANWHILE 128

/* Bytes that pages of a size can still be had from on a node (-1: on all that are online). Of
 * ordinary ones that is free memory and clean page cache, less the 1/`share` of all that the kernel
 * keeps, at least of 1 GiB. 0 where the kernel does not say. Reads sysfs below `root` (NULL: /). */
uint64_t numa_room(const char *root, int node, uint64_t page_size, uint64_t share);

/* Whether each host node can hold what the ranges ask of it, huge pages and ordinary ones counted
 * apart. Otherwise a ERROR_CODE_MEMORY_UNAVAILABLE for each node that cannot, naming node, asked
 * and free, and -ENOMEM. Reads sysfs below `root` (NULL: /). Ranges without a node are checked
 * against all nodes together. To be called before anything is populated: memory bound to a full
 * node brings the OOM killer, not an error. */
int numa_check_free(const struct numa_range *ranges, size_t count, const char *root,
                    struct problems *problems);

/* Touches every page of every range, all ranges at once, by up to `threads_per_node` threads, each
 * bound to all the CPUs of the range's node that this process may use (0: as many as those are, 16
 * at most); they are gone on return. A range for which no thread can be had is populated by the
 * caller. Contents are kept. Adds a ERROR_CODE_MEMORY_UNAVAILABLE and returns -errno when a page
 * could not be had: a huge page that is missing is an error here and not a SIGBUS later. Of
 * ordinary pages it looks again and again whether the node has what is still to come (below `root`,
 * NULL: /), since another launch may be taking it: that is -ENOMEM then, and nobody is killed for
 * want of memory. So it is for ranges of which nothing is there yet: what is there counts as still
 * to come. */
int numa_populate(const struct numa_range *ranges, size_t count, const struct host_facts *facts,
                  unsigned int threads_per_node, const char *root, struct problems *problems);

/* Asks the kernel for the node of every page of populated ranges, and how many are there at all: by
 * /proc/self/numa_maps where a range is told apart there, else page by page. Transparent huge pages
 * are counted as pages of 2 MiB whether they were asked for or not: a host may give them to
 * everybody. `ret` has `count` entries. -errno of move_pages(2); -EINVAL beyond NUMA_RANGES_MAX.
 * Not to be called while other threads map or unmap. */
int numa_read_back(const struct numa_range *ranges, size_t count, struct numa_counts *ret);

#endif
