/* SPDX-License-Identifier: MIT */
/* The CPUID leaves a guest sees. */
#ifndef AXVM_MACHINE_CPUID_H
#define AXVM_MACHINE_CPUID_H

#include <assert.h>
#include <linux/kvm.h>
#include <stddef.h>

#include "base/problem.h"
#include "host/profile.h"

/* Room for KVM's entries and for those that are added. */
#define CPUID_ENTRIES_MAX (FACTS_GUEST_LEAVES_MAX + 16)

/* struct kvm_cpuid2 with room for its entries. Its fields are repeated here, because a struct that
 * ends in a flexible array member must not be a member of another. */
struct cpuid_table {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};
static_assert(offsetof(struct cpuid_table, entries) == offsetof(struct kvm_cpuid2, entries),
              "KVM reads it as a struct kvm_cpuid2");

struct cpuid_config {
	uint32_t pv_features; /* KVM_FEATURE_* bits offered to the guest, 1 << bit */
	uint32_t pv_hints;    /* KVM_HINTS_* bits */
	bool has_apic;
	uint32_t tsc_khz; /* 0: not told */
	/* which host features the guest may see, and which values are fixed; borrowed */
	const struct profile *profile;
};

/* Makes the CPUID table of all vCPUs: what KVM offers on this host, without what the guest must not
 * see, and the hypervisor leaves 0x40000000, 0x40000001 and 0x40000010. topology_cpuid() then
 * writes the values that differ by vCPU into each one's copy. Features in `config` that this KVM
 * lacks are named in one problem. Pure. */
int cpuid_build(const struct host_kvm *kvm, const struct cpuid_config *config,
                struct cpuid_table *ret_table, struct problems *problems);

#endif
