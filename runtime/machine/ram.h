/* SPDX-License-Identifier: MIT */
/* Host memory behind guest RAM: reserves, binds, populates and locks it before any vCPU exists, and
 * reads its placement back. */
#ifndef AXVM_MACHINE_RAM_H
#define AXVM_MACHINE_RAM_H

#include "base/problem.h"
#include "guest/memory.h"
#include "host/facts.h"
#include "machine/numa.h"

enum ram_pages { RAM_PAGES_4K, RAM_PAGES_THP, RAM_PAGES_2M, RAM_PAGES_1G };

struct ram_config {
	enum ram_pages pages;
	/* touch every page now; huge pages always are, since mmap(2) reserves them host-wide
	 * only */
	bool populate;
	bool lock; /* mlock, which populates as well */
	uint64_t remote_pages_allowed;
	size_t nodes;
	uint64_t node_size[GUEST_NODES_MAX]; /* bytes */
	int host_node[GUEST_NODES_MAX];      /* -1: not bound */
	const struct host_facts *facts;      /* CPUs of the nodes, for the threads that populate */
};

/* The placement that was read back, by guest node. */
struct ram_placement {
	bool populated; /* false: nothing to read back yet */
	struct numa_counts nodes[GUEST_NODES_MAX];
	uint64_t remote_pages;
};

/* Lays out and maps guest memory, bound to its host nodes before the first touch, and reads back
 * where its pages are. The memory is private and anonymous, so nothing remains however the process
 * ends. On failure -errno, every reason in `problems`, and nothing stays mapped.
 * ERROR_CODE_PLACEMENT_FAILED: more remote pages than allowed; ERROR_CODE_MEMORY_UNAVAILABLE: a
 * page that was populated or locked is absent. One thread calls it. */
int ram_acquire(const struct ram_config *config, struct guest_memory *memory,
                struct ram_placement *ret_placement, struct problems *problems);

/* The check of ram_acquire() on a placement, without reading it back: for tests on hosts with one
 * node. -EREMOTE with a problem if more pages are remote than allowed, -ENOMEM with one for each
 * node that lacks pages. */
int ram_judge(const struct ram_config *config, const struct ram_placement *placement,
              struct problems *problems);

#endif
