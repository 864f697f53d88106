/* SPDX-License-Identifier: MIT */
/* Facts through their message: what a file of facts holds is what was read, field by field. */
#include "host/facts.h"
#include "host/facts_proto.h"
#include "host/probe.h"
#include "interface/stream.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct host_facts *facts_of_everything(void)
{
	struct host_facts *facts = fixture_e5_2697_v2();
	uint32_t next = 100;

	facts->cpu_count = 3;
	facts->node_count = 2;
	for (uint32_t i = 0; i < 3; i++) {
		struct host_cpu *cpu = &facts->cpus[i];

		/* Numbers that differ from CPU to CPU and from field to field; siblings as they
		 * are. */
		cpu->package = (int32_t)next++;
		cpu->core = (int32_t)next++;
		cpu->node = (int32_t)(i % 2);
		cpu->online = i != 1;
		cpu->allowed = i == 0;
		cpu->microcode = next++;
		cpu->flags_hash = next++;
		cpu->sibling_count = 2;
		cpu->siblings[0] = (uint16_t)next++;
		cpu->siblings[1] = (uint16_t)next++;
	}
	for (uint32_t i = 0; i < 2; i++) {
		facts->nodes[i] = (struct host_node){ .id = i,
			                              .allowed = i == 1,
			                              .memory_mib = next,
			                              .free_mib = next + 1,
			                              .huge_count = 1,
			                              .huge = { { 2048, next + 2, next + 3 } } };
		next += 4;
		facts->distances[i][0] = (uint8_t)(next++ % 100 + 10);
		facts->distances[i][1] = (uint8_t)(next++ % 100 + 10);
	}
	facts->quick = true;
	facts->x2apic_enabled = 'y';
	facts->vulnerability_count = 2;
	facts->vulnerabilities[0] = (struct host_named){ "l1tf", "Not affected" };
	facts->vulnerabilities[1] = (struct host_named){ "mds", "Vulnerable" };
	strcpy(facts->vmx_flags, " vnmi ept ");
	facts->kvm.max_vcpus = next++;
	facts->kvm.error_number = (int)next++;
	facts->kvm.tsc_khz = next++;
	facts->kvm.parameter_count = 2;
	facts->kvm.parameters[1] = (struct host_named){ "kvm.halt_poll_ns", "5" };
	facts->kvm.capability_count = 1;
	strcpy(facts->kvm.capabilities[0].name, "IRQFD");
	facts->kvm.capabilities[0].value = (int)next++;
	facts->kvm.guest_leaf_count = 1;
	facts->kvm.guest_leaves[0] = (struct host_guest_leaf){ { 7, 1, 2, 3, 4, 5 }, true };
	facts_decode(facts);
	return facts;
}

#define SAME_NUMBER(field) cr_assert_eq(again->field, facts->field, #field)

static void expect_same_cpus(const struct host_facts *facts, const struct host_facts *again)
{
	for (size_t i = 0; i < 3; i++) {
		SAME_NUMBER(cpus[i].id);
		SAME_NUMBER(cpus[i].node);
		SAME_NUMBER(cpus[i].online);
		SAME_NUMBER(cpus[i].allowed);
		if (!facts->cpus[i].online)
			continue; /* nothing else is told of it */
		SAME_NUMBER(cpus[i].package);
		SAME_NUMBER(cpus[i].core);
		SAME_NUMBER(cpus[i].apic_id);
		SAME_NUMBER(cpus[i].microcode);
		SAME_NUMBER(cpus[i].family);
		SAME_NUMBER(cpus[i].model);
		SAME_NUMBER(cpus[i].stepping);
		SAME_NUMBER(cpus[i].flags_hash);
		SAME_NUMBER(cpus[i].sibling_count);
		SAME_NUMBER(cpus[i].siblings[0]);
		SAME_NUMBER(cpus[i].siblings[1]);
		SAME_NUMBER(cpus[i].leaf_count);
		cr_assert_str_eq(again->cpus[i].vendor, facts->cpus[i].vendor);
		cr_assert_str_eq(again->cpus[i].brand, facts->cpus[i].brand);
		cr_assert_arr_eq(again->cpus[i].leaves, facts->cpus[i].leaves,
		                 sizeof(facts->cpus[i].leaves));
	}
}

static void expect_same_kvm(const struct host_facts *facts, const struct host_facts *again)
{
	cr_assert_arr_eq(again->vmx.msrs, facts->vmx.msrs, sizeof(facts->vmx.msrs));
	SAME_NUMBER(vmx.msr_mask);
	SAME_NUMBER(kvm.present);
	SAME_NUMBER(kvm.accessible);
	SAME_NUMBER(kvm.api_version);
	SAME_NUMBER(kvm.max_vcpus);
	SAME_NUMBER(kvm.error_number);
	SAME_NUMBER(kvm.tsc_khz);
	SAME_NUMBER(kvm.parameter_count);
	SAME_NUMBER(kvm.capability_count);
	SAME_NUMBER(kvm.capabilities[0].value);
	cr_assert_str_eq(again->kvm.capabilities[0].name, "IRQFD");
	SAME_NUMBER(kvm.guest_leaf_count);
	SAME_NUMBER(kvm.guest_leaves[0].indexed);
	cr_assert_eq(memcmp(&again->kvm.guest_leaves[0].leaf, &facts->kvm.guest_leaves[0].leaf,
	                    sizeof(struct cpuid_leaf)),
	             0);
}

/* Of an offline CPU nothing is known but where it is: what was read when it was online is not
 * told. */
static void expect_offline(const Axvm__V1__CpuFacts *cpu)
{
	cr_expect(cpu->has_id && cpu->has_online && !cpu->online && cpu->has_node);
	cr_expect_not(cpu->has_allowed || cpu->has_package || cpu->has_core || cpu->has_apic_id ||
	              cpu->has_family || cpu->has_model || cpu->has_stepping ||
	              cpu->has_flags_hash);
	cr_expect_not(cpu->vendor || cpu->brand || cpu->microcode || cpu->n_smt_siblings ||
	              cpu->n_cpuid);
}

/* Facts that go through their message come back as they were: each field of CPUs, nodes, VMX and
 * KVM. */
Test(facts, every_field_goes_through_the_message)
{
	_cleanup_free_ struct host_facts *facts = facts_of_everything(), *again = facts_new();
	Axvm__V1__HostFacts *message;

	cr_assert_eq(facts_to_message(facts, &message), 0);
	cr_assert_eq(facts_from_message(message, again), 0);
	expect_offline(message->cpus[1]);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	SAME_NUMBER(quick);
	SAME_NUMBER(x2apic_enabled);
	SAME_NUMBER(hypervisor);
	SAME_NUMBER(cpu_count);
	SAME_NUMBER(node_count);
	SAME_NUMBER(vulnerability_count);
	cr_assert_str_eq(again->kernel_release, facts->kernel_release);
	cr_assert_str_eq(again->flags, facts->flags);
	cr_assert_str_eq(again->vmx_flags, facts->vmx_flags);
	for (size_t i = 0; i < 2; i++) {
		cr_assert_str_eq(again->vulnerabilities[i].name, facts->vulnerabilities[i].name);
		cr_assert_str_eq(again->vulnerabilities[i].value, facts->vulnerabilities[i].value);
		cr_assert_str_eq(again->kvm.parameters[i].name, facts->kvm.parameters[i].name);
		cr_assert_str_eq(again->kvm.parameters[i].value, facts->kvm.parameters[i].value);
		SAME_NUMBER(nodes[i].id);
		SAME_NUMBER(nodes[i].allowed);
		SAME_NUMBER(nodes[i].memory_mib);
		SAME_NUMBER(nodes[i].free_mib);
		SAME_NUMBER(nodes[i].huge_count);
		SAME_NUMBER(nodes[i].huge[0].size_kib);
		SAME_NUMBER(nodes[i].huge[0].total);
		SAME_NUMBER(nodes[i].huge[0].free);
		SAME_NUMBER(distances[i][0]);
		SAME_NUMBER(distances[i][1]);
	}
	expect_same_cpus(facts, again);
	expect_same_kvm(facts, again);
}

/* What a plan may bring (interface/stream.h) has room for all that the facts of a host can be,
 * beside the largest launch; and they are unpacked. */
Test(facts, the_largest_facts_are_taken)
{
	struct host_facts *facts = fixture_e5_2697_v2(), *again = facts_new();
	Axvm__V1__HostFacts *message;
	uint8_t *bytes;
	size_t size;

	facts->cpu_count = FACTS_CPUS_MAX;
	facts->node_count = FACTS_NODES_MAX;
	for (uint32_t i = 0; i < FACTS_CPUS_MAX; i++) {
		struct host_cpu *cpu = &facts->cpus[i];

		*cpu = facts->cpus[0];
		cpu->id = i;
		cpu->node = (int32_t)i;
		cpu->package = cpu->core = INT32_MAX;
		cpu->microcode = UINT32_MAX;
		cpu->flags_hash = UINT64_MAX;
		cpu->leaf_count = FACTS_LEAVES_MAX;
		for (size_t k = 0; k < FACTS_LEAVES_MAX; k++)
			cpu->leaves[k] = (struct cpuid_leaf){ UINT32_MAX, UINT32_MAX, UINT32_MAX,
				                              UINT32_MAX, UINT32_MAX, UINT32_MAX };
		cpu->sibling_count = FACTS_SIBLINGS_MAX;
		memset(cpu->siblings, 3, sizeof(cpu->siblings));
		facts->nodes[i] = (struct host_node){ .id = i,
			                              .memory_mib = UINT64_MAX,
			                              .free_mib = UINT64_MAX,
			                              .huge_count = FACTS_HUGE_SIZES_MAX };
		for (size_t k = 0; k < FACTS_HUGE_SIZES_MAX; k++)
			facts->nodes[i].huge[k] =
				(typeof(facts->nodes[i].huge[k])){ UINT64_MAX, UINT64_MAX,
				                                   UINT64_MAX };
		memset(facts->distances[i], 255, sizeof(facts->distances[i]));
	}
	cr_assert_eq(facts_to_message(facts, &message), 0);
	size = axvm__v1__host_facts__get_packed_size(message);
	/* The rows and lists of the others, all together, are a few hundred KiB at most. */
	cr_assert_lt(size + STREAM_MESSAGE_MAX + 512 * KIB, STREAM_PLAN_MAX, "%zu", size);
	cr_assert_gt(size, 4 * MIB, "%zu", size);
	bytes = malloc(size);
	axvm__v1__host_facts__pack(message, bytes);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	cr_assert_eq(facts_unpack(bytes, size, again), 0);
	cr_assert(again->cpu_count == FACTS_CPUS_MAX && again->node_count == FACTS_NODES_MAX);
	cr_assert_eq(again->distances[FACTS_NODES_MAX - 1][FACTS_NODES_MAX - 1], 255);
	free(bytes);
	free(facts);
	free(again);
}

/* Empty messages take two bytes each, and unpacked a hundred times that: no memory is had for them
 * without end. */
Test(facts, what_unpacks_to_more_than_facts_is_refused)
{
	struct host_facts *facts = facts_new();
	uint8_t *bytes = malloc(STREAM_PLAN_MAX);

	for (size_t i = 0; i < STREAM_PLAN_MAX; i += 2)
		memcpy(bytes + i, "\x0a\x00", 2);
	cr_assert_eq(facts_unpack(bytes, STREAM_PLAN_MAX, facts), -EINVAL);
	cr_assert_eq(facts_unpack(bytes, 1, facts), -EBADMSG);
	free(bytes);
	free(facts);
}

/* A plan of 8 MiB can have millions of them, and each would be looked for among all CPUs. */
Test(facts, more_cpus_on_nodes_than_there_can_be_are_refused)
{
	static uint32_t ids[FACTS_CPUS_MAX];
	Axvm__V1__CpuFacts cpu = AXVM__V1__CPU_FACTS__INIT, *cpus[] = { &cpu };
	Axvm__V1__NodeFacts first = AXVM__V1__NODE_FACTS__INIT, second = AXVM__V1__NODE_FACTS__INIT;
	Axvm__V1__NodeFacts *nodes[] = { &first, &second };
	Axvm__V1__HostFacts message = AXVM__V1__HOST_FACTS__INIT;
	struct host_facts *facts = facts_new();

	cpu.has_id = first.has_id = second.has_id = true;
	second.id = 1;
	first.cpus = second.cpus = ids;
	first.n_cpus = FACTS_CPUS_MAX;
	message.cpus = cpus;
	message.n_cpus = ARRAY_SIZE(cpus);
	message.nodes = nodes;
	message.n_nodes = ARRAY_SIZE(nodes);
	cr_assert_eq(facts_from_message(&message, facts), 0);
	second.n_cpus = 1;
	cr_assert_eq(facts_from_message(&message, facts), -EINVAL);
	free(facts);
}
