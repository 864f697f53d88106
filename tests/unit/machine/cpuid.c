/* SPDX-License-Identifier: MIT */
/* The processor that a guest sees under xv2: made from recorded ones, and the same on every host
 * that is admitted. */
#include "machine/cpuid.h"
#include "machine/topology.h"
#include "tests/unit/rig/host_fixture.h"

#include <asm/kvm_para.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define PV_ALL 0x0100fffbu /* what a KVM of 6.1 offers, roughly */

static void offer(struct host_kvm *kvm, struct cpuid_leaf leaf)
{
	cr_assert_lt(kvm->guest_leaf_count, FACTS_GUEST_LEAVES_MAX);
	kvm->guest_leaves[kvm->guest_leaf_count++] = (struct host_guest_leaf){
		.leaf = leaf,
		.indexed = leaf.leaf == 4 || leaf.leaf == 7 || leaf.leaf == 0xb || leaf.leaf == 0xd,
	};
}

/* What KVM offers on a host with this processor, as seen on its last CPU: the processor's leaves,
 * with what KVM emulates, and its own. */
static struct host_kvm kvm_on(const struct host_facts *facts)
{
	const struct host_cpu *cpu = &facts->cpus[facts->cpu_count - 1];
	struct host_kvm kvm = { .accessible = true };

	for (size_t i = 0; i < cpu->leaf_count; i++) {
		struct cpuid_leaf leaf = cpu->leaves[i];

		if (leaf.leaf == 1)
			leaf.ecx |= 1u << 31 | 1u << 24;
		offer(&kvm, leaf);
	}
	offer(&kvm, (struct cpuid_leaf){ KVM_CPUID_SIGNATURE, 0, KVM_CPUID_FEATURES, 0, 0, 0 });
	offer(&kvm, (struct cpuid_leaf){ KVM_CPUID_FEATURES, 0, PV_ALL, 0, 0, 0 });
	return kvm;
}

static struct host_guest_leaf *offered(struct host_kvm *kvm, uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < kvm->guest_leaf_count; i++)
		if (kvm->guest_leaves[i].leaf.leaf == leaf &&
		    kvm->guest_leaves[i].leaf.subleaf == subleaf)
			return &kvm->guest_leaves[i];
	cr_assert_fail("KVM does not offer leaf 0x%x", leaf);
	return NULL;
}

/* vCPU 0's table of a one-vCPU guest. */
static void build(const struct host_kvm *kvm, const char *name, struct cpuid_table *ret)
{
	static struct profile profile;
	_cleanup_free_ struct host_facts *host = fixture_shape(1, 4, 1);
	struct placement_request request = { .vcpus = 1, .node_count = 1, .host_node = { -1 } };
	struct problems problems = { 0 };
	struct guest_topology topology;
	struct placement placement;
	struct cpuid_config config = {
		.pv_features = 1u << KVM_FEATURE_CLOCKSOURCE2,
		.has_apic = true,
		.tsc_khz = 2700000,
		.profile = &profile,
	};

	cr_assert_eq(profile_load(name, &profile), 0);
	cr_assert_eq(cpuid_build(kvm, &config, ret, &problems), 0, "%s", problems.list[0].message);
	cr_assert_eq(placement_plan(host, &request, &placement, &problems), 0);
	cr_assert_eq(topology_derive(&placement, host, &topology), 0);
	cr_assert_eq(topology_cpuid(&topology, 0, ret->entries, &ret->nent, CPUID_ENTRIES_MAX), 0);
}

static const struct kvm_cpuid_entry2 *leaf_of(const struct cpuid_table *table, uint32_t leaf,
                                              uint32_t subleaf)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == leaf && table->entries[i].index == subleaf)
			return &table->entries[i];
	return NULL;
}

#define cr_assert_leaf(table_, leaf_, subleaf_, eax_, ebx_, ecx_, edx_)                            \
	do {                                                                                       \
		const struct kvm_cpuid_entry2 *e_ = leaf_of(table_, leaf_, subleaf_);              \
		cr_assert_not_null(e_, "no leaf 0x%x", leaf_);                                     \
		cr_assert(e_->eax == (eax_) && e_->ebx == (ebx_) && e_->ecx == (ecx_) &&           \
		                  e_->edx == (edx_),                                               \
		          "leaf 0x%x is %08x %08x %08x %08x", leaf_, e_->eax, e_->ebx, e_->ecx,    \
		          e_->edx);                                                                \
	} while (0)

Test(cpuid, ivy_bridge_ep_less_what_a_guest_must_not_see)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_table table;

	build(&kvm, "xv2", &table);
	cr_assert_leaf(&table, 0, 0, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69);
	/* No DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, SDBG, xTPR, PDCM, DCA; no DS, ACPI, TM,
	 * PBE; one vCPU, so no HTT. TSC deadline and the hypervisor's bit are KVM's. */
	cr_assert_leaf(&table, 1, 0, 0x306e4, 0x00010800, 0xffba2203, 0x0f8bfbff);
	cr_assert_leaf(&table, 7, 0, 0, 0x281, 0, 0);
	cr_assert_leaf(&table, 0xa, 0, 0, 0, 0, 0);
	cr_assert_leaf(&table, 0x80000001, 0, 0, 0, 1, 0x2c100000);
	cr_assert_leaf(&table, 0x80000007, 0, 0, 0, 0, 0x100);
	/* "KVMKVMKVM", no hints, the frequencies of TSC and APIC. */
	cr_assert_leaf(&table, 0x40000000, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x0000004d);
	cr_assert_leaf(&table, 0x40000001, 0, 1u << KVM_FEATURE_CLOCKSOURCE2, 0, 0, 0);
	cr_assert_leaf(&table, 0x40000010, 0, 2700000, 1000000, 0, 0);
	cr_assert_eq(memcmp(&leaf_of(&table, 0x80000002, 0)->eax, "Intel(R) Xeon(R)", 16), 0);
}

/* Another SKU, another CPU asked, other microcode, a KVM with leaves of its own. */
Test(cpuid, the_same_on_every_admitted_host)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm here = kvm_on(facts), there = kvm_on(facts);
	struct cpuid_table one, other;

	offered(&there, 1, 0)->leaf.ebx = 0x2a200800;
	offered(&there, 2, 0)->leaf.eax = 0x76036301;
	offered(&there, 6, 0)->leaf.eax = 0x75;
	offered(&there, 7, 0)->leaf.ebx = 0x81; /* fast strings switched off by firmware */
	offered(&there, 0xb, 0)->leaf.edx = 0x2a;
	offered(&there, 0xa, 0)->leaf.eax = 0;
	offered(&there, 0x80000000, 0)->leaf.eax = 0x80000021;
	memcpy(&offered(&there, 0x80000003, 0)->leaf.eax, "0 v2", 4);
	offered(&there, 0x80000008, 0)->leaf.ebx = 0x0100d000;
	offer(&there, (struct cpuid_leaf){ 0x80000021, 0, 0x40, 0, 0, 0 });
	offer(&there, (struct cpuid_leaf){ 0x1f, 0, 1, 2, 0x100, 0x2a });
	build(&here, "xv2", &one);
	build(&there, "xv2", &other);
	cr_assert_eq(one.nent, other.nent);
	for (uint32_t i = 0; i < one.nent; i++)
		cr_assert_eq(memcmp(&one.entries[i], &other.entries[i], sizeof(one.entries[i])), 0,
		             "leaf 0x%x differs", one.entries[i].function);
	cr_assert_null(leaf_of(&other, 0x80000021, 0));
	cr_assert_leaf(&other, 0x80000000, 0, 0x80000008, 0, 0, 0);
}

/* A profile's last leaves bound what is shown, and make nothing up: of a KVM that ends before, its
 * own are the last. */
Test(cpuid, the_last_leaf_is_the_lower_of_two)
{
	static const struct {
		uint32_t kvm, extended, shown, shown_extended;
	} rows[] = {
		{ 0xd, 0x80000008, 0xd, 0x80000008 },
		{ 0x20, 0x80000021, 0xd, 0x80000008 },
		{ 0xb, 0x80000004, 0xb, 0x80000004 },
		{ 0xc, 0x80000007, 0xc, 0x80000007 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
		struct host_kvm kvm = kvm_on(facts);
		struct cpuid_table table;

		offered(&kvm, 0, 0)->leaf.eax = rows[i].kvm;
		offered(&kvm, 0x80000000, 0)->leaf.eax = rows[i].extended;
		build(&kvm, "xv2", &table);
		cr_expect_eq(leaf_of(&table, 0, 0)->eax, rows[i].shown, "row %zu", i);
		cr_expect_eq(leaf_of(&table, 0x80000000, 0)->eax, rows[i].shown_extended, "row %zu",
		             i);
	}
}

/* Under dev the host shows through. */
Test(cpuid, dev_hides_nothing_but_the_topology)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2660_v3();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_table table;

	build(&kvm, "dev", &table);
	cr_assert_leaf(&table, 7, 0, 0, 0x37ab, 0, 0);
	cr_assert_eq(memcmp(&leaf_of(&table, 0x80000002, 0)->eax, "Intel(R) Xeon(R)", 16), 0);
	cr_assert_eq(leaf_of(&table, 1, 0)->ebx >> 24, 0, "APIC id");
}

Test(cpuid, what_kvm_lacks_is_named)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts), none = { 0 };
	struct profile profile = { 0 };
	struct cpuid_config config = { .pv_features = 1u << 4 | 1u << 2, .profile = &profile };
	struct problems problems = { 0 };
	struct cpuid_table table;

	offered(&kvm, KVM_CPUID_FEATURES, 0)->leaf.eax = 1u << 4;
	cr_assert_eq(cpuid_build(&kvm, &config, &table, &problems), -ENOTSUP);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_KVM_CAPABILITY_MISSING);
	cr_assert_not_null(strstr(problems.list[0].message, "0x4;"));
	cr_assert_eq(cpuid_build(&none, &config, &table, &problems), -ENOTSUP);
	cr_assert_eq(problems.list[1].code, ERROR_CODE_KVM_FAILED);
}

/* ---- bits that depend on something else ------------------------------------------------------ */

#define X2APIC (1u << 21)
#define TSC_DEADLINE (1u << 24)
#define HYPERVISOR (1u << 31)

/* The table for a configuration under a profile that masks nothing. */
static void build_with(const struct host_kvm *kvm, struct cpuid_config config,
                       struct cpuid_table *ret)
{
	static const struct profile open_profile;
	struct problems problems = { 0 };

	config.profile = &open_profile;
	cr_assert_eq(cpuid_build(kvm, &config, ret, &problems), 0, "%s", problems.list[0].message);
}

/* The timer and the mode of a local APIC are told exactly where there is one, whatever KVM offers;
 * the hypervisor's bit always is. */
Test(cpuid, what_needs_an_apic_is_told_with_one_only)
{
	static const uint32_t offers[] = { 0, X2APIC, TSC_DEADLINE, HYPERVISOR,
		                           X2APIC | TSC_DEADLINE | HYPERVISOR };
	const uint32_t others = ~(X2APIC | TSC_DEADLINE | HYPERVISOR);
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	const uint32_t rest = offered(&kvm, 1, 0)->leaf.ecx & others;
	struct cpuid_table table;

	for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
		offered(&kvm, 1, 0)->leaf.ecx = rest | offers[i];
		build_with(&kvm, (struct cpuid_config){ .has_apic = true }, &table);
		cr_assert_eq(leaf_of(&table, 1, 0)->ecx, rest | X2APIC | TSC_DEADLINE | HYPERVISOR);
		build_with(&kvm, (struct cpuid_config){ .has_apic = false }, &table);
		cr_assert_eq(leaf_of(&table, 1, 0)->ecx, rest | HYPERVISOR);
	}
}

/* The leaf of frequencies is there, and within the hypervisor's maximum, exactly when the TSC's is
 * known. */
Test(cpuid, the_timing_leaf_needs_a_frequency)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_table table;

	build_with(&kvm, (struct cpuid_config){ .tsc_khz = 0 }, &table);
	cr_assert_leaf(&table, 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x0000004d);
	cr_assert_null(leaf_of(&table, 0x40000010, 0));
	build_with(&kvm, (struct cpuid_config){ .tsc_khz = 1 }, &table);
	cr_assert_leaf(&table, 0x40000000, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x0000004d);
	cr_assert_leaf(&table, 0x40000010, 0, 1, 1000000, 0, 0);
}

/* Each feature and hint alone is told as itself; nothing is told that was not asked for. */
Test(cpuid, features_and_hints_are_those_that_were_asked)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_table table;

	/* Whatever the host's own leaf has in its other registers. */
	offered(&kvm, KVM_CPUID_FEATURES, 0)->leaf =
		(struct cpuid_leaf){ KVM_CPUID_FEATURES, 0, PV_ALL, 0x11, 0x22, 0xffffffff };
	for (unsigned bit = 0; bit < 32; bit++) {
		const struct cpuid_config config = { .pv_features = PV_ALL & 1u << bit,
			                             .pv_hints = 1u << bit };

		build_with(&kvm, config, &table);
		cr_assert_leaf(&table, KVM_CPUID_FEATURES, 0, config.pv_features, 0, 0, 1u << bit);
	}
}

/* A KVM that has no leaf of features has none to offer, and none need be asked. */
Test(cpuid, a_kvm_without_a_leaf_of_features)
{
	static const struct profile open_profile;
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_config config = { .pv_features = 1, .profile = &open_profile };
	struct problems problems = { 0 };
	struct cpuid_table table;

	kvm.guest_leaf_count--;
	cr_assert_eq(cpuid_build(&kvm, &config, &table, &problems), -ENOTSUP);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_KVM_CAPABILITY_MISSING);
	cr_assert_not_null(strstr(problems.list[0].message, "0x1;"));
	build_with(&kvm, (struct cpuid_config){ 0 }, &table);
	cr_assert_leaf(&table, KVM_CPUID_FEATURES, 0, 0, 0, 0, 0);
}

static void as_amd(struct host_kvm *kvm)
{
	struct cpuid_leaf *zero = &offered(kvm, 0, 0)->leaf;

	zero->ebx = 0x68747541;
	zero->edx = 0x69746e65;
	zero->ecx = 0x444d4163;
}

/* AMD's other ways to tell of cores go, leaves and bits; Intel's bits of the same places stay. */
Test(cpuid, one_way_to_tell_of_topology)
{
	static const uint32_t gone[] = { 0x8000001d, 0x8000001e, 0x80000026 };
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_table table;

	offered(&kvm, 0x80000001, 0)->leaf.ecx = 0xffffffff;
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		offer(&kvm, (struct cpuid_leaf){ gone[i], 0, 1, 2, 3, 4 });
	offer(&kvm, (struct cpuid_leaf){ 0x8000001f, 0, 5, 0, 0, 0 });
	build_with(&kvm, (struct cpuid_config){ 0 }, &table);
	cr_assert_eq(leaf_of(&table, 0x80000001, 0)->ecx, 0xffffffff);
	as_amd(&kvm);
	build_with(&kvm, (struct cpuid_config){ 0 }, &table);
	/* CmpLegacy is bit 1, TopologyExtensions bit 22 (APM 3 appendix E). */
	cr_assert_eq(leaf_of(&table, 0x80000001, 0)->ecx, ~(1u << 1 | 1u << 22));
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		cr_assert_null(leaf_of(&table, gone[i], 0), "leaf %#x", gone[i]);
	cr_assert_not_null(leaf_of(&table, 0x8000001f, 0), "and no other");
}

/* Each register by its own mask; what is set is set in EBX whatever the host has; an absent leaf is
 * not made up. */
Test(cpuid, masks_are_applied_register_by_register)
{
	static const struct profile masking = {
		.mask_count = 2,
		.masks = { { 6, 0, 0x0000ffff, 0x00ffff00, 0x0f0f0f0f, 0xf0f0f0f0, 0x80000001 },
		           { 0x17, 0, 0, 0, 0, 0, 1 } },
		.fixed_count = 2,
		.fixed = { { 2, 0, 1, 2, 3, 4 }, { 0x18, 0, 1, 2, 3, 4 } },
	};
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_kvm kvm = kvm_on(facts);
	struct cpuid_config config = { .profile = &masking };
	struct problems problems = { 0 };
	struct cpuid_table table;

	offered(&kvm, 6, 0)->leaf =
		(struct cpuid_leaf){ 6, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff };
	cr_assert_eq(cpuid_build(&kvm, &config, &table, &problems), 0);
	cr_assert_leaf(&table, 6, 0, 0x0000ffff, 0x80ffff01, 0x0f0f0f0f, 0xf0f0f0f0);
	cr_assert_leaf(&table, 2, 0, 1, 2, 3, 4);
	cr_assert_null(leaf_of(&table, 0x17, 0));
	cr_assert_null(leaf_of(&table, 0x18, 0));
	cr_assert_not_null(leaf_of(&table, 0x80000004, 0), "without a brand the host's stays");
}
