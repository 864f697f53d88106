/* SPDX-License-Identifier: MIT */
/* Who runs where: the spec and the host's facts turned into CPUs, nodes and APIC ids. */
#include "shim/plan.h"

#include "shim/shim.h"

static void name_vcpus(struct machine *machine, const struct guest_topology *topology,
                       const struct placement *placement)
{
	machine->vcpu_count = placement->vcpu_count;
	for (uint32_t i = 0; i < machine->vcpu_count; i++) {
		struct vcpu *vcpu = &machine->vcpus[i];

		vcpu->index = i;
		vcpu->apic_id = topology->vcpus[i].apic_id;
		vcpu->host_cpu = (int)placement->vcpus[i].cpu;
		vcpu->host_node = placement->vcpus[i].host_node;
		vcpu->machine = machine;
	}
}

int plan_machine(struct shim *shim)
{
	const struct spec_cpus *cpus = &shim->spec.cpus;
	const struct spec_memory *memory = &shim->spec.memory;
	struct placement_request request = {
		.vcpus = cpus->count,
		.dedicated = cpus->tenancy == SPEC_DEDICATED,
		.overcommit = cpus->overcommit,
		.pin_count = cpus->pins_count,
		.pins = cpus->pins,
		.vcpu_nodes = cpus->nodes_count ? cpus->nodes : NULL,
		.node_count = memory->count,
	};
	int r;

	for (size_t i = 0; i < memory->count; i++) {
		request.host_node[i] = memory->nodes[i].host_node;
		request.memory_mib[i] = memory->nodes[i].size / MIB;
	}
	r = placement_plan(shim->facts, &request, &shim->placement, &shim->problems);
	if (r < 0)
		return r;
	r = topology_derive(&shim->placement, shim->facts, &shim->topology);
	if (r < 0)
		return problems_add(&shim->problems, PROBLEM_INTERNAL, -r, "cpus",
		                    "no topology follows from the placement");
	name_vcpus(&shim->machine, &shim->topology, &shim->placement);
	return 0;
}
