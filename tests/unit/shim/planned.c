/* SPDX-License-Identifier: MIT */
/* The event that tells a plan: each of its fields, what is absent, and the largest that there can
 * be. */
#include "shim/planned.h"
#include "shim/announce.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "host/cpulist.h"
#include "interface/wire.h"
#include "shim/shim.h"

static struct shim shim;
static struct planned planned;
static Axvm__V1__Event *event;
static size_t event_size;

static void begin(void)
{
	memset(&shim, 0, sizeof(shim));
	memset(&planned, 0, sizeof(planned));
}

/* Tells it behind `before` stages; the last event of the stream is in `event`. */
static void tell(unsigned before)
{
	static uint8_t bytes[EVENT_RING_SIZE];
	int fd = memfd_create("events", MFD_CLOEXEC);
	struct wire_cursor cursor = { bytes, bytes };
	struct wire_field field;

	cr_assert_eq(event_writer_init(&shim.events, fd), 0);
	event_writer_set_vm_id(&shim.events, shim.spec.vm_id);
	shim.stage = STAGE_ARRIVE;
	shim.stage_ns[STAGE_ARRIVE] = UINT64_MAX;
	for (unsigned i = 0; i < before; i++)
		cr_assert_eq(announce_stage(&shim), 0);
	cr_assert_eq(planned_tell(&shim, &planned), 0);
	cr_assert_eq(event_finish(&shim.events, 0), 0);
	event_writer_done(&shim.events);
	cursor.end += pread(fd, bytes, sizeof(bytes), 0);
	close(fd);
	for (unsigned i = 0; i <= before; i++)
		cr_assert_eq(wire_next(&cursor, &field), 1);
	cr_assert_eq(wire_next(&cursor, &field), 0);
	event_size = field.length;
	event = axvm__v1__event__unpack(NULL, field.length, field.bytes);
	cr_assert(event && event->body_case == AXVM__V1__EVENT__BODY_PLANNED);
}

static void done(void)
{
	axvm__v1__event__free_unpacked(event, NULL);
}

/* A number or flag is there, and has this value. */
#define IS(message, field, value)                                                                  \
	cr_assert((message)->has_##field && (message)->field == (value), #field)
#define SAYS(message, field, value) cr_assert_str_eq((message)->field, (value))

static void unmet(size_t i, const char *name, const char *asked, const char *found)
{
	struct verdict_row *row = &shim.verdict.rows[i];

	row->name = name;
	snprintf(row->asked, sizeof(row->asked), "%s", asked);
	snprintf(row->found, sizeof(row->found), "%s", found);
	row->met = false;
	row->waived = true;
	shim.verdict.count = i + 1;
	shim.verdict.unmet++;
}

/* A value of its own for each field. */
static void make_plan(void)
{
	struct placement *placement = &shim.placement;
	struct plan_devices *devices = &shim.plan.devices;

	strcpy(shim.spec.vm_id, "web-17");
	strcpy(shim.profile.name, "xv2");
	shim.spec.admission = ADMISSION_REPORT;
	shim.verdict.rows[0] = (struct verdict_row){ .name = "vpid", .met = true };
	unmet(1, "ept", "yes", "no");
	placement->vcpu_count = 2;
	placement->pinned = true;
	placement->vcpus[0] = (typeof(placement->vcpus[0])){ 5, 0, 3, true, false };
	placement->vcpus[1] =
		(typeof(placement->vcpus[0])){ PLACEMENT_UNPINNED, 1, -1, false, true };
	shim.topology.vcpus[0].apic_id = 7;
	shim.topology.vcpus[1].apic_id = 9;
	shim.spec.io.threads_per_node = 2;
	placement->node_count = shim.topology.node_count = shim.spec.memory.count = 2;
	placement->nodes[0] = (struct placement_node){ .host_node = 4,
		                                       .chosen = true,
		                                       .io = { { 11, true }, { -1, false } } };
	placement->nodes[1] =
		(struct placement_node){ .host_node = -1, .io = { { 13, false }, { 14, false } } };
	cpu_bitmap_add(&placement->nodes[0].cpus, 2);
	cpu_bitmap_add(&placement->nodes[0].cpus, 500);
	shim.spec.memory.nodes[0].size = 64 * MIB;
	shim.spec.memory.nodes[1].size = 32 * MIB;
	shim.spec.memory.page_size = PAGE_SIZE_2M;
	for (size_t i = 0; i < 4; i++)
		shim.topology.distances[i / 2][i % 2] = (uint8_t)(10 + i);
	cr_assert_eq(guest_memory_layout(&shim.plan.memory,
	                                 (const uint64_t[]){ 64 * MIB, 32 * MIB }, 2),
	             0);
	shim.spec.boot.kind = BOOT_KIND_LINUX_BOOT;
	shim.plan.acpi.used = 1;
	shim.plan.acpi.count = 2;
	shim.plan.acpi.tables[0] = (struct acpi_image_table){ "RSD ", 0, 3 };
	shim.plan.acpi.tables[1] = (struct acpi_image_table){ "SRAT", 48, 5 };
	memcpy(shim.plan.acpi.bytes, "abc", 3);
	devices->count = 2;
	devices->list[0] = (struct plan_device){ "disk", "one", 2, 3, 1, 0xc0000000, 24, 6 };
	devices->list[1] = (struct plan_device){ "rng", "", 4, 1, 2, 0xc0008000, 28, 0 };
	strcpy(shim.plan.digest, "0123");
	planned = (struct planned){ .placed = true,
		                    .other_profile = "dev",
		                    .claims = "/c",
		                    .claims_error = "why",
		                    .will_claim = true,
		                    .loaded = { "ELF", 0x1000, 0x3000, 0x8000, 0x100 } };
}

static void expect_range(const Axvm__V1__PlannedRange *range, uint64_t address, uint64_t size,
                         const char *what)
{
	IS(range, address, address);
	IS(range, size, size);
	SAYS(range, what, what);
}

static void expect_verdict(const Axvm__V1__Planned *plan)
{
	SAYS(plan, profile, "xv2");
	IS(plan, admitted, true);
	SAYS(plan, other_profile, "dev");
	cr_assert_eq(plan->n_unmet, 1);
	SAYS(plan->unmet[0], name, "ept");
	SAYS(plan->unmet[0], asked, "yes");
	SAYS(plan->unmet[0], found, "no");
	IS(plan->unmet[0], met, false);
	IS(plan->unmet[0], waived, true);
}

static void expect_threads(const Axvm__V1__Planned *plan)
{
	cr_assert(plan->n_vcpus == 2 && plan->n_nodes == 2);
	IS(plan, pinned, true);
	for (uint32_t i = 0; i < 2; i++) {
		IS(plan->vcpus[i], index, i);
		IS(plan->vcpus[i], apic_id, i ? 9u : 7u);
		IS(plan->vcpus[i], guest_node, i);
		IS(plan->vcpus[i], shares_cpu, i == 0);
		IS(plan->vcpus[i], far_from_memory, i == 1);
		IS(plan->nodes[i], guest_node, i);
		IS(plan->nodes[i], size_mib, i ? 32u : 64u);
		IS(plan->nodes[i], chosen, i == 0);
		cr_assert_eq(plan->nodes[i]->n_distances, 2);
		for (uint32_t k = 0; k < 2; k++)
			cr_assert_eq(plan->nodes[i]->distances[k], 10 + 2 * i + k);
		cr_assert_eq(plan->nodes[i]->n_io_threads, 2);
	}
	IS(plan->vcpus[0], host_cpu, 5);
	IS(plan->vcpus[0], host_node, 3);
	IS(plan->nodes[0], host_node, 4);
	IS(plan->nodes[0]->io_threads[0], host_cpu, 11);
	IS(plan->nodes[0]->io_threads[0], shares_cpu, true);
	IS(plan->nodes[1]->io_threads[1], host_cpu, 14);
	IS(plan->nodes[1]->io_threads[1], shares_cpu, false);
	/* Absent, and not some number, where there is none. */
	cr_assert_not(plan->vcpus[1]->has_host_cpu || plan->vcpus[1]->has_host_node);
	cr_assert_not(plan->nodes[1]->has_host_node || plan->nodes[0]->io_threads[1]->has_host_cpu);
	cr_assert_eq(plan->nodes[0]->n_host_cpus, 2);
	cr_assert(plan->nodes[0]->host_cpus[0] == 2 && plan->nodes[0]->host_cpus[1] == 500);
	cr_assert_eq(plan->nodes[1]->n_host_cpus, 0);
}

static void expect_machine(const Axvm__V1__Planned *plan)
{
	IS(plan, page_size, AXVM__V1__PAGE_SIZE__PAGE_SIZE_2M);
	cr_assert_eq(plan->n_ranges, 2 + 2 + 5);
	expect_range(plan->ranges[1], 64 * MIB, 32 * MIB, "RAM");
	IS(plan->ranges[0], guest_node, 0);
	IS(plan->ranges[1], guest_node, 1);
	expect_range(plan->ranges[2], LAYOUT_LOW_RAM_END, LAYOUT_ACPI - LAYOUT_LOW_RAM_END,
	             "reserved");
	expect_range(plan->ranges[3], LAYOUT_ACPI, LAYOUT_ACPI_SIZE, "ACPI tables");
	expect_range(plan->ranges[8], LAYOUT_IOAPIC, 0x1000, "I/O APIC");
	cr_assert_not(plan->ranges[8]->has_guest_node);
	cr_assert_eq(plan->n_loaded, 2);
	expect_range(plan->loaded[0], 0x1000, 0x2000, "ELF");
	expect_range(plan->loaded[1], 0x8000, 0x100, "initrd");
	IS(plan, loaded_unknown, false);
	cr_assert_not(plan->has_load_address);
	cr_assert_eq(plan->n_devices, 2);
	SAYS(plan->devices[0], kind, "disk");
	SAYS(plan->devices[0], id, "one");
	IS(plan->devices[0], slot, 1);
	IS(plan->devices[0], bar, 0xc0000000);
	IS(plan->devices[0], queues, 3);
	IS(plan->devices[0], first_gsi, 24);
	IS(plan->devices[0], io_thread, 6);
	cr_assert_null(plan->devices[1]->id);
	cr_assert_eq(plan->n_tables, 2);
	SAYS(plan->tables[0], signature, "RSDP");
	SAYS(plan->tables[1], signature, "SRAT");
	IS(plan->tables[1], address, LAYOUT_ACPI + 48);
	IS(plan->tables[1], size, 5);
	/* FIPS 180-2, of "abc". */
	SAYS(plan->tables[0], sha256,
	     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	SAYS(plan, machine_sha256, "0123");
	SAYS(plan, claims, "/c");
	SAYS(plan, claims_error, "why");
	IS(plan, will_claim, true);
}

Test(planned, every_field_is_what_was_planned)
{
	begin();
	make_plan();
	tell(0);
	cr_assert_str_eq(event->vm_id, "web-17");
	expect_verdict(event->planned);
	expect_threads(event->planned);
	expect_machine(event->planned);
	done();
}

/* A flat image, no KVM, no claims; a host that is refused. */
Test(planned, what_is_not_known_is_absent)
{
	begin();
	make_plan();
	shim.spec.admission = ADMISSION_ENFORCE;
	shim.spec.boot.kind = BOOT_KIND_FLAT_BOOT;
	shim.spec.boot.load_address = GPA(0x200000);
	shim.plan.acpi.used = 0;
	shim.plan.digest[0] = '\0';
	planned = (struct planned){ .placed = true };
	tell(0);
	IS(event->planned, admitted, false);
	IS(event->planned, load_address, 0x200000);
	IS(event->planned, will_claim, false);
	cr_assert_not(event->planned->has_loaded_unknown);
	cr_assert(event->planned->n_loaded == 0 && event->planned->n_tables == 0);
	cr_assert_null(event->planned->machine_sha256);
	cr_assert_null(event->planned->claims);
	cr_assert_null(event->planned->claims_error);
	cr_assert_null(event->planned->other_profile);
	/* Neither APICs nor PCI. */
	cr_assert_eq(event->planned->n_ranges, 2 + 2);
	done();
	/* A kernel that is not here; an initrd there is none of. */
	shim.spec.boot.kind = BOOT_KIND_LINUX_BOOT;
	planned = (struct planned){ .placed = true, .loaded_unknown = true };
	tell(0);
	IS(event->planned, loaded_unknown, true);
	cr_assert_eq(event->planned->n_loaded, 0);
	done();
	planned =
		(struct planned){ .placed = true, .loaded = { .format = "ELF", .kernel_end = 1 } };
	tell(0);
	cr_assert_eq(event->planned->n_loaded, 1);
	done();
	/* No place for the VM: the verdict alone. */
	planned = (struct planned){ 0 };
	tell(0);
	SAYS(event->planned, profile, "xv2");
	cr_assert_eq(event->planned->n_unmet, 1);
	cr_assert(event->planned->n_vcpus == 0 && event->planned->n_nodes == 0 &&
	          event->planned->n_ranges == 0);
	cr_assert(event->planned->n_devices == 0 && !event->planned->has_pinned &&
	          !event->planned->has_will_claim);
	cr_assert_null(event->planned->machine_sha256);
	done();
}

static void fill(char *text, size_t size, char with)
{
	memset(text, with, size - 1);
	text[size - 1] = '\0';
}

/* As much as there can be of everything, in numbers as large as they can be. */
static void make_largest_plan(void)
{
	static char name[PROFILE_NAME_MAX], path[SPEC_PATH_MAX + 1], id[SPEC_ID_MAX + 1],
		text[VERDICT_TEXT_MAX];
	struct placement *placement = &shim.placement;
	uint64_t sizes[SPEC_NODES_MAX];

	fill(name, sizeof(name), 'n');
	fill(path, sizeof(path), 'p');
	fill(id, sizeof(id), 'i');
	fill(text, sizeof(text), 't');
	strcpy(shim.spec.vm_id, id);
	strcpy(shim.profile.name, name);
	for (size_t i = 0; i < PROFILE_NAMES_MAX; i++)
		unmet(i, name, text, text);
	placement->vcpu_count = SPEC_CPUS_MAX;
	for (size_t i = 0; i < SPEC_CPUS_MAX; i++) {
		placement->vcpus[i] =
			(typeof(placement->vcpus[0])){ FACTS_CPUS_MAX - 1, 7, FACTS_NODES_MAX - 1,
			                               true, true };
		shim.topology.vcpus[i].apic_id = UINT32_MAX;
	}
	placement->node_count = shim.topology.node_count = shim.spec.memory.count = SPEC_NODES_MAX;
	shim.spec.io.threads_per_node = SPEC_IO_THREADS_MAX;
	memset(shim.topology.distances, 255, sizeof(shim.topology.distances));
	for (size_t i = 0; i < SPEC_NODES_MAX; i++) {
		placement->nodes[i] =
			(struct placement_node){ .host_node = FACTS_NODES_MAX - 1, .chosen = true };
		memset(&placement->nodes[i].cpus, 255, sizeof(placement->nodes[i].cpus));
		for (size_t k = 0; k < SPEC_IO_THREADS_MAX; k++)
			placement->nodes[i].io[k] =
				(struct placement_io){ FACTS_CPUS_MAX - 1, true };
		sizes[i] = shim.spec.memory.nodes[i].size = 64 * GIB;
	}
	cr_assert_eq(guest_memory_layout(&shim.plan.memory, sizes, SPEC_NODES_MAX), 0);
	shim.spec.boot.kind = BOOT_KIND_LINUX_BOOT;
	shim.plan.acpi.used = LAYOUT_ACPI_SIZE;
	shim.plan.acpi.count = ACPI_TABLES_MAX;
	for (size_t i = 0; i < ACPI_TABLES_MAX; i++)
		shim.plan.acpi.tables[i] = (struct acpi_image_table){ "SRAT", LAYOUT_ACPI_SIZE / 2,
			                                              LAYOUT_ACPI_SIZE / 2 };
	shim.plan.devices.count = PLAN_DEVICES_MAX;
	for (size_t i = 0; i < PLAN_DEVICES_MAX; i++)
		shim.plan.devices.list[i] =
			(struct plan_device){ "balloon", id, 2, 64, 31, 0xcfff8000, 4096, 127 };
	fill(shim.plan.digest, sizeof(shim.plan.digest), 'd');
	planned = (struct planned){ .placed = true,
		                    .other_profile = name,
		                    .claims = path,
		                    .will_claim = true,
		                    .loaded = { "bzImage", 1ull << 60, 1ull << 61, 1ull << 60,
		                                1ull << 60 } };
}

Test(planned, the_largest_plan_is_one_event)
{
	begin();
	make_largest_plan();
	tell(3);
	/* Or it is not the largest. */
	cr_assert_gt(event_size, 56 * KIB, "%zu", event_size);
	cr_assert_eq(event->planned->n_vcpus, SPEC_CPUS_MAX);
	cr_assert_eq(event->planned->nodes[SPEC_NODES_MAX - 1]->n_host_cpus, CPU_BITMAP_MAX);
	cr_assert_eq(event->planned->n_devices, PLAN_DEVICES_MAX);
	cr_assert_not(event->has_dropped);
	fprintf(stderr, "planned: the largest has %zu bytes\n", event_size);
	done();
}
