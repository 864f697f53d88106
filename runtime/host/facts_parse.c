/* SPDX-License-Identifier: MIT */
/* Reads facts from axvm.v1.HostFacts. The message may come from a file: every count is checked
 * against its array before anything is written. */
#include "host/facts_proto.h"
#include "host/probe.h"
#include "interface/arena.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COPY(to_, from_) snprintf(to_, sizeof(to_), "%s", (from_) ? (from_) : "")

/* Unpacking the largest struct host_facts takes less (1024 nodes have a million distances); a few
 * MiB of empty messages would take more. */
#define UNPACKED_MAX (128 * MIB)

static int join(char *flags, size_t size, char *const *words, size_t count)
{
	size_t used = 0;

	flags[0] = '\0';
	for (size_t i = 0; i < count; i++) {
		int n = snprintf(flags + used, size - used, "%s%s ", i == 0 ? " " : "", words[i]);

		if (n < 0 || (size_t)n >= size - used)
			return -EINVAL;
		used += (size_t)n;
	}
	return 0;
}

static struct cpuid_leaf leaf_from_message(const Axvm__V1__CpuidLeaf *leaf)
{
	return (struct cpuid_leaf){ leaf->leaf, leaf->subleaf, leaf->eax,
		                    leaf->ebx,  leaf->ecx,     leaf->edx };
}

static int cpu_from_message(const Axvm__V1__CpuFacts *message, struct host_cpu *cpu)
{
	if (!message->has_id || message->id >= FACTS_CPUS_MAX ||
	    message->n_cpuid > FACTS_LEAVES_MAX || message->n_smt_siblings > FACTS_SIBLINGS_MAX ||
	    message->node > INT32_MAX || message->package > INT32_MAX || message->core > INT32_MAX)
		return -EINVAL;
	cpu->id = message->id;
	cpu->node = message->has_node ? (int32_t)message->node : -1;
	cpu->package = message->has_package ? (int32_t)message->package : -1;
	cpu->core = message->has_core ? (int32_t)message->core : -1;
	/* CPUs are online and allowed unless the file says otherwise. */
	cpu->online = !message->has_online || message->online;
	cpu->allowed = cpu->online && (!message->has_allowed || message->allowed);
	for (size_t i = 0; i < message->n_smt_siblings; i++) {
		if (message->smt_siblings[i] >= FACTS_CPUS_MAX)
			return -EINVAL;
		cpu->siblings[i] = (uint16_t)message->smt_siblings[i];
	}
	cpu->sibling_count = (uint8_t)message->n_smt_siblings;
	for (size_t i = 0; i < message->n_cpuid; i++)
		cpu->leaves[i] = leaf_from_message(message->cpuid[i]);
	cpu->leaf_count = (uint8_t)message->n_cpuid;
	COPY(cpu->vendor, message->vendor);
	COPY(cpu->brand, message->brand);
	cpu->apic_id = message->apic_id;
	cpu->family = message->family;
	cpu->model = message->model;
	cpu->stepping = message->stepping;
	/* The leaves are used where the file has no value. */
	host_cpu_decode(cpu);
	cpu->apic_id = message->has_apic_id ? message->apic_id : host_cpu_leaf_apic_id(cpu);
	cpu->flags_hash = message->flags_hash;
	if (message->microcode)
		cpu->microcode = (uint32_t)strtoul(message->microcode, NULL, 0);
	return 0;
}

static int node_from_message(const Axvm__V1__NodeFacts *message, struct host_facts *facts,
                             struct host_node *node)
{
	if (!message->has_id || message->id >= FACTS_NODES_MAX ||
	    message->n_huge_pages > FACTS_HUGE_SIZES_MAX)
		return -EINVAL;
	node->id = message->id;
	node->allowed = !message->has_allowed || message->allowed;
	node->memory_mib = message->memory_mib;
	node->free_mib = message->free_mib;
	for (size_t i = 0; i < message->n_huge_pages; i++) {
		node->huge[i].size_kib = message->huge_pages[i]->size_kib;
		node->huge[i].total = message->huge_pages[i]->total;
		node->huge[i].free = message->huge_pages[i]->free;
	}
	node->huge_count = (uint8_t)message->n_huge_pages;
	for (size_t i = 0; i < message->n_cpus; i++)
		for (size_t k = 0; k < facts->cpu_count; k++)
			if (facts->cpus[k].id == message->cpus[i])
				facts->cpus[k].node = (int32_t)node->id;
	return 0;
}

static int vmx_from_message(const Axvm__V1__VmxFacts *message, struct host_facts *facts)
{
	for (size_t i = 0; i < message->n_msrs; i++) {
		uint32_t index = message->msrs[i]->index;

		if (index < VMX_MSR_FIRST || index >= VMX_MSR_FIRST + VMX_MSR_COUNT)
			return -EINVAL;
		facts->vmx.msrs[index - VMX_MSR_FIRST] = message->msrs[i]->value;
		facts->vmx.msr_mask |= 1u << (index - VMX_MSR_FIRST);
	}
	return join(facts->vmx_flags, sizeof(facts->vmx_flags), message->flags, message->n_flags);
}

/* The message's own values count if it has neither MSRs nor flags. */
static void vmx_stated(const Axvm__V1__VmxFacts *message, struct host_vmx *vmx)
{
	vmx->ept |= message->ept;
	vmx->ept_ad |= message->ept_ad;
	vmx->ept_2m |= message->ept_2m;
	vmx->ept_1g |= message->ept_1g;
	vmx->vpid |= message->vpid;
	vmx->apic_register_virtualization |= message->apic_register_virtualization;
	vmx->virtual_interrupt_delivery |= message->virtual_interrupt_delivery;
	vmx->posted_interrupts |= message->posted_interrupts;
	vmx->virtualize_x2apic |= message->virtualize_x2apic;
	vmx->tsc_scaling |= message->tsc_scaling;
	vmx->unrestricted_guest |= message->unrestricted_guest;
	vmx->pause_loop_exiting |= message->pause_loop_exiting;
}

static int kvm_from_message(const Axvm__V1__KvmFacts *message, struct host_kvm *kvm)
{
	if (message->n_capabilities > FACTS_CAPABILITIES_MAX ||
	    message->n_parameters > FACTS_PARAMETERS_MAX ||
	    message->n_guest_cpuid > FACTS_GUEST_LEAVES_MAX)
		return -EINVAL;
	kvm->present = message->present;
	kvm->accessible = message->accessible;
	kvm->api_version = message->api_version;
	kvm->max_vcpus = message->max_vcpus;
	kvm->error_number = message->error_number;
	for (size_t i = 0; i < message->n_capabilities; i++) {
		COPY(kvm->capabilities[i].name, message->capabilities[i]->name);
		kvm->capabilities[i].value = message->capabilities[i]->value;
	}
	kvm->capability_count = message->n_capabilities;
	for (size_t i = 0; i < message->n_parameters; i++) {
		COPY(kvm->parameters[i].name, message->parameters[i]->name);
		COPY(kvm->parameters[i].value, message->parameters[i]->value);
	}
	kvm->parameter_count = message->n_parameters;
	kvm->tsc_khz = message->tsc_khz;
	for (size_t i = 0; i < message->n_guest_cpuid; i++)
		kvm->guest_leaves[i] = (struct host_guest_leaf){
			.leaf = leaf_from_message(message->guest_cpuid[i]),
			.indexed = message->guest_cpuid[i]->indexed,
		};
	kvm->guest_leaf_count = message->n_guest_cpuid;
	return 0;
}

/* Counts the CPUs that the nodes list. Each CPU is on one node, so more than FACTS_CPUS_MAX are
 * refused: a file could list millions, each to be looked up. */
static size_t cpus_on_nodes(const Axvm__V1__HostFacts *message)
{
	size_t count = 0;

	for (size_t i = 0; i < message->n_nodes; i++)
		count += message->nodes[i]->n_cpus;
	return count;
}

static int arrays_from_message(const Axvm__V1__HostFacts *message, struct host_facts *facts)
{
	int r;

	if (message->n_cpus == 0 || message->n_cpus > FACTS_CPUS_MAX ||
	    message->n_nodes > FACTS_NODES_MAX || cpus_on_nodes(message) > FACTS_CPUS_MAX ||
	    message->n_vulnerabilities > FACTS_VULNERABILITIES_MAX ||
	    (message->n_distances && message->n_distances != message->n_nodes * message->n_nodes))
		return -EINVAL;
	for (size_t i = 0; i < message->n_cpus; i++) {
		r = cpu_from_message(message->cpus[i], &facts->cpus[i]);
		if (r < 0 || (i > 0 && facts->cpus[i].id <= facts->cpus[i - 1].id))
			return -EINVAL;
	}
	facts->cpu_count = message->n_cpus;
	for (size_t i = 0; i < message->n_nodes; i++) {
		r = node_from_message(message->nodes[i], facts, &facts->nodes[i]);
		if (r < 0 || (i > 0 && facts->nodes[i].id <= facts->nodes[i - 1].id))
			return -EINVAL;
	}
	facts->node_count = message->n_nodes;
	for (size_t i = 0; i < message->n_distances; i++)
		facts->distances[i / message->n_nodes][i % message->n_nodes] =
			(uint8_t)MIN(message->distances[i], 255u);
	for (size_t i = 0; i < message->n_vulnerabilities; i++) {
		COPY(facts->vulnerabilities[i].name, message->vulnerabilities[i]->name);
		COPY(facts->vulnerabilities[i].value, message->vulnerabilities[i]->state);
	}
	facts->vulnerability_count = message->n_vulnerabilities;
	return 0;
}

static int offers_from_message(const Axvm__V1__HostFacts *message, struct host_facts *facts)
{
	if (message->n_offers > FACTS_OFFERS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < message->n_offers; i++) {
		const Axvm__V1__Offer *from = message->offers[i];
		struct host_offer *offer = &facts->offers[i];

		COPY(offer->name, from->name);
		offer->available = from->available;
		offer->required = from->required;
		offer->error_number = from->error_number;
		COPY(offer->message, from->message);
	}
	facts->offer_count = message->n_offers;
	return 0;
}

int facts_from_message(const Axvm__V1__HostFacts *message, struct host_facts *facts)
{
	int r = arrays_from_message(message, facts);

	if (r == 0)
		r = join(facts->flags, sizeof(facts->flags), message->flags, message->n_flags);
	if (r == 0 && message->vmx)
		r = vmx_from_message(message->vmx, facts);
	if (r == 0 && message->kvm)
		r = kvm_from_message(message->kvm, &facts->kvm);
	if (r == 0)
		r = offers_from_message(message, facts);
	if (r < 0)
		return r;
	facts->quick = message->quick;
	if (message->has_x2apic_enabled)
		facts->x2apic_enabled = message->x2apic_enabled ? 'y' : 'n';
	COPY(facts->kernel_release, message->kernel_release);
	facts_derive_siblings(facts);
	facts_decode(facts);
	COPY(facts->hypervisor_vendor, message->hypervisor_vendor);
	facts->hypervisor |= message->hypervisor;
	if (message->vmx && facts->vmx.msr_mask == 0)
		vmx_stated(message->vmx, &facts->vmx);
	return 0;
}

int facts_unpack(const uint8_t *bytes, size_t size, struct host_facts *facts)
{
	_cleanup_(arena_unmap) struct arena arena = { 0 };
	const Axvm__V1__HostFacts *message;
	ProtobufCAllocator allocator;
	int r = arena_map(&arena, UNPACKED_MAX);

	if (r < 0)
		return r;
	allocator = arena_allocator(&arena);
	message = axvm__v1__host_facts__unpack(&allocator, size, bytes);
	if (!message)
		return arena.exhausted ? -EINVAL : -EBADMSG;
	return facts_from_message(message, facts);
}
