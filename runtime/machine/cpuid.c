/* SPDX-License-Identifier: MIT */
/* The CPUID leaves a guest sees (SDM 2A CPUID; APM 3 appendix E; Linux
 * Documentation/virt/kvm/x86/cpuid.rst for the hypervisor leaves). */
#include "machine/cpuid.h"

#include <asm/kvm_para.h>
#include <errno.h>
#include <string.h>

#define LEAF_TIMING 0x40000010u
/* KVM's emulated local APIC timer counts nanoseconds (arch/x86/kvm/lapic.c APIC_BUS_CYCLE_NS). */
#define APIC_KHZ 1000000u

#define BIT_X2APIC (1u << 21)
#define BIT_TSC_DEADLINE (1u << 24)
#define BIT_HYPERVISOR (1u << 31)
#define BIT_AMD_CMP_LEGACY (1u << 1)
#define BIT_AMD_TOPOEXT (1u << 22)

static struct kvm_cpuid_entry2 *find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == leaf && table->entries[i].index == subleaf)
			return &table->entries[i];
	return NULL;
}

static struct kvm_cpuid_entry2 *find_or_add(struct cpuid_table *table, uint32_t leaf,
                                            uint32_t subleaf, uint32_t flags)
{
	struct kvm_cpuid_entry2 *entry = find(table, leaf, subleaf);

	if (!entry && table->nent < CPUID_ENTRIES_MAX) {
		entry = &table->entries[table->nent++];
		*entry = (struct kvm_cpuid_entry2){ .function = leaf, .index = subleaf };
	}
	if (entry)
		entry->flags = flags;
	return entry;
}

static void drop(struct cpuid_table *table, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function != leaf)
			table->entries[kept++] = table->entries[i];
	table->nent = kept;
}

static bool is_amd(struct cpuid_table *table)
{
	struct kvm_cpuid_entry2 *entry = find(table, 0, 0);

	return entry && memcmp(&entry->ebx, "Auth", 4) == 0;
}

/* A profile shows the same processor on every host it admits. */
static void apply_masks(struct cpuid_table *table, const struct profile *profile)
{
	for (size_t i = 0; i < profile->mask_count; i++) {
		const struct profile_cpuid_mask *mask = &profile->masks[i];
		struct kvm_cpuid_entry2 *entry = find(table, mask->leaf, mask->subleaf);

		if (!entry)
			continue;
		entry->eax &= mask->eax;
		entry->ebx = (entry->ebx & mask->ebx) | mask->set_ebx;
		entry->ecx &= mask->ecx;
		entry->edx &= mask->edx;
	}
}

static int check_pv(struct cpuid_table *table, uint32_t wanted, struct problems *problems)
{
	struct kvm_cpuid_entry2 *features = find(table, KVM_CPUID_FEATURES, 0);
	uint32_t missing = wanted & ~(features ? features->eax : 0);

	if (missing)
		return problems_add(problems, ERROR_CODE_KVM_CAPABILITY_MISSING, ENOTSUP,
		                    "cpus.paravirt.features",
		                    "this KVM does not offer the paravirtual features with bits "
		                    "%#x; leave them out",
		                    missing);
	return 0;
}

/* "KVMKVMKVM" names the interface; the maximum leaf makes room for the timing leaf. */
static void add_hypervisor_leaves(struct cpuid_table *table, const struct cpuid_config *config)
{
	struct kvm_cpuid_entry2 *entry = find_or_add(table, KVM_CPUID_SIGNATURE, 0, 0);

	if (entry) {
		entry->eax = config->tsc_khz ? LEAF_TIMING : KVM_CPUID_FEATURES;
		memcpy(&entry->ebx, "KVMK", 4);
		memcpy(&entry->ecx, "VMKV", 4);
		memcpy(&entry->edx, "M\0\0\0", 4);
	}
	entry = find_or_add(table, KVM_CPUID_FEATURES, 0, 0);
	if (entry) {
		entry->eax = config->pv_features;
		entry->ebx = entry->ecx = 0;
		entry->edx = config->pv_hints;
	}
	entry = config->tsc_khz ? find_or_add(table, LEAF_TIMING, 0, 0) : NULL;
	if (entry) {
		entry->eax = config->tsc_khz;
		entry->ebx = APIC_KHZ;
		entry->ecx = entry->edx = 0;
	}
}

/* Takes the leaves from the facts. KVM needs the flag on leaves with subleaves. */
static void take_offered(const struct host_kvm *kvm, struct cpuid_table *ret)
{
	ret->nent = (uint32_t)kvm->guest_leaf_count;
	ret->padding = 0;
	for (size_t i = 0; i < kvm->guest_leaf_count; i++) {
		const struct cpuid_leaf *leaf = &kvm->guest_leaves[i].leaf;

		ret->entries[i] = (struct kvm_cpuid_entry2){
			.function = leaf->leaf,
			.index = leaf->subleaf,
			.flags = kvm->guest_leaves[i].indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = leaf->eax,
			.ebx = leaf->ebx,
			.ecx = leaf->ecx,
			.edx = leaf->edx,
		};
	}
}

/* Removes the leaves above the last one that the profile shows, and sets those that it fixes. */
static void apply_limits(struct cpuid_table *table, const struct profile *profile)
{
	const struct {
		uint32_t first, last;
	} ranges[] = {
		{ 0, profile->max_leaf },
		{ 0x80000000u, profile->max_extended_leaf },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		struct kvm_cpuid_entry2 *first = find(table, ranges[i].first, 0);
		uint32_t kept = 0;

		if (ranges[i].last == 0)
			continue;
		if (first)
			first->eax = MIN(first->eax, ranges[i].last);
		for (uint32_t k = 0; k < table->nent; k++)
			if (table->entries[k].function <= ranges[i].last ||
			    table->entries[k].function - ranges[i].first >= 0x10000000u)
				table->entries[kept++] = table->entries[k];
		table->nent = kept;
	}
}

static void apply_fixed(struct cpuid_table *table, const struct profile *profile)
{
	uint32_t brand[PROFILE_BRAND_SIZE / sizeof(uint32_t)] = { 0 };

	for (size_t i = 0; i < profile->fixed_count; i++) {
		const struct cpuid_leaf *fixed = &profile->fixed[i];
		struct kvm_cpuid_entry2 *entry = find(table, fixed->leaf, fixed->subleaf);

		/* A leaf that the processor lacks is not added. */
		if (!entry)
			continue;
		entry->eax = fixed->eax;
		entry->ebx = fixed->ebx;
		entry->ecx = fixed->ecx;
		entry->edx = fixed->edx;
	}
	if (!profile->guest_brand[0])
		return;
	memcpy(brand, profile->guest_brand, strlen(profile->guest_brand));
	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *entry = find_or_add(table, 0x80000002u + i, 0, 0);

		if (!entry)
			continue;
		entry->eax = brand[4 * i];
		entry->ebx = brand[4 * i + 1];
		entry->ecx = brand[4 * i + 2];
		entry->edx = brand[4 * i + 3];
	}
}

int cpuid_build(const struct host_kvm *kvm, const struct cpuid_config *config,
                struct cpuid_table *ret_table, struct problems *problems)
{
	struct kvm_cpuid_entry2 *entry;
	int r;

	if (kvm->guest_leaf_count == 0)
		return problems_add(
			problems, ERROR_CODE_KVM_FAILED, ENOTSUP, NULL,
			"KVM does not return its CPUID leaves (KVM_GET_SUPPORTED_CPUID)");
	take_offered(kvm, ret_table);
	r = check_pv(ret_table, config->pv_features, problems);
	if (r < 0)
		return r;
	apply_limits(ret_table, config->profile);
	apply_masks(ret_table, config->profile);
	apply_fixed(ret_table, config->profile);
	add_hypervisor_leaves(ret_table, config);
	entry = find(ret_table, 1, 0);
	if (entry) {
		entry->ecx |= BIT_HYPERVISOR;
		if (config->has_apic)
			entry->ecx |= BIT_X2APIC | BIT_TSC_DEADLINE;
		else
			entry->ecx &= ~(BIT_X2APIC | BIT_TSC_DEADLINE);
	}
	/* Only leaf 0xB (and 0x80000008 on AMD) tells the topology, so nothing contradicts it. */
	drop(ret_table, 0x8000001d);
	drop(ret_table, 0x8000001e);
	drop(ret_table, 0x80000026);
	entry = find(ret_table, 0x80000001, 0);
	if (entry && is_amd(ret_table))
		entry->ecx &= ~(BIT_AMD_TOPOEXT | BIT_AMD_CMP_LEGACY);
	return 0;
}
