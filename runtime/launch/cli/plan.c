/* SPDX-License-Identifier: MIT */
/* `axvm plan`: what a launch would be given on this host, or on one whose facts are in a file, without
 * launching it.
 *
 * The shim's own functions, called on a `struct shim` that never becomes one: the same code decides, so
 * the plan is the one that a launch would get, and its digest the one of its Running event. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sysexits.h>

#include "boot/e820.h"
#include "host/cpulist.h"
#include "launch/cli/claims_here.h"
#include "launch/cli/facts_file.h"
#include "launch/cli/facts_here.h"
#include "launch/cli/run_options.h"
#include "launch/cli/verb.h"
#include "shim/device/places.h"
#include "shim/plan.h"
#include "shim/shim.h"

struct request {
	const char *facts; /* NULL: this host */
};

static int set_facts(void *context, const char *value)
{
	((struct request *)context)->facts = value;
	return 0;
}

static const struct flag rows[] = { { "facts", FLAG_FILE, set_facts } };
const struct flags plan_flags = { "plan", rows, ARRAY_SIZE(rows) };

static int complain(const struct problems *problems)
{
	char line[PROBLEM_LINE_MAX];

	for (size_t i = 0; i < problems->count; i++)
		fprintf(stderr, "axvm plan: %s\n",
		        problem_line(problems->list[i].field, problems->list[i].message, line));
	return problems->count ? problem_class_of(problems->list[0].code)->exit_status : EX_SOFTWARE;
}

/* A vsock whose spec names no channel gets one at the launch, from `axvm run`; which it is changes no plan. */
static int add_channel(Axvm__V1__LaunchSpec *spec)
{
	Axvm__V1__Resource *channel;

	if (!spec->vsock || spec->vsock->channel)
		return 0;
	channel = malloc(sizeof(*channel));
	if (!channel)
		return EX_OSERR;
	axvm__v1__resource__init(channel);
	spec->vsock->channel = channel;
	channel->path = strdup("axvm run");
	if (!channel->path)
		return EX_OSERR;
	channel->source_case = AXVM__V1__RESOURCE__SOURCE_PATH;
	return 0;
}

static int learn(struct shim *shim, const char *path)
{
	Axvm__V1__LaunchSpec *spec = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t size;
	int r = spec_file_read("axvm plan", path, &spec);

	if (r)
		return r;
	if (add_channel(spec)) {
		axvm__v1__launch_spec__free_unpacked(spec, NULL);
		return EX_OSERR;
	}
	size = axvm__v1__launch_spec__get_packed_size(spec);
	bytes = malloc(size + 1);
	if (bytes)
		(void)axvm__v1__launch_spec__pack(spec, bytes);
	axvm__v1__launch_spec__free_unpacked(spec, NULL);
	if (!bytes)
		return EX_OSERR;
	return spec_parse(bytes, size, &shim->spec, &shim->problems) < 0 ? complain(&shim->problems)
	                                                                 : 0;
}

/* What the host is, and the verdict on it; 0 also when it does not meet the profile. All facts are read, where a
 * launch reads the quick ones: which CPU those are of is chance, and would show in the verdict's words. */
static int look(struct shim *shim, const char *facts_path)
{
	int r;

	shim->facts = facts_new();
	if (!shim->facts)
		return EX_OSERR;
	if (facts_path) {
		r = facts_file_read("axvm plan", facts_path, shim->facts);
		if (r)
			return r;
	} else if ((r = facts_probe(shim->facts, NULL)) < 0) {
		fprintf(stderr, "axvm plan: cannot tell what this host is: %s\n", facts_error(r));
		return EX_OSERR;
	}
	if (profile_load(shim->spec.profile, &shim->profile) < 0) {
		fprintf(stderr, "axvm plan: there is no profile \"%s\"\n", shim->spec.profile);
		return EX_DATAERR;
	}
	return admit(shim->facts, &shim->profile, plan_tenancy(shim), &shim->verdict) < 0 ? EX_SOFTWARE : 0;
}

static bool print_verdict(const struct shim *shim, FILE *out)
{
	size_t unmet = 0;

	for (size_t i = 0; i < shim->verdict.count; i++)
		unmet += !shim->verdict.rows[i].met;
	fprintf(out, "profile %s: %s\n", shim->profile.name,
	        !unmet                                    ? "this host meets it"
	        : shim->spec.admission == ADMISSION_ENFORCE ? "this host is refused"
	                                                  : "unmet, but waived by the spec");
	for (size_t i = 0; i < shim->verdict.count; i++)
		if (!shim->verdict.rows[i].met)
			fprintf(out, "  %s: asked %s, found %s\n", shim->verdict.rows[i].name,
			        shim->verdict.rows[i].asked, shim->verdict.rows[i].found);
	return unmet == 0 || shim->spec.admission != ADMISSION_ENFORCE;
}

static void print_alternative(const struct shim *shim, FILE *out)
{
	const char *other = facts_alternative(shim->facts, shim->profile.name);

	if (other)
		fprintf(out, "profile %s would take this host, for development: profile: \"%s\" in the spec\n",
		        other, other);
}

static void print_cpus(const struct shim *shim, FILE *out)
{
	const struct placement *placement = &shim->placement;
	char cpu[16];

	fprintf(out, "%5s %8s %8s %9s %10s\n", "VCPU", "APIC ID", "HOST CPU", "HOST NODE",
	        "GUEST NODE");
	for (uint32_t i = 0; i < placement->vcpu_count; i++) {
		const struct placement_vcpu *vcpu = &placement->vcpus[i];

		snprintf(cpu, sizeof(cpu), "%d", vcpu->cpu);
		fprintf(out, "%5u %8u %8s %9d %10u%s%s\n", i, shim->topology.vcpus[i].apic_id,
		        vcpu->cpu < 0 ? "-" : cpu, vcpu->host_node, vcpu->guest_node,
		        vcpu->shared ? "  shares its CPU" : "",
		        vcpu->remote ? "  far from its memory" : "");
	}
}

#define PLAN_LIST_MAX 128

static const char *io_cpus(const struct placement_node *node, uint32_t thread, char list[PLAN_LIST_MAX])
{
	struct cpu_bitmap cpus = node->cpus;

	if (node->io[thread].cpu >= 0) {
		cpus = (struct cpu_bitmap){ 0 };
		cpu_bitmap_add(&cpus, (uint32_t)node->io[thread].cpu);
	}
	return cpu_bitmap_format(&cpus, list, PLAN_LIST_MAX);
}

static void print_nodes(const struct shim *shim, FILE *out)
{
	static const char *const pages[] = {
		[PAGE_SIZE_4K] = "4 KiB pages",
		[PAGE_SIZE_THP] = "4 KiB pages, transparent huge ones where there are",
		[PAGE_SIZE_2M] = "2 MiB pages",
		[PAGE_SIZE_1G] = "1 GiB pages",
	};
	const struct spec_memory *memory = &shim->spec.memory;
	char list[PLAN_LIST_MAX];

	for (size_t i = 0; i < shim->placement.node_count; i++) {
		const struct placement_node *node = &shim->placement.nodes[i];

		fprintf(out, "guest node %zu: %llu MiB on host node %d%s in %s; I/O thread on CPU", i,
		        (unsigned long long)(memory->nodes[i].size / MIB), node->host_node,
		        node->chosen ? " (chosen here)" : "", pages[memory->page_size]);
		for (uint32_t k = 0; k < shim->spec.io.threads_per_node; k++)
			fprintf(out, "%s %s%s", k > 0 ? "," : "", io_cpus(node, k, list),
			        node->io[k].shared ? ", with a vCPU" : "");
		fputs("; distances", out);
		for (size_t k = 0; k < shim->topology.node_count; k++)
			fprintf(out, " %u", shim->topology.distances[i][k]);
		fputc('\n', out);
	}
}

static void print_range(FILE *out, uint64_t start, uint64_t end, const char *what)
{
	fprintf(out, "memory 0x%012llx-0x%012llx %s\n", (unsigned long long)start,
	        (unsigned long long)end - 1, what);
}

/* RAM by node; what in it is taken, as the kernel is told; what else there is. */
static void print_map(const struct shim *shim, FILE *out)
{
	static const char *const types[] = { [E820_RESERVED] = "reserved", [E820_ACPI] = "ACPI tables" };
	const struct guest_memory *memory = &shim->plan.memory;
	struct e820_map e820;

	for (size_t i = 0; i < memory->count; i++) {
		char what[32];

		snprintf(what, sizeof(what), "RAM of node %u", memory->regions[i].node);
		print_range(out, memory->regions[i].base.v,
		            memory->regions[i].base.v + memory->regions[i].size, what);
	}
	e820_build(memory, &e820);
	for (size_t i = 0; shim->plan.acpi.used > 0 && i < e820.count; i++)
		if (e820.ranges[i].type != E820_RAM && e820.ranges[i].base < GUEST_HOLE_START)
			print_range(out, e820.ranges[i].base,
			            e820.ranges[i].base + e820.ranges[i].size,
			            types[e820.ranges[i].type]);
	if (plan_has_apic(&shim->spec)) {
		print_range(out, LAYOUT_BAR_WINDOW, LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE, "BARs");
		print_range(out, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE, "PCI configuration (ECAM)");
		print_range(out, LAYOUT_LAPIC, LAYOUT_LAPIC + 0x1000u, "local APIC");
	}
	print_range(out, LAYOUT_ACPI_REGISTERS, LAYOUT_ACPI_REGISTERS + LAYOUT_ACPI_REGISTERS_SIZE,
	            "ACPI registers");
	print_range(out, LAYOUT_IOAPIC, LAYOUT_IOAPIC + 0x1000u, "I/O APIC");
}

static int open_resource(const struct spec_resource *resource)
{
	return resource->kind == RESOURCE_SOURCE_PATH ? open(resource->path, O_RDONLY | O_CLOEXEC) : -1;
}

/* Where kernel and initrd will lie; only files named by a path can be looked at here. */
static int print_boot(struct shim *shim, FILE *out)
{
	const struct spec_boot *boot = &shim->spec.boot;
	_cleanup_close_ int kernel = open_resource(&boot->kernel);
	_cleanup_close_ int initrd = open_resource(&boot->initrd);
	const struct boot_linux_config config = {
		.kernel = { kernel, "boot.linux_boot.kernel" },
		.initrd = { initrd, "boot.linux_boot.initrd" },
		.cmdline = boot->cmdline,
		.cmdline_field = "boot.linux_boot.cmdline",
		.rsdp = LAYOUT_ACPI,
	};
	struct boot_layout layout;

	if (boot->kind == BOOT_KIND_FLAT_BOOT) {
		fprintf(out, "flat image at %#llx\n", (unsigned long long)boot->load_address.v);
		return 0;
	}
	fprintf(out, "command line: %s\n", boot->cmdline);
	if (kernel < 0 || (boot->initrd.kind != RESOURCE_SOURCE_NOT_SET && initrd < 0)) {
		fprintf(out, "kernel: placed at launch, by files that are not here\n");
		return 0;
	}
	if (boot_plan_linux(&config, &shim->plan.memory, &shim->problems, &layout) < 0)
		return complain(&shim->problems);
	print_range(out, layout.kernel_base, layout.kernel_end, layout.format);
	if (layout.initrd_size > 0)
		print_range(out, layout.initrd_base, layout.initrd_base + layout.initrd_size, "initrd");
	return 0;
}

static void print_devices(const struct shim *shim, FILE *out)
{
	for (size_t i = 0; i < shim->plan.devices.count; i++) {
		const struct plan_device *device = &shim->plan.devices.list[i];

		fprintf(out, "device 00:%02x.0 %s%s%s: BAR 0 at %#x, %u queue%s, vectors 0-%u as GSI "
		             "%u-%u, io%u\n", device->slot, device->kind, device->id[0] ? " " : "",
		        device->id, device->bar, device->queues, device->queues == 1 ? "" : "s",
		        device->queues, device->first_gsi, device->first_gsi + device->queues,
		        device->io);
	}
}

static void print_digests(const struct shim *shim, FILE *out)
{
	const struct acpi_image *acpi = &shim->plan.acpi;

	for (size_t i = 0; acpi->used > 0 && i < acpi->count; i++) {
		const struct acpi_image_table *table = &acpi->tables[i];
		uint8_t digest[SHA256_SIZE];
		char hex[SHA256_HEX_SIZE];
		struct sha256 hash;

		sha256_begin(&hash);
		sha256_add(&hash, acpi->bytes + table->offset, table->length);
		sha256_end(&hash, digest);
		sha256_hex(digest, hex);
		fprintf(out, "table %s at %#x, %u bytes, sha256 %s\n",
		        memcmp(table->signature, "RSD ", 4) == 0 ? "RSDP" : table->signature,
		        LAYOUT_ACPI + table->offset, table->length, hex);
	}
	if (shim->plan.digest[0])
		fprintf(out, "machine_sha256 %s\n", shim->plan.digest);
}

/* What is planned stands without KVM; what is asked for, all that a launch would be given, is not there. */
static int complain_of_kvm(const struct shim *shim)
{
	char text[FACTS_OFFER_TEXT_MAX];
	const char *lacking = shim->facts->kvm.accessible
	                              ? "these facts have no kvm.guest_cpuid; take them with `axvm probe --text` "
	                                "where KVM is there"
	                              : facts_lacking(shim->facts, 0, text, sizeof(text));

	fprintf(stderr, "axvm plan: CPUID and machine_sha256 are not known without KVM: %s\n", lacking);
	return EX_UNAVAILABLE;
}

/* The folder, where this user's VMs could claim: who plans goes without where `axvm run` would. 0, or -errno, which is told in
 * the words of `axvm run`. */
static int open_claims(struct shim *shim, const char *path)
{
	struct axvm_error error = { "" };
	_cleanup_close_ int fd = -1;
	int r = axvm_claims_open(path, &fd, &error);

	if (r == 0) {
		r = claims_open(&shim->claims, fd, NULL, true);
		if (r < 0)
			snprintf(error.text, sizeof(error.text), "%s: %s", path, strerrordesc_np(-r));
	}
	if (r == -ENOENT && geteuid() == 0 && strcmp(path, CLAIMS_PATH) == 0)
		fprintf(stderr, "axvm plan: %s, and so does root's `axvm run`, whose VM then claims CPUs\n", error.text);
	else if (r < 0)
		fprintf(stderr, "axvm plan: %s\n", error.text);
	return r;
}

/* What the CPUs are without a look at other VMs. */
static const char *unseen(const struct shim *shim)
{
	if (shim->spec.cpus.claims.kind != RESOURCE_SOURCE_NOT_SET)
		return ": the launch will claim its own, which is not looked at here";
	return shim->placement.pinned ? "" : ": not pinned, the kernel balances within the node";
}

/* Among the VMs that run now, as `axvm run` would; 0 also where they cannot be seen, which is said, unless it is the
 * spec that wants it. */
static int decide_among_others(struct shim *shim, bool here, FILE *out)
{
	const struct spec_resource *folder = &shim->spec.cpus.claims;
	const char *path = folder->kind == RESOURCE_SOURCE_PATH ? folder->path : claims_here_folder();
	int r = -ENXIO;

	if (here && path && folder->kind != RESOURCE_SOURCE_FD) {
		r = open_claims(shim, path);
		if (r == 0)
			r = plan_claim(shim) < 0 ? complain(&shim->problems) : 0;
		claims_close(&shim->claims);
		if (r < 0 && folder->kind == RESOURCE_SOURCE_PATH)
			return EX_NOINPUT;
	}
	if (r == 0)
		fprintf(out, "CPUs as the claims in %s are now; the next launch changes them\n", path);
	else if (r < 0)
		fprintf(out, "CPUs without a look at other VMs%s\n", unseen(shim));
	return MAX(r, 0);
}

/* By the same functions, in the same order, as stages admit and build. A host without KVM is planned as far as
 * KVM is not asked. */
static int decide(struct shim *shim, bool here, FILE *out)
{
	bool has_kvm = shim->facts->kvm.guest_leaf_count > 0;
	int r;

	if (plan_machine(shim) < 0 || (has_kvm ? plan_guest : plan_without_kvm)(shim) < 0)
		return complain(&shim->problems);
	r = decide_among_others(shim, here, out);
	if (r)
		return r;
	print_cpus(shim, out);
	print_nodes(shim, out);
	print_map(shim, out);
	r = print_boot(shim, out);
	print_devices(shim, out);
	print_digests(shim, out);
	return r == 0 && !has_kvm ? complain_of_kvm(shim) : r;
}

int axvm_cmd_plan(int argc, char **argv, FILE *out)
{
	static struct shim shim;
	struct request request = { 0 };
	bool admitted = false;
	int words, r;

	r = flags_parse(&plan_flags, argc, argv, &request, &words);
	if (r)
		return r;
	if (words != 1) {
		fputs(verb_find("plan")->help, stderr);
		return EX_USAGE;
	}
	memset(&shim, 0, sizeof(shim));
	r = learn(&shim, argv[1]);
	if (r == 0)
		r = look(&shim, request.facts);
	if (r == 0) {
		admitted = print_verdict(&shim, out);
		r = decide(&shim, !request.facts, out);
	}
	if (r == 0 && !admitted)
		print_alternative(&shim, out);
	if (r == 0)
		r = fflush(out) != 0 ? EX_IOERR : admitted ? EX_OK : EX_UNAVAILABLE;
	free(shim.facts);
	shim.facts = NULL;
	return r;
}
