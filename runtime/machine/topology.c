/* SPDX-License-Identifier: MIT */
/* The guest's topology from the placement of its vCPUs. */
#include "machine/topology.h"

#include <errno.h>
#include <string.h>

static uint32_t bits_for(uint32_t count)
{
	uint32_t bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

static bool same_host_core(const struct host_facts *facts, uint32_t a, int32_t b)
{
	const struct host_cpu *cpu = facts_cpu(facts, a);

	for (size_t i = 0; cpu && i < cpu->sibling_count; i++)
		if (cpu->siblings[i] == b)
			return true;
	return false;
}

/* The latest earlier vCPU on the same guest core as `vcpu`; -1 if there is none. A core takes only
 * vCPUs of one guest node and of distinct host CPUs; a vCPU without a host CPU is a core of its
 * own. */
static int core_mate(const struct placement *placement, const struct host_facts *facts,
                     uint32_t vcpu)
{
	const struct placement_vcpu *own = &placement->vcpus[vcpu];

	if (own->shared || own->cpu == PLACEMENT_UNPINNED)
		return -1;
	for (uint32_t i = vcpu; i-- > 0;) {
		const struct placement_vcpu *other = &placement->vcpus[i];

		if (other->guest_node == own->guest_node && !other->shared &&
		    same_host_core(facts, (uint32_t)own->cpu, other->cpu))
			return (int)i;
	}
	return -1;
}

static void number(const struct placement *placement, const struct host_facts *facts,
                   struct guest_topology *topology)
{
	int package_of_node[PLACEMENT_NODES_MAX];
	uint32_t cores_in[PLACEMENT_NODES_MAX] = { 0 };

	for (size_t i = 0; i < PLACEMENT_NODES_MAX; i++)
		package_of_node[i] = -1;
	for (uint32_t i = 0; i < placement->vcpu_count; i++) {
		struct topology_vcpu *vcpu = &topology->vcpus[i];
		int mate = core_mate(placement, facts, i);

		vcpu->node = placement->vcpus[i].guest_node;
		if (package_of_node[vcpu->node] < 0)
			package_of_node[vcpu->node] = (int)topology->packages++;
		vcpu->package = (uint32_t)package_of_node[vcpu->node];
		vcpu->core = mate >= 0 ? topology->vcpus[mate].core : cores_in[vcpu->package]++;
		vcpu->thread = mate >= 0 ? topology->vcpus[mate].thread + 1 : 0;
		topology->threads_per_core = MAX(topology->threads_per_core, vcpu->thread + 1);
		topology->cores_per_package = MAX(topology->cores_per_package, vcpu->core + 1);
	}
}

static void flatten(struct guest_topology *topology)
{
	topology->flat = true;
	topology->packages = topology->vcpu_count;
	topology->cores_per_package = 1;
	topology->threads_per_core = 1;
	for (uint32_t i = 0; i < topology->vcpu_count; i++) {
		topology->vcpus[i].package = i;
		topology->vcpus[i].core = 0;
		topology->vcpus[i].thread = 0;
	}
}

/* APIC ids from the numbering; returns the largest. */
static uint32_t number_apics(struct guest_topology *topology)
{
	uint32_t largest = 0;

	topology->smt_bits = bits_for(topology->threads_per_core);
	topology->core_bits = bits_for(topology->cores_per_package);
	for (uint32_t i = 0; i < topology->vcpu_count; i++) {
		struct topology_vcpu *vcpu = &topology->vcpus[i];

		vcpu->apic_id = vcpu->package << (topology->core_bits + topology->smt_bits) |
		                vcpu->core << topology->smt_bits | vcpu->thread;
		largest = MAX(largest, vcpu->apic_id);
	}
	return largest;
}

/* The largest distance from the host's first node; the default if the host has one node, or none is
 * known. */
static uint32_t farthest(const struct host_facts *facts)
{
	uint32_t most = facts->node_count == 1 ? 11 : 0;

	for (size_t i = 1; i < facts->node_count; i++)
		most = MAX(most, facts_distance(facts, facts->nodes[0].id, facts->nodes[i].id));
	return most > 0 ? most : 20;
}

/* ACPI 6.5 §5.2.17: 10 is local, less than 10 reserved, 255 unreachable. For host nodes that the
 * spec leaves open it takes the farthest distance: their choice depends on the other VMs, and what
 * a guest sees must not. */
static void distances(const struct placement *placement, const struct host_facts *facts,
                      struct guest_topology *topology)
{
	const uint32_t open = farthest(facts);

	for (size_t i = 0; i < placement->node_count; i++)
		for (size_t k = 0; k < placement->node_count; k++) {
			const struct placement_node *from = &placement->nodes[i],
						    *to = &placement->nodes[k];
			uint32_t distance = open;

			if (from->said && to->said && from->host_node >= 0 && to->host_node >= 0)
				distance = facts_distance(facts, (uint32_t)from->host_node,
				                          (uint32_t)to->host_node);
			topology->distances[i][k] =
				i == k ? 10 : (uint8_t)MIN(MAX(distance, 11u), 254u);
		}
}

int topology_derive(const struct placement *placement, const struct host_facts *facts,
                    struct guest_topology *ret)
{
	struct guest_topology topology = {
		.vcpu_count = placement->vcpu_count,
		.node_count = placement->node_count,
	};

	if (placement->vcpu_count == 0 || placement->vcpu_count > TOPOLOGY_VCPUS_MAX ||
	    placement->node_count == 0 || placement->node_count > PLACEMENT_NODES_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < placement->vcpu_count; i++)
		if (placement->vcpus[i].guest_node >= placement->node_count)
			return -EINVAL;
	number(placement, facts, &topology);
	if (number_apics(&topology) > TOPOLOGY_APIC_ID_MAX) {
		flatten(&topology);
		(void)number_apics(&topology);
	}
	distances(placement, facts, &topology);
	*ret = topology;
	return 0;
}

/* --------------------------------------------------------------------------------------- CPUID */

struct shape {
	const struct guest_topology *topology;
	const struct topology_vcpu *vcpu;
	uint32_t package_ids; /* APIC ids that a package spans, a power of 2 */
	uint32_t core_ids;
	uint32_t package_vcpus, core_vcpus; /* that are really in this vCPU's package and core */
};

static void fix_leaf_1(const struct shape *shape, struct kvm_cpuid_entry2 *entry)
{
	const uint32_t htt = 1u << 28;

	entry->ebx = (entry->ebx & 0xffffu) | MIN(shape->package_ids, 255u) << 16 |
	             (shape->vcpu->apic_id & 0xff) << 24;
	entry->edx = shape->package_ids > 1 ? entry->edx | htt : entry->edx & ~htt;
}

/* EAX[25:14]: APIC ids that share the cache, less 1; EAX[31:26]: core ids in the package,
 * less 1. */
static void fix_leaf_4(const struct shape *shape, struct kvm_cpuid_entry2 *entry)
{
	uint32_t level = entry->eax >> 5 & 7;
	uint32_t sharing = (level >= 3 ? shape->package_ids : shape->core_ids) - 1;
	uint32_t cores = shape->package_ids / shape->core_ids - 1;

	if ((entry->eax & 0x1f) != 0)
		entry->eax =
			(entry->eax & 0x3fff) | (sharing & 0xfff) << 14 | MIN(cores, 63u) << 26;
}

static void fix_amd(const struct shape *shape, struct kvm_cpuid_entry2 *entry)
{
	uint32_t level = entry->eax >> 5 & 7;
	uint32_t sharing = (level >= 3 ? shape->package_ids : shape->core_ids) - 1;

	switch (entry->function) {
	case 0x80000008: /* ECX[7:0] threads of the package less 1, ECX[15:12] width of their ids */
		entry->ecx = (entry->ecx & ~0xf0ffu) | MIN(shape->package_ids - 1, 255u) |
		             bits_for(shape->package_ids) << 12;
		break;
	case 0x8000001d:
		if ((entry->eax & 0x1f) != 0)
			entry->eax = (entry->eax & ~0x3ffc000u) | (sharing & 0xfff) << 14;
		break;
	case 0x8000001e: /* extended APIC id; core id and threads a core less 1; node id */
		entry->eax = shape->vcpu->apic_id;
		entry->ebx = (shape->vcpu->core & 0xff) | (shape->topology->threads_per_core - 1)
		                                                  << 8;
		entry->ecx = shape->vcpu->node;
		break;
	}
}

static bool is_amd(const struct kvm_cpuid_entry2 *entries, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (entries[i].function == 0)
			return entries[i].ebx == 0x68747541 || /* "Auth" */
			       entries[i].ebx == 0x6f677948;   /* "Hygo" */
	return false;
}

static void measure(const struct guest_topology *topology, uint32_t vcpu, struct shape *shape)
{
	*shape = (struct shape){
		.topology = topology,
		.vcpu = &topology->vcpus[vcpu],
		.package_ids = 1u << (topology->core_bits + topology->smt_bits),
		.core_ids = 1u << topology->smt_bits,
	};
	for (uint32_t i = 0; i < topology->vcpu_count; i++) {
		const struct topology_vcpu *other = &topology->vcpus[i];

		if (other->package != shape->vcpu->package)
			continue;
		shape->package_vcpus++;
		shape->core_vcpus += other->core == shape->vcpu->core;
	}
}

/* Leaf 0xB: subleaf 0 the threads of a core, 1 the vCPUs of a package, 2 the end. */
static void append_leaf_b(const struct shape *shape, struct kvm_cpuid_entry2 *entries)
{
	const struct guest_topology *topology = shape->topology;
	const struct {
		uint32_t shift, vcpus, type;
	} levels[] = {
		{ topology->smt_bits, shape->core_vcpus, 1 },
		{ topology->smt_bits + topology->core_bits, shape->package_vcpus, 2 },
		{ 0, 0, 0 },
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(levels); i++)
		entries[i] = (struct kvm_cpuid_entry2){
			.function = 0xb,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = levels[i].shift,
			.ebx = levels[i].vcpus,
			.ecx = levels[i].type << 8 | i,
			.edx = shape->vcpu->apic_id,
		};
}

int topology_cpuid(const struct guest_topology *topology, uint32_t vcpu,
                   struct kvm_cpuid_entry2 *entries, uint32_t *count, uint32_t capacity)
{
	bool amd = is_amd(entries, *count);
	uint32_t kept = 0, at = 0;
	struct shape shape;

	if (vcpu >= topology->vcpu_count)
		return -EINVAL;
	for (uint32_t i = 0; i < *count; i++)
		kept += entries[i].function != 0xb && entries[i].function != 0x1f;
	if (kept + 3 > capacity)
		return -E2BIG;
	measure(topology, vcpu, &shape);
	for (uint32_t i = 0; i < *count; i++) {
		struct kvm_cpuid_entry2 entry = entries[i];

		if (entry.function == 0xb || entry.function == 0x1f)
			continue;
		if (entry.function == 0)
			entry.eax = MAX(entry.eax, 0xbu);
		else if (entry.function == 1)
			fix_leaf_1(&shape, &entry);
		else if (entry.function == 4 && !amd)
			fix_leaf_4(&shape, &entry);
		else if (amd)
			fix_amd(&shape, &entry);
		entries[at++] = entry;
	}
	append_leaf_b(&shape, &entries[at]);
	*count = at + 3;
	return 0;
}
