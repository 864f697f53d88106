/* SPDX-License-Identifier: MIT */
/* Which host CPU each vCPU and I/O thread gets: a pure function of facts and request. */
#ifndef AXVM_HOST_PLACEMENT_H
#define AXVM_HOST_PLACEMENT_H

#include "base/problem.h"
#include "host/facts.h"

#define PLACEMENT_VCPUS_MAX 255
#define PLACEMENT_NODES_MAX 8
#define PLACEMENT_IO_MAX 16 /* I/O threads of one node */

struct placement_request {
	uint32_t vcpus;   /* 1 … PLACEMENT_VCPUS_MAX */
	bool dedicated;   /* whole cores, nobody else's threads on them */
	bool overcommit;  /* two vCPUs may share a CPU when there are too few */
	size_t pin_count; /* 0 or vcpus */
	const uint32_t *pins;
	const uint8_t *vcpu_nodes;                /* guest node of each vCPU; NULL: dealt evenly */
	size_t node_count;                        /* 1 … PLACEMENT_NODES_MAX */
	int host_node[PLACEMENT_NODES_MAX];       /* -1: the plan's choice */
	uint64_t memory_mib[PLACEMENT_NODES_MAX]; /* wanted there; 0: does not matter */
	uint32_t io_threads;                      /* of each node, 0 … PLACEMENT_IO_MAX */
};

struct placement {
	uint32_t vcpu_count;
	struct placement_vcpu {
		uint32_t cpu; /* host CPU */
		uint8_t guest_node;
		int32_t host_node; /* of that CPU, -1: unknown */
		bool shared;       /* another vCPU of this VM has the same CPU */
		bool remote;       /* pinned by hand off its guest node's host node */
	} vcpus[PLACEMENT_VCPUS_MAX];
	size_t node_count;
	struct placement_node {
		int32_t host_node; /* asked or chosen, -1: host without NUMA information */
		bool chosen;       /* by the plan: the spec was silent */
		struct placement_io {
			uint32_t cpu;
			bool shared; /* no CPU was left: the I/O thread shares one with a vCPU */
		} io[PLACEMENT_IO_MAX]; /* as many as were asked for */
	} nodes[PLACEMENT_NODES_MAX];
};

/* Guest node of a vCPU when the spec is silent: contiguous runs, whose lengths differ by one at
 * most. */
uint8_t placement_dealt_node(uint32_t vcpu, uint32_t vcpus, size_t nodes);

/* Plans or, with pins, checks: whole cores of one node first, lowest numbers first, only CPUs that
 * are online and allowed, a guest node's vCPUs never over a host node's boundary. A dedicated VM
 * gets cores of which every thread is allowed, and keeps the threads it does not use. Same input,
 * same output. All reasons for a refusal are added to `problems` (fields cpus.…, memory.nodes[…]);
 * -errno then. */
int placement_plan(const struct host_facts *facts, const struct placement_request *request,
                   struct placement *ret, struct problems *problems);

/* The host CPUs that belong to the plan's vCPUs: for a dedicated VM with their cores' other
 * threads. */
bool placement_owns(const struct host_facts *facts, const struct placement *plan, bool dedicated,
                    uint32_t cpu);

#endif
