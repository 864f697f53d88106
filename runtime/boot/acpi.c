/* SPDX-License-Identifier: MIT */
/* Writes the ACPI tables, one after the other.
 *
 * Hardware-reduced (ACPI 6.5 §4.1): no fixed hardware, no FACS; sleep and reset are bytes in the
 * MMIO window LAYOUT_ACPI_REGISTERS, events come through the Generic Event Device of the DSDT. The
 * FADT also says what is not there (8042, VGA, CMOS RTC, ISA), so that a guest probes none of it.
 * Only the MADT lists processors: without idle or performance states the namespace has nothing to
 * add.
 *
 * The XSDT names its tables in a fixed order, RSDP and XSDT come first, and every header carries
 * our own creator, the DSDT's too: the bytes do not depend on which release of iasl compiled it. */
#include "boot/acpi.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/acpi_tables.h"
#include "boot/dsdt.h"
#include "guest/layout.h"

#define OEM_ID "AXVM\0"
#define CREATOR_ID "AXVM"
#define TABLE_ALIGN 16

#define SPACE_MEMORY 0
#define ACCESS_BYTE 1

#define PROFILE_ENTERPRISE_SERVER 4

/* IAPC_BOOT_ARCH, table 5.10; absent: LEGACY_DEVICES, 8042, MSI not supported. */
#define BOOT_ARCH_NO_VGA (1u << 2)
#define BOOT_ARCH_NO_CMOS_RTC (1u << 5)

/* FADT flags, table 5.9. "Power button" and "sleep button" set: they are not fixed hardware. */
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_PWR_BUTTON (1u << 4)
#define FADT_SLP_BUTTON (1u << 5)
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HEADLESS (1u << 12)
#define FADT_HW_REDUCED_ACPI (1u << 20)

#define ENABLED 1u
#define XAPIC_IDS 255u /* ids from here on are x2APIC's */
#define LINT_NMI 1
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20

enum table { /* in the XSDT's order; the DSDT is the FADT's */
	     TABLE_FADT,
	     TABLE_MADT,
	     TABLE_MCFG,
	     TABLE_SRAT,
	     TABLE_SLIT,
	     XSDT_ENTRIES,
};

struct acpi_xsdt { /* §5.2.8 */
	struct acpi_header header;
	uint64_t entries[XSDT_ENTRIES];
} ACPI_PACKED;

/* Fills the area from its start. `full` is set, and nothing more written, when something did not
 * fit: checked once, at the end. */
struct writer {
	const struct acpi_config *config;
	const struct guest_memory *memory;
	uint8_t *area;
	size_t size;
	size_t used;
	bool full;
	uint64_t dsdt;
};

static void append(struct writer *writer, const void *bytes, size_t length)
{
	if (writer->full || length > writer->size - writer->used) {
		writer->full = true;
		return;
	}
	memcpy(writer->area + writer->used, bytes, length);
	writer->used += length;
}

#define APPEND(writer, ...)                                                                        \
	do {                                                                                       \
		__typeof__(__VA_ARGS__) append_ = __VA_ARGS__;                                     \
		append((writer), &append_, sizeof(append_));                                       \
	} while (0)

static uint8_t checksum(const void *bytes, size_t length)
{
	const uint8_t *p = bytes;
	uint8_t sum = 0;

	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + p[i]);
	return (uint8_t)-sum;
}

/* The next table's offset, aligned; the gap stays zero. */
static size_t begin(struct writer *writer)
{
	static const uint8_t zeros[TABLE_ALIGN];

	append(writer, zeros, ALIGN_UP(writer->used, TABLE_ALIGN) - writer->used);
	return writer->used;
}

/* A header, all but length and checksum, which seal() knows. */
static struct acpi_header header(const char *signature, uint8_t revision)
{
	struct acpi_header h = { .revision = revision, .oem_revision = 1, .creator_revision = 1 };

	memcpy(h.signature, signature, sizeof(h.signature));
	memcpy(h.oem_id, OEM_ID, sizeof(h.oem_id));
	memcpy(h.oem_table_id, "AXVM", 4);
	memcpy(h.oem_table_id + 4, signature, 4);
	memcpy(h.creator_id, CREATOR_ID, sizeof(h.creator_id));
	return h;
}

/* Ends the table that began at `start`. */
static void seal(struct writer *writer, size_t start)
{
	struct acpi_header h;

	if (writer->full)
		return;
	memcpy(&h, writer->area + start, sizeof(h));
	h.length = (uint32_t)(writer->used - start);
	h.checksum = 0;
	memcpy(writer->area + start, &h, sizeof(h));
	h.checksum = checksum(writer->area + start, h.length);
	memcpy(writer->area + start, &h, sizeof(h));
}

static struct acpi_gas acpi_register(uint32_t offset)
{
	return (struct acpi_gas){
		.space = SPACE_MEMORY,
		.bit_width = 8,
		.access_size = ACCESS_BYTE,
		.address = LAYOUT_ACPI_REGISTERS + offset,
	};
}

static void write_fadt(struct writer *writer)
{
	struct acpi_fadt fadt = {
		.header = header("FACP", 6),
		.dsdt = (uint32_t)writer->dsdt,
		.preferred_profile = PROFILE_ENTERPRISE_SERVER,
		.iapc_boot_arch = BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_CMOS_RTC,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
		         FADT_RESET_REG_SUP | FADT_HEADLESS | FADT_HW_REDUCED_ACPI,
		.reset_register = acpi_register(ACPI_REG_RESET),
		.reset_value = ACPI_RESET_VALUE,
		.minor_version = 5,
		.x_dsdt = writer->dsdt,
		.sleep_control = acpi_register(ACPI_REG_SLEEP_CONTROL),
		.sleep_status = acpi_register(ACPI_REG_SLEEP_STATUS),
		.hypervisor_vendor = "AXVM",
	};

	APPEND(writer, fadt);
}

static void write_madt(struct writer *writer)
{
	const struct acpi_config *config = writer->config;
	bool wide = false;

	APPEND(writer, (struct acpi_madt){
			       .header = header("APIC", 5),
			       .local_apic = LAYOUT_LAPIC,
		       });
	for (size_t i = 0; i < config->cpu_count; i++) {
		uint32_t id = config->cpus[i].apic_id;

		if (id < XAPIC_IDS && i < XAPIC_IDS) {
			APPEND(writer, (struct acpi_madt_apic){
					       .type = 0,
					       .length = sizeof(struct acpi_madt_apic),
					       .uid = (uint8_t)i,
					       .apic_id = (uint8_t)id,
					       .flags = ENABLED,
				       });
			continue;
		}
		wide = true;
		APPEND(writer, (struct acpi_madt_x2apic){
				       .type = 9,
				       .length = sizeof(struct acpi_madt_x2apic),
				       .apic_id = id,
				       .flags = ENABLED,
				       .uid = (uint32_t)i,
			       });
	}
	APPEND(writer, (struct acpi_madt_io_apic){
			       .type = 1,
			       .length = sizeof(struct acpi_madt_io_apic),
			       .address = LAYOUT_IOAPIC,
			       .gsi_base = LAYOUT_IOAPIC_GSI,
		       });
	/* NMI at LINT1 of all processors, with the bus's default trigger and polarity (flags 0). */
	APPEND(writer, (struct acpi_madt_nmi){
			       .type = 4,
			       .length = sizeof(struct acpi_madt_nmi),
			       .uid = UINT8_MAX,
			       .lint = LINT_NMI,
		       });
	if (wide)
		APPEND(writer, (struct acpi_madt_x2apic_nmi){
				       .type = 10,
				       .length = sizeof(struct acpi_madt_x2apic_nmi),
				       .uid = UINT32_MAX,
				       .lint = LINT_NMI,
			       });
}

static void write_mcfg(struct writer *writer)
{
	APPEND(writer, (struct acpi_mcfg){ .header = header("MCFG", 1), .base = LAYOUT_ECAM });
}

static void write_srat_cpu(struct writer *writer, const struct acpi_cpu *cpu)
{
	if (cpu->apic_id < XAPIC_IDS)
		APPEND(writer, (struct acpi_srat_apic){
				       .type = 0,
				       .length = sizeof(struct acpi_srat_apic),
				       .domain_low = (uint8_t)cpu->node,
				       .apic_id = (uint8_t)cpu->apic_id,
				       .flags = ENABLED,
			       });
	else
		APPEND(writer, (struct acpi_srat_x2apic){
				       .type = 2,
				       .length = sizeof(struct acpi_srat_x2apic),
				       .domain = cpu->node,
				       .apic_id = cpu->apic_id,
				       .flags = ENABLED,
			       });
}

/* Writes processors by node: Linux numbers nodes in the order in which they appear here, and its
 * numbers must be the spec's. */
static void write_srat(struct writer *writer)
{
	const struct guest_memory *memory = writer->memory;
	const struct acpi_config *config = writer->config;

	APPEND(writer, (struct acpi_srat){ .header = header("SRAT", 3), .reserved1 = 1 });
	for (size_t node = 0; node < config->nodes; node++)
		for (size_t i = 0; i < config->cpu_count; i++)
			if (config->cpus[i].node == node)
				write_srat_cpu(writer, &config->cpus[i]);
	for (size_t i = 0; i < memory->count; i++)
		APPEND(writer, (struct acpi_srat_memory){
				       .type = 1,
				       .length = sizeof(struct acpi_srat_memory),
				       .domain = memory->regions[i].node,
				       .base = memory->regions[i].base.v,
				       .size = memory->regions[i].size,
				       .flags = ENABLED,
			       });
}

static uint8_t distance(const struct acpi_config *config, size_t from, size_t to)
{
	if (config->distances)
		return config->distances[from * config->nodes + to];
	return from == to ? DISTANCE_LOCAL : DISTANCE_REMOTE;
}

static void write_slit(struct writer *writer)
{
	const struct acpi_config *config = writer->config;

	APPEND(writer, (struct acpi_slit){
			       .header = header("SLIT", 1),
			       .localities = config->nodes,
		       });
	for (size_t from = 0; from < config->nodes; from++)
		for (size_t to = 0; to < config->nodes; to++)
			APPEND(writer, distance(config, from, to));
}

static void write_dsdt(struct writer *writer)
{
	static_assert(sizeof(dsdt_aml) > sizeof(struct acpi_header), "there is AML in it");

	APPEND(writer, header("DSDT", 2));
	append(writer, dsdt_aml + sizeof(struct acpi_header),
	       sizeof(dsdt_aml) - sizeof(struct acpi_header));
}

static void write_rsdp(uint8_t *area, uint64_t xsdt)
{
	struct acpi_rsdp rsdp = { .revision = 2, .length = sizeof(rsdp), .xsdt = xsdt };

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, OEM_ID, sizeof(rsdp.oem_id));
	rsdp.checksum = checksum(&rsdp, offsetof(struct acpi_rsdp, length));
	rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
	memcpy(area, &rsdp, sizeof(rsdp));
}

static void (*const writers[])(struct writer *) = {
	[TABLE_FADT] = write_fadt, [TABLE_MADT] = write_madt, [TABLE_MCFG] = write_mcfg,
	[TABLE_SRAT] = write_srat, [TABLE_SLIT] = write_slit,
};
static_assert(ARRAY_SIZE(writers) == XSDT_ENTRIES, "a writer for each table");

/* Writes one table, from its header to its checksum; returns its guest-physical address. */
static uint64_t write_table(struct writer *writer, void (*write)(struct writer *))
{
	size_t start = begin(writer);

	write(writer);
	seal(writer, start);
	return LAYOUT_ACPI + start;
}

/* Checks what only a bug in the caller can get wrong. */
static int check(const struct acpi_config *config, const struct guest_memory *memory,
                 struct problems *problems)
{
	const char *wrong = NULL;

	if (config->cpu_count == 0 || config->nodes == 0 || config->nodes > GUEST_NODES_MAX)
		wrong = "there must be a vCPU, and 1 to 8 nodes";
	for (size_t i = 0; !wrong && i < config->cpu_count; i++) {
		if (config->cpus[i].node >= config->nodes || config->cpus[i].apic_id == UINT32_MAX)
			wrong = "a vCPU has a node or an APIC id that is none";
		for (size_t j = 0; !wrong && j < i; j++)
			if (config->cpus[i].apic_id == config->cpus[j].apic_id)
				wrong = "two vCPUs have one APIC id";
	}
	for (size_t i = 0; !wrong && i < memory->count; i++)
		if (memory->regions[i].node >= config->nodes)
			wrong = "memory is on a node that is none";
	for (size_t i = 0; !wrong && i < config->nodes * config->nodes; i++) {
		uint8_t d = distance(config, i / config->nodes, i % config->nodes);

		if ((i / config->nodes == i % config->nodes) != (d == DISTANCE_LOCAL) ||
		    d < DISTANCE_LOCAL)
			wrong = "a node distance is none";
	}
	if (wrong)
		return problems_add(problems, ERROR_CODE_INTERNAL, EINVAL, NULL,
		                    "the ACPI tables cannot be made: %s", wrong);
	return 0;
}

static void note_table(struct acpi_image *image, size_t start, size_t length)
{
	struct acpi_image_table *table = &image->tables[image->count++];

	memcpy(table->signature, image->bytes + start, 4);
	table->signature[4] = '\0';
	table->offset = (uint32_t)start;
	table->length = (uint32_t)length;
}

static void note_sealed(struct acpi_image *image, uint64_t address)
{
	struct acpi_header head;

	memcpy(&head, image->bytes + (address - LAYOUT_ACPI), sizeof(head));
	note_table(image, address - LAYOUT_ACPI, head.length);
}

int acpi_build(const struct acpi_config *config, const struct guest_memory *memory,
               struct problems *problems, struct acpi_image *ret)
{
	const size_t xsdt_start = ALIGN_UP(sizeof(struct acpi_rsdp), TABLE_ALIGN);
	struct acpi_xsdt xsdt = { .header = header("XSDT", 1) };
	struct writer writer = { .config = config, .memory = memory, .size = LAYOUT_ACPI_SIZE };
	int r;

	r = check(config, memory, problems);
	if (r < 0)
		return r;
	if (memory->count == 0 || memory->regions[0].size < LAYOUT_ACPI + LAYOUT_ACPI_SIZE)
		return problems_add(problems, ERROR_CODE_SPEC_INVALID, EFAULT, "memory.nodes",
		                    "there is no RAM at 0x%x for the ACPI tables: give the first "
		                    "node at least 1 MiB",
		                    LAYOUT_ACPI);
	writer.area = ret->bytes;
	/* The tables come first, after the space for RSDP and XSDT, which need their addresses. */
	writer.used = xsdt_start + sizeof(xsdt);
	memset(writer.area, 0, writer.used);
	writer.dsdt = write_table(&writer, write_dsdt);
	for (size_t i = 0; i < XSDT_ENTRIES; i++)
		xsdt.entries[i] = write_table(&writer, writers[i]);
	if (writer.full)
		return problems_add(problems, ERROR_CODE_HOST_LIMIT, ENOSPC, "cpus.count",
		                    "the ACPI tables of %zu vCPUs and %zu nodes do not fit in %u "
		                    "bytes: ask for fewer vCPUs",
		                    config->cpu_count, config->nodes, LAYOUT_ACPI_SIZE);
	xsdt.header.length = sizeof(xsdt);
	xsdt.header.checksum = checksum(&xsdt, sizeof(xsdt));
	memcpy(writer.area + xsdt_start, &xsdt, sizeof(xsdt));
	write_rsdp(writer.area, LAYOUT_ACPI + xsdt_start);
	ret->used = writer.used;
	ret->count = 0;
	note_table(ret, 0, sizeof(struct acpi_rsdp));
	note_table(ret, xsdt_start, sizeof(xsdt));
	note_sealed(ret, writer.dsdt);
	for (size_t i = 0; i < XSDT_ENTRIES; i++)
		note_sealed(ret, xsdt.entries[i]);
	return 0;
}
