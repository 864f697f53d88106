/* SPDX-License-Identifier: MIT */
/* Host memory behind guest RAM: reserved, bound, populated and locked before any vCPU exists. */
#ifndef AXVM_MACHINE_RAM_H
#define AXVM_MACHINE_RAM_H

#include "base/problem.h"
#include "machine/memory.h"

enum ram_pages { RAM_PAGES_4K, RAM_PAGES_THP, RAM_PAGES_2M, RAM_PAGES_1G };

struct ram_config {
	enum ram_pages pages;
	bool populate; /* touch every page now */
	bool lock;     /* mlock */
	size_t nodes;
	uint64_t node_size[GUEST_NODES_MAX]; /* bytes */
	int host_node[GUEST_NODES_MAX];      /* -1: the kernel's default policy */
};

/* Lays out and maps guest memory, bound to its host nodes before the first touch. Private and
 * anonymous: nothing is left behind when the process ends, however it ends. All reasons that hold
 * are added to `problems`; -errno then, and nothing stays mapped. */
int ram_acquire(const struct ram_config *config, struct guest_memory *memory,
                struct problems *problems);

#endif
