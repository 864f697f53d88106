/* SPDX-License-Identifier: MIT */
/* Host memory behind guest RAM: reserved, bound, populated and locked before any vCPU exists, and
 * its placement read back. */
#ifndef AXVM_MACHINE_RAM_H
#define AXVM_MACHINE_RAM_H

#include "base/problem.h"
#include "guest/memory.h"
#include "host/facts.h"
#include "machine/numa.h"

enum ram_pages { RAM_PAGES_4K, RAM_PAGES_THP, RAM_PAGES_2M, RAM_PAGES_1G };

struct ram_config {
	enum ram_pages pages;
	/* touch every page now; huge pages always are: mmap reserves them host-wide only */
	bool populate;
	bool lock; /* mlock, which populates as well */
	uint64_t remote_pages_allowed;
	size_t nodes;
	uint64_t node_size[GUEST_NODES_MAX]; /* bytes */
	int host_node[GUEST_NODES_MAX];      /* -1: not bound */
	const struct host_facts *facts;      /* CPUs of the nodes, for the threads that populate */
};

/* What was read back, by guest node. */
struct ram_placement {
	bool populated; /* false: nothing to read back yet */
	struct numa_counts nodes[GUEST_NODES_MAX];
	uint64_t remote_pages;
};

/* Lays out and maps guest memory, bound to its host nodes before the first touch, and reads back
 * where its pages are. Private and anonymous: nothing is left behind when the process ends, however
 * it ends. All reasons that hold are added to `problems`; -errno then, and nothing stays mapped.
 * More remote pages than allowed are a ERROR_CODE_PLACEMENT_FAILED; a page that was populated or
 * locked and is not there is a ERROR_CODE_MEMORY_UNAVAILABLE. One thread calls it. */
int ram_acquire(const struct ram_config *config, struct guest_memory *memory,
                struct ram_placement *ret_placement, struct problems *problems);

/* The judgement of ram_acquire() on what was read back, apart from the reading, which needs a host
 * of two nodes to find anything. -EREMOTE with a problem when more pages are remote than are
 * allowed, -ENOMEM with one for each node that lacks pages. */
int ram_judge(const struct ram_config *config, const struct ram_placement *placement,
              struct problems *problems);

#endif
