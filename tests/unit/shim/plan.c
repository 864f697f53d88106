/* SPDX-License-Identifier: MIT */
/* The plan of a launch: what a spec asks of CPUID, where devices lie, and what the digest stands
 * for. */
#include <asm/kvm_para.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bus/pci.h"
#include "shim/device/devices.h"
#include "shim/plan.h"
#include "shim/shim.h"
#include "shim/stages.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/protoc.h"

static struct shim shim;

#define HEAD "vm_id: 'vm' profile: 'dev' admission: ADMISSION_REPORT "
#define CPUS "cpus { count: 2 } "
#define MEMORY "memory { nodes { size_mib: 64 } } "
#define LINUX "boot { linux_boot { kernel { path: 'k' } cmdline: 'a' } } "
#define ALL HEAD CPUS MEMORY LINUX

static void offer(struct host_kvm *kvm, uint32_t leaf, uint32_t eax)
{
	kvm->guest_leaves[kvm->guest_leaf_count++].leaf =
		(struct cpuid_leaf){ leaf, 0, eax, 0, 0, 0 };
}

/* Plans a launch on the recorded E5-2697 v2 with a KVM that offers every feature. */
static void plan(const char *text)
{
	static uint8_t bytes[8192];
	struct problems problems = { 0 };
	size_t n = protoc_encode("LaunchSpec", text, bytes, sizeof(bytes));

	free(shim.facts);
	memset(&shim, 0, sizeof(shim));
	cr_assert_eq(spec_parse(bytes, n, &shim.spec, &problems), 0, "%s",
	             problems.list[0].message);
	shim.facts = fixture_e5_2697_v2();
	for (size_t i = 0; i < shim.facts->cpus[0].leaf_count; i++)
		shim.facts->kvm.guest_leaves[i].leaf = shim.facts->cpus[0].leaves[i];
	shim.facts->kvm.guest_leaf_count = shim.facts->cpus[0].leaf_count;
	shim.facts->kvm.tsc_khz = 2700000;
	offer(&shim.facts->kvm, KVM_CPUID_SIGNATURE, KVM_CPUID_FEATURES);
	offer(&shim.facts->kvm, KVM_CPUID_FEATURES, 0x0fffffff);
	cr_assert_eq(profile_load(shim.spec.profile, &shim.profile), 0);
	cr_assert_eq(plan_machine(&shim), 0, "%s", shim.problems.list[0].message);
	cr_assert_eq(plan_guest(&shim), 0, "%s", shim.problems.list[0].message);
}

/* ---- paravirtual features -------------------------------------------------------------------- */

/* Linux Documentation/virt/kvm/x86/cpuid.rst: the bits of leaf 0x40000001's EAX. */
Test(plan, each_paravirtual_feature_is_its_bits)
{
	static const struct {
		const char *name;
		uint32_t bits;
	} features[] = {
		{ "PV_FEATURE_KVMCLOCK", 1u << 0 | 1u << 3 | 1u << 24 },
		{ "PV_FEATURE_EOI", 1u << 6 },
		{ "PV_FEATURE_UNHALT", 1u << 7 },
		{ "PV_FEATURE_TLB_FLUSH", 1u << 9 },
		{ "PV_FEATURE_SEND_IPI", 1u << 11 },
		{ "PV_FEATURE_STEAL_TIME", 1u << 5 },
		/* With its interrupt: without it Linux takes no page to be ready. */
		{ "PV_FEATURE_ASYNC_PF", 1u << 4 | 1u << 14 },
		{ "PV_FEATURE_POLL_CONTROL", 1u << 12 },
		{ "PV_FEATURE_SCHED_YIELD", 1u << 13 },
	};
	size_t known = axvm__v1__pv_feature__descriptor.n_values;

	cr_assert_eq(ARRAY_SIZE(features), known - 1, "each feature of the schema");
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		char text[512];

		snprintf(text, sizeof(text), "%s cpus { count: 1 paravirt { features: %s } }",
		         HEAD MEMORY LINUX, features[i].name);
		plan(text);
		cr_assert_eq(shim.cpuid_config.pv_features, features[i].bits, "%s: %#x",
		             features[i].name, shim.cpuid_config.pv_features);
	}
	plan(HEAD MEMORY LINUX "cpus { count: 1 paravirt {} }");
	cr_assert_eq(shim.cpuid_config.pv_features, 0, "none at all were chosen");
}

/* Without a choice the profile's for the tenancy stands, its hint with it. */
Test(plan, tenancies_have_features_of_their_own)
{
	const struct profile_tenancy_tuning *tuning;

	plan("vm_id: 'vm' profile: 'xv2' cpus { count: 2 tenancy: TENANCY_DEDICATED } " MEMORY
	             LINUX);
	tuning = plan_tuning(&shim);
	cr_assert_eq(tuning, &shim.profile.tenancies[TENANCY_DEDICATED]);
	cr_assert_eq(shim.cpuid_config.pv_features,
	             1u << 0 | 1u << 3 | 1u << 24 | 1u << 6 | 1u << 12);
	cr_assert_eq(shim.cpuid_config.pv_hints, 1u << KVM_HINTS_REALTIME);
	plan("vm_id: 'vm' profile: 'xv2' " CPUS MEMORY LINUX);
	tuning = plan_tuning(&shim);
	cr_assert_eq(tuning, &shim.profile.tenancies[TENANCY_SHARED]);
	cr_assert_eq(shim.cpuid_config.pv_features & 1u << 7, 1u << 7, "UNHALT");
	cr_assert_eq(shim.cpuid_config.pv_features & 1u << 12, 0, "no POLL_CONTROL");
	cr_assert_eq(shim.cpuid_config.pv_hints, 0);
	cr_assert_eq(shim.cpuid_config.tsc_khz, 2700000);
}

/* A Linux has local APICs; a flat image has them when it asks. */
Test(plan, linux_has_local_apics_and_a_flat_image_on_request)
{
	plan(ALL);
	cr_assert(plan_has_apic(&shim.spec) && shim.cpuid_config.has_apic);
	cr_assert_gt(shim.plan.acpi.used, 0);
	plan(HEAD CPUS MEMORY "boot { flat_boot { image { path: 'i' } local_apic: true } }");
	cr_assert(plan_has_apic(&shim.spec) && shim.cpuid_config.has_apic);
	cr_assert_eq(shim.plan.acpi.used, 0, "a flat image has no ACPI");
	plan(HEAD CPUS MEMORY "boot { flat_boot { image { path: 'i' } } }");
	cr_assert_not(plan_has_apic(&shim.spec) || shim.cpuid_config.has_apic);
}

/* ---- who runs where -------------------------------------------------------------------------- */

Test(plan, vcpus_are_named_from_the_placement)
{
	plan(HEAD MEMORY LINUX "cpus { count: 3 pins: [12, 36, 13] }");
	cr_assert_eq(shim.machine.vcpu_count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		static const int cpus[] = { 12, 36, 13 };
		const struct vcpu *vcpu = &shim.machine.vcpus[i];

		cr_assert_eq(vcpu->index, i);
		cr_assert_eq(vcpu->host_cpu, cpus[i]);
		cr_assert_eq(vcpu->host_node, 1);
		cr_assert_eq(vcpu->apic_id, i);
		cr_assert_eq(vcpu->machine, &shim.machine);
	}
}

static void expect_placement(const struct placement_request *request, const char *what)
{
	struct problems problems = { 0 };
	static struct placement wanted;

	cr_assert_eq(placement_plan(shim.facts, request, &wanted, &problems), 0, "%s",
	             problems.list[0].message);
	cr_assert_eq(shim.placement.vcpu_count, wanted.vcpu_count, "%s", what);
	for (uint32_t i = 0; i < wanted.vcpu_count; i++) {
		cr_assert_eq(shim.placement.vcpus[i].cpu, wanted.vcpus[i].cpu, "vCPU %u, %s", i,
		             what);
		cr_assert_eq(shim.placement.vcpus[i].guest_node, wanted.vcpus[i].guest_node,
		             "vCPU %u, %s", i, what);
	}
	cr_assert_eq(shim.placement.node_count, wanted.node_count, "%s", what);
	for (size_t i = 0; i < wanted.node_count; i++) {
		cr_assert_eq(shim.placement.nodes[i].host_node, wanted.nodes[i].host_node,
		             "node %zu, %s", i, what);
		for (uint32_t k = 0; k < request->io_threads; k++)
			cr_assert_eq(shim.placement.nodes[i].io[k].cpu, wanted.nodes[i].io[k].cpu,
			             "%s", what);
	}
}

/* FNV-1a. */
static uint64_t seed_of(const char *id)
{
	uint64_t hash = 14695981039346656037u;

	for (; *id; id++)
		hash = (hash ^ (unsigned char)*id) * 1099511628211u;
	return hash;
}

/* All that the spec says of it is asked for, in words that change where something goes. */
Test(plan, the_placement_is_asked_for_as_the_spec_says)
{
	static const uint32_t pins[] = { 30, 5 };
	static const uint8_t nodes[] = { 1, 0, 1 };
	static const struct {
		const char *spec;
		struct placement_request request;
	} rows[] = {
		{ "cpus { count: 5 tenancy: TENANCY_DEDICATED } memory { nodes { size_mib: 64 } }",
		  { .vcpus = 5,
		    .dedicated = true,
		    .node_count = 1,
		    .host_node = { -1 },
		    .memory_mib = { 64 },
		    .io_threads = 1 } },
		{ "cpus { count: 5 } memory { nodes { size_mib: 64 host_node: 1 } } io { threads_per_node: 3 }",
		  { .vcpus = 5,
		    .node_count = 1,
		    .host_node = { 1 },
		    .memory_mib = { 64 },
		    .io_threads = 3 } },
		{ "cpus { count: 60 } memory { nodes { size_mib: 64 } }",
		  { .vcpus = 60,
		    .overcommit = true,
		    .node_count = 1,
		    .host_node = { -1 },
		    .memory_mib = { 64 },
		    .io_threads = 1 } },
		{ "cpus { count: 2 pins: [30, 5] } memory { nodes { size_mib: 64 } }",
		  { .vcpus = 2,
		    .pin_count = 2,
		    .pins = pins,
		    .node_count = 1,
		    .host_node = { -1 },
		    .memory_mib = { 64 },
		    .io_threads = 1 } },
		{ "cpus { count: 3 nodes: [1, 0, 1] } memory { nodes { size_mib: 64 host_node: 1 } nodes { size_mib: 128 } }",
		  { .vcpus = 3,
		    .vcpu_nodes = nodes,
		    .node_count = 2,
		    .host_node = { 1, -1 },
		    .memory_mib = { 64, 128 },
		    .io_threads = 1 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct placement_request request;
		char text[512];

		request = rows[i].request;
		request.seed = seed_of("vm");
		snprintf(text, sizeof(text), HEAD LINUX "%s", rows[i].spec);
		plan(text);
		expect_placement(&request, rows[i].spec);
	}
	/* More than a node has CPUs takes a word; a node with room is taken before one without, to
	 * the MiB. */
	shim.spec.cpus.count = 60;
	shim.spec.cpus.nodes_count = 0;
	cr_assert_eq(plan_machine(&shim), 0);
	shim.spec.cpus.overcommit = false;
	cr_assert_lt(plan_machine(&shim), 0);
	plan(ALL);
	shim.facts->nodes[0].free_mib = 63;
	shim.facts->nodes[1].free_mib = 64;
	cr_assert_eq(plan_machine(&shim), 0);
	cr_assert_eq(shim.placement.nodes[0].host_node, 1);
	shim.facts->nodes[0].free_mib = 64;
	shim.facts->nodes[1].free_mib = 63;
	cr_assert_eq(plan_machine(&shim), 0);
	cr_assert_eq(shim.placement.nodes[0].host_node, 0);
	/* Facts that know the pools of huge pages are taken as they are; a launch's do not, and
	 * this host has no node 1. */
	shim.spec.memory.page_size = PAGE_SIZE_2M;
	shim.facts->nodes[1].huge[0] = (struct host_huge_pages){ 2048, 64, 64 };
	shim.facts->nodes[1].huge_count = 1;
	cr_assert_eq(plan_machine(&shim), 0);
	cr_assert_eq(shim.placement.nodes[0].host_node, 1);
	shim.facts->nodes[1].id = 900;
	shim.facts->quick = true;
	cr_assert_eq(plan_machine(&shim), 0);
	cr_assert_eq(shim.facts->nodes[1].huge_count, 0);
}

/* ---- devices --------------------------------------------------------------------------------- */

#define DEVICES                                                                                    \
	"console { output { fd: 1 } } disks { id: 'a' image { fd: 5 } queues: 3 } "                \
	"disks { id: 'b' image { fd: 6 } } rng {} nets { id: 'n' tap_name: 't' queue_pairs: 2 } "  \
	"balloon {} vsock { cid: 3 channel { fd: 7 } } "

/* Each kind at its place, since a guest that is launched again knows a device by its slot: slots,
 * BARs and vectors follow one another without a gap. */
Test(plan, devices_lie_side_by_side)
{
	static const struct {
		const char *kind, *id;
		uint16_t virtio_id, queues;
	} wanted[] = {
		{ "console", "", 3, 2 }, { "disk", "a", 2, 3 }, { "disk", "b", 2, 1 },
		{ "rng", "", 4, 1 },     { "net", "n", 1, 5 },  { "balloon", "", 5, 0 },
		{ "vsock", "", 19, 3 },
	};
	uint32_t gsi = 24, bar = 0xc0000000;

	plan(ALL DEVICES);
	cr_assert_eq(shim.plan.devices.count, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < shim.plan.devices.count; i++) {
		const struct plan_device *device = &shim.plan.devices.list[i];

		cr_assert_str_eq(device->kind, wanted[i].kind);
		cr_assert_str_eq(device->id, wanted[i].id);
		cr_assert_eq(device->virtio_id, wanted[i].virtio_id, "%s", device->kind);
		cr_assert(!wanted[i].queues || device->queues == wanted[i].queues, "%s: %u",
		          device->kind, device->queues);
		cr_assert_eq(device->slot, i + 1);
		cr_assert_eq(device->bar, bar, "%s at %#x", device->kind, device->bar);
		cr_assert_eq(device->first_gsi, gsi, "%s from %u", device->kind, device->first_gsi);
		bar += 0x8000;
		gsi += device->queues + 1u;
	}
}

/* ---- the digest ------------------------------------------------------------------------------ */

static const char *digest_of(const char *text)
{
	static char digest[SHA256_HEX_SIZE];

	plan(text);
	cr_assert_eq(strlen(shim.plan.digest), 64);
	strcpy(digest, shim.plan.digest);
	return digest;
}

#define DISK(more) ALL "disks { id: 'a' image { fd: 5 } " more "}"

/* It stands for all that a guest sees of its machine, and for nothing else. */
#define NODES(count, list)                                                                         \
	"cpus { count: " count " nodes: [" list                                                    \
	"] } memory { nodes { size_mib: 32 } nodes { size_mib: 32 } } "
#define FLAT "boot { flat_boot { image { path: 'k' } local_apic: true } } "

Test(plan, the_digest_changes_with_what_a_guest_sees)
{
	static const char *const others[] = {
		HEAD "cpus { count: 3 } " MEMORY LINUX,
		HEAD "cpus { count: 2 paravirt {} } " MEMORY LINUX,
		HEAD CPUS "memory { nodes { size_mib: 65 } } " LINUX,
		HEAD CPUS "memory { nodes { size_mib: 32 } nodes { size_mib: 32 } } " LINUX,
		HEAD "cpus { count: 2 pins: [14, 38] } " MEMORY LINUX,
		HEAD
		"cpus { count: 2 nodes: [1, 0] } memory { nodes { size_mib: 32 } nodes { size_mib: 32 } } " LINUX,
		HEAD NODES("1", "0") FLAT,
		HEAD NODES("1", "1") FLAT,
		HEAD NODES("2", "1, 0") FLAT,
		HEAD CPUS MEMORY "boot { linux_boot { kernel { path: 'k' } cmdline: 'b' } } ",
		HEAD CPUS MEMORY "boot { linux_boot { kernel { path: 'k' } } } ",
		HEAD CPUS MEMORY "boot { flat_boot { image { path: 'k' } local_apic: true } } ",
		HEAD CPUS MEMORY
		"boot { flat_boot { image { path: 'k' } local_apic: true load_address: 0x200000 } } ",
		DISK(""),
		DISK("queues: 2 "),
		ALL "rng {}",
		ALL "balloon {}",
	};
	static const char *const same[] = {
		"vm_id: 'other' profile: 'dev' admission: ADMISSION_REPORT " CPUS MEMORY LINUX,
		HEAD CPUS MEMORY "boot { linux_boot { kernel { path: 'another' } cmdline: 'a' } } ",
		HEAD "cpus { count: 2 pins: [14, 15] } " MEMORY LINUX,
		HEAD "cpus { count: 2 claims { fd: 9 } } " MEMORY LINUX,
		HEAD "cpus { count: 2 pins: [14, 14] fifo_priority: 3 } " MEMORY LINUX,
		HEAD CPUS
		"memory { nodes { size_mib: 64 host_node: 1 } populate: true lock: true } " LINUX,
		ALL
		"lifecycle { on_control_eof: ON_CONTROL_EOF_STOP } metrics { interval_ms: 1000 } io { busy_poll_us: 5 }",
	};
	char digests[ARRAY_SIZE(others) + 1][SHA256_HEX_SIZE], with_disk[SHA256_HEX_SIZE];

	strcpy(digests[0], digest_of(ALL));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		strcpy(digests[i + 1], digest_of(others[i]));
		for (size_t k = 0; k <= i; k++)
			cr_assert_neq(strcmp(digests[i + 1], digests[k]), 0, "%zu and %zu: %s",
			              i + 1, k, others[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		cr_assert_str_eq(digest_of(same[i]), digests[0], "%s", same[i]);
	strcpy(with_disk, digest_of(DISK("")));
	cr_assert_str_eq(digest_of(ALL "disks { id: 'other' image { path: 'x' } read_only: true }"),
	                 with_disk);
}

/* CPUID as vCPU 0 has it: another host CPU asked, with other APIC ids in its leaves, changes
 * nothing; a bit that the guest sees does. */
Test(plan, the_digest_sees_cpuid_but_not_which_cpu_was_asked)
{
	char digest[SHA256_HEX_SIZE];

	plan(ALL);
	strcpy(digest, shim.plan.digest);
	for (size_t i = 0; i < shim.facts->kvm.guest_leaf_count; i++) {
		struct cpuid_leaf *leaf = &shim.facts->kvm.guest_leaves[i].leaf;

		leaf->ebx ^= leaf->leaf == 1 ? 0xff000000 : 0;
		leaf->edx ^= leaf->leaf == 0xb ? 0xff : 0;
	}
	cr_assert_eq(plan_guest(&shim), 0);
	cr_assert_str_eq(shim.plan.digest, digest);
	for (size_t i = 0; i < shim.facts->kvm.guest_leaf_count; i++)
		if (shim.facts->kvm.guest_leaves[i].leaf.leaf == 7)
			shim.facts->kvm.guest_leaves[i].leaf.ebx ^= 1;
	cr_assert_eq(plan_guest(&shim), 0);
	cr_assert_neq(strcmp(shim.plan.digest, digest), 0);
}

/* What was built is held against the plan, region by region. */
Test(plan, a_machine_built_otherwise_is_noticed)
{
	struct guest_region *region;

	plan(HEAD CPUS "memory { nodes { size_mib: 32 } nodes { size_mib: 32 } } " LINUX);
	shim.machine.memory = shim.plan.memory;
	region = &shim.machine.memory.regions[1];
	cr_assert_eq(plan_check(&shim), 0);
	region->base.v += 4096;
	cr_assert_eq(plan_check(&shim), -EBADMSG);
	region->base.v -= 4096;
	region->size -= 4096;
	cr_assert_eq(plan_check(&shim), -EBADMSG);
	region->size += 4096;
	region->node = 0;
	cr_assert_eq(plan_check(&shim), -EBADMSG);
	region->node = 1;
	shim.machine.memory.count = 1;
	cr_assert_eq(plan_check(&shim), -EBADMSG);
	shim.machine.memory.count = 2;
	cr_assert_eq(plan_check(&shim), 0);
	plan(ALL "rng {}");
	shim.machine.memory = shim.plan.memory;
	cr_assert_eq(plan_check(&shim), -EBADMSG, "a device of the plan was not built");
	cr_assert_eq(shim.problems.list[0].code, ERROR_CODE_INTERNAL);
	/* On a bus of fewer devices, of more, and none at all. */
	for (uint32_t slots = 1; slots <= 3; slots += 2) {
		shim.devices.present = true;
		shim.devices.pci.slot_count = slots;
		shim.plan.devices.count = 1;
		cr_assert_eq(plan_check(&shim), -EBADMSG, "%u", slots);
	}
	shim.plan.devices.count = 0;
	shim.devices.pci.slot_count = 1;
	cr_assert_eq(plan_check(&shim), 0);
	shim.devices.present = false;
	cr_assert_eq(plan_check(&shim), 0);
}

/* The SLIT's matrix is the host's, row by row, where the two directions differ. */
Test(plan, distances_are_told_row_by_row)
{
	const struct acpi_image *acpi = &shim.plan.acpi;
	const uint8_t *matrix = NULL;

	plan(HEAD CPUS
	     "memory { nodes { size_mib: 32 host_node: 0 } nodes { size_mib: 32 host_node: 1 } } " LINUX);
	shim.facts->distances[0][1] = 21;
	shim.facts->distances[1][0] = 35;
	cr_assert_eq(plan_machine(&shim), 0);
	cr_assert_eq(plan_guest(&shim), 0);
	for (size_t i = 0; i < acpi->count; i++)
		if (strcmp(acpi->tables[i].signature, "SLIT") == 0)
			matrix = acpi->bytes + acpi->tables[i].offset + 44;
	cr_assert_not_null(matrix);
	cr_assert(matrix[0] == 10 && matrix[1] == 21 && matrix[2] == 35 && matrix[3] == 10,
	          "%u %u %u %u", matrix[0], matrix[1], matrix[2], matrix[3]);
}

/* ---- admission ------------------------------------------------------------------------------- */

/* Of all that is asked of KVM only /dev/kvm itself is left to stage acquire, which opens it. */
Test(plan, what_a_host_lacks_of_kvm_is_refused)
{
	static const struct {
		const char *ept;
		bool accessible;
		int api_version, r;
	} rows[] = {
		{ "Y", true, 12, 0 },
		{ "N", true, 12, -ENOTSUP },
		{ "Y", false, 0, 0 }, /* stage acquire has the words */
		{ "N", false, 0, -ENOTSUP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct host_kvm *kvm;

		plan("vm_id: 'vm' profile: 'xv2' " CPUS MEMORY LINUX);
		kvm = &shim.facts->kvm;
		snprintf(kvm->parameters[0].value, sizeof(kvm->parameters[0].value), "%s",
		         rows[i].ept);
		kvm->accessible = rows[i].accessible;
		kvm->api_version = rows[i].api_version;
		shim.facts_ns = monotonic_ns();
		shim.problems.count = 0;
		cr_assert_eq(event_writer_init(&shim.events,
		                               open("/dev/null", O_WRONLY | O_CLOEXEC)),
		             0);
		cr_expect_eq(stage_admit(&shim), rows[i].r, "row %zu: %s", i,
		             shim.problems.list[0].message);
		close(shim.events.fd);
	}
}
