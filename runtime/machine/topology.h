/* SPDX-License-Identifier: MIT */
/* The guest's topology, derived from the placement of its vCPUs: APIC ids, CPUID leaves, and
 * distances. */
#ifndef AXVM_MACHINE_TOPOLOGY_H
#define AXVM_MACHINE_TOPOLOGY_H

#include <linux/kvm.h>

#include "host/facts.h"
#include "host/placement.h"

#define TOPOLOGY_VCPUS_MAX PLACEMENT_VCPUS_MAX
/* 0xff is the broadcast of xAPIC and of MSI. */
#define TOPOLOGY_APIC_ID_MAX 0xfeu

struct guest_topology {
	uint32_t vcpu_count;
	uint32_t packages, cores_per_package, threads_per_core; /* the largest of each */
	uint32_t smt_bits, core_bits; /* widths of the APIC id's two lower parts */
	/* a package for each vCPU, since the real shape does not fit in 8-bit APIC ids */
	bool flat;
	struct topology_vcpu {
		uint32_t apic_id, package, core, thread;
		uint8_t node; /* guest node */
	} vcpus[TOPOLOGY_VCPUS_MAX];
	size_t node_count;
	uint8_t distances[PLACEMENT_NODES_MAX][PLACEMENT_NODES_MAX]; /* for the SLIT */
};

/* Derives the topology. A guest node is a package; vCPUs on threads of one host core are threads of
 * one guest core; vCPUs that share a host CPU are cores of their own. Packages and cores are
 * numbered in the order of the vCPUs, so vCPU 0 has APIC id 0; all ids are distinct and at most
 * 0xfe. Distances: 10 on the diagonal, elsewhere the host's, 11 between guest nodes on one host
 * node. -EINVAL: no vCPU or no node. Pure. */
int topology_derive(const struct placement *placement, const struct host_facts *facts,
                    struct guest_topology *ret);

/* Writes one vCPU's own values into a table of CPUID entries (KVM_SET_CPUID2): leaf 1 (APIC id,
 * count, HTT), 4 (sharing), 0xB (replaced), 0x1F (removed), and AMD's 0x80000008, 0x8000001D,
 * 0x8000001E. *count entries of at most `capacity`; -E2BIG when leaf 0xB does not fit, with the
 * table unchanged. SDM 2A CPUID; AMD APM 3 appendix E. */
int topology_cpuid(const struct guest_topology *topology, uint32_t vcpu,
                   struct kvm_cpuid_entry2 *entries, uint32_t *count, uint32_t capacity);

#endif
