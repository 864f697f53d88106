/* SPDX-License-Identifier: MIT */
/* `axvm probe`. */
#include "launch/cli/probe.h"

#include "host/cpulist.h"
#include "host/facts_proto.h"
#include "launch/cli/facts_here.h"
#include "launch/cli/text.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sysexits.h>

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_TEXT, FORMAT_BINARY };

static const char usage[] = "usage: axvm probe [--table | --json | --text | --binary]\n";

static const char *yes(bool value)
{
	return value ? "yes" : "no";
}

static void table_cpus(FILE *out, const struct host_facts *facts)
{
	const struct host_cpu *cpu = facts_reference_cpu(facts);
	struct cpu_bitmap online = { 0 }, allowed = { 0 }, cores = { 0 };
	size_t read = 0;
	char list[512];

	for (size_t i = 0; i < facts->cpu_count; i++) {
		const struct host_cpu *one = &facts->cpus[i];

		if (!one->online)
			continue;
		cpu_bitmap_add(&online, one->id);
		if (one->allowed)
			cpu_bitmap_add(&allowed, one->id);
		cpu_bitmap_add(&cores, one->sibling_count ? one->siblings[0] : one->id);
		read += one->leaf_count > 0;
	}
	fprintf(out, "processor        %s\n", cpu->brand);
	fprintf(out, "identity         %s family %u model 0x%X stepping 0x%X microcode 0x%x\n",
	        cpu->vendor, cpu->family, cpu->model, cpu->stepping, cpu->microcode);
	fprintf(out, "CPUs             %zu present, online %s, cores %zu, CPUID read on %zu\n",
	        facts->cpu_count, cpu_bitmap_format(&online, list, sizeof(list)),
	        cpu_bitmap_count(&cores), read);
	fprintf(out, "allowed here     %s\n", cpu_bitmap_format(&allowed, list, sizeof(list)));
	fprintf(out, "invariant TSC    %s\n", yes(flags_have(facts->flags, "nonstop_tsc")));
	fprintf(out, "x2APIC           %s, %s\n", yes(flags_have(facts->flags, "x2apic")),
	        facts->x2apic_enabled == 'y'   ? "enabled"
	        : facts->x2apic_enabled == 'n' ? "not enabled"
	                                       : "whether enabled could not be read");
	fprintf(out, "hypervisor       %s %s\n", yes(facts->hypervisor), facts->hypervisor_vendor);
}

static void table_vmx(FILE *out, const struct host_facts *facts)
{
	const struct host_vmx *vmx = &facts->vmx;
	const struct {
		const char *name;
		bool value;
	} rows[] = {
		{ "EPT", vmx->ept },
		{ "EPT A/D", vmx->ept_ad },
		{ "EPT 2 MiB", vmx->ept_2m },
		{ "EPT 1 GiB", vmx->ept_1g },
		{ "VPID", vmx->vpid },
		{ "APIC registers", vmx->apic_register_virtualization },
		{ "interrupt delivery", vmx->virtual_interrupt_delivery },
		{ "posted interrupts", vmx->posted_interrupts },
		{ "x2APIC mode", vmx->virtualize_x2apic },
		{ "TSC scaling", vmx->tsc_scaling },
		{ "unrestricted guest", vmx->unrestricted_guest },
		{ "PLE", vmx->pause_loop_exiting },
	};

	fprintf(out, "VT-x             %s, capabilities from %s\n",
	        yes(flags_have(facts->flags, "vmx")),
	        vmx->msr_mask         ? "MSRs"
	        : facts->vmx_flags[0] ? "the kernel's flags"
	                              : "nowhere");
	fprintf(out, "VMX             ");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(out, "%s %s %s", i ? "," : "", rows[i].name, yes(rows[i].value));
	fputc('\n', out);
}

static void table_nodes(FILE *out, const struct host_facts *facts)
{
	for (size_t i = 0; i < facts->node_count; i++) {
		const struct host_node *node = &facts->nodes[i];
		struct cpu_bitmap cpus = { 0 };
		char list[512];

		for (size_t k = 0; k < facts->cpu_count; k++)
			if (facts->cpus[k].node == (int32_t)node->id)
				cpu_bitmap_add(&cpus, facts->cpus[k].id);
		fprintf(out, "node %-3u         CPUs %s, %llu MiB, %llu MiB free, distances",
		        node->id, cpu_bitmap_format(&cpus, list, sizeof(list)),
		        (unsigned long long)node->memory_mib, (unsigned long long)node->free_mib);
		for (size_t k = 0; k < facts->node_count; k++)
			fprintf(out, " %u", facts->distances[i][k]);
		for (size_t k = 0; k < node->huge_count; k++)
			fprintf(out, ", %llu kB pages %llu (%llu free)",
			        (unsigned long long)node->huge[k].size_kib,
			        (unsigned long long)node->huge[k].total,
			        (unsigned long long)node->huge[k].free);
		fputc('\n', out);
	}
}

static void table_offers(FILE *out, const struct host_facts *facts)
{
	for (size_t i = 0; i < facts->offer_count; i++) {
		const struct host_offer *offer = &facts->offers[i];

		fprintf(out, "%-16s %s%s%s\n", offer->name,
		        offer->available ? "available" : "not available",
		        offer->available ? "" : ": ", offer->message);
	}
}

void probe_table(FILE *out, const struct host_facts *facts)
{
	const char *lacking;
	char text[FACTS_OFFER_TEXT_MAX];

	for (size_t i = 0; (lacking = facts_lacking(facts, i, text, sizeof(text))); i++)
		fprintf(out, "lacking          %s\n", lacking);
	table_cpus(out, facts);
	table_vmx(out, facts);
	table_nodes(out, facts);
	fprintf(out, "kernel           %s\n", facts->kernel_release);
	fprintf(out, "KVM              %s, API version %d, at most %u vCPUs\n",
	        facts->kvm.accessible ? "accessible"
	        : facts->kvm.present  ? "not accessible"
	                              : "not there",
	        facts->kvm.api_version, facts->kvm.max_vcpus);
	table_offers(out, facts);
	for (size_t i = 0; i < facts->kvm.capability_count; i++)
		fprintf(out, "capability       %-24s %d\n", facts->kvm.capabilities[i].name,
		        facts->kvm.capabilities[i].value);
	for (size_t i = 0; i < facts->kvm.parameter_count; i++)
		fprintf(out, "parameter        %-40s %s\n", facts->kvm.parameters[i].name,
		        facts->kvm.parameters[i].value);
	for (size_t i = 0; i < facts->vulnerability_count; i++)
		fprintf(out, "vulnerability    %-24s %s\n", facts->vulnerabilities[i].name,
		        facts->vulnerabilities[i].value);
}

static int print(FILE *out, const struct host_facts *facts, enum format format)
{
	Axvm__V1__HostFacts *message = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size;
	int r;

	if (format == FORMAT_TABLE) {
		probe_table(out, facts);
		return EX_OK;
	}
	r = facts_to_message(facts, &message);
	if (r < 0)
		return EX_OSERR;
	if (format == FORMAT_JSON)
		text_print_json(out, &message->base);
	if (format == FORMAT_TEXT)
		text_print(out, &message->base);
	if (format == FORMAT_BINARY) {
		size = axvm__v1__host_facts__get_packed_size(message);
		bytes = malloc(size);
		if (bytes)
			fwrite(bytes, 1, axvm__v1__host_facts__pack(message, bytes), out);
		r = bytes ? 0 : -1;
	}
	axvm__v1__host_facts__free_unpacked(message, NULL);
	return r < 0 ? EX_OSERR : EX_OK;
}

int axvm_cmd_probe(int argc, char **argv, FILE *out)
{
	static const struct option options[] = {
		{ "table", no_argument, NULL, FORMAT_TABLE },
		{ "json", no_argument, NULL, FORMAT_JSON },
		{ "text", no_argument, NULL, FORMAT_TEXT },
		{ "binary", no_argument, NULL, FORMAT_BINARY },
		{ 0 },
	};
	_cleanup_free_ struct host_facts *facts = facts_new();
	enum format format = FORMAT_TABLE;
	int option, r;

	optind = 0; /* glibc: start over */
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?') {
			fputs(usage, stderr);
			return EX_USAGE;
		}
		format = (enum format)option;
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return EX_USAGE;
	}
	r = facts ? facts_here(facts) : -ENOMEM;
	if (r < 0) {
		fprintf(stderr, "axvm probe: cannot tell what this host is: %s\n", facts_error(r));
		return EX_OSERR;
	}
	r = print(out, facts, format);
	return r == EX_OK && fflush(out) != 0 ? EX_IOERR : r;
}
