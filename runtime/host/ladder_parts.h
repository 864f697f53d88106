/* SPDX-License-Identifier: MIT */
/* Shared by the files of the ladder only. */
#ifndef AXVM_HOST_LADDER_PARTS_H
#define AXVM_HOST_LADDER_PARTS_H

#include "host/claims.h"
#include "host/placement.h"

/* A CPU, or for a DEDICATED VM a core by its first CPU, in the order of trial. */
struct rung {
	uint64_t key;
	const struct host_cpu *cpu;
	uint16_t hand;
	uint16_t got; /* claims of ours on it for this guest node */
	bool gone;    /* one DEDICATED VM has it */
};

/* The claims gathered for one host node. */
struct hand {
	int32_t node;
	uint32_t live; /* rungs that are not gone */
	uint32_t got;
	bool has_memory; /* claimed, from this slot on */
	uint64_t memory_slot;
};

struct ladder {
	struct claims *claims;
	const struct host_facts *facts;
	const struct placement_request *request;
	struct placement *plan;
	struct placement planned; /* before any claim */
	struct problems *problems;
	struct cpu_bitmap whole; /* CPUs that others own exclusively */
	struct cpu_bitmap mine;  /* CPUs of this VM's vCPUs */
	/* Of each range, the slots of a CPU below this one were tried already: locks of one open
	 * file description do not conflict, so a lower slot could be claimed twice. */
	uint16_t past[2][FACTS_CPUS_MAX];
	uint64_t deadline_ns; /* of this thread's CPU time; past it no more is tried */
	int error;

	struct rung rungs[FACTS_CPUS_MAX];
	size_t rung_count;
	struct hand hands[FACTS_NODES_MAX];
	size_t hand_count;
	size_t got_count;
	struct {
		uint16_t rung, slot;
	} got[]; /* for each host node PLACEMENT_VCPUS_MAX */
};

/* Claims a slot if it is free, as claims_take(). An error of the folder is noted in
 * ladder->error. */
int ladder_take(struct ladder *ladder, uint32_t cpu, enum claims_range range, uint32_t slot);

/* After all vCPUs: the CPUs of the I/O threads. */
void ladder_claim_io(struct ladder *ladder);

#endif
