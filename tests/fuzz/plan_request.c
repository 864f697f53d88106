/* SPDX-License-Identifier: MIT */
/* A plan asked for: any bytes, and in them any host. What is taken is planned as the shim plans it,
 * as far as that needs no KVM; the plan is within its bounds. */
#include "lib/input.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "host/admit.h"
#include "host/facts_proto.h"
#include "host/placement.h"
#include "interface/plan_request.h"
#include "machine/topology.h"

static struct vm_spec spec;
static struct placement placement;
static struct guest_topology topology;
static struct profile profile;
static struct verdict verdict;

/* One of the profiles that there are, whatever the spec says: few inputs have its name. */
static void judge(const struct host_facts *facts)
{
	size_t count = 0;

	while (profile_name(count))
		count++;
	cr_assert_eq(profile_load(profile_name(spec.cpus.count % count), &profile), 0);
	cr_assert_eq(admit(facts, &profile, spec.cpus.tenancy, &verdict), 0);
	cr_assert_leq(verdict.count, (size_t)PROFILE_NAMES_MAX);
	cr_assert_leq(verdict.unmet, verdict.count);
	(void)admit_alternative(facts, profile.name);
}

static void check_placement(const struct host_facts *facts)
{
	cr_assert_eq(placement.vcpu_count, spec.cpus.count);
	cr_assert_eq(placement.node_count, spec.memory.count);
	for (uint32_t i = 0; i < placement.vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &placement.vcpus[i];

		cr_assert_lt(vcpu->guest_node, placement.node_count);
		cr_assert_eq(vcpu->cpu >= 0, placement.pinned);
		if (placement.pinned) {
			const struct host_cpu *cpu = facts_cpu(facts, (uint32_t)vcpu->cpu);

			cr_assert(cpu && cpu->online && cpu->allowed);
		}
	}
	for (size_t i = 0; i < placement.node_count; i++)
		cr_assert_gt(cpu_bitmap_count(&placement.nodes[i].cpus), 0);
}

/* By whole cores also where the facts are quick ones, so that an input has one byte for it. */
static void place(const struct host_facts *facts)
{
	struct placement_request request = {
		.vcpus = spec.cpus.count,
		.dedicated = spec.cpus.tenancy == TENANCY_DEDICATED || facts->quick,
		.overcommit = spec.cpus.overcommit,
		.pin_count = spec.cpus.pins_count,
		.pins = spec.cpus.pins,
		.vcpu_nodes = spec.cpus.nodes_count ? spec.cpus.nodes : NULL,
		.node_count = spec.memory.count,
		.io_threads = spec.io.threads_per_node,
		.page_kib = spec.memory.page_size == PAGE_SIZE_2M ? 2048 : 4,
	};
	struct problems problems = { 0 };

	for (size_t i = 0; i < spec.memory.count; i++) {
		request.host_node[i] = spec.memory.nodes[i].host_node;
		request.memory_mib[i] = spec.memory.nodes[i].size / MIB;
	}
	if (placement_plan(facts, &request, &placement, &problems) < 0) {
		cr_assert_gt(problems.count, 0);
		return;
	}
	check_placement(facts);
	cr_assert_eq(topology_derive(&placement, facts, &topology), 0);
	for (uint32_t i = 0; i < topology.vcpu_count; i++)
		cr_assert_leq(topology.vcpus[i].apic_id, TOPOLOGY_APIC_ID_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problems problems = { 0 };
	struct plan_request request;
	struct host_facts *facts;
	int r;

	memset(&spec, 0, offsetof(struct vm_spec, strings));
	r = plan_request_parse(data, size, &spec, &request, &problems);
	cr_assert_eq(r == 0, problems.count == 0);
	if (r < 0 || !request.facts)
		return 0;
	cr_assert(request.facts >= data && request.facts + request.facts_size <= data + size);
	cr_assert_leq(strlen(request.claims), SPEC_PATH_MAX);
	facts = facts_new();
	cr_assert_not_null(facts);
	if (facts_unpack(request.facts, request.facts_size, facts) == 0) {
		judge(facts);
		place(facts);
	}
	free(facts);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}
