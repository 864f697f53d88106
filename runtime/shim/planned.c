/* SPDX-License-Identifier: MIT */
/* A plan as an event.
 *
 * The parts lie in one static struct, whose pages a shim that launches never touches; strings are
 * the plan's own. */
#include "shim/planned.h"

#include <assert.h>
#include <string.h>

#include "boot/e820.h"
#include "interface/event.h"
#include "shim/device/places.h"
#include "shim/plan.h"
#include "shim/shim.h"

#define IO_MAX SPEC_IO_THREADS_MAX
/* The regions of RAM, what else the memory map has, and what print-outs of a PC have beside it. */
#define RANGES_MAX (GUEST_REGIONS_MAX + E820_RANGES_MAX + 5)
#define LOADED_MAX 2

static struct {
	Axvm__V1__Requirement unmet[PROFILE_NAMES_MAX], *unmet_list[PROFILE_NAMES_MAX];
	Axvm__V1__PlannedVcpu vcpus[SPEC_CPUS_MAX], *vcpu_list[SPEC_CPUS_MAX];
	Axvm__V1__PlannedNode nodes[SPEC_NODES_MAX], *node_list[SPEC_NODES_MAX];
	Axvm__V1__PlannedIoThread io[SPEC_NODES_MAX][IO_MAX], *io_list[SPEC_NODES_MAX][IO_MAX];
	uint32_t distances[SPEC_NODES_MAX][SPEC_NODES_MAX];
	uint32_t host_cpus[SPEC_NODES_MAX][CPU_BITMAP_MAX];
	Axvm__V1__PlannedRange ranges[RANGES_MAX], *range_list[RANGES_MAX];
	Axvm__V1__PlannedRange loaded[LOADED_MAX], *loaded_list[LOADED_MAX];
	Axvm__V1__PlannedDevice devices[PLAN_DEVICES_MAX], *device_list[PLAN_DEVICES_MAX];
	Axvm__V1__PlannedTable tables[ACPI_TABLES_MAX], *table_list[ACPI_TABLES_MAX];
	char table_digests[ACPI_TABLES_MAX][SHA256_HEX_SIZE];
} parts;

/* The most bytes of each part, encoded: a tag and a length where it is a message or text, and what
 * its numbers can be. */
enum {
	NUMBER = 1 + 5,
	NUMBER_64 = 1 + 10,
	SMALL = 1 + 2,
	FLAG = 2,
	HEAD = 1 + 2,
	DIGEST = HEAD + SHA256_HEX_SIZE,
	UNMET_BYTES = HEAD + HEAD + PROFILE_NAME_MAX + 2 * (HEAD + VERDICT_TEXT_MAX) + 2 * FLAG,
	VCPU_BYTES = HEAD + SMALL + NUMBER + SMALL + SMALL + 3 * FLAG,
	NODE_BYTES = HEAD + FLAG + NUMBER_64 + SMALL + FLAG + HEAD + 2 * SPEC_NODES_MAX +
	             IO_MAX * (HEAD + SMALL + FLAG) + HEAD + 2 * CPU_BITMAP_MAX,
	RANGE_BYTES = HEAD + 2 * NUMBER_64 + HEAD + 32 + FLAG,
	DEVICE_BYTES = HEAD + HEAD + 16 + HEAD + SPEC_ID_MAX + FLAG + NUMBER + 3 * SMALL,
	TABLE_BYTES = HEAD + HEAD + 4 + NUMBER + NUMBER + DIGEST,
	PLANNED_BYTES = PROFILE_NAMES_MAX * UNMET_BYTES + SPEC_CPUS_MAX * VCPU_BYTES +
	                SPEC_NODES_MAX * NODE_BYTES + (RANGES_MAX + LOADED_MAX) * RANGE_BYTES +
	                PLAN_DEVICES_MAX * DEVICE_BYTES + ACPI_TABLES_MAX * TABLE_BYTES +
	                2 * (HEAD + PROFILE_NAME_MAX) + DIGEST + NUMBER_64 + 5 * FLAG,
	/* Either of a folder's path and a sentence about one. */
	CLAIMS_BYTES = HEAD + SPEC_PATH_MAX,
	/* What each event has, and the stages that have been told before. */
	OTHER_BYTES = 4 * (5 * NUMBER_64 + HEAD + SPEC_ID_MAX + HEAD + HEAD),
};
static_assert(PROBLEM_MESSAGE_MAX <= SPEC_PATH_MAX, "the sentence is the shorter one");
static_assert(PLANNED_BYTES + CLAIMS_BYTES + OTHER_BYTES <= EVENT_RING_SIZE,
              "the largest plan fits into one event");
static_assert(FACTS_NODES_MAX <= 1 << 14 && CPU_BITMAP_MAX <= 1 << 14, "each is SMALL");

static void tell_verdict(Axvm__V1__Planned *to, const struct shim *shim)
{
	const struct verdict *verdict = &shim->verdict;

	to->profile = EVENT_TEXT(shim->profile.name);
	for (size_t i = 0; i < verdict->count; i++) {
		const struct verdict_row *row = &verdict->rows[i];
		Axvm__V1__Requirement *requirement = &parts.unmet[to->n_unmet];

		if (row->met)
			continue;
		axvm__v1__requirement__init(requirement);
		requirement->name = EVENT_TEXT(row->name);
		requirement->asked = EVENT_TEXT(row->asked);
		requirement->found = EVENT_TEXT(row->found);
		EVENT_SET(requirement, met, false);
		EVENT_SET(requirement, waived, row->waived);
		parts.unmet_list[to->n_unmet++] = requirement;
	}
	to->unmet = parts.unmet_list;
	EVENT_SET(to, admitted, verdict->unmet == 0 || shim->spec.admission != ADMISSION_ENFORCE);
}

static void tell_vcpus(Axvm__V1__Planned *to, const struct shim *shim)
{
	const struct placement *placement = &shim->placement;

	for (uint32_t i = 0; i < placement->vcpu_count; i++) {
		const struct placement_vcpu *from = &placement->vcpus[i];
		Axvm__V1__PlannedVcpu *vcpu = &parts.vcpus[i];

		axvm__v1__planned_vcpu__init(vcpu);
		EVENT_SET(vcpu, index, i);
		EVENT_SET(vcpu, apic_id, shim->topology.vcpus[i].apic_id);
		vcpu->has_host_cpu = from->cpu >= 0;
		vcpu->host_cpu = (uint32_t)from->cpu;
		vcpu->has_host_node = from->host_node >= 0;
		vcpu->host_node = (uint32_t)from->host_node;
		EVENT_SET(vcpu, guest_node, from->guest_node);
		EVENT_SET(vcpu, shares_cpu, from->shared);
		EVENT_SET(vcpu, far_from_memory, from->remote);
		parts.vcpu_list[i] = vcpu;
	}
	to->vcpus = parts.vcpu_list;
	to->n_vcpus = placement->vcpu_count;
	EVENT_SET(to, pinned, placement->pinned);
}

/* Whether a thread of the node has no CPU of its own. */
static void tell_io(Axvm__V1__PlannedNode *to, const struct placement_node *from, uint32_t threads,
                    size_t node)
{
	for (uint32_t i = 0; i < threads; i++) {
		Axvm__V1__PlannedIoThread *io = &parts.io[node][i];

		axvm__v1__planned_io_thread__init(io);
		io->has_host_cpu = from->io[i].cpu >= 0;
		io->host_cpu = (uint32_t)from->io[i].cpu;
		EVENT_SET(io, shares_cpu, from->io[i].shared);
		parts.io_list[node][i] = io;
	}
	to->io_threads = parts.io_list[node];
	to->n_io_threads = threads;
}

static void tell_nodes(Axvm__V1__Planned *to, const struct shim *shim)
{
	const struct placement *placement = &shim->placement;

	for (size_t i = 0; i < placement->node_count; i++) {
		const struct placement_node *from = &placement->nodes[i];
		Axvm__V1__PlannedNode *node = &parts.nodes[i];

		axvm__v1__planned_node__init(node);
		EVENT_SET(node, guest_node, (uint32_t)i);
		EVENT_SET(node, size_mib, shim->spec.memory.nodes[i].size / MIB);
		node->has_host_node = from->host_node >= 0;
		node->host_node = (uint32_t)from->host_node;
		EVENT_SET(node, chosen, from->chosen);
		for (size_t k = 0; k < shim->topology.node_count; k++)
			parts.distances[i][k] = shim->topology.distances[i][k];
		node->distances = parts.distances[i];
		node->n_distances = shim->topology.node_count;
		tell_io(node, from, shim->spec.io.threads_per_node, i);
		node->host_cpus = parts.host_cpus[i];
		for (uint32_t cpu = 0; cpu < CPU_BITMAP_MAX; cpu++)
			if (cpu_bitmap_has(&from->cpus, cpu))
				node->host_cpus[node->n_host_cpus++] = cpu;
		parts.node_list[i] = node;
	}
	to->nodes = parts.node_list;
	to->n_nodes = placement->node_count;
	EVENT_SET(to, page_size, (Axvm__V1__PageSize)shim->spec.memory.page_size);
}

static Axvm__V1__PlannedRange *fill_range(Axvm__V1__PlannedRange *to, uint64_t address,
                                          uint64_t size, const char *what)
{
	axvm__v1__planned_range__init(to);
	EVENT_SET(to, address, address);
	EVENT_SET(to, size, size);
	to->what = EVENT_TEXT(what);
	return to;
}

static Axvm__V1__PlannedRange *add_range(Axvm__V1__Planned *to, uint64_t address, uint64_t size,
                                         const char *what)
{
	Axvm__V1__PlannedRange *range =
		fill_range(&parts.ranges[to->n_ranges], address, size, what);

	parts.range_list[to->n_ranges++] = range;
	return range;
}

/* RAM by node; what in it is taken, as the kernel is told; what else there is. */
static void tell_map(Axvm__V1__Planned *to, const struct shim *shim)
{
	static const char *const types[] = {
		[E820_RESERVED] = "reserved", [E820_ACPI] = "ACPI tables"
	};
	const struct guest_memory *memory = &shim->plan.memory;
	struct e820_map e820;

	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		Axvm__V1__PlannedRange *range = add_range(to, region->base.v, region->size, "RAM");

		EVENT_SET(range, guest_node, region->node);
	}
	e820_build(memory, &e820);
	for (size_t i = 0; shim->plan.acpi.used > 0 && i < e820.count; i++)
		if (e820.ranges[i].type != E820_RAM && e820.ranges[i].base < GUEST_HOLE_START)
			add_range(to, e820.ranges[i].base, e820.ranges[i].size,
			          types[e820.ranges[i].type]);
	if (plan_has_apic(&shim->spec)) {
		add_range(to, LAYOUT_BAR_WINDOW, LAYOUT_BAR_WINDOW_SIZE, "BARs");
		add_range(to, LAYOUT_ECAM, LAYOUT_ECAM_SIZE, "PCI configuration (ECAM)");
		add_range(to, LAYOUT_LAPIC, 0x1000, "local APIC");
	}
	add_range(to, LAYOUT_ACPI_REGISTERS, LAYOUT_ACPI_REGISTERS_SIZE, "ACPI registers");
	add_range(to, LAYOUT_IOAPIC, 0x1000, "I/O APIC");
	to->ranges = parts.range_list;
}

static void tell_boot(Axvm__V1__Planned *to, const struct shim *shim, const struct planned *planned)
{
	const struct boot_layout *loaded = &planned->loaded;

	if (shim->spec.boot.kind == BOOT_KIND_FLAT_BOOT) {
		EVENT_SET(to, load_address, shim->spec.boot.load_address.v);
		return;
	}
	EVENT_SET(to, loaded_unknown, planned->loaded_unknown);
	if (!loaded->format)
		return;
	(void)fill_range(&parts.loaded[0], loaded->kernel_base,
	                 loaded->kernel_end - loaded->kernel_base, loaded->format);
	(void)fill_range(&parts.loaded[1], loaded->initrd_base, loaded->initrd_size, "initrd");
	for (size_t i = 0; i < LOADED_MAX; i++)
		parts.loaded_list[i] = &parts.loaded[i];
	to->loaded = parts.loaded_list;
	to->n_loaded = loaded->initrd_size > 0 ? 2 : 1;
}

static void tell_devices(Axvm__V1__Planned *to, const struct plan_devices *devices)
{
	for (size_t i = 0; i < devices->count; i++) {
		const struct plan_device *from = &devices->list[i];
		Axvm__V1__PlannedDevice *device = &parts.devices[i];

		axvm__v1__planned_device__init(device);
		device->kind = EVENT_TEXT(from->kind);
		device->id = from->id[0] ? EVENT_TEXT(from->id) : NULL;
		EVENT_SET(device, slot, from->slot);
		EVENT_SET(device, bar, from->bar);
		EVENT_SET(device, queues, from->queues);
		EVENT_SET(device, first_gsi, from->first_gsi);
		EVENT_SET(device, io_thread, from->io);
		parts.device_list[i] = device;
	}
	to->devices = parts.device_list;
	to->n_devices = devices->count;
}

static void tell_tables(Axvm__V1__Planned *to, const struct acpi_image *acpi)
{
	for (size_t i = 0; acpi->used > 0 && i < acpi->count; i++) {
		const struct acpi_image_table *from = &acpi->tables[i];
		Axvm__V1__PlannedTable *table = &parts.tables[i];
		uint8_t digest[SHA256_SIZE];
		struct sha256 hash;

		sha256_begin(&hash);
		sha256_add(&hash, acpi->bytes + from->offset, from->length);
		sha256_end(&hash, digest);
		sha256_hex(digest, parts.table_digests[i]);
		axvm__v1__planned_table__init(table);
		table->signature = memcmp(from->signature, "RSD ", 4) == 0
		                           ? EVENT_TEXT("RSDP")
		                           : EVENT_TEXT(from->signature);
		EVENT_SET(table, address, LAYOUT_ACPI + from->offset);
		EVENT_SET(table, size, from->length);
		table->sha256 = parts.table_digests[i];
		parts.table_list[to->n_tables++] = table;
	}
	to->tables = parts.table_list;
}

int planned_tell(struct shim *shim, const struct planned *planned)
{
	Axvm__V1__Planned body = AXVM__V1__PLANNED__INIT;
	Axvm__V1__Event event = AXVM__V1__EVENT__INIT;

	event.body_case = AXVM__V1__EVENT__BODY_PLANNED;
	event.planned = &body;
	tell_verdict(&body, shim);
	body.other_profile = EVENT_TEXT(planned->other_profile);
	if (planned->placed) {
		body.claims = EVENT_TEXT(planned->claims);
		body.claims_error = EVENT_TEXT(planned->claims_error);
		EVENT_SET(&body, will_claim, planned->will_claim);
		tell_vcpus(&body, shim);
		tell_nodes(&body, shim);
		tell_map(&body, shim);
		tell_boot(&body, shim, planned);
		tell_devices(&body, &shim->plan.devices);
		tell_tables(&body, &shim->plan.acpi);
		body.machine_sha256 = shim->plan.digest[0] ? shim->plan.digest : NULL;
	}
	return event_writer_put(&shim->events, &event);
}
