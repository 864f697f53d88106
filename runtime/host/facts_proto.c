/* SPDX-License-Identifier: MIT */
/* Conversion between host facts and axvm.v1.HostFacts.
 *
 * Messages are built with plain allocations, so that protobuf-c's free_unpacked() releases them; a
 * failed allocation is noted once in the builder and the half-built message is released as it is:
 * counts are only raised when the memory is there. */
#include "host/facts_proto.h"

#include "host/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct builder {
	bool failed;
};

static void *take(struct builder *builder, size_t count, size_t size)
{
	void *memory = calloc(MAX(count, (size_t)1), size);

	if (!memory)
		builder->failed = true;
	return memory;
}

static char *text(struct builder *builder, const char *string)
{
	char *copy = strdup(string);

	if (!copy)
		builder->failed = true;
	return copy;
}

#define SET(message_, field_, value_)                                                              \
	do {                                                                                       \
		(message_)->has_##field_ = true;                                                   \
		(message_)->field_ = (value_);                                                     \
	} while (0)

/* An array of pointers to `count` new messages of one type, initialised; NULL on failure. */
#define NEW_ARRAY(builder_, type_, init_, count_)                                                  \
	({                                                                                         \
		type_ **array_ = take(builder_, count_, sizeof(type_ *));                          \
		for (size_t i_ = 0; array_ && i_ < (count_); i_++) {                               \
			array_[i_] = take(builder_, 1, sizeof(type_));                             \
			if (array_[i_])                                                            \
				init_(array_[i_]);                                                 \
		}                                                                                  \
		if (array_ && (builder_)->failed) {                                                \
			for (size_t i_ = 0; i_ < (count_); i_++)                                   \
				free(array_[i_]);                                                  \
			free(array_);                                                              \
			array_ = NULL;                                                             \
		}                                                                                  \
		array_;                                                                            \
	})

/* "a b c" split into an array of strings. */
static char **words(struct builder *builder, const char *flags, size_t *ret_count)
{
	size_t most = 1, count = 0;
	char **array;

	for (const char *at = flags; *at; at++)
		most += *at == ' ';
	array = take(builder, most, sizeof(char *));
	for (const char *at = flags; array && *at;) {
		size_t length = strcspn(at, " ");

		if (length > 0) {
			array[count] = strndup(at, length);
			if (!array[count])
				builder->failed = true;
			else
				count++;
		}
		at += length + (at[length] == ' ');
	}
	*ret_count = array ? count : 0;
	return array;
}

static void leaf_to_message(const struct cpuid_leaf *leaf, Axvm__V1__CpuidLeaf *message)
{
	SET(message, leaf, leaf->leaf);
	SET(message, subleaf, leaf->subleaf);
	SET(message, eax, leaf->eax);
	SET(message, ebx, leaf->ebx);
	SET(message, ecx, leaf->ecx);
	SET(message, edx, leaf->edx);
}

static void cpu_to_message(struct builder *builder, const struct host_cpu *cpu,
                           Axvm__V1__CpuFacts *message)
{
	char microcode[16];

	SET(message, id, cpu->id);
	SET(message, online, cpu->online);
	if (cpu->node >= 0)
		SET(message, node, (uint32_t)cpu->node);
	if (!cpu->online)
		return;
	SET(message, allowed, cpu->allowed);
	if (cpu->package >= 0)
		SET(message, package, (uint32_t)cpu->package);
	if (cpu->core >= 0)
		SET(message, core, (uint32_t)cpu->core);
	SET(message, apic_id, cpu->apic_id);
	SET(message, family, cpu->family);
	SET(message, model, cpu->model);
	SET(message, stepping, cpu->stepping);
	if (cpu->flags_hash)
		SET(message, flags_hash, cpu->flags_hash);
	message->vendor = text(builder, cpu->vendor);
	message->brand = text(builder, cpu->brand);
	if (cpu->microcode) {
		snprintf(microcode, sizeof(microcode), "0x%x", cpu->microcode);
		message->microcode = text(builder, microcode);
	}
	message->smt_siblings = take(builder, cpu->sibling_count, sizeof(uint32_t));
	for (size_t i = 0; message->smt_siblings && i < cpu->sibling_count; i++)
		message->smt_siblings[message->n_smt_siblings++] = cpu->siblings[i];
	message->cpuid = NEW_ARRAY(builder, Axvm__V1__CpuidLeaf, axvm__v1__cpuid_leaf__init,
	                           cpu->leaf_count);
	message->n_cpuid = message->cpuid ? cpu->leaf_count : 0;
	for (size_t i = 0; i < message->n_cpuid; i++)
		leaf_to_message(&cpu->leaves[i], message->cpuid[i]);
}

static void node_to_message(struct builder *builder, const struct host_facts *facts,
                            const struct host_node *node, Axvm__V1__NodeFacts *message)
{
	SET(message, id, node->id);
	SET(message, allowed, node->allowed);
	SET(message, memory_mib, node->memory_mib);
	SET(message, free_mib, node->free_mib);
	message->cpus = take(builder, facts->cpu_count, sizeof(uint32_t));
	for (size_t i = 0; message->cpus && i < facts->cpu_count; i++)
		if (facts->cpus[i].node == (int32_t)node->id)
			message->cpus[message->n_cpus++] = facts->cpus[i].id;
	message->huge_pages = NEW_ARRAY(builder, Axvm__V1__HugePages, axvm__v1__huge_pages__init,
	                                node->huge_count);
	message->n_huge_pages = message->huge_pages ? node->huge_count : 0;
	for (size_t i = 0; i < message->n_huge_pages; i++) {
		SET(message->huge_pages[i], size_kib, node->huge[i].size_kib);
		SET(message->huge_pages[i], total, node->huge[i].total);
		SET(message->huge_pages[i], free, node->huge[i].free);
	}
}

static Axvm__V1__VmxFacts *vmx_to_message(struct builder *builder, const struct host_facts *facts)
{
	const struct host_vmx *vmx = &facts->vmx;
	size_t count = (size_t)__builtin_popcount(vmx->msr_mask), at = 0;
	Axvm__V1__VmxFacts *message = take(builder, 1, sizeof(*message));

	if (!message)
		return NULL;
	axvm__v1__vmx_facts__init(message);
	SET(message, ept, vmx->ept);
	SET(message, ept_ad, vmx->ept_ad);
	SET(message, ept_2m, vmx->ept_2m);
	SET(message, ept_1g, vmx->ept_1g);
	SET(message, vpid, vmx->vpid);
	SET(message, apic_register_virtualization, vmx->apic_register_virtualization);
	SET(message, virtual_interrupt_delivery, vmx->virtual_interrupt_delivery);
	SET(message, posted_interrupts, vmx->posted_interrupts);
	SET(message, virtualize_x2apic, vmx->virtualize_x2apic);
	SET(message, tsc_scaling, vmx->tsc_scaling);
	SET(message, unrestricted_guest, vmx->unrestricted_guest);
	SET(message, pause_loop_exiting, vmx->pause_loop_exiting);
	message->flags = words(builder, facts->vmx_flags, &message->n_flags);
	message->msrs = NEW_ARRAY(builder, Axvm__V1__Msr, axvm__v1__msr__init, count);
	message->n_msrs = message->msrs ? count : 0;
	for (uint32_t i = 0; at < message->n_msrs && i < VMX_MSR_COUNT; i++)
		if (vmx->msr_mask & (1u << i)) {
			SET(message->msrs[at], index, VMX_MSR_FIRST + i);
			SET(message->msrs[at], value, vmx->msrs[i]);
			at++;
		}
	return message;
}

static Axvm__V1__KvmFacts *kvm_to_message(struct builder *builder, const struct host_kvm *kvm)
{
	Axvm__V1__KvmFacts *message = take(builder, 1, sizeof(*message));

	if (!message)
		return NULL;
	axvm__v1__kvm_facts__init(message);
	SET(message, present, kvm->present);
	SET(message, accessible, kvm->accessible);
	SET(message, api_version, kvm->api_version);
	SET(message, max_vcpus, kvm->max_vcpus);
	SET(message, error_number, kvm->error_number);
	message->capabilities = NEW_ARRAY(builder, Axvm__V1__KvmCapability,
	                                  axvm__v1__kvm_capability__init, kvm->capability_count);
	message->n_capabilities = message->capabilities ? kvm->capability_count : 0;
	for (size_t i = 0; i < message->n_capabilities; i++) {
		message->capabilities[i]->name = text(builder, kvm->capabilities[i].name);
		SET(message->capabilities[i], value, kvm->capabilities[i].value);
	}
	message->parameters = NEW_ARRAY(builder, Axvm__V1__ModuleParameter,
	                                axvm__v1__module_parameter__init, kvm->parameter_count);
	message->n_parameters = message->parameters ? kvm->parameter_count : 0;
	for (size_t i = 0; i < message->n_parameters; i++) {
		message->parameters[i]->name = text(builder, kvm->parameters[i].name);
		message->parameters[i]->value = text(builder, kvm->parameters[i].value);
	}
	if (kvm->tsc_khz)
		SET(message, tsc_khz, kvm->tsc_khz);
	message->guest_cpuid = NEW_ARRAY(builder, Axvm__V1__CpuidLeaf, axvm__v1__cpuid_leaf__init,
	                                 kvm->guest_leaf_count);
	message->n_guest_cpuid = message->guest_cpuid ? kvm->guest_leaf_count : 0;
	for (size_t i = 0; i < message->n_guest_cpuid; i++) {
		leaf_to_message(&kvm->guest_leaves[i].leaf, message->guest_cpuid[i]);
		SET(message->guest_cpuid[i], indexed, kvm->guest_leaves[i].indexed);
	}
	return message;
}

static void arrays_to_message(struct builder *builder, const struct host_facts *facts,
                              Axvm__V1__HostFacts *message)
{
	message->cpus =
		NEW_ARRAY(builder, Axvm__V1__CpuFacts, axvm__v1__cpu_facts__init, facts->cpu_count);
	message->n_cpus = message->cpus ? facts->cpu_count : 0;
	for (size_t i = 0; i < message->n_cpus; i++)
		cpu_to_message(builder, &facts->cpus[i], message->cpus[i]);
	message->nodes = NEW_ARRAY(builder, Axvm__V1__NodeFacts, axvm__v1__node_facts__init,
	                           facts->node_count);
	message->n_nodes = message->nodes ? facts->node_count : 0;
	for (size_t i = 0; i < message->n_nodes; i++)
		node_to_message(builder, facts, &facts->nodes[i], message->nodes[i]);
	message->distances = take(builder, facts->node_count * facts->node_count, sizeof(uint32_t));
	for (size_t i = 0; message->distances && i < facts->node_count; i++)
		for (size_t k = 0; k < facts->node_count; k++)
			message->distances[message->n_distances++] = facts->distances[i][k];
	message->vulnerabilities =
		NEW_ARRAY(builder, Axvm__V1__Vulnerability, axvm__v1__vulnerability__init,
	                  facts->vulnerability_count);
	message->n_vulnerabilities = message->vulnerabilities ? facts->vulnerability_count : 0;
	for (size_t i = 0; i < message->n_vulnerabilities; i++) {
		message->vulnerabilities[i]->name = text(builder, facts->vulnerabilities[i].name);
		message->vulnerabilities[i]->state = text(builder, facts->vulnerabilities[i].value);
	}
}

static void offers_to_message(struct builder *builder, const struct host_facts *facts,
                              Axvm__V1__HostFacts *message)
{
	message->offers =
		NEW_ARRAY(builder, Axvm__V1__Offer, axvm__v1__offer__init, facts->offer_count);
	message->n_offers = message->offers ? facts->offer_count : 0;
	for (size_t i = 0; i < message->n_offers; i++) {
		const struct host_offer *offer = &facts->offers[i];

		message->offers[i]->name = text(builder, offer->name);
		SET(message->offers[i], available, offer->available);
		SET(message->offers[i], required, offer->required);
		SET(message->offers[i], error_number, offer->error_number);
		if (offer->message[0])
			message->offers[i]->message = text(builder, offer->message);
	}
}

int facts_to_message(const struct host_facts *facts, Axvm__V1__HostFacts **ret)
{
	struct builder builder = { 0 };
	Axvm__V1__HostFacts *message = take(&builder, 1, sizeof(*message));
	char microcode[16];

	if (!message)
		return -ENOMEM;
	axvm__v1__host_facts__init(message);
	arrays_to_message(&builder, facts, message);
	offers_to_message(&builder, facts, message);
	message->vmx = vmx_to_message(&builder, facts);
	message->kvm = kvm_to_message(&builder, &facts->kvm);
	message->kernel_release = text(&builder, facts->kernel_release);
	message->flags = words(&builder, facts->flags, &message->n_flags);
	SET(message, hypervisor, facts->hypervisor);
	if (facts->hypervisor_vendor[0])
		message->hypervisor_vendor = text(&builder, facts->hypervisor_vendor);
	SET(message, quick, facts->quick);
	if (facts->x2apic_enabled)
		SET(message, x2apic_enabled, facts->x2apic_enabled == 'y');
	if (facts->cpus[0].microcode) {
		snprintf(microcode, sizeof(microcode), "0x%x", facts->cpus[0].microcode);
		message->microcode = text(&builder, microcode);
	}
	if (builder.failed) {
		axvm__v1__host_facts__free_unpacked(message, NULL);
		return -ENOMEM;
	}
	*ret = message;
	return 0;
}
