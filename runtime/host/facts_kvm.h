/* SPDX-License-Identifier: MIT */
/* The facts that KVM provides: its capabilities and parameters, and the processor that it can offer
 * to a guest. */
#ifndef AXVM_HOST_FACTS_KVM_H
#define AXVM_HOST_FACTS_KVM_H

#include "base/base.h"
#include "base/named.h"

enum {
	FACTS_PARAMETERS_MAX = 96,
	FACTS_CAPABILITIES_MAX = 64,
	FACTS_GUEST_LEAVES_MAX = 160, /* that KVM offers to a guest */
};

struct cpuid_leaf {
	uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

/* One entry of KVM_GET_SUPPORTED_CPUID; `indexed`: its subleaf counts. */
struct host_guest_leaf {
	struct cpuid_leaf leaf;
	bool indexed;
};

struct host_capability {
	char name[32];
	int32_t value;
};

struct host_kvm {
	bool present, accessible;
	int error_number; /* of opening it, positive */
	int api_version;
	uint32_t max_vcpus;
	uint32_t tsc_khz; /* of a guest's TSC unless it is scaled; 0: not asked, or not told */
	size_t capability_count, parameter_count, guest_leaf_count;
	struct host_capability capabilities[FACTS_CAPABILITIES_MAX];
	struct host_named parameters[FACTS_PARAMETERS_MAX]; /* "kvm_intel.ept" = "Y" */
	struct host_guest_leaf guest_leaves[FACTS_GUEST_LEAVES_MAX];
};

/* The name of a vendor's virtualization technique and the kernel module that uses it, by the vendor
 * of CPUID leaf 0. For an unknown vendor, both of each. */
struct kvm_kind {
	const char *technique; /* "VT-x" */
	const char *module;    /* "kvm_intel" */
};
struct kvm_kind kvm_kind_of(const char *vendor);

struct host_facts;
/* Reads facts->kvm.tsc_khz, for which it creates a VM, because only a VM can be asked.
 * facts_probe() calls it; the quick probe does not, because a launch can ask its own VM. Leaves 0
 * if KVM does not say. */
void facts_probe_tsc(struct host_facts *facts);

#endif
