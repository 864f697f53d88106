/* SPDX-License-Identifier: MIT */
/* What `axvm probe`, `admit`, `plan` and `completion` print, of hosts that were recorded or made
 * up. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/facts_proto.h"
#include "host/probe.h"
#include "launch/cli/probe.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/boot_guest.h"
#include "tests/unit/rig/host_fixture.h"

TestSuite(launch_tables, .timeout = 60);

static void expect_lines(const char *out, const char *const *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		cr_expect_not_null(strstr(out, lines[i]), "no %s in\n%s", lines[i], out);
}

/* ---- probe ----------------------------------------------------------------------------------- */

static char *table_of(const struct host_facts *facts)
{
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	probe_table(file, facts);
	fclose(file);
	return out;
}

Test(launch_tables, probe_of_a_recorded_host)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	char *out = table_of(facts);

	cr_expect_str_eq(
		out,
		"processor        Intel(R) Xeon(R) CPU E5-2697 v2 @ 2.70GHz\n"
		"identity         GenuineIntel family 6 model 0x3E stepping 0x4 microcode 0x42e\n"
		"CPUs             48 present, online 0-47, cores 24, CPUID read on 48\n"
		"allowed here     0-47\n"
		"invariant TSC    yes\n"
		"x2APIC           yes, whether enabled could not be read\n"
		"hypervisor       no \n"
		"VT-x             yes, capabilities from MSRs\n"
		"VMX              EPT yes, EPT A/D no, EPT 2 MiB yes, EPT 1 GiB yes, VPID yes, APIC registers yes, "
		"interrupt delivery yes, posted interrupts no, x2APIC mode yes, TSC scaling no, unrestricted guest "
		"yes, PLE yes\n"
		"node 0           CPUs 0-11,24-35, 65536 MiB, 60000 MiB free, distances 10 21\n"
		"node 1           CPUs 12-23,36-47, 65536 MiB, 60000 MiB free, distances 21 10\n"
		"kernel           6.1.0-28-amd64\n"
		"KVM              accessible, API version 12, at most 0 vCPUs\n"
		"parameter        kvm_intel.ept                            Y\n"
		"vulnerability    itlb_multihit            KVM: Mitigation: Split huge pages\n"
		"vulnerability    l1tf                     Mitigation: PTE Inversion; VMX: conditional cache flushes, "
		"SMT vulnerable\n"
		"vulnerability    mds                      Mitigation: Clear CPU buffers; SMT vulnerable\n"
		"vulnerability    meltdown                 Mitigation: PTI\n"
		"vulnerability    mmio_stale_data          Unknown: No mitigations\n"
		"vulnerability    retbleed                 Not affected\n"
		"vulnerability    spec_store_bypass        Mitigation: Speculative Store Bypass disabled via prctl\n"
		"vulnerability    spectre_v1               Mitigation: usercopy/swapgs barriers and __user pointer "
		"sanitization\n"
		"vulnerability    spectre_v2               Mitigation: Retpolines; IBPB: conditional; IBRS_FW; STIBP: "
		"conditional; RSB filling; PBRSB-eIBRS: Not affected; BHI: Not affected\n"
		"vulnerability    srbds                    Not affected\n"
		"vulnerability    tsx_async_abort          Not affected\n");
	free(out);
}

/* The other of each pair of words, and what that host has none of. */
Test(launch_tables, probe_of_a_host_made_up)
{
	static const char *const lines[] = {
		"CPUs             48 present, online 0-2,4-47, cores 24, CPUID read on 46\n",
		"allowed here     0-2,4,6-47\n",
		"invariant TSC    no\n",
		"x2APIC           no, enabled\n",
		"hypervisor       yes KVMKVMKVM\n",
		"VT-x             no, capabilities from the kernel's flags\n",
		("VMX              EPT no, EPT A/D yes, EPT 2 MiB no, EPT 1 GiB no, VPID no, APIC registers no, "
		 "interrupt delivery no, posted interrupts yes, x2APIC mode no, TSC scaling yes, unrestricted guest no, PLE no\n"),
		"distances 10 21, 2048 kB pages 5 (4 free), 1048576 kB pages 3 (2 free)\n",
		"KVM              not accessible, API version 12, at most 99 vCPUs\n",
		"capability       IRQFD                    7\n",
		"vulnerability    meltdown                 Mitigation: PTI\n",
		"io_uring         not available: no rings here\n",
		"memory_policy    available\n",
		"lacking          no permission for /dev/kvm: ",
		"lacking          no rings here\n",
	};
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_vmx *vmx = &facts->vmx;
	bool *const flags[] = {
		&vmx->ept,
		&vmx->ept_ad,
		&vmx->ept_2m,
		&vmx->ept_1g,
		&vmx->vpid,
		&vmx->apic_register_virtualization,
		&vmx->virtual_interrupt_delivery,
		&vmx->posted_interrupts,
		&vmx->virtualize_x2apic,
		&vmx->tsc_scaling,
		&vmx->unrestricted_guest,
		&vmx->pause_loop_exiting,
	};
	char *out;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		*flags[i] = !*flags[i];
	facts->cpus[3].online = facts->cpus[5].allowed = false;
	facts->cpus[7].leaf_count = 0;
	fixture_remove_flag(facts->flags, "nonstop_tsc");
	fixture_remove_flag(facts->flags, "x2apic");
	fixture_remove_flag(facts->flags, "vmx");
	facts->x2apic_enabled = 'y';
	facts->hypervisor = true;
	strcpy(facts->hypervisor_vendor, "KVMKVMKVM");
	vmx->msr_mask = 0;
	strcpy(facts->vmx_flags, " ept ");
	facts->nodes[0].huge_count = 2;
	facts->nodes[0].huge[0] = (struct host_huge_pages){ 2048, 5, 4 };
	facts->nodes[0].huge[1] = (struct host_huge_pages){ 1048576, 3, 2 };
	facts->kvm.accessible = false;
	facts->kvm.error_number = EACCES;
	facts->kvm.max_vcpus = 99;
	facts->kvm.capability_count = facts->vulnerability_count = 1;
	strcpy(facts->kvm.capabilities[0].name, "IRQFD");
	facts->kvm.capabilities[0].value = 7;
	strcpy(facts->vulnerabilities[0].name, "meltdown");
	strcpy(facts->vulnerabilities[0].value, "Mitigation: PTI");
	facts_add_offer(facts, "io_uring", true, EPERM, "no rings here");
	facts_add_offer(facts, "memory_policy", false, 0, NULL);
	out = table_of(facts);
	expect_lines(out, lines, ARRAY_SIZE(lines));
	free(out);
	facts->x2apic_enabled = 'n';
	facts->vmx_flags[0] = '\0';
	facts->kvm.present = false;
	out = table_of(facts);
	expect_lines(out,
	             (const char *[]){ "x2APIC           no, not enabled\n",
	                               "no, capabilities from nowhere\n",
	                               "KVM              not there, " },
	             3);
	free(out);
}

/* Each of VT-x's capabilities by its own bit: with one alone, that one is told. */
Test(launch_tables, probe_of_each_capability)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	struct host_vmx *vmx = &facts->vmx;
	const struct {
		bool *flag;
		const char *name;
	} flags[] = {
		{ &vmx->ept, "EPT" },
		{ &vmx->ept_ad, "EPT A/D" },
		{ &vmx->ept_2m, "EPT 2 MiB" },
		{ &vmx->ept_1g, "EPT 1 GiB" },
		{ &vmx->vpid, "VPID" },
		{ &vmx->apic_register_virtualization, "APIC registers" },
		{ &vmx->virtual_interrupt_delivery, "interrupt delivery" },
		{ &vmx->posted_interrupts, "posted interrupts" },
		{ &vmx->virtualize_x2apic, "x2APIC mode" },
		{ &vmx->tsc_scaling, "TSC scaling" },
		{ &vmx->unrestricted_guest, "unrestricted guest" },
		{ &vmx->pause_loop_exiting, "PLE" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		char line[512] = "\nVMX             ", *out;

		for (size_t k = 0; k < ARRAY_SIZE(flags); k++) {
			size_t n = strlen(line);

			*flags[k].flag = k == i;
			snprintf(line + n, sizeof(line) - n, "%s %s %s", k ? "," : "",
			         flags[k].name, k == i ? "yes" : "no");
		}
		strcat(line, "\n");
		out = table_of(facts);
		cr_expect_not_null(strstr(out, line), "no %s in\n%s", line, out);
		free(out);
	}
}

/* ---- files of facts and specs ---------------------------------------------------------------- */

static struct fixture_tree tree;
static char facts_path[96], spec_path[96], kernel_path[96];

/* The host of the facts' file. */
static void facts_written(const struct host_facts *facts)
{
	Axvm__V1__HostFacts *message;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	cr_assert_eq(facts_to_message(facts, &message), 0);
	text_print(out, &message->base);
	fclose(out);
	fixture_tree_write(&tree, "facts", "%s", text);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	free(text);
}

static void begin(const struct host_facts *facts)
{
	fixture_tree_new(&tree);
	facts_written(facts);
	snprintf(facts_path, sizeof(facts_path), "%s/facts", tree.root);
	snprintf(spec_path, sizeof(spec_path), "%s/spec.txtpb", tree.root);
	snprintf(kernel_path, sizeof(kernel_path), "%s/kernel", tree.root);
}

/* A verb with up to four words behind it. */
static char *say(int status, const char *const *words)
{
	char copies[6][128] = { "axvm" }, *argv[8] = { copies[0] }, *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);
	int argc = 1, r;

	for (; words[argc - 1]; argc++) {
		snprintf(copies[argc], sizeof(copies[0]), "%s", words[argc - 1]);
		argv[argc] = copies[argc];
	}
	r = verb_main(argc, argv, file);
	fclose(file);
	cr_expect_eq(r, status, "%s: %d: %s", words[0], r, out);
	return out;
}

/* ---- admit ----------------------------------------------------------------------------------- */

Test(launch_tables, admit_of_another_processor)
{
	static const char *const lines[] = {
		"met      vendor               asked: GenuineIntel; found: GenuineIntel\n",
		"UNMET    brand                asked: brand string Intel(R) Xeon(R) CPU E5-[0-9]* v2 @ *; found: Intel(R) "
		"Core(TM) i7-4930K CPU @ 3.40GHz\n",
		"absent   tsc_scaling          asked: TSC scaling; found: ",
		"present  vpid                 asked: VPID; found: ",
		"met      mitigations          asked: tenancy SHARED, not vulnerable to l1tf, itlb_multihit, spectre_v2, meltdown, "
		"spectre_v1, mds; found: not vulnerable\n",
		"\nrefused: 1 of 15 requirements unmet\n",
	};
	static const char *const objects[] = {
		"{\n  \"profile\": \"xv2\",\n  \"requirements\": [{\"name\": \"x86_64\", \"asked\": \"a 64-bit x86 processor\", "
		"\"found\": \"x86-64\", \"met\": true}",
		"{\"name\": \"brand\", \"asked\": \"brand string Intel(R) Xeon(R) CPU E5-[0-9]* v2 @ *\", \"found\": "
		"\"Intel(R) Core(TM) i7-4930K CPU @ 3.40GHz\", \"met\": false}",
	};
	_cleanup_free_ struct host_facts *facts = fixture_i7_4930k();
	char first[160], *out;

	begin(facts);
	snprintf(first, sizeof(first), "profile xv2, %s\n", facts_path);
	out = say(69, (const char *[]){ "admit", "--facts", facts_path, NULL });
	cr_expect_eq(strncmp(out, first, strlen(first)), 0, "%s", out);
	expect_lines(out, lines, ARRAY_SIZE(lines));
	free(out);
	out = say(69, (const char *[]){ "admit", "--json", "--facts", facts_path, NULL });
	expect_lines(out, objects, ARRAY_SIZE(objects));
	free(out);
	out = say(0, (const char *[]){ "admit", "--profile=dev", "--facts", facts_path, NULL });
	expect_lines(out, (const char *[]){ "profile dev, ", "\nadmitted\n" }, 2);
	free(out);
	out = say(69, (const char *[]){ "admit", "--tenancy", "dedicated", "--facts", facts_path,
	                                NULL });
	expect_lines(
		out,
		(const char *[]){
			"asked: tenancy DEDICATED, not vulnerable to l1tf, itlb_multihit, spectre_v2, "
			"meltdown, spectre_v1; found" },
		1);
	free(out);
	free(say(69, (const char *[]){ "admit", "--tenancy=SHARED", "--facts", facts_path, NULL }));
	free(say(64,
	         (const char *[]){ "admit", "--tenancy", "mine", "--facts", facts_path, NULL }));
	free(say(64, (const char *[]){ "admit", "--colour", NULL }));
	free(say(64, (const char *[]){ "admit", facts_path, NULL }));
	fixture_tree_done(&tree);
}

/* ---- plan ------------------------------------------------------------------------------------ */

Test(launch_tables, plan_of_a_linux)
{
	static const char *const lines[] = {
		"memory 0x000000000000-0x0000bfffffff RAM of node 0\n",
		"memory 0x000100000000-0x00013fffffff RAM of node 0\n",
		"memory 0x00000009fc00-0x0000000dffff reserved\n",
		"memory 0x0000000e0000-0x0000000fffff ACPI tables\n",
		"memory 0x0000c0000000-0x0000cfffffff BARs\n",
		"memory 0x0000e0000000-0x0000e00fffff PCI configuration (ECAM)\n",
		"memory 0x0000fee00000-0x0000fee00fff local APIC\n",
		"memory 0x0000fe000000-0x0000fe000fff ACPI registers\n",
		"memory 0x0000fec00000-0x0000fec00fff I/O APIC\n",
		"command line: a b\n",
		"(chosen here) in 4 KiB pages; I/O thread on CPU ",
		"not pinned, the kernel balances within the node\n",
		"table RSDP at 0xe0000, 36 bytes, sha256 ",
		"table XSDT at 0xe0030, ",
		"table SRAT at ",
	};
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	uint8_t kernel[0x200];
	char *out;
	int fd;

	for (size_t i = 0; i < facts->cpus[0].leaf_count; i++)
		facts->kvm.guest_leaves[i].leaf = facts->cpus[0].leaves[i];
	facts->kvm.guest_leaf_count = facts->cpus[0].leaf_count;
	facts->kvm.guest_leaves[facts->kvm.guest_leaf_count++].leaf =
		(struct cpuid_leaf){ 0x40000001, 0, 0x0fffffff, 0, 0, 0 };
	begin(facts);
	fixture_tree_write(
		&tree, "spec.txtpb",
		"launch { vm_id: 'p' cpus { count: 2 } memory { nodes { size_mib: 4096 } } "
		"boot { linux_boot { kernel { path: '%s' } initrd { path: '%s' } cmdline: 'a b' } } }",
		kernel_path, kernel_path);
	out = say(0, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
	expect_lines(out, lines, ARRAY_SIZE(lines));
	cr_expect_not_null(strstr(out, "\nkernel: placed at launch, by files that are not here\n"));
	cr_expect_null(strstr(out, "flat image"));
	/* RAM is told as RAM once, and nothing beyond the hole twice. */
	cr_expect_null(strstr(strstr(out, "0x000100000000") + 1, "0x000100000000"), "%s", out);
	free(out);
	fd = open(kernel_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, kernel, pvh_kernel(kernel)), 0x200);
	close(fd);
	out = say(0, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
	cr_expect_not_null(strstr(out, "memory 0x000001000000-0x00000100000f "), "%s", out);
	cr_expect_not_null(strstr(out, " initrd\n"), "%s", out);
	cr_expect_null(strstr(out, "placed at launch"));
	free(out);
	/* The vsock's channel is made by `axvm run` where the spec names none. */
	for (int named = 0; named < 2; named++) {
		fixture_tree_write(
			&tree, "spec.txtpb",
			"launch { vm_id: 'p' cpus { count: 2 } memory { nodes { size_mib: 64 } } "
			"boot { linux_boot { kernel { path: '%s' } } } vsock { cid: 7 %s } }",
			kernel_path, named ? "channel { fd: 9 }" : "");
		out = say(0, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
		cr_expect_not_null(strstr(out, " vsock: BAR 0 at "), "%s", out);
		free(out);
	}
	/* One of the two that is not a file of this host's. */
	fixture_tree_write(
		&tree, "spec.txtpb",
		"launch { vm_id: 'p' cpus { count: 2 } memory { nodes { size_mib: 64 } } "
		"boot { linux_boot { kernel { path: '%s' } initrd { fd: 9 } } } }",
		kernel_path);
	out = say(0, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
	cr_expect_not_null(strstr(out, "\nkernel: placed at launch"));
	free(out);
	fixture_tree_write(
		&tree, "spec.txtpb",
		"launch { vm_id: 'p' cpus { count: 2 } memory { nodes { size_mib: 64 } } "
		"boot { linux_boot { kernel { path: '%s' } } } }",
		spec_path);
	free(say(65, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL }));
	fixture_tree_write(&tree, "spec.txtpb", "launch { vm_id: 'p' profile: 'xv2' }");
	free(say(65, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL }));
	fixture_tree_done(&tree);
}

/* A host that the profile refuses is planned all the same, told so, and the status says so; waived
 * it is no refusal. */
Test(launch_tables, plan_on_a_host_that_is_refused)
{
	_cleanup_free_ struct host_facts *facts = fixture_i7_4930k();
	static const struct {
		const char *admission, *says;
		int status;
	} rows[] = {
		{ "ADMISSION_ENFORCE", "profile xv2: this host is refused\n  brand: asked ", 69 },
		{ "ADMISSION_REPORT", "profile xv2: unmet, but waived by the spec\n  brand: asked ",
		  0 },
	};

	facts->kvm.guest_leaf_count = facts->cpus[0].leaf_count;
	for (size_t i = 0; i < facts->cpus[0].leaf_count; i++)
		facts->kvm.guest_leaves[i].leaf = facts->cpus[0].leaves[i];
	facts->kvm.guest_leaves[facts->kvm.guest_leaf_count++].leaf =
		(struct cpuid_leaf){ 0x40000001, 0, 0x0fffffff, 0, 0, 0 };
	begin(facts);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *out;

		fixture_tree_write(
			&tree, "spec.txtpb",
			"launch { vm_id: 'p' admission: %s cpus { count: 1 } "
			"memory { nodes { size_mib: 64 } } boot { flat_boot { image { path: 'i' } } } }",
			rows[i].admission);
		out = say(rows[i].status,
		          (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
		cr_expect_eq(strncmp(out, rows[i].says, strlen(rows[i].says)), 0, "%s", out);
		cr_expect_not_null(strstr(out, "machine_sha256 "));
		free(out);
	}
	fixture_tree_done(&tree);
}

/* Without KVM all is planned but what KVM decides, and the status says that it is not all; what
 * stops a plan anywhere does so here too. */
Test(launch_tables, plan_without_kvm)
{
	static const char *const lines[] = {
		"memory 0x0000fee00000-0x0000fee00fff local APIC\n",
		" VCPU  APIC ID HOST CPU",
		"64 MiB on host node ",
		"device 00:01.0 rng: ",
		"kernel: placed at launch",
		"table XSDT at 0xe0030, ",
	};
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2(),
					 *none = fixture_e5_2697_v2();
	static const char *const admissions[] = { "ADMISSION_ENFORCE", "ADMISSION_REPORT" };
	char *out, *with, *at;

	fixture_guest_leaves(facts);
	none->kvm = (struct host_kvm){ .error_number = ENOENT };
	begin(none);
	for (size_t i = 0; i < ARRAY_SIZE(admissions); i++) {
		fixture_tree_write(
			&tree, "spec.txtpb",
			"launch { vm_id: 'p' admission: %s cpus { count: 2 } rng { } "
			"memory { nodes { size_mib: 64 } } boot { linux_boot { kernel { path: '/nonexistent' } } } }",
			admissions[i]);
		out = say(69, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
		expect_lines(out, lines, ARRAY_SIZE(lines));
		cr_expect_null(strstr(out, "machine_sha256"), "%s", out);
		free(out);
	}
	/* What is planned is what would be with KVM, to the byte. */
	out = say(69, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
	facts_written(facts);
	with = say(0, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
	at = strstr(with, "machine_sha256");
	cr_assert(at && strncmp(strstr(out, " VCPU "), strstr(with, " VCPU "),
	                        (size_t)(at - strstr(with, " VCPU "))) == 0,
	          "%s%s", out, with);
	free(out);
	free(with);
	/* KVM is there, but its part of the facts is not. */
	facts->kvm.guest_leaf_count = 0;
	facts_written(facts);
	out = say(69, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL });
	cr_expect_null(strstr(out, "machine_sha256"), "%s", out);
	free(out);
	facts_written(none);
	fixture_tree_write(
		&tree, "spec.txtpb",
		"launch { vm_id: 'p' admission: ADMISSION_REPORT cpus { count: 2 } memory { nodes { size_mib: 64 } } "
		"boot { linux_boot { kernel { path: '%s' } } } }",
		spec_path);
	free(say(65, (const char *[]){ "plan", "--facts", facts_path, spec_path, NULL }));
	fixture_tree_done(&tree);
}

/* ---- completion ------------------------------------------------------------------------------ */

/* What each verb's case in the scripts has, up to the next: a file's name where it takes one, a
 * VM's where it takes that. */
static void expect_case(char *script, const char *verb, bool file, bool vm)
{
	char place[64], *at, *end;

	snprintf(place, sizeof(place), "\n\t%s)\n\t\tflags=\"", verb);
	at = strstr(script, place);
	cr_assert_not_null(at, "%s", verb);
	end = strstr(at, "\t\t;;");
	*end = '\0';
	cr_expect_eq(strstr(at, "files=1") != NULL, file, "%s", at);
	cr_expect_eq(strstr(at, "first=$(_axvm_vms) rest=\"") != NULL, vm, "%s", at);
	*end = '\t';
}

/* Behind each flag that takes a value is what it takes: files, words, or nothing that is known;
 * never flags. */
Test(launch_tables, completion_offers_files_and_vms)
{
	static const char *const take_files[] = { "run", "events", "timeline", "plan" };
	static const char *const values[] = {
		"\t'run --kernel') echo 'file' ;;\n",
		"\t'run --disk') echo 'file' ;;\n",
		"\t'run --cpus') echo '' ;;\n",
		"\t'run --profile') echo 'dev xv2' ;;\n",
		"\t'run --on-exit') echo 'shutdown stop keep' ;;\n",
		"\t'run --events') echo 'text json pb: none' ;;\n",
		"\t'admit --profile') echo 'dev xv2' ;;\n",
		"\t'admit --tenancy') echo 'shared dedicated' ;;\n",
		"\t'run --pv') echo 'none kvmclock eoi unhalt tlb ipi steal async_pf poll yield' ;;\n",
		"\t'ctl --timeout') echo '' ;;\n",
		"\t'timeline --output') echo 'file' ;;\n",
		"\t*) return 1 ;;\n",
	};
	char *scripts[] = { say(0, (const char *[]){ "completion", "bash", NULL }),
		            say(0, (const char *[]){ "completion", "zsh", NULL }) };
	size_t count, valued = 0;
	const struct verb *all = verbs(&count);

	for (size_t s = 0; s < ARRAY_SIZE(scripts); s++) {
		size_t patterns = 0;

		for (size_t i = 0; i < count; i++) {
			bool file = false;

			for (size_t k = 0; k < ARRAY_SIZE(take_files); k++)
				file |= strcmp(all[i].name, take_files[k]) == 0;
			expect_case(scripts[s], all[i].name, file, strcmp(all[i].name, "ctl") == 0);
			for (size_t k = 0; s == 0 && all[i].flags && k < all[i].flags->count; k++)
				valued += all[i].flags->rows[k].value != FLAG_NONE;
		}
		expect_lines(scripts[s], values, ARRAY_SIZE(values));
		for (const char *at = scripts[s]; (at = strstr(at, "') echo '")); at++)
			patterns++;
		cr_expect_eq(patterns, valued, "each flag with a value, and no other");
		free(scripts[s]);
	}
}
