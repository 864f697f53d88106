/* SPDX-License-Identifier: MIT */
/* Admission: the recorded processors, and for each requirement a host that fails only that one. */
#include "host/admit.h"
#include "host/facts_proto.h"
#include "host/probe.h"
#include "launch/cli/admit.h"
#include "launch/cli/facts_here.h"
#include "launch/cli/probe.h"
#include "launch/cli/text.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct verdict judge(const struct host_facts *facts, const char *name)
{
	struct profile profile;
	struct verdict verdict;

	cr_assert_eq(profile_load(name, &profile), 0);
	cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), 0);
	return verdict;
}

static const struct verdict_row *row(const struct verdict *verdict, const char *name)
{
	for (size_t i = 0; i < verdict->count; i++)
		if (strcmp(verdict->rows[i].name, name) == 0)
			return &verdict->rows[i];
	for (size_t i = 0; i < verdict->optional_count; i++)
		if (strcmp(verdict->optional[i].name, name) == 0)
			return &verdict->optional[i];
	cr_assert_fail("no row %s", name);
	return NULL;
}

/* Names of the unmet rows, separated by spaces. */
static const char *unmet(const struct verdict *verdict, char *out, size_t size)
{
	out[0] = '\0';
	for (size_t i = 0; i < verdict->count; i++)
		if (!verdict->rows[i].met)
			snprintf(out + strlen(out), size - strlen(out), "%s%s", *out ? " " : "",
			         verdict->rows[i].name);
	return out;
}

#define cr_assert_unmet(facts_, profile_, names_)                                                  \
	do {                                                                                       \
		struct verdict verdict_ = judge(facts_, profile_);                                 \
		char list_[512];                                                                   \
		cr_assert_str_eq(unmet(&verdict_, list_, sizeof(list_)), names_);                  \
	} while (0)

Test(admit, profiles_load_and_name_known_requirements)
{
	struct profile profile;

	cr_assert_eq(profile_load("xv2", &profile), 0);
	cr_assert_not(profile.development);
	cr_assert_gt(profile.mask_count, 5);
	cr_assert(profile.tenancies[TENANCY_DEDICATED].disable_hlt_exits);
	cr_assert(profile.tenancies[TENANCY_SHARED].paravirt & 1 << 3, "PV_UNHALT when shared");
	cr_assert_not(profile.tenancies[TENANCY_DEDICATED].paravirt & 1 << 3);
	cr_assert_eq(profile_load("dev", &profile), 0);
	cr_assert(profile.development);
	cr_assert_eq(profile_load("xv3", &profile), -ENOENT);
	for (size_t i = 0; profile_name(i); i++)
		cr_assert_eq(profile_load(profile_name(i), &profile), 0, "%s", profile_name(i));
}

Test(admit, xeon_e5_v2_is_what_xv2_is_made_for)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct verdict verdict = judge(facts, "xv2");

	cr_assert_str_eq(facts->cpus[0].brand, "Intel(R) Xeon(R) CPU E5-2697 v2 @ 2.70GHz");
	cr_assert_unmet(facts, "xv2", "");
	cr_assert_eq(verdict.unmet, 0);
	cr_assert_eq(verdict.count, 15);
	/* Probed, never assumed from the signature: the Core i7 of the same die lacks it. */
	cr_assert(row(&verdict, "apicv")->met);
	cr_assert_not(row(&verdict, "tsc_scaling")->met);
	cr_assert_not(row(&verdict, "ept_ad")->met);
	cr_assert(row(&verdict, "pages_1g")->met);
	cr_assert(row(&verdict, "pause_loop_exiting")->met);
}

Test(admit, core_i7_of_the_same_signature_is_refused_for_its_brand)
{
	_cleanup_free_ struct host_facts *facts = fixture_i7_4930k();
	struct verdict verdict;

	cr_assert_eq(facts->cpus[0].model, 0x3e);
	cr_assert_unmet(facts, "xv2", "brand");
	cr_assert_unmet(facts, "dev", "");
	verdict = judge(facts, "xv2");
	cr_assert_not(row(&verdict, "apicv")->met);
}

Test(admit, xeon_e5_v3_is_refused_for_its_generation)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2660_v3();

	cr_assert_unmet(facts, "xv2", "generation brand");
}

static void for_each_cpu(struct host_facts *facts, void (*change)(struct host_cpu *cpu))
{
	for (size_t i = 0; i < facts->cpu_count; i++)
		change(&facts->cpus[i]);
}

static void other_vendor(struct host_cpu *cpu)
{
	snprintf(cpu->vendor, sizeof(cpu->vendor), "GenuineIotel");
}

static void client_model(struct host_cpu *cpu)
{
	cpu->model = 0x3a;
}

static void other_brand(struct host_cpu *cpu)
{
	snprintf(cpu->brand, sizeof(cpu->brand), "Intel(R) Xeon(R) CPU E5-2680 0 @ 2.70GHz");
}

static void no_vmx(struct host_cpu *cpu)
{
	fixture_leaf(cpu, 1, 0)->ecx &= ~(1u << 5);
}

static void no_invariant_tsc(struct host_cpu *cpu)
{
	fixture_leaf(cpu, 0x80000007, 0)->edx = 0;
}

static void no_x2apic(struct host_cpu *cpu)
{
	fixture_leaf(cpu, 1, 0)->ecx &= ~(1u << 21);
}

static void fail_x86_64(struct host_facts *f)
{
	fixture_remove_flag(f->flags, "lm");
}
static void fail_vendor(struct host_facts *f)
{
	for_each_cpu(f, other_vendor);
}
static void fail_generation(struct host_facts *f)
{
	for_each_cpu(f, client_model);
}
static void fail_brand(struct host_facts *f)
{
	for_each_cpu(f, other_brand);
}
static void fail_vt_x(struct host_facts *f)
{
	for_each_cpu(f, no_vmx);
}
static void fail_vt_x_locked(struct host_facts *f)
{
	fixture_remove_flag(f->flags, "vmx");
}
static void fail_ept(struct host_facts *f)
{
	f->vmx.msrs[0xb] &= ~(1ULL << 33);
	facts_decode(f);
}
static void fail_tsc(struct host_facts *f)
{
	for_each_cpu(f, no_invariant_tsc);
}
static void fail_tsc_flag(struct host_facts *f)
{
	fixture_remove_flag(f->flags, "nonstop_tsc");
}
static void fail_x2apic(struct host_facts *f)
{
	for_each_cpu(f, no_x2apic);
}
static void fail_x2apic_off(struct host_facts *f)
{
	fixture_remove_flag(f->flags, "x2apic");
}
static void fail_aes(struct host_facts *f)
{
	fixture_remove_flag(f->flags, "aes");
}
static void fail_stepping(struct host_facts *f)
{
	f->cpus[7].stepping = 7;
}
static void fail_microcode(struct host_facts *f)
{
	f->cpus[47].microcode = 0x428;
}
static void fail_flags(struct host_facts *f)
{
	f->cpus[30].flags_hash++;
}
static void fail_leaf(struct host_facts *f)
{
	fixture_leaf(&f->cpus[3], 7, 0)->ebx |= 4;
}
static void fail_bare_metal(struct host_facts *f)
{
	f->hypervisor = true;
}
static void fail_l1tf(struct host_facts *f)
{
	fixture_set_vulnerability(f, "l1tf", "Vulnerable");
}
static void fail_kvm(struct host_facts *f)
{
	f->kvm.accessible = false;
}
static void fail_kvm_api(struct host_facts *f)
{
	f->kvm.api_version = 11;
}
static void fail_kvm_ept(struct host_facts *f)
{
	f->kvm.parameters[0].value[0] = 'N';
}
static void fail_kvm_intel(struct host_facts *f)
{
	f->kvm.parameter_count = 0;
}

static const struct {
	const char *name, *found;
	void (*spoil)(struct host_facts *facts);
} spoilt[] = {
	{ "x86_64", "no long mode", fail_x86_64 },
	{ "vendor", "GenuineIotel", fail_vendor },
	{ "generation", "model 0x3A", fail_generation },
	{ "brand", "E5-2680 0", fail_brand },
	{ "vt_x", "CPUID of CPU 0 does not have it", fail_vt_x },
	{ "vt_x", "the kernel does not use it", fail_vt_x_locked },
	{ "ept", "MSRs do not have it", fail_ept },
	{ "invariant_tsc", "CPUID of CPU 0", fail_tsc },
	{ "invariant_tsc", "the kernel does not use it", fail_tsc_flag },
	{ "x2apic", "CPUID of CPU 0", fail_x2apic },
	{ "x2apic", "the kernel does not use it", fail_x2apic_off },
	{ "model_features", "hidden by microcode, firmware or the kernel: aes", fail_aes },
	{ "uniform_cpus", "CPU 7 is", fail_stepping },
	{ "uniform_cpus", "CPU 47 has 0x428", fail_microcode },
	{ "uniform_cpus", "CPU 0 and CPU 30 have different flags", fail_flags },
	{ "uniform_cpus", "CPU 3 differ in CPUID leaf 0x7", fail_leaf },
	{ "bare_metal", "nested virtualization", fail_bare_metal },
	{ "mitigations", "vulnerable: l1tf", fail_l1tf },
	{ "kvm", "does not open", fail_kvm },
	{ "kvm_api_12", "11", fail_kvm_api },
	{ "kvm_ept", "ept=N", fail_kvm_ept },
	{ "kvm_ept", "not loaded", fail_kvm_intel },
};

Test(admit, for_each_requirement_a_host_that_fails_only_that)
{
	struct profile profile;

	for (size_t i = 0; i < ARRAY_SIZE(spoilt); i++) {
		_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
		struct verdict verdict;

		spoilt[i].spoil(facts);
		verdict = judge(facts, "xv2");
		cr_assert_eq(verdict.unmet, 1, "%s: %zu unmet", spoilt[i].name, verdict.unmet);
		cr_assert_not(row(&verdict, spoilt[i].name)->met, "%s", spoilt[i].name);
		cr_assert_not_null(strstr(row(&verdict, spoilt[i].name)->found, spoilt[i].found),
		                   "%s: found \"%s\"", spoilt[i].name,
		                   row(&verdict, spoilt[i].name)->found);
	}
	/* And the table above leaves none of the profile's out. */
	cr_assert_eq(profile_load("xv2", &profile), 0);
	for (size_t k = 0; k < profile.required.count; k++) {
		bool there = false;

		for (size_t i = 0; i < ARRAY_SIZE(spoilt); i++)
			there |= strcmp(spoilt[i].name, profile.required.names[k]) == 0;
		cr_assert(there, "no host fails %s", profile.required.names[k]);
	}
}

Test(admit, all_reasons_are_listed_and_can_be_waived)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct verdict verdict;

	fail_tsc(facts);
	fail_kvm_ept(facts);
	fail_bare_metal(facts);
	cr_assert_unmet(facts, "xv2", "invariant_tsc bare_metal kvm_ept");
	verdict = judge(facts, "xv2");
	cr_assert_eq(verdict_waive(&verdict), 3);
	cr_assert(row(&verdict, "kvm_ept")->waived);
	cr_assert_not(row(&verdict, "ept")->waived);
	cr_assert_not(row(&verdict, "kvm_ept")->met);
}

/* Both profiles have the row; what it refuses is the profile's to name, by tenancy. */
Test(admit, mitigations_by_profile_and_tenancy)
{
	static const struct {
		const char *name, *state, *found; /* found: by xv2, shared */
		bool shared, dedicated;           /* refused there */
	} rows[] = {
		{ "l1tf", "Vulnerable", "vulnerable: l1tf", true, true },
		{ "l1tf", "Mitigation: PTE Inversion; VMX: vulnerable", "vulnerable: l1tf", true,
		  true },
		{ "l1tf", "Mitigation: PTE Inversion; VMX: SMT vulnerable", "not vulnerable", false,
		  false },
		{ "l1tf", NULL, "the kernel does not tell of l1tf", true, true },
		{ "mds", "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable",
		  "vulnerable: mds", true, false },
		{ "mds", NULL, "the kernel does not tell of mds", true, false },
		{ "itlb_multihit", "KVM: Vulnerable", "vulnerable: itlb_multihit", true, true },
		{ "itlb_multihit", "Processor vulnerable", "not vulnerable", false, false },
		{ "spectre_v2",
		  "Mitigation: Retpolines; STIBP: disabled; RSB filling; BHI: Vulnerable",
		  "vulnerable: spectre_v2", true, true },
		{ "spectre_v1",
		  "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers",
		  "vulnerable: spectre_v1", true, true },
		{ "meltdown", "Vulnerable", "vulnerable: meltdown", true, true },
		{ "spec_store_bypass", "Vulnerable",
		  "vulnerable, which is not refused: spec_store_bypass", false, false },
		{ "mmio_stale_data", "Unknown: No mitigations", "not vulnerable", false, false },
		{ "retbleed", NULL, "not vulnerable", false, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
		struct profile profile;
		struct verdict verdict;

		fixture_set_vulnerability(facts, rows[i].name, rows[i].state);
		cr_assert_eq(profile_load("xv2", &profile), 0);
		cr_assert_eq(admit(facts, &profile, TENANCY_DEDICATED, &verdict), 0);
		cr_expect_eq(verdict.unmet, rows[i].dedicated, "row %zu", i);
		cr_expect_eq(row(&verdict, "mitigations")->met, !rows[i].dedicated, "row %zu", i);
		cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), 0);
		cr_expect_eq(verdict.unmet, rows[i].shared, "row %zu", i);
		cr_expect_eq(row(&verdict, "mitigations")->met, !rows[i].shared, "row %zu", i);
		cr_expect_str_eq(row(&verdict, "mitigations")->found, rows[i].found, "row %zu", i);
		cr_expect_str_eq(
			row(&verdict, "mitigations")->asked,
			"tenancy SHARED, not vulnerable to l1tf, itlb_multihit, spectre_v2, meltdown, spectre_v1, mds");
		verdict = judge(facts, "dev");
		cr_expect(verdict.unmet == 0 && row(&verdict, "mitigations")->met, "row %zu", i);
		cr_expect_str_eq(row(&verdict, "mitigations")->asked,
		                 "no mitigation in particular");
	}
}

/* All that is open is in the row, in the order in which it matters; and a list that is not there is
 * no list of nothing. */
Test(admit, mitigations_are_listed)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct verdict verdict;

	for (size_t i = 0; i < facts->vulnerability_count; i++)
		strcpy(facts->vulnerabilities[i].value, "Vulnerable");
	fixture_set_vulnerability(facts, "spectre_v2", NULL);
	verdict = judge(facts, "dev");
	cr_expect_str_eq(
		row(&verdict, "mitigations")->found,
		"vulnerable, which is not refused: itlb_multihit, l1tf, mds, meltdown, mmio_stale_data, retbleed, "
		"spec_store_bypass, spectre_v1, tsx_async_abort, srbds");
	verdict = judge(facts, "xv2");
	cr_expect_str_eq(
		row(&verdict, "mitigations")->found,
		"vulnerable: itlb_multihit, l1tf, mds, meltdown, spectre_v1; vulnerable, which is not refused: "
		"mmio_stale_data, retbleed, spec_store_bypass, tsx_async_abort, srbds; the kernel does not tell of "
		"spectre_v2");
	facts->vulnerability_count = 0;
	verdict = judge(facts, "dev");
	cr_expect_str_eq(row(&verdict, "mitigations")->found, "the kernel tells of none");
	cr_expect_eq(verdict.unmet, 0);
	verdict = judge(facts, "xv2");
	cr_expect_str_eq(row(&verdict, "mitigations")->found,
	                 "the kernel does not tell of l1tf, itlb_multihit, spectre_v2, "
	                 "meltdown, spectre_v1, mds");
	cr_expect_eq(verdict.unmet, 1);
}

/* As many as facts can hold, with the longest names: the row ends at its bound. */
Test(admit, mitigations_beyond_the_rows_length)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct verdict verdict;
	size_t length;

	for (size_t i = 0; i < FACTS_VULNERABILITIES_MAX; i++) {
		char name[40];

		snprintf(name, sizeof(name), "a_vulnerability_with_a_very_long_name%zu", i);
		fixture_set_vulnerability(facts, i < 11 ? facts->vulnerabilities[i].name : name,
		                          "Vulnerable");
	}
	verdict = judge(facts, "xv2");
	length = strlen(row(&verdict, "mitigations")->found);
	cr_expect_eq(length, VERDICT_TEXT_MAX - 1, "%zu", length);
	cr_expect_not(row(&verdict, "mitigations")->met);
}

Test(admit, unknown_requirement_is_an_error_not_a_pass)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct profile profile;
	struct verdict verdict;

	cr_assert_eq(profile_load("dev", &profile), 0);
	snprintf(profile.required.names[0], PROFILE_NAME_MAX, "ept_x");
	cr_assert_eq(admit(facts, &profile, TENANCY_SHARED, &verdict), -EINVAL);
}

Test(admit, quick_facts_judge_by_the_kernels_flags)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();

	/* What a quick probe leaves: leaves of one CPU, no MSRs but the kernel's vmx flags. */
	for (size_t i = 0; i < facts->cpu_count; i++)
		if (i != 5)
			facts->cpus[i].leaf_count = 0;
	facts->vmx.msr_mask = 0;
	snprintf(facts->vmx_flags, sizeof(facts->vmx_flags),
	         " vnmi ept vpid unrestricted_guest ple ");
	facts->quick = true;
	facts_decode(facts);
	cr_assert_unmet(facts, "xv2", "");
	fail_microcode(facts);
	cr_assert_unmet(facts, "xv2", "uniform_cpus");
}

/* ------------------------------------------------------------------------------ the commands */

static int run(int (*command)(int, char **, FILE *), char **argv, char **ret_out)
{
	int argc = 0, status;
	size_t size;
	FILE *out = open_memstream(ret_out, &size);

	while (argv[argc])
		argc++;
	status = command(argc, argv, out);
	fclose(out);
	return status;
}

static void write_facts(const struct fixture_tree *tree, const struct host_facts *facts)
{
	Axvm__V1__HostFacts *message;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert_eq(facts_to_message(facts, &message), 0);
	text_print(out, &message->base);
	fclose(out);
	fixture_tree_write(tree, "facts", "%s", text);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	free(text);
}

Test(admit, command_reads_facts_as_text_and_answers_by_status)
{
	struct host_facts *hosts[] = { fixture_e5_2697_v2(), fixture_i7_4930k() };
	static const int statuses[] = { 0, 69 };
	struct fixture_tree tree;
	char path[128];

	fixture_tree_new(&tree);
	snprintf(path, sizeof(path), "%s/facts", tree.root);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		char *argv[] = { (char[]){ "admit" },
			         (char[]){ "--profile" },
			         (char[]){ "xv2" },
			         (char[]){ "--facts" },
			         path,
			         NULL };
		char *out = NULL;

		write_facts(&tree, hosts[i]);
		cr_assert_eq(run(axvm_cmd_admit, argv, &out), statuses[i], "%s", out);
		cr_assert_not_null(strstr(out, i == 0 ? "admitted" : "UNMET    brand"), "%s", out);
		free(out);
		free(hosts[i]);
	}
	fixture_tree_write(&tree, "facts", "cpus { id: 0 colour: 3 }");
	{
		char *argv[] = { (char[]){ "admit" }, (char[]){ "--facts" }, path, NULL };
		char *out = NULL;

		cr_assert_eq(run(axvm_cmd_admit, argv, &out), 65);
		free(out);
	}
	fixture_tree_done(&tree);
}

/* The profile is met, and a launch would be refused all the same. */
Test(admit, command_refuses_a_host_that_lacks_what_launches_need)
{
	for (int required = 0; required < 2; required++) {
		struct host_facts *facts = fixture_e5_2697_v2();
		struct fixture_tree tree;
		char path[96], *out = NULL;
		char *argv[] = { (char[]){ "admit" }, (char[]){ "--facts" }, path, NULL, NULL };

		facts_add_offer(facts, "io_uring", required, EPERM, "no rings here");
		fixture_tree_new(&tree);
		snprintf(path, sizeof(path), "%s/facts", tree.root);
		write_facts(&tree, facts);
		free(facts);
		cr_expect_eq(run(axvm_cmd_admit, argv, &out), required ? 69 : 0);
		cr_expect_eq(strncmp(out, "lacking: no rings here\n", 23) == 0, required, "%s",
		             out);
		cr_expect_not_null(strstr(out, required ? "\nrefused: the profile is met"
		                                        : "\nadmitted"),
		                   "%s", out);
		free(out);
		argv[3] = (char[]){ "--json" };
		cr_expect_eq(run(axvm_cmd_admit, argv, &out), required ? 69 : 0);
		cr_expect_eq(strstr(out, "no rings here") != NULL, required, "%s", out);
		free(out);
		fixture_tree_done(&tree);
	}
}

Test(admit, commands_refuse_wrong_lines_and_missing_files)
{
	char *unknown[] = { (char[]){ "admit" }, (char[]){ "--profile" }, (char[]){ "p5" }, NULL };
	char *extra[] = { (char[]){ "probe" }, (char[]){ "now" }, NULL };
	char *missing[] = { (char[]){ "admit" }, (char[]){ "--facts" }, (char[]){ "/nonexistent" },
		            NULL };
	char *out = NULL;

	cr_assert_eq(run(axvm_cmd_admit, unknown, &out), 64);
	free(out);
	cr_assert_eq(run(axvm_cmd_probe, extra, &out), 64);
	free(out);
	cr_assert_eq(run(axvm_cmd_admit, missing, &out), 66);
	free(out);
}

/* Who is refused is told of a profile that would really take the host, and of none otherwise. */
Test(admit, what_would_take_a_refused_host)
{
	_cleanup_free_ struct host_facts *facts = fixture_i7_4930k();
	const char *other = admit_alternative(facts, "xv2");

	cr_assert(other && strcmp(other, "dev") == 0);
	cr_expect_null(admit_alternative(facts, "dev"), "it is the one that refused");
	facts_add_offer(facts, "memory_policy", false, EPERM, "no mbind");
	cr_expect_not_null(admit_alternative(facts, "xv2"), "a launch goes on without");
	facts_add_offer(facts, "io_uring", true, EPERM, "no rings");
	cr_expect_null(admit_alternative(facts, "xv2"), "nobody can launch there");
	facts->offer_count = 0;
	facts->kvm.accessible = false;
	cr_expect_null(admit_alternative(facts, "xv2"));
	facts->kvm.accessible = true;
	facts->kvm.api_version = 11;
	cr_expect_null(admit_alternative(facts, "xv2"), "nor does dev take it");
}

/* The same of `axvm admit` and `axvm plan`, as their last line. */
Test(admit, commands_end_with_what_would_be_taken)
{
	struct host_facts *hosts[] = { fixture_i7_4930k(), fixture_e5_2697_v2() };
	struct fixture_tree tree;
	char path[128], line[256];

	fixture_tree_new(&tree);
	snprintf(path, sizeof(path), "%s/facts", tree.root);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		static const char hint[] = "profile dev would take this host, for development: ";
		struct said admitted, planned;
		const char *last;

		fixture_guest_leaves(hosts[i]);
		write_facts(&tree, hosts[i]);
		fixture_tree_write(
			&tree, "a.txtpb",
			"launch { vm_id: \"a\" cpus { count: 1 } memory { nodes { size_mib: 64 } } "
			"boot { flat_boot { image { path: \"/nonexistent\" } } } }");
		snprintf(line, sizeof(line), "admit --facts %s", path);
		admitted = axvm_say(line, -1);
		snprintf(line, sizeof(line), "plan --facts %s %s/a.txtpb", path, tree.root);
		planned = axvm_say(line, -1);
		cr_expect_eq(admitted.status, i == 0 ? 69 : 0, "%s", admitted.out);
		cr_expect_eq(planned.status, i == 0 ? 69 : 0, "%s%s", planned.out, planned.err);
		cr_expect_str_eq(planned.err, "", "the verdict is told once");
		last = strstr(admitted.out, hint);
		cr_expect(i == 0 ? last && strcmp(last + strlen(hint), "--profile dev\n") == 0
		                 : !last,
		          "%s", admitted.out);
		last = strstr(planned.out, hint);
		cr_expect(i == 0 ? last && strcmp(last + strlen(hint),
		                                  "profile: \"dev\" in the spec\n") == 0
		                 : !last,
		          "%s", planned.out);
		said_done(&admitted);
		said_done(&planned);
		free(hosts[i]);
	}
	fixture_tree_done(&tree);
}

Test(admit, probe_command_prints_what_the_parser_reads_back)
{
	char *argv[] = { (char[]){ "probe" }, (char[]){ "--text" }, NULL };
	ProtobufCMessage *message = NULL;
	struct text_error error = { 0 };
	char *text = NULL;

	cr_assert_eq(run(axvm_cmd_probe, argv, &text), 0);
	cr_assert_eq(text_parse(text, strlen(text), &axvm__v1__host_facts__descriptor, &message,
	                        &error),
	             0, "line %u: %s", error.line, error.message);
	cr_assert_gt(((Axvm__V1__HostFacts *)message)->n_cpus, 0);
	protobuf_c_message_free_unpacked(message, NULL);
	free(text);
}
