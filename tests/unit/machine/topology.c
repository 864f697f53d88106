/* SPDX-License-Identifier: MIT */
/* The guest's topology: APIC ids, CPUID leaves and distances agree with the placement. */
#include "machine/topology.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct guest_topology derive(const struct host_facts *facts,
                                    const struct placement_request *request)
{
	struct problems problems = { 0 };
	struct placement placement;
	struct guest_topology topology;

	cr_assert_eq(placement_plan(facts, request, &placement, &problems), 0, "%s",
	             problems.list[0].message);
	cr_assert_eq(topology_derive(&placement, facts, &topology), 0);
	return topology;
}

static struct placement_request ask(uint32_t vcpus, size_t nodes)
{
	return (struct placement_request){
		.vcpus = vcpus,
		.overcommit = true,
		.node_count = nodes,
		.host_node = { -1, -1, -1, -1, -1, -1, -1, -1 },
	};
}

/* A topology shows threads of a core to DEDICATED VMs and to those whose pins say so. */
static struct placement_request ask_dedicated(uint32_t vcpus, size_t nodes)
{
	struct placement_request request = ask(vcpus, nodes);

	request.dedicated = true;
	return request;
}

static const char *apic_ids(const struct guest_topology *topology)
{
	static char text[1024];

	text[0] = '\0';
	for (uint32_t i = 0; i < topology->vcpu_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), i ? " %u" : "%u",
		         topology->vcpus[i].apic_id);
	return text;
}

Test(topology, threads_cores_and_packages_follow_the_placement)
{
	_cleanup_free_ struct host_facts *smt = fixture_shape(2, 4, 2);
	_cleanup_free_ struct host_facts *plain = fixture_shape(1, 8, 1);
	struct placement_request request = ask_dedicated(5, 1);
	struct guest_topology topology = derive(smt, &request);

	cr_assert_str_eq(apic_ids(&topology), "0 1 2 3 4");
	cr_assert_eq(topology.threads_per_core, 2);
	cr_assert_eq(topology.cores_per_package, 3);
	cr_assert_eq(topology.smt_bits, 1);
	cr_assert_eq(topology.core_bits, 2);
	/* Three cores take two bits: the second package starts at 8. */
	request = ask_dedicated(10, 2);
	topology = derive(smt, &request);
	cr_assert_str_eq(apic_ids(&topology), "0 1 2 3 4 8 9 10 11 12");
	cr_assert_eq(topology.packages, 2);
	cr_assert_eq(topology.vcpus[7].node, 1);
	/* No SMT, no thread bits. */
	request = ask_dedicated(3, 1);
	topology = derive(plain, &request);
	cr_assert_str_eq(apic_ids(&topology), "0 1 2");
	cr_assert_eq(topology.smt_bits, 0);
}

Test(topology, vcpu_0_has_apic_id_0_whatever_its_node)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 4, 2);
	static const uint8_t nodes[] = { 1, 0, 1, 0 };
	struct placement_request request = ask_dedicated(4, 2);
	struct guest_topology topology;

	request.vcpu_nodes = nodes;
	topology = derive(facts, &request);
	cr_assert_str_eq(apic_ids(&topology), "0 2 1 3");
	cr_assert_eq(topology.vcpus[0].node, 1);
}

Test(topology, vcpus_on_one_host_cpu_are_cores_of_their_own)
{
	static const uint32_t pins[] = { 0, 1, 0, 1, 0 };
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 1, 2);
	struct placement_request request = ask(5, 1);
	struct guest_topology topology;

	request.pins = pins;
	request.pin_count = 5;
	topology = derive(facts, &request);
	cr_assert_str_eq(apic_ids(&topology), "0 1 2 3 4");
	cr_assert_eq(topology.threads_per_core, 1);
	/* The third shares the first's CPU; the second, on the sibling, is not its thread. */
	request.vcpus = request.pin_count = 3;
	topology = derive(facts, &request);
	cr_assert_eq(topology.threads_per_core, 1);
	request.vcpus = request.pin_count = 2;
	topology = derive(facts, &request);
	cr_assert_eq(topology.threads_per_core, 2);
}

/* Where a SHARED VM is depends on others. It is shown cores of one thread, and of nodes that it
 * leaves open the distance of the farthest. */
Test(topology, who_is_not_pinned_sees_cores_of_one_thread)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(3, 4, 2),
					 *one = fixture_shape(1, 4, 2);
	struct placement_request request = ask(8, 2);
	struct guest_topology topology;

	facts->distances[0][1] = 30;
	for (request.seed = 0; request.seed < 20; request.seed++) {
		topology = derive(facts, &request);
		cr_assert_str_eq(apic_ids(&topology), "0 1 2 3 4 5 6 7");
		cr_assert(topology.threads_per_core == 1 && topology.packages == 2 &&
		          topology.cores_per_package == 4);
		cr_assert(topology.distances[0][1] == 30 && topology.distances[1][0] == 30 &&
		          topology.distances[1][1] == 10);
	}
	request.dedicated = true;
	topology = derive(facts, &request);
	cr_assert(topology.threads_per_core == 2 && topology.distances[0][1] == 30);
	request.host_node[0] = 1;
	topology = derive(facts, &request);
	cr_assert_eq(topology.distances[0][1], 30, "one of the two is open");
	/* A guest node of memory alone beside one whose vCPU is pinned: where it is, is by lot. */
	topology =
		derive(facts, &(struct placement_request){ .vcpus = 1,
	                                                   .node_count = 2,
	                                                   .host_node = { -1, -1 },
	                                                   .pin_count = 1,
	                                                   .pins = (const uint32_t[]){ 4 },
	                                                   .vcpu_nodes = (const uint8_t[]){ 0 } });
	cr_assert_eq(topology.distances[0][1], 30);
	topology = derive(one, &(struct placement_request){
				       .vcpus = 2, .node_count = 2, .host_node = { -1, -1 } });
	cr_assert_eq(topology.distances[0][1], 11);
	one->node_count = 0;
	topology = derive(one, &(struct placement_request){
				       .vcpus = 2, .node_count = 2, .host_node = { -1, -1 } });
	cr_assert_eq(topology.distances[0][1], 20);
}

Test(topology, apic_ids_are_distinct_and_8_bits_wide_up_to_255_vcpus)
{
	static const struct {
		uint32_t nodes, cores, threads;
	} hosts[] = { { 1, 2, 1 },  { 2, 12, 2 }, { 3, 5, 2 },
		      { 8, 40, 2 }, { 5, 40, 4 }, { 1, 300, 1 } };
	unsigned int flat = 0;

	for (size_t h = 0; h < ARRAY_SIZE(hosts); h++) {
		_cleanup_free_ struct host_facts *facts =
			fixture_shape(hosts[h].nodes, hosts[h].cores, hosts[h].threads);

		for (uint32_t vcpus = 1; vcpus <= 255; vcpus++)
			for (size_t nodes = 1; nodes <= MIN(hosts[h].nodes, 8u); nodes++) {
				struct placement_request request = ask(vcpus, nodes);
				struct guest_topology topology;
				struct placement placement;
				struct problems problems = { 0 };
				bool seen[256] = { false };

				request.dedicated = true;
				if (placement_plan(facts, &request, &placement, &problems) < 0)
					request.dedicated = false;
				topology = derive(facts, &request);
				flat += topology.flat;
				for (uint32_t i = 0; i < vcpus; i++) {
					uint32_t id = topology.vcpus[i].apic_id;

					cr_assert_leq(id, TOPOLOGY_APIC_ID_MAX);
					cr_assert_not(seen[id], "%u vCPUs, %zu nodes: %u twice",
					              vcpus, nodes, id);
					seen[id] = true;
				}
				cr_assert_eq(topology.vcpus[0].apic_id, 0);
			}
	}
	cr_assert_gt(flat, 0, "no case needed the flat form: the test lost its point");
}

Test(topology, distances_are_the_hosts_and_valid_for_a_slit)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(3, 2, 1);
	struct placement_request request = ask(6, 3);
	struct guest_topology topology;

	facts->distances[0][2] = 30;
	facts->distances[2][0] = 31;
	for (int i = 0; i < 3; i++)
		request.host_node[i] = i;
	topology = derive(facts, &request);
	cr_assert_eq(topology.distances[0][0], 10);
	cr_assert_eq(topology.distances[0][1], 21);
	cr_assert_eq(topology.distances[0][2], 30);
	cr_assert_eq(topology.distances[2][0], 31);
	/* Two guest nodes on one host node are near, but a SLIT has 10 on the diagonal only. */
	request.host_node[0] = request.host_node[1] = 1;
	topology = derive(facts, &request);
	cr_assert_eq(topology.distances[0][1], 11);
	/* A firmware whose local distance is not 10 is scaled, and 254 is the most. */
	facts->distances[0][0] = 20;
	facts->distances[0][1] = 42;
	facts->distances[0][2] = 255;
	facts->distances[2][2] = 5;
	facts->distances[2][0] = 200;
	for (int i = 0; i < 3; i++)
		request.host_node[i] = i;
	topology = derive(facts, &request);
	cr_assert_eq(topology.distances[0][1], 21);
	cr_assert_eq(topology.distances[0][2], 127);
	cr_assert_eq(topology.distances[2][0], 254);
}

static const struct kvm_cpuid_entry2 *entry(const struct kvm_cpuid_entry2 *entries, uint32_t count,
                                            uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < count; i++)
		if (entries[i].function == leaf && entries[i].index == subleaf)
			return &entries[i];
	cr_assert_fail("no leaf 0x%x, subleaf %u", leaf, subleaf);
	return NULL;
}

/* The recorded Xeon's leaves as a KVM table. */
static uint32_t table_of(const struct host_cpu *cpu, struct kvm_cpuid_entry2 *entries)
{
	uint32_t count = 0;

	for (size_t i = 0; i < cpu->leaf_count; i++) {
		const struct cpuid_leaf *leaf = &cpu->leaves[i];

		entries[count++] = (struct kvm_cpuid_entry2){ .function = leaf->leaf,
			                                      .index = leaf->subleaf,
			                                      .eax = leaf->eax,
			                                      .ebx = leaf->ebx,
			                                      .ecx = leaf->ecx,
			                                      .edx = leaf->edx };
	}
	entries[count++] = (struct kvm_cpuid_entry2){ .function = 0x1f, .eax = 7 };
	return count;
}

/* What an operating system computes from leaf 0xB must be the placement again. */
static void check_vcpu(const struct guest_topology *topology, uint32_t vcpu,
                       const struct host_cpu *cpu)
{
	struct kvm_cpuid_entry2 entries[64];
	uint32_t count = table_of(cpu, entries), shift[2];
	const struct topology_vcpu *want = &topology->vcpus[vcpu];
	const struct kvm_cpuid_entry2 *one, *smt, *core;

	cr_assert_eq(topology_cpuid(topology, vcpu, entries, &count, ARRAY_SIZE(entries)), 0);
	one = entry(entries, count, 1, 0);
	smt = entry(entries, count, 0xb, 0);
	core = entry(entries, count, 0xb, 1);
	cr_assert_eq(entry(entries, count, 0xb, 2)->ecx, 2);
	shift[0] = smt->eax;
	shift[1] = core->eax;
	cr_assert_eq(smt->ecx, 0x100);
	cr_assert_eq(core->ecx, 0x201);
	cr_assert_eq(smt->edx, want->apic_id);
	cr_assert_eq(core->edx, want->apic_id);
	cr_assert_eq(one->ebx >> 24, want->apic_id);
	cr_assert_eq(want->apic_id >> shift[1], want->package);
	cr_assert_eq((want->apic_id & ((1u << shift[1]) - 1)) >> shift[0], want->core);
	cr_assert_eq(want->apic_id & ((1u << shift[0]) - 1), want->thread);
	cr_assert_eq(one->ebx >> 16 & 0xff, 1u << shift[1]);
	cr_assert_eq(one->edx >> 28 & 1, shift[1] > 0);
	/* Caches: levels 1 and 2 among the threads of a core, level 3 among the package. */
	cr_assert_eq((entry(entries, count, 4, 0)->eax >> 14 & 0xfff) + 1, 1u << shift[0]);
	cr_assert_eq((entry(entries, count, 4, 1)->eax >> 14 & 0xfff) + 1, 1u << shift[0]);
	cr_assert_eq((entry(entries, count, 4, 2)->eax >> 14 & 0xfff) + 1, 1u << shift[0]);
	cr_assert_eq((entry(entries, count, 4, 3)->eax >> 14 & 0xfff) + 1, 1u << shift[1]);
	cr_assert_eq((entry(entries, count, 4, 0)->eax >> 26) + 1, 1u << (shift[1] - shift[0]));
	/* The rest of the registers is the processor's own. */
	cr_assert_eq(one->eax, 0x306e4);
	cr_assert_eq(entry(entries, count, 4, 3)->ebx, 0x04c0003f);
	for (uint32_t i = 0; i < count; i++)
		cr_assert_neq(entries[i].function, 0x1f);
}

Test(topology, cpuid_tells_what_the_placement_is)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();

	for (uint32_t vcpus = 1; vcpus <= 48; vcpus += 3)
		for (size_t nodes = 1; nodes <= 2; nodes++) {
			struct placement_request request = ask_dedicated(vcpus, nodes);
			struct guest_topology topology;

			request.dedicated = vcpus <= 24 * nodes;
			topology = derive(facts, &request);
			for (uint32_t i = 0; i < vcpus; i++)
				check_vcpu(&topology, i, &facts->cpus[0]);
		}
}

Test(topology, leaf_b_counts_the_vcpus_that_are_there)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct placement_request request = ask_dedicated(5, 1);
	struct guest_topology topology = derive(facts, &request);
	struct kvm_cpuid_entry2 entries[64];
	uint32_t count = table_of(&facts->cpus[0], entries);

	cr_assert_eq(topology_cpuid(&topology, 4, entries, &count, ARRAY_SIZE(entries)), 0);
	cr_assert_eq(entry(entries, count, 0xb, 0)->ebx, 1); /* the fifth is alone on its core */
	cr_assert_eq(entry(entries, count, 0xb, 1)->ebx, 5);
}

/* More cores in a package than leaf 4 has bits for, and more threads than leaf 1 has: the most that
 * they can say. */
Test(topology, what_a_leaf_has_no_bits_for)
{
	static const struct {
		uint32_t cores, ids;
	} rows[] = { { 32, 32 }, { 33, 64 }, { 64, 64 }, { 65, 128 }, { 128, 128 }, { 129, 256 } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = fixture_shape(1, rows[i].cores, 1),
						 *cpu = fixture_e5_2697_v2();
		struct placement_request request = ask(rows[i].cores, 1);
		struct guest_topology topology = derive(facts, &request);
		struct kvm_cpuid_entry2 entries[64];
		uint32_t count = table_of(&cpu->cpus[0], entries);

		cr_assert_eq(topology_cpuid(&topology, 1, entries, &count, ARRAY_SIZE(entries)), 0);
		cr_expect_eq(entry(entries, count, 4, 3)->eax,
		             0x163 | (rows[i].ids - 1) << 14 | MIN(rows[i].ids - 1, 63u) << 26,
		             "%u cores: %#x", rows[i].cores, entry(entries, count, 4, 3)->eax);
		cr_expect_eq(entry(entries, count, 1, 0)->ebx,
		             0x01000800 | MIN(rows[i].ids, 255u) << 16, "%u cores: %#x",
		             rows[i].cores, entry(entries, count, 1, 0)->ebx);
	}
}

Test(topology, amd_leaves_tell_the_topology)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 2, 2);
	struct placement_request request = ask_dedicated(6, 2);
	struct guest_topology topology = derive(facts, &request);
	struct kvm_cpuid_entry2 entries[16] = {
		{ .function = 0, .eax = 0xd, .ebx = 0x68747541 },
		{ .function = 1, .ebx = 0x800 },
		{ .function = 0x80000008, .eax = 0x3030, .ecx = 0xf0ff },
		{ .function = 0x8000001d, .index = 0, .eax = 0x121 },
		{ .function = 0x8000001d, .index = 2, .eax = 0x143 },
		{ .function = 0x8000001d, .index = 3, .eax = 0x3fc163 },
		{ .function = 0x8000001e, .ecx = 0x300 },
	};
	uint32_t count = 7;

	cr_assert_eq(topology_cpuid(&topology, 4, entries, &count, ARRAY_SIZE(entries)), 0);
	cr_assert_eq(topology.vcpus[4].apic_id, 5);
	cr_assert_eq(entry(entries, count, 0x80000008, 0)->ecx, 0x2003);
	cr_assert_eq(entry(entries, count, 0x80000008, 0)->eax, 0x3030);
	cr_assert_eq(entry(entries, count, 0x8000001d, 0)->eax, 0x121 | 1 << 14);
	cr_assert_eq(entry(entries, count, 0x8000001d, 2)->eax, 0x143 | 1 << 14);
	cr_assert_eq(entry(entries, count, 0x8000001d, 3)->eax, 0x163 | 3 << 14);
	cr_assert_eq(entry(entries, count, 0x8000001e, 0)->eax, 5);
	cr_assert_eq(entry(entries, count, 0x8000001e, 0)->ebx, 0x100);
	cr_assert_eq(entry(entries, count, 0x8000001e, 0)->ecx, 1);
}

Test(topology, a_table_without_room_is_left_as_it_is)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 1);
	struct placement_request request = ask(2, 1);
	struct guest_topology topology = derive(facts, &request);
	struct kvm_cpuid_entry2 entries[4] = { { .function = 0, .eax = 0xd }, { .function = 1 } };
	uint32_t count = 2;

	cr_assert_eq(topology_cpuid(&topology, 0, entries, &count, 4), -E2BIG);
	cr_assert_eq(count, 2);
	cr_assert_eq(entries[1].ebx, 0);
	cr_assert_eq(topology_cpuid(&topology, 2, entries, &count, 16), -EINVAL);
}

/* Leaves that are replaced leave their room: a table that is just large enough. */
Test(topology, the_room_that_is_needed)
{
	static const uint32_t functions[] = { 0, 1, 0xb, 0x1f, 0x1f, 0xd };
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 1);
	struct placement_request request = ask(2, 1);
	struct guest_topology topology = derive(facts, &request);

	for (uint32_t capacity = 5; capacity < 7; capacity++) {
		struct kvm_cpuid_entry2 entries[8] = { 0 };
		uint32_t count = ARRAY_SIZE(functions);

		for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
			entries[i].function = functions[i];
		cr_assert_eq(topology_cpuid(&topology, 1, entries, &count, capacity),
		             capacity < 6 ? -E2BIG : 0);
		cr_assert_eq(count, 6);
		cr_assert_eq(entries[2].function, capacity < 6 ? 0xb : 0xd);
		for (uint32_t i = 3; i < 6 && capacity == 6; i++)
			cr_assert(entries[i].function == 0xb && entries[i].index == i - 3);
	}
}

Test(topology, nothing_comes_of_an_empty_placement)
{
	_cleanup_free_ struct host_facts *facts = fixture_shape(1, 2, 1);
	struct placement placement = { .node_count = 1 };
	struct guest_topology topology;

	cr_assert_eq(topology_derive(&placement, facts, &topology), -EINVAL);
	placement.vcpu_count = 1;
	placement.vcpus[0].guest_node = 1;
	cr_assert_eq(topology_derive(&placement, facts, &topology), -EINVAL);
}
