/* SPDX-License-Identifier: MIT */
/* The part of the facts that KVM tells: its capabilities and parameters, and the processor that it
 * can offer to a guest. */
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

/* What a vendor's processors run VMs with, and the module of the kernel that does it: by the vendor
 * of CPUID leaf 0. Of one that is not known, both. */
struct kvm_kind {
	const char *technique; /* "VT-x" */
	const char *module;    /* "kvm_intel" */
};
struct kvm_kind kvm_kind_of(const char *vendor);

struct host_facts;
/* facts->kvm.tsc_khz, which only a VM tells: makes one for the question. Part of facts_probe() and
 * not of the quick one, since a launch has a VM of its own to ask. Leaves 0 where KVM does not
 * tell. */
void facts_probe_tsc(struct host_facts *facts);

#endif
