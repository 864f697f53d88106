/* SPDX-License-Identifier: MIT */
/* ACPI tables, read back from guest memory by a parser that shares nothing with their writer:
 * fields are found by their offsets in ACPI 6.5 §5.2. */
#include "rig/acpi_parser.h"

#include "guest/layout.h"
#include "rig/boot_guest.h"

int acpi_put(const struct acpi_config *config, const struct guest_memory *memory,
             struct problems *problems, uint64_t *ret_rsdp)
{
	_cleanup_free_ struct acpi_image *image = malloc(sizeof(*image));
	int r;

	cr_assert_not_null(image);
	memset(image, 0xa5, sizeof(*image));
	r = acpi_build(config, memory, problems, image);
	if (r < 0)
		return r;
	*ret_rsdp = LAYOUT_ACPI;
	return guest_memory_write(memory, GPA(LAYOUT_ACPI), image->bytes, image->used);
}

uint64_t acpi_length_of(const struct guest_memory *memory, uint64_t table)
{
	return peek(memory, table + 4, 4);
}

static void check_sum(const struct guest_memory *memory, uint64_t at, uint64_t length)
{
	uint8_t sum = 0;

	for (uint64_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + peek(memory, at + i, 1));
	cr_assert_eq(sum, 0, "checksum of the table at %" PRIx64, at);
}

static void check_text(const struct guest_memory *memory, uint64_t at, const char *want)
{
	char text[16] = "";

	cr_assert_eq(guest_memory_read(memory, GPA(at), text, strlen(want)), 0);
	cr_assert_str_eq(text, want);
}

/* What a header says of its table and of who made it. */
static void check_header(const struct guest_memory *memory, uint64_t table, const char *signature,
                         uint64_t revision)
{
	check_text(memory, table, signature);
	check_sum(memory, table, acpi_length_of(memory, table));
	cr_assert_eq(peek(memory, table + 8, 1), revision, "%s: revision", signature);
	check_text(memory, table + 10, "AXVM");
	check_text(memory, table + 16, "AXVM");
	check_text(memory, table + 20, signature);
	cr_assert_eq(peek(memory, table + 24, 4), 1, "%s: OEM revision", signature);
	check_text(memory, table + 28, "AXVM");
	cr_assert_eq(peek(memory, table + 32, 4), 1, "%s: creator revision", signature);
}

static void check_table(const struct guest_memory *memory, uint64_t table, const char *signature,
                        uint64_t revision, struct acpi_parsed *parsed)
{
	check_header(memory, table, signature, revision);
	cr_assert_eq(table % 16, 0);
	cr_assert_geq(table, parsed->end, "tables do not overlap");
	parsed->end = table + acpi_length_of(memory, table);
	cr_assert_leq(parsed->end, LAYOUT_ACPI + LAYOUT_ACPI_SIZE);
}

struct acpi_parsed acpi_parse(const struct guest_memory *memory, uint64_t rsdp)
{
	struct acpi_parsed p = { .end = rsdp + 36 };
	uint64_t xsdt;

	check_text(memory, rsdp, "RSD PTR ");
	check_text(memory, rsdp + 9, "AXVM");
	check_sum(memory, rsdp, 20);
	check_sum(memory, rsdp, 36);
	cr_assert_eq(rsdp % 16, 0);
	cr_assert_eq(peek(memory, rsdp + 15, 1), 2, "revision");
	cr_assert_eq(peek(memory, rsdp + 20, 4), 36);
	xsdt = peek(memory, rsdp + 24, 8);
	check_header(memory, xsdt, "XSDT", 1);
	cr_assert_eq(acpi_length_of(memory, xsdt), 36 + 5 * 8);
	p.end = xsdt + acpi_length_of(memory, xsdt);
	p.fadt = peek(memory, xsdt + 36, 8);
	p.madt = peek(memory, xsdt + 44, 8);
	p.mcfg = peek(memory, xsdt + 52, 8);
	p.srat = peek(memory, xsdt + 60, 8);
	p.slit = peek(memory, xsdt + 68, 8);
	p.dsdt = peek(memory, p.fadt + 140, 8);
	check_table(memory, p.dsdt, "DSDT", 2, &p);
	check_table(memory, p.fadt, "FACP", 6, &p);
	check_table(memory, p.madt, "APIC", 5, &p);
	check_table(memory, p.mcfg, "MCFG", 1, &p);
	check_table(memory, p.srat, "SRAT", 3, &p);
	check_table(memory, p.slit, "SLIT", 1, &p);
	return p;
}

static void check_register(const struct guest_memory *memory, uint64_t gas, uint64_t address)
{
	cr_assert_eq(peek(memory, gas, 4), 0x01000800, "memory, 8 bits at 0, byte access");
	cr_assert_eq(peek(memory, gas + 4, 8), address);
}

static void check_fadt(const struct guest_memory *memory, const struct acpi_parsed *p)
{
	uint64_t flags = peek(memory, p->fadt + 112, 4);

	cr_assert_eq(acpi_length_of(memory, p->fadt), 276);
	cr_assert_eq(peek(memory, p->fadt + 131, 1), 5);
	cr_assert_eq(peek(memory, p->fadt + 36, 4), 0, "no FACS");
	cr_assert_eq(peek(memory, p->fadt + 132, 8), 0, "no FACS");
	cr_assert_eq(peek(memory, p->fadt + 40, 4), p->dsdt);
	for (uint64_t i = 46; i < 109; i++)
		cr_assert_eq(peek(memory, p->fadt + i, 1), 0, "fixed hardware at %" PRIu64, i);
	for (uint64_t i = 148; i < 244; i++)
		cr_assert_eq(peek(memory, p->fadt + i, 1), 0, "fixed hardware at %" PRIu64, i);
	cr_assert_eq(peek(memory, p->fadt + 109, 2), 0x24, "no VGA, no CMOS RTC, no 8042");
	/* WBINVD, C1 on all, both buttons are devices, reset register, headless, hardware-reduced;
	 * and no more. */
	cr_assert_eq(flags, 0x101435, "%#" PRIx64, flags);
	cr_assert(flags & 1u << 20, "hardware-reduced");
	cr_assert(flags & 1u << 10, "reset register");
	cr_assert(flags & 1u << 4, "power button is a device");
	cr_assert_eq(flags & 1u << 21, 0, "no low-power S0");
	check_register(memory, p->fadt + 116, LAYOUT_ACPI_REGISTERS + ACPI_REG_RESET);
	cr_assert_eq(peek(memory, p->fadt + 128, 1), ACPI_RESET_VALUE);
	check_register(memory, p->fadt + 244, LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_CONTROL);
	check_register(memory, p->fadt + 256, LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_STATUS);
}

static void check_mcfg(const struct guest_memory *memory, const struct acpi_parsed *p)
{
	cr_assert_eq(acpi_length_of(memory, p->mcfg), 60);
	cr_assert_eq(peek(memory, p->mcfg + 44, 8), LAYOUT_ECAM);
	cr_assert_eq(peek(memory, p->mcfg + 52, 4), 0, "segment 0, bus 0 to 0");
}

/* Every vCPU once, in order, nothing else but one I/O APIC and NMI. */
static void check_madt(const struct guest_memory *memory, const struct acpi_parsed *p,
                       const struct acpi_config *config)
{
	uint64_t end = p->madt + acpi_length_of(memory, p->madt);
	size_t cpus = 0, io_apics = 0, nmis = 0, x2apics = 0, x2apic_nmis = 0;

	cr_assert_eq(peek(memory, p->madt + 36, 4), LAYOUT_LAPIC);
	cr_assert_eq(peek(memory, p->madt + 40, 4), 0, "no 8259");
	for (uint64_t at = p->madt + 44; at < end; at += peek(memory, at + 1, 1)) {
		uint64_t type = peek(memory, at, 1), length = peek(memory, at + 1, 1);
		uint32_t id;

		cr_assert_geq(length, 6);
		cr_assert_leq(at + length, end);
		if (type == 0 || type == 9) {
			bool wide = type == 9;

			cr_assert_lt(cpus, config->cpu_count);
			id = (uint32_t)peek(memory, at + (wide ? 4 : 3), wide ? 4 : 1);
			cr_assert_eq(length, wide ? 16 : 8);
			cr_assert_eq(id, config->cpus[cpus].apic_id, "vCPU %zu", cpus);
			cr_assert(wide || id < 255);
			cr_assert_eq(peek(memory, at + (wide ? 12 : 2), wide ? 4 : 1), cpus, "UID");
			cr_assert_eq(peek(memory, at + (wide ? 8 : 4), 4), 1, "enabled");
			cpus++;
			x2apics += wide;
		} else if (type == 1) {
			cr_assert_eq(peek(memory, at + 4, 4), LAYOUT_IOAPIC);
			cr_assert_eq(peek(memory, at + 8, 4), LAYOUT_IOAPIC_GSI, "GSI base");
			cr_assert_leq(LAYOUT_IOAPIC_GSI + LAYOUT_IOAPIC_PINS, LAYOUT_FIRST_MSI_GSI,
			              "before the messages");
			cr_assert_eq(LAYOUT_GED_GSI, LAYOUT_IOAPIC_GSI + LAYOUT_GED_PIN);
			io_apics++;
		} else if (type == 4) {
			cr_assert_eq(peek(memory, at + 2, 1), 255);
			cr_assert_eq(peek(memory, at + 3, 3), 0x010000, "LINT1");
			nmis++;
		} else {
			cr_assert_eq(type, 10);
			cr_assert_eq(peek(memory, at + 4, 4), UINT32_MAX);
			cr_assert_eq(peek(memory, at + 8, 1), 1);
			x2apic_nmis++;
		}
	}
	cr_assert_eq(cpus, config->cpu_count);
	cr_assert_eq(io_apics, 1);
	cr_assert_eq(nmis, 1);
	cr_assert_eq(x2apic_nmis, x2apics > 0);
}

enum { CPUS_MAX = 1024 };

/* The place of an APIC id in the configuration; beyond its end: it is not there. */
static size_t cpu_of(const struct acpi_config *config, uint64_t apic_id)
{
	size_t i = 0;

	while (i < config->cpu_count && config->cpus[i].apic_id != apic_id)
		i++;
	return i;
}

/* Every vCPU on its node, and memory that is exactly the guest's, node by node. */
static void check_srat(const struct guest_memory *memory, const struct acpi_parsed *p,
                       const struct acpi_config *config, const uint64_t *node_sizes)
{
	uint64_t end = p->srat + acpi_length_of(memory, p->srat), memory_end = 0;
	uint64_t sums[GUEST_NODES_MAX] = { 0 }, last_node = 0;
	bool told[CPUS_MAX] = { false };
	size_t cpus = 0;

	cr_assert_leq(config->cpu_count, CPUS_MAX);
	cr_assert_eq(peek(memory, p->srat + 36, 4), 1);
	for (uint64_t at = p->srat + 48; at < end; at += peek(memory, at + 1, 1)) {
		uint64_t type = peek(memory, at, 1), length = peek(memory, at + 1, 1);

		if (type == 0 || type == 2) {
			bool wide = type == 2;
			uint64_t node = wide ? peek(memory, at + 4, 4)
			                     : peek(memory, at + 2, 1) | peek(memory, at + 9, 3)
			                                                         << 8;

			size_t cpu =
				cpu_of(config, peek(memory, at + (wide ? 8 : 3), wide ? 4 : 1));

			cr_assert_lt(cpu, config->cpu_count);
			cr_assert_not(told[cpu], "vCPU %zu is told twice", cpu);
			told[cpu] = true;
			cr_assert_eq(length, wide ? 24 : 16);
			cr_assert_eq(peek(memory, at + (wide ? 12 : 4), 4), 1, "enabled");
			cr_assert_eq(node, config->cpus[cpu].node, "vCPU %zu", cpu);
			/* Linux numbers nodes as it meets them here. */
			cr_assert_geq(node, last_node);
			last_node = node;
			cpus++;
		} else {
			uint64_t node = peek(memory, at + 2, 4);

			cr_assert_eq(type, 1);
			cr_assert_eq(length, 40);
			cr_assert_lt(node, config->nodes);
			cr_assert_eq(peek(memory, at + 28, 4), 1, "enabled");
			cr_assert_geq(peek(memory, at + 8, 8), memory_end, "sorted, no overlap");
			memory_end = peek(memory, at + 8, 8) + peek(memory, at + 16, 8);
			sums[node] += peek(memory, at + 16, 8);
		}
	}
	cr_assert_eq(cpus, config->cpu_count);
	for (size_t i = 0; i < config->nodes; i++)
		cr_assert_eq(sums[i], node_sizes[i], "node %zu", i);
}

static void check_slit(const struct guest_memory *memory, const struct acpi_parsed *p,
                       const struct acpi_config *config)
{
	size_t n = config->nodes;

	cr_assert_eq(acpi_length_of(memory, p->slit), 44 + n * n);
	cr_assert_eq(peek(memory, p->slit + 36, 8), n);
	for (size_t i = 0; i < n * n; i++) {
		uint64_t want = i / n == i % n ? 10 : 20;

		if (config->distances)
			want = config->distances[i];
		cr_assert_eq(peek(memory, p->slit + 44 + i, 1), want);
	}
}

void acpi_check(const struct acpi_config *config, const struct guest_memory *memory,
                const uint64_t *node_sizes)
{
	struct problems problems = { 0 };
	struct acpi_parsed parsed;
	uint64_t rsdp = 0;

	cr_assert_eq(acpi_put(config, memory, &problems, &rsdp), 0, "%s", problems.list[0].message);
	cr_assert_eq(rsdp, LAYOUT_ACPI);
	parsed = acpi_parse(memory, rsdp);
	check_fadt(memory, &parsed);
	check_mcfg(memory, &parsed);
	check_madt(memory, &parsed, config);
	check_srat(memory, &parsed, config, node_sizes);
	check_slit(memory, &parsed, config);
}
