/* SPDX-License-Identifier: MIT */
/* Which host CPU each vCPU and I/O thread gets: a pure function of facts and request. */
#ifndef AXVM_HOST_PLACEMENT_H
#define AXVM_HOST_PLACEMENT_H

#include "base/problem.h"
#include "host/cpulist.h"
#include "host/facts.h"

#define PLACEMENT_VCPUS_MAX 255
#define PLACEMENT_NODES_MAX 8
#define PLACEMENT_IO_MAX 16 /* I/O threads of one node */

struct placement_request {
	uint32_t vcpus;   /* 1 … PLACEMENT_VCPUS_MAX */
	bool dedicated;   /* whole cores, nobody else's threads on them */
	bool overcommit;  /* two vCPUs may share a CPU */
	bool realtime;    /* a vCPU yields its CPU to an I/O thread only when it sleeps */
	size_t pin_count; /* 0 or vcpus */
	const uint32_t *pins;
	const uint8_t *vcpu_nodes;                /* guest node of each vCPU; NULL: dealt evenly */
	size_t node_count;                        /* 1 … PLACEMENT_NODES_MAX */
	int host_node[PLACEMENT_NODES_MAX];       /* -1: the plan's choice */
	uint64_t memory_mib[PLACEMENT_NODES_MAX]; /* wanted there; 0: any amount */
	uint64_t page_kib;                        /* in pages of this size; 0, 4: ordinary pages */
	uint32_t io_threads;                      /* of each node, 0 … PLACEMENT_IO_MAX */
	uint32_t io_count; /* total that will be started: only those claim a CPU */
	/* the VM's own number: decides between equal choices, so that VMs do not all take the
	 * same */
	uint64_t seed;
};

#define PLACEMENT_UNPINNED (-1) /* bound to the CPUs of its node, among which the kernel balances */

struct placement {
	uint32_t vcpu_count;
	bool by_hand; /* the CPUs are the pins' */
	bool pinned;  /* each thread has a CPU; else none has */
	bool claimed; /* other VMs know of it (host/ladder.h) */
	struct placement_vcpu {
		int32_t cpu; /* host CPU, or PLACEMENT_UNPINNED */
		uint8_t guest_node;
		int32_t host_node; /* of that CPU, or of its guest node; -1: unknown */
		bool shared;       /* another vCPU of this VM has the same CPU */
		bool remote;       /* pinned by hand off its guest node's host node */
	} vcpus[PLACEMENT_VCPUS_MAX];
	size_t node_count;
	struct placement_node {
		int32_t host_node; /* asked or chosen, -1: host without NUMA information */
		bool chosen;       /* by the plan: the spec was silent */
		bool said;         /* follows from the spec: asked for, or the node of a pin */
		/* CPUs of the host node that this process may use; all usable CPUs if it has
		 * none */
		struct cpu_bitmap cpus;
		struct placement_io {
			int32_t cpu;    /* or PLACEMENT_UNPINNED */
			bool shared;    /* no CPU was left: the I/O thread shares one with a vCPU */
		} io[PLACEMENT_IO_MAX]; /* as many as were asked for */
	} nodes[PLACEMENT_NODES_MAX];
};

/* Guest node of a vCPU if the spec names none: contiguous runs, whose lengths differ by at most
 * one. */
uint8_t placement_dealt_node(uint32_t vcpu, uint32_t vcpus, size_t nodes);

/* Places a VM without regard to other VMs: with pins, on their CPUs; DEDICATED, on whole cores of
 * one node, lowest numbers first, including the threads that it does not use; else on a node and no
 * particular CPU. It uses only CPUs that are online and allowed, and never splits a guest node's
 * vCPUs over host nodes. Same input, same output. All reasons for a refusal are added to `problems`
 * (fields cpus.…, memory.nodes[…]); -errno then. */
int placement_plan(const struct host_facts *facts, const struct placement_request *request,
                   struct placement *ret, struct problems *problems);

/* Whether this process may use a CPU; and every thread of its core. */
bool placement_usable(const struct host_cpu *cpu);
bool placement_whole_core(const struct host_facts *facts, const struct host_cpu *cpu);

/* The CPUs of a host node that this process may use; if there are none or the node is -1, all CPUs
 * that it may use. */
void placement_cpus(const struct host_facts *facts, int32_t host_node, struct cpu_bitmap *ret);

/* Puts vCPU `vcpu` on a CPU of the plan. */
void placement_put(struct placement *plan, uint32_t vcpu, const struct host_cpu *cpu);

#endif
