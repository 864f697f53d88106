/* SPDX-License-Identifier: MIT */
/* Places guest memory on its host nodes: checks free memory first, binds before the first touch,
 * populates by threads on the node, and reads the placement back page by page.
 *
 * Only libnuma's header is used, and the system calls are made directly. In its static archive even
 * mbind() brings the whole library: a constructor that reads /sys and /proc at every launch, and
 * getaddrinfo(). */
#ifndef AXVM_MACHINE_NUMA_H
#define AXVM_MACHINE_NUMA_H

#include "base/problem.h"
#include "host/facts.h"
#include "host/meminfo.h"

#define NUMA_RANGES_MAX 16

/* A mapped part of guest memory. `page_size` is that of the mapping: 4 KiB, 2 MiB or 1 GiB (4 KiB
 * for transparent huge pages). */
struct numa_range {
	void *start;
	size_t size;
	uint64_t page_size;
	int host_node; /* -1: not bound */
	uint32_t guest_node;
};

/* Pages of one range, by size and by node. */
struct numa_counts {
	uint64_t pages_4k, pages_2m, pages_1g;
	uint64_t remote_pages; /* of the range's page size, off its node */
	uint64_t absent_pages; /* likewise, not populated */
};

/* Binds memory that is not touched yet to a node (MPOL_BIND). `length` is in bytes, whole pages.
 * -errno of mbind(2). */
int numa_bind_memory(void *start, size_t length, int host_node);

/* Prefers a node for allocations of the calling thread, in the kernel too (a vCPU's own state). It
 * prefers and does not bind, so that no kernel allocation fails for lack of one page. -1 undoes
 * it. */
int numa_prefer(int host_node);

/* The share of a node's memory that stays free for the kernel: its reserves, and what it counts
 * late. A launch needs that much left over before it starts, and half of it while it populates. */
#define NUMA_SHARE_BEFORE MEMINFO_SHARE
#define NUMA_SHARE_MEANWHILE 128

/* Bytes of a node (-1: of all online nodes) that are available as pages of `page_size`. For
 * ordinary pages that is free memory and clean page cache, minus 1/`share` of the node's memory,
 * counted as at least 1 GiB. 0 if the kernel does not say. Reads sysfs below `root` (NULL: /). */
uint64_t numa_room(const char *root, int node, uint64_t page_size, uint64_t share);

/* Checks that each host node has room for its ranges, huge and ordinary pages counted apart.
 * Otherwise -ENOMEM, with an ERROR_CODE_MEMORY_UNAVAILABLE for each node that has not, which names
 * node, need and free bytes. Reads sysfs below `root` (NULL: /). Ranges without a node are checked
 * against all nodes together. Call it before anything is populated: memory bound to a full node
 * brings the OOM killer, not an error. */
int numa_check_free(const struct numa_range *ranges, size_t count, const char *root,
                    struct problems *problems);

/* Touches every page of every range, all ranges at once, by up to `threads_per_node` threads (0:
 * one for each CPU below, 16 at most). Each thread is bound to all CPUs of the range's node that
 * this process may use, or to all that it may use if the node has none; all have ended on return.
 * If no thread can be started for a range, the caller's thread populates it. Contents are kept.
 * Adds an ERROR_CODE_MEMORY_UNAVAILABLE and returns -errno if a page is not available: a missing
 * huge page is an error here and not a SIGBUS later. For ordinary pages it checks again and again
 * that the node has room for the rest (below `root`, NULL: /), since another launch may take memory
 * too: -ENOMEM then, before the OOM killer acts. The ranges must be unpopulated: pages that are
 * there count as part of the rest. */
int numa_populate(const struct numa_range *ranges, size_t count, const struct host_facts *facts,
                  unsigned int threads_per_node, const char *root, struct problems *problems);

/* Asks the kernel for the node of every page of populated ranges, and counts absent pages: by
 * /proc/self/numa_maps if it lists the range apart, else page by page. Transparent huge pages count
 * as pages of 2 MiB, asked for or not, since a host may give them to every process. `ret` has
 * `count` entries. -errno of move_pages(2); -EINVAL beyond NUMA_RANGES_MAX. Must not be called
 * while other threads map or unmap. */
int numa_read_back(const struct numa_range *ranges, size_t count, struct numa_counts *ret);

#endif
