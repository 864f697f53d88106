/* SPDX-License-Identifier: MIT */
/* Admission, input by input: each requirement is met by a host that has all it looks at, and
 * refused when any one of these alone is missing. */
#include "host/admit.h"
#include "host/probe.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The recorded E5-2697 v2, with every VMX capability that there is (SDM 3D appendix A: allowed-1
 * bits). */
static struct host_facts *whole_host(void)
{
	struct host_facts *facts = fixture_e5_2697_v2();

	facts->vmx.msrs[0x01] |= 0xffffffff00000000;
	facts->vmx.msrs[0x0b] |= 0xffffffff00000000;
	facts->vmx.msrs[0x0c] |= 0x330000;
	facts_decode(facts);
	return facts;
}

static struct profile asking(const char *requirement)
{
	struct profile profile = {
		.identity = { .vendor = "GenuineIntel",
		              .has_family = true,
		              .family = 6,
		              .models = { 0x2d, 0x3e },
		              .model_count = 2,
		              .steppings = { 4, 7 },
		              .stepping_count = 2,
		              .brand = "*E5-2697 v2*" },
		.model_features = { .count = 2, .names = { "avx", "smep" } },
		.required = { .count = 1 },
		.tenancies = { [TENANCY_SHARED].mitigated = { .count = 2,
		                                              .names = { "l1tf", "mds" } } },
	};

	snprintf(profile.required.names[0], PROFILE_NAME_MAX, "%s", requirement);
	return profile;
}

/* The row of one requirement, whatever the others are. */
static struct verdict_row judged(const struct host_facts *facts, const char *requirement)
{
	const struct profile profile = asking(requirement);
	struct verdict verdict;

	cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), 0);
	for (size_t i = 0; i < verdict.count; i++)
		if (strcmp(verdict.rows[i].name, requirement) == 0)
			return verdict.rows[i];
	cr_assert_fail("no row %s", requirement);
	return (struct verdict_row){ 0 };
}

#define LAST(f) (&(f)->cpus[(f)->cpu_count - 1])
#define SPOIL(name_, ...)                                                                          \
	static void name_(struct host_facts *f)                                                    \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
	}
#define WITHOUT_MSR_BIT(name_, msr_, bit_)                                                         \
	SPOIL(name_, f->vmx.msrs[msr_] &= ~(1ULL << (bit_)); facts_decode(f))
#define WITHOUT_FLAG(name_) SPOIL(without_##name_, fixture_remove_flag(f->flags, #name_))

SPOIL(other_vendor, strcpy(f->cpus[0].vendor, "AuthenticAMD"))
SPOIL(other_family, f->cpus[0].family = 5)
SPOIL(other_model, f->cpus[0].model = 0x3f)
SPOIL(other_stepping, f->cpus[0].stepping = 5)
SPOIL(other_brand, strcpy(f->cpus[0].brand, "Intel(R) Xeon(R) CPU E5-2697 v3"))
SPOIL(no_brand, f->cpus[0].brand[0] = '\0')
SPOIL(vmx_bit_first, fixture_leaf(&f->cpus[0], 1, 0)->ecx &= ~(1u << 5))
SPOIL(vmx_bit_last, fixture_leaf(LAST(f), 1, 0)->ecx &= ~(1u << 5))
SPOIL(tsc_bit_last, fixture_leaf(LAST(f), 0x80000007, 0)->edx &= ~(1u << 8))
SPOIL(tsc_leaf_gone, fixture_leaf(LAST(f), 0x80000007, 0)->leaf = 0x80000005)
SPOIL(x2apic_bit_last, fixture_leaf(LAST(f), 1, 0)->ecx &= ~(1u << 21))
WITHOUT_FLAG(lm)
WITHOUT_FLAG(vmx)
WITHOUT_FLAG(nonstop_tsc)
WITHOUT_FLAG(x2apic)
WITHOUT_FLAG(avx)
WITHOUT_FLAG(smep)
WITHOUT_FLAG(pdpe1gb)
WITHOUT_MSR_BIT(no_ept, 0x0b, 32 + 1)
WITHOUT_MSR_BIT(no_vpid, 0x0b, 32 + 5)
WITHOUT_MSR_BIT(no_unrestricted, 0x0b, 32 + 7)
WITHOUT_MSR_BIT(no_vapic_reg, 0x0b, 32 + 8)
WITHOUT_MSR_BIT(no_vid, 0x0b, 32 + 9)
WITHOUT_MSR_BIT(no_ple, 0x0b, 32 + 10)
WITHOUT_MSR_BIT(no_tsc_scaling, 0x0b, 32 + 25)
WITHOUT_MSR_BIT(no_posted, 0x01, 32 + 7)
WITHOUT_MSR_BIT(no_ept_1g, 0x0c, 17)
WITHOUT_MSR_BIT(no_ept_ad, 0x0c, 21)
SPOIL(last_vendor, strcpy(LAST(f)->vendor, "AuthenticAMD"))
SPOIL(last_family, LAST(f)->family++)
SPOIL(last_model, LAST(f)->model++)
SPOIL(last_stepping, LAST(f)->stepping++)
SPOIL(last_brand, LAST(f)->brand[0] = 'X')
SPOIL(last_microcode, LAST(f)->microcode--)
SPOIL(last_flags, LAST(f)->flags_hash++)
SPOIL(last_eax, fixture_leaf(LAST(f), 6, 0)->eax ^= 1)
SPOIL(last_ebx, fixture_leaf(LAST(f), 6, 0)->ebx ^= 1)
SPOIL(last_ecx, fixture_leaf(LAST(f), 6, 0)->ecx ^= 1)
SPOIL(last_edx, fixture_leaf(LAST(f), 6, 0)->edx ^= 1)
SPOIL(last_lacks_a_leaf, fixture_leaf(LAST(f), 6, 0)->leaf = 0x16)
SPOIL(last_subleaf, fixture_leaf(LAST(f), 4, 2)->ecx ^= 1)
SPOIL(last_clflush, fixture_leaf(LAST(f), 1, 0)->ebx ^= 0x100)
SPOIL(last_signature, fixture_leaf(LAST(f), 1, 0)->eax ^= 1)
SPOIL(last_leaf_b_width, fixture_leaf(LAST(f), 0xb, 0)->eax ^= 1)
SPOIL(hypervisor_flag, fixture_add_flag(f->flags, "hypervisor"); facts_decode(f))
SPOIL(hypervisor_bit, fixture_leaf(&f->cpus[0], 1, 0)->ecx |= 1u << 31; facts_decode(f))
SPOIL(l1tf_open, fixture_set_vulnerability(f, "l1tf", "Vulnerable"))
SPOIL(mds_open, fixture_set_vulnerability(f, "mds", "Mitigation: none; KVM: Vulnerable"))
SPOIL(mds_untold, fixture_set_vulnerability(f, "mds", NULL))
SPOIL(none_told, f->vulnerability_count = 0)
SPOIL(kvm_closed, f->kvm.accessible = false; f->kvm.error_number = EACCES)
SPOIL(kvm_absent, f->kvm.accessible = f->kvm.present = false)
SPOIL(kvm_older, f->kvm.api_version = 11)
SPOIL(kvm_newer, f->kvm.api_version = 13)
SPOIL(kvm_mute, f->kvm.api_version = -1)
SPOIL(ept_n, strcpy(f->kvm.parameters[0].value, "N"))
SPOIL(ept_0, strcpy(f->kvm.parameters[0].value, "0"))
SPOIL(ept_word, strcpy(f->kvm.parameters[0].value, "Yes"))
SPOIL(ept_empty, f->kvm.parameters[0].value[0] = '\0')
SPOIL(ept_of_another, strcpy(f->kvm.parameters[0].name, "kvm_amd.ept"))
SPOIL(ept_of_amd, strcpy(f->kvm.parameters[0].name, "kvm_amd.ept");
      strcpy(f->cpus[0].vendor, "AuthenticAMD"))

static const struct {
	const char *requirement;
	void (*spoil)(struct host_facts *facts);
	const char *found; /* words of it; behind '=': all of it */
} inputs[] = {
	{ "x86_64", without_lm, "no long mode" },
	{ "vendor", other_vendor, "AuthenticAMD" },
	{ "generation", other_family, "family 5" },
	{ "generation", other_model, "model 0x3F" },
	{ "generation", other_stepping, "stepping 0x5" },
	{ "brand", other_brand, "E5-2697 v3" },
	{ "brand", no_brand, "no brand string" },
	{ "vt_x", vmx_bit_first, "CPUID of CPU 0 " },
	{ "vt_x", vmx_bit_last, "CPUID of CPU 47 " },
	{ "vt_x", without_vmx, "the kernel does not use it" },
	{ "ept", no_ept, "=the VMX capability MSRs do not have it" },
	{ "invariant_tsc", tsc_bit_last, "CPUID of CPU 47 " },
	{ "invariant_tsc", tsc_leaf_gone, "CPUID of CPU 47 " },
	{ "invariant_tsc", without_nonstop_tsc, "the kernel does not use it" },
	{ "x2apic", x2apic_bit_last, "CPUID of CPU 47 " },
	{ "x2apic", without_x2apic, "the kernel does not use it" },
	{ "model_features", without_avx, ": avx" },
	{ "model_features", without_smep, ": smep" },
	{ "mitigations", l1tf_open, "=vulnerable: l1tf" },
	{ "mitigations", mds_open, "=vulnerable: mds" },
	{ "mitigations", mds_untold, "=the kernel does not tell of mds" },
	{ "mitigations", none_told, "=the kernel does not tell of l1tf, mds" },
	{ "uniform_cpus", last_vendor, "CPU 47 is AuthenticAMD" },
	{ "uniform_cpus", last_family, "CPU 47 is GenuineIntel 7/" },
	{ "uniform_cpus", last_model, "/0x3F/" },
	{ "uniform_cpus", last_stepping, "/0x3E/5" },
	{ "uniform_cpus", last_brand, "CPU 47 is \"X" },
	{ "uniform_cpus", last_microcode, "=CPU 0 has microcode 0x42e, CPU 47 has 0x42d" },
	{ "uniform_cpus", last_flags, "=CPU 0 and CPU 47 have different flags" },
	{ "uniform_cpus", last_eax, "=CPU 0 and CPU 47 differ in CPUID leaf 0x6, subleaf 0" },
	{ "uniform_cpus", last_ebx, "=CPU 0 and CPU 47 differ in CPUID leaf 0x6, subleaf 0" },
	{ "uniform_cpus", last_ecx, "=CPU 0 and CPU 47 differ in CPUID leaf 0x6, subleaf 0" },
	{ "uniform_cpus", last_edx, "=CPU 0 and CPU 47 differ in CPUID leaf 0x6, subleaf 0" },
	{ "uniform_cpus", last_lacks_a_leaf, "leaf 0x6" },
	{ "uniform_cpus", last_subleaf, "=CPU 0 and CPU 47 differ in CPUID leaf 0x4, subleaf 2" },
	{ "uniform_cpus", last_clflush, "leaf 0x1" },
	{ "uniform_cpus", last_signature, "leaf 0x1" },
	{ "uniform_cpus", last_leaf_b_width, "leaf 0xB" },
	{ "bare_metal", hypervisor_flag, "unnamed" },
	{ "bare_metal", hypervisor_bit, "nested virtualization" },
	{ "kvm", kvm_closed, "=is there but does not open: Permission denied" },
	{ "kvm", kvm_absent, "=is not there" },
	{ "kvm_api_12", kvm_older, "11" },
	{ "kvm_api_12", kvm_newer, "13" },
	{ "kvm_api_12", kvm_mute, "-1" },
	{ "kvm_ept", ept_n, "ept=N" },
	{ "kvm_ept", ept_0, "ept=0" },
	{ "kvm_ept", ept_word, "ept=Yes" },
	{ "kvm_ept", ept_empty, "ept=" },
	{ "kvm_ept", ept_of_another, "=kvm_intel is not loaded" },
	{ "kvm_ept", ept_of_amd, "=a processor of AuthenticAMD, whose module is kvm_amd" },
	{ "tsc_scaling", no_tsc_scaling, "MSRs do not have it" },
	{ "apicv", no_vapic_reg, "MSRs do not have it" },
	{ "apicv", no_vid, "MSRs do not have it" },
	{ "posted_interrupts", no_posted, "MSRs do not have it" },
	{ "pages_1g", no_ept_1g, "MSRs do not have it" },
	{ "pages_1g", without_pdpe1gb, "the processor's own tables do not" },
	{ "ept_ad", no_ept_ad, "MSRs do not have it" },
	{ "unrestricted_guest", no_unrestricted, "MSRs do not have it" },
	{ "vpid", no_vpid, "MSRs do not have it" },
	{ "pause_loop_exiting", no_ple, "MSRs do not have it" },
};

/* What is said of a host that has it: `axvm admit` prints it, and who reads a verdict compares the
 * two columns. */
static const struct {
	const char *requirement, *asked, *found;
} met[] = {
	{ "x86_64", "a 64-bit x86 processor", "x86-64" },
	{ "vendor", "GenuineIntel", "GenuineIntel" },
	{ "generation", "family 6, model 0x2D, 0x3E, stepping 0x4, 0x7",
	  "family 6, model 0x3E, stepping 0x4" },
	{ "brand", "brand string *E5-2697 v2*", "Intel(R) Xeon(R) CPU E5-2697 v2 @ 2.70GHz" },
	{ "vt_x", "VT-x (CPUID.1:ECX[5], flag vmx)", "present" },
	{ "ept", "extended page tables", "present (VMX capability MSRs)" },
	{ "invariant_tsc", "invariant TSC (CPUID.80000007H:EDX[8], flag nonstop_tsc)", "present" },
	{ "x2apic", "x2APIC (CPUID.1:ECX[21], flag x2apic)", "present" },
	{ "model_features", "2 features that every processor of this model has", "all present" },
	{ "uniform_cpus", "all CPUs alike: model, microcode and features",
	  "48 CPUs alike, CPUID compared on 48" },
	{ "bare_metal", "no hypervisor below this host", "none" },
	{ "mitigations", "tenancy SHARED, not vulnerable to l1tf, mds", "not vulnerable" },
	{ "kvm", "/dev/kvm that this process may open", "opens" },
	{ "kvm_api_12", "KVM API version 12", "12" },
	{ "kvm_ept", "kvm_intel loaded with ept=Y", "ept=Y" },
	{ "tsc_scaling", "TSC scaling", "present (VMX capability MSRs)" },
	{ "apicv", "APIC-register virtualization and virtual-interrupt delivery",
	  "present (VMX capability MSRs)" },
	{ "posted_interrupts", "posted interrupts", "present (VMX capability MSRs)" },
	{ "pages_1g", "1 GiB pages in EPT and in the processor", "present (VMX capability MSRs)" },
	{ "ept_ad", "EPT accessed and dirty bits", "present (VMX capability MSRs)" },
	{ "unrestricted_guest", "unrestricted guest", "present (VMX capability MSRs)" },
	{ "vpid", "VPID", "present (VMX capability MSRs)" },
	{ "pause_loop_exiting", "pause-loop exiting", "present (VMX capability MSRs)" },
};

Test(admit, each_requirement_is_met_by_a_host_that_has_all)
{
	_cleanup_free_ struct host_facts *facts = whole_host();

	for (size_t i = 0; i < ARRAY_SIZE(met); i++) {
		struct verdict_row row = judged(facts, met[i].requirement);

		cr_assert_str_eq(admit_requirement_name(i), met[i].requirement);
		cr_assert_str_eq(row.asked, met[i].asked);
		cr_assert_str_eq(row.found, met[i].found);
	}
	for (size_t i = 0; admit_requirement_name(i); i++) {
		struct verdict_row row = judged(facts, admit_requirement_name(i));
		bool tried = false;

		cr_assert(row.met, "%s: %s", row.name, row.found);
		for (size_t k = 0; k < ARRAY_SIZE(inputs); k++)
			tried |= strcmp(inputs[k].requirement, row.name) == 0;
		cr_assert(tried, "no input of %s is spoilt", row.name);
	}
}

Test(admit, each_input_of_a_requirement_alone_refuses)
{
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		_cleanup_free_ struct host_facts *facts = whole_host();
		struct verdict_row row;

		inputs[i].spoil(facts);
		row = judged(facts, inputs[i].requirement);
		cr_assert_not(row.met, "%zu: %s: %s", i, row.name, row.found);
		if (inputs[i].found[0] == '=')
			cr_assert_str_eq(row.found, inputs[i].found + 1);
		else
			cr_assert_not_null(strstr(row.found, inputs[i].found), "%zu: %s: %s", i,
			                   row.name, row.found);
	}
}

/* ---- what does not count --------------------------------------------------------------------- */

SPOIL(last_apic_id, fixture_leaf(LAST(f), 1, 0)->ebx ^= 0xff000000)
SPOIL(last_x2apic_id, fixture_leaf(LAST(f), 0xb, 0)->edx ^= 0xffffffff)
SPOIL(last_not_read, LAST(f)->leaf_count = 0)
SPOIL(ept_1, strcpy(f->kvm.parameters[0].value, "1"))
SPOIL(xapic_mode, f->x2apic_enabled = 'n')

/* A leaf that only newer processors have, with an own value on each CPU. */
static void add_leaf(struct host_facts *facts, uint32_t leaf, uint32_t eax, uint32_t ebx,
                     uint32_t ecx, uint32_t edx)
{
	for (size_t i = 0; i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];
		uint32_t own = i + 1 == facts->cpu_count;

		cr_assert_lt(cpu->leaf_count, FACTS_LEAVES_MAX);
		cpu->leaves[cpu->leaf_count++] =
			(struct cpuid_leaf){ leaf, 0, own * eax, own * ebx, own * ecx, own * edx };
	}
}

/* As on a processor with a hardware feedback interface: rows of one table, whose size is the
 * same. */
static void feedback_rows(struct host_facts *f)
{
	for (size_t i = 0; i < f->cpu_count; i++)
		fixture_leaf(&f->cpus[i], 6, 0)->edx = (uint32_t)i << 16 | 0x0003;
}

SPOIL(leaf_80000026_id, add_leaf(f, 0x80000026, 0, 0, 0, 0xffffffff))
SPOIL(leaf_1f_id, add_leaf(f, 0x1f, 0, 0, 0, 0xffffffff))
SPOIL(amd_ids, add_leaf(f, 0x8000001e, 0xffffffff, 0xff, 0xff, 0))

static void offline_and_different(struct host_facts *f)
{
	struct host_cpu *cpu = LAST(f);

	cpu->online = cpu->allowed = false;
	strcpy(cpu->vendor, "AuthenticAMD");
	fixture_leaf(cpu, 1, 0)->ecx = 0;
	fixture_leaf(cpu, 0x80000007, 0)->edx = 0;
}

Test(admit, what_differs_by_nature_does_not_count)
{
	static const struct {
		const char *requirement;
		void (*change)(struct host_facts *facts);
	} changes[] = {
		{ "uniform_cpus", last_apic_id },
		{ "uniform_cpus", last_x2apic_id },
		{ "uniform_cpus", leaf_1f_id },
		{ "uniform_cpus", amd_ids },
		{ "uniform_cpus", feedback_rows },
		{ "uniform_cpus", leaf_80000026_id },
		{ "uniform_cpus", last_not_read },
		{ "uniform_cpus", offline_and_different },
		{ "vt_x", offline_and_different },
		{ "invariant_tsc", offline_and_different },
		{ "x2apic", offline_and_different },
		{ "x2apic", xapic_mode },
		{ "kvm_ept", ept_1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		_cleanup_free_ struct host_facts *facts = whole_host();
		struct verdict_row row;

		changes[i].change(facts);
		row = judged(facts, changes[i].requirement);
		cr_assert(row.met, "%zu: %s: %s", i, row.name, row.found);
	}
}

SPOIL(leaf_1f_width, add_leaf(f, 0x1f, 1, 0, 0, 0))
SPOIL(amd_threads, add_leaf(f, 0x8000001e, 0, 0x100, 0, 0))
SPOIL(amd_nodes, add_leaf(f, 0x8000001e, 0, 0, 0x100, 0))
SPOIL(amd_rest, add_leaf(f, 0x8000001e, 0, 0, 0, 1))
SPOIL(feedback_size, fixture_leaf(LAST(f), 6, 0)->edx ^= 0x100)

Test(admit, the_rest_of_a_leaf_with_ids_counts)
{
	typedef void change(struct host_facts * facts);
	static change *const changes[] = { leaf_1f_width, amd_threads, amd_nodes, amd_rest,
		                           feedback_size };

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		_cleanup_free_ struct host_facts *facts = whole_host();

		changes[i](facts);
		cr_assert_not(judged(facts, "uniform_cpus").met, "%zu", i);
	}
}

Test(admit, x2apic_tells_the_mode_of_the_host)
{
	_cleanup_free_ struct host_facts *facts = whole_host();

	cr_assert_str_eq(judged(facts, "x2apic").found, "present");
	facts->x2apic_enabled = 'y';
	cr_assert_str_eq(judged(facts, "x2apic").found, "present, enabled on the host");
	facts->x2apic_enabled = 'n';
	cr_assert_str_eq(judged(facts, "x2apic").found, "present, host in xAPIC mode");
}

/* ---- VMX from the kernel's flags ------------------------------------------------------------- */

/* Without MSRs each capability follows from the kernel's name for it, in either row of flags, and
 * from no other. */
Test(admit, vmx_capabilities_by_the_kernels_names)
{
	static const struct {
		const char *requirement, *flag;
	} names[] = {
		{ "ept", "ept" },
		{ "vpid", "vpid" },
		{ "unrestricted_guest", "unrestricted_guest" },
		{ "pause_loop_exiting", "ple" },
		{ "tsc_scaling", "tsc_scaling" },
		{ "posted_interrupts", "posted_intr" },
		{ "pages_1g", "ept_1gb" },
		{ "ept_ad", "ept_ad" },
		{ "apicv", "apicv" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (size_t own_row = 0; own_row < 2; own_row++) {
			_cleanup_free_ struct host_facts *facts = whole_host();

			facts->vmx.msr_mask = 0;
			strcpy(facts->vmx_flags, " vnmi ");
			fixture_add_flag(own_row ? facts->vmx_flags : facts->flags, names[i].flag);
			facts_decode(facts);
			for (size_t k = 0; k < ARRAY_SIZE(names); k++)
				cr_assert_eq(judged(facts, names[k].requirement).met, k == i,
				             "%s by %s", names[k].requirement, names[i].flag);
		}
}

/* The two halves of APIC virtualization have names of their own. */
Test(admit, apicv_needs_both_of_its_names)
{
	_cleanup_free_ struct host_facts *facts = whole_host();

	facts->vmx.msr_mask = 0;
	strcpy(facts->vmx_flags, " vapic_reg ");
	facts_decode(facts);
	cr_assert_not(judged(facts, "apicv").met);
	strcpy(facts->vmx_flags, " vid ");
	facts_decode(facts);
	cr_assert_not(judged(facts, "apicv").met);
	fixture_add_flag(facts->vmx_flags, "vapic_reg");
	facts_decode(facts);
	cr_assert(judged(facts, "apicv").met);
}

/* ---- which rows there are -------------------------------------------------------------------- */

/* A part of an identity is asked as soon as it is stated, and only then; an empty list allows
 * all. */
Test(admit, an_identity_asks_what_it_states)
{
	static const struct {
		struct profile_identity identity;
		const char *row;
	} stated[] = {
		{ { .vendor = "GenuineIntel" }, "vendor" },
		{ { .has_family = true, .family = 6 }, "generation" },
		{ { .models = { 0x3e }, .model_count = 1 }, "generation" },
		{ { .brand = "*" }, "brand" },
	};
	_cleanup_free_ struct host_facts *facts = whole_host();
	struct profile none = { .name = "none" };
	struct verdict verdict;

	cr_assert_eq(admit(facts, &none, TENANCY_SHARED, &verdict), 0);
	cr_assert_eq(verdict.count, 0);
	for (size_t i = 0; i < ARRAY_SIZE(stated); i++) {
		struct profile profile = { .name = "one",
			                   .development = true,
			                   .identity = stated[i].identity };

		cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), 0);
		cr_assert_eq(verdict.count, 1, "%s", stated[i].row);
		cr_assert_str_eq(verdict.rows[0].name, stated[i].row);
		cr_assert(verdict.rows[0].met, "%s: %s", stated[i].row, verdict.rows[0].found);
		cr_assert_str_eq(verdict.profile, "one");
		cr_assert(verdict.development);
	}
}

/* What is used when present is told of, and is no reason to refuse. */
Test(admit, an_optional_row_refuses_nobody)
{
	_cleanup_free_ struct host_facts *facts = whole_host();
	struct profile profile = { .used_when_present = { .count = 2,
		                                          .names = { "vpid", "ept" } } };
	struct verdict verdict;

	no_vpid(facts);
	cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), 0);
	cr_assert(verdict.count == 0 && verdict.unmet == 0 && verdict.optional_count == 2);
	/* In the order of the table, not of the profile. */
	cr_assert_str_eq(verdict.optional[0].name, "ept");
	cr_assert(verdict.optional[0].met);
	cr_assert_not(verdict.optional[1].met);
	/* Asked and used: asked. */
	profile.required = profile.used_when_present;
	cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), 0);
	cr_assert(verdict.count == 2 && verdict.unmet == 1 && verdict.optional_count == 0);
}
