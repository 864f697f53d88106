/* SPDX-License-Identifier: MIT */
/* ACPI tables, read back from guest memory by a parser that shares nothing with their writer:
 * fields are found by their offsets in ACPI 6.5 §5.2. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "boot/acpi.h"
#include "boot_guest.h"
#include "machine/layout.h"

#define CPUS_MAX 300

/* The tables where the guest finds them. */
static int put_tables(const struct acpi_config *config, const struct guest_memory *memory,
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

/* What the parser makes of the tables. */
struct parsed {
	uint64_t fadt, madt, mcfg, srat, slit, dsdt; /* addresses */
	uint64_t end;                               /* the first byte after the last table */
};

static uint64_t length_of(const struct guest_memory *memory, uint64_t table)
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

static void check_table(const struct guest_memory *memory, uint64_t table, const char *signature,
                        struct parsed *parsed)
{
	check_text(memory, table, signature);
	check_sum(memory, table, length_of(memory, table));
	check_text(memory, table + 10, "AXVM");
	check_text(memory, table + 28, "AXVM");
	cr_assert_eq(table % 16, 0);
	cr_assert_geq(table, parsed->end, "tables do not overlap");
	parsed->end = table + length_of(memory, table);
	cr_assert_leq(parsed->end, LAYOUT_ACPI + LAYOUT_ACPI_SIZE);
}

static struct parsed parse(const struct guest_memory *memory, uint64_t rsdp)
{
	struct parsed p = { .end = rsdp + 36 };
	uint64_t xsdt;

	check_text(memory, rsdp, "RSD PTR ");
	check_text(memory, rsdp + 9, "AXVM");
	check_sum(memory, rsdp, 20);
	check_sum(memory, rsdp, 36);
	cr_assert_eq(rsdp % 16, 0);
	cr_assert_eq(peek(memory, rsdp + 15, 1), 2, "revision");
	cr_assert_eq(peek(memory, rsdp + 20, 4), 36);
	xsdt = peek(memory, rsdp + 24, 8);
	check_text(memory, xsdt, "XSDT");
	check_sum(memory, xsdt, length_of(memory, xsdt));
	cr_assert_eq(length_of(memory, xsdt), 36 + 5 * 8);
	p.end = xsdt + length_of(memory, xsdt);
	p.fadt = peek(memory, xsdt + 36, 8);
	p.madt = peek(memory, xsdt + 44, 8);
	p.mcfg = peek(memory, xsdt + 52, 8);
	p.srat = peek(memory, xsdt + 60, 8);
	p.slit = peek(memory, xsdt + 68, 8);
	p.dsdt = peek(memory, p.fadt + 140, 8);
	check_table(memory, p.dsdt, "DSDT", &p);
	check_table(memory, p.fadt, "FACP", &p);
	check_table(memory, p.madt, "APIC", &p);
	check_table(memory, p.mcfg, "MCFG", &p);
	check_table(memory, p.srat, "SRAT", &p);
	check_table(memory, p.slit, "SLIT", &p);
	return p;
}

static void check_register(const struct guest_memory *memory, uint64_t gas, uint64_t address)
{
	cr_assert_eq(peek(memory, gas, 4), 0x01000800, "memory, 8 bits at 0, byte access");
	cr_assert_eq(peek(memory, gas + 4, 8), address);
}

static void check_fadt(const struct guest_memory *memory, const struct parsed *p)
{
	uint64_t flags = peek(memory, p->fadt + 112, 4);

	cr_assert_eq(length_of(memory, p->fadt), 276);
	cr_assert_eq(peek(memory, p->fadt + 8, 1), 6);
	cr_assert_eq(peek(memory, p->fadt + 131, 1), 5);
	cr_assert_eq(peek(memory, p->fadt + 36, 4), 0, "no FACS");
	cr_assert_eq(peek(memory, p->fadt + 132, 8), 0, "no FACS");
	cr_assert_eq(peek(memory, p->fadt + 40, 4), p->dsdt);
	for (uint64_t i = 46; i < 109; i++)
		cr_assert_eq(peek(memory, p->fadt + i, 1), 0, "fixed hardware at %" PRIu64, i);
	for (uint64_t i = 148; i < 244; i++)
		cr_assert_eq(peek(memory, p->fadt + i, 1), 0, "fixed hardware at %" PRIu64, i);
	cr_assert_eq(peek(memory, p->fadt + 109, 2), 0x24, "no VGA, no CMOS RTC, no 8042");
	cr_assert(flags & 1u << 20, "hardware-reduced");
	cr_assert(flags & 1u << 10, "reset register");
	cr_assert(flags & 1u << 4, "power button is a device");
	cr_assert_eq(flags & 1u << 21, 0, "no low-power S0");
	check_register(memory, p->fadt + 116, LAYOUT_ACPI_REGISTERS + ACPI_REG_RESET);
	cr_assert_eq(peek(memory, p->fadt + 128, 1), ACPI_RESET_VALUE);
	check_register(memory, p->fadt + 244, LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_CONTROL);
	check_register(memory, p->fadt + 256, LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_STATUS);
}

static void check_mcfg(const struct guest_memory *memory, const struct parsed *p)
{
	cr_assert_eq(length_of(memory, p->mcfg), 60);
	cr_assert_eq(peek(memory, p->mcfg + 44, 8), LAYOUT_ECAM);
	cr_assert_eq(peek(memory, p->mcfg + 52, 4), 0, "segment 0, bus 0 to 0");
}

/* Every vCPU once, in order, nothing else but one I/O APIC and NMI. */
static void check_madt(const struct guest_memory *memory, const struct parsed *p,
                       const struct acpi_config *config)
{
	uint64_t end = p->madt + length_of(memory, p->madt);
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
			cr_assert_eq(peek(memory, at + 8, 4), 0, "GSI base");
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

/* Every vCPU on its node, and memory that is exactly the guest's, node by node. */
static void check_srat(const struct guest_memory *memory, const struct parsed *p,
                       const struct acpi_config *config, const uint64_t *node_sizes)
{
	uint64_t end = p->srat + length_of(memory, p->srat), memory_end = 0;
	uint64_t sums[GUEST_NODES_MAX] = { 0 };
	size_t cpus = 0;

	cr_assert_eq(peek(memory, p->srat + 36, 4), 1);
	for (uint64_t at = p->srat + 48; at < end; at += peek(memory, at + 1, 1)) {
		uint64_t type = peek(memory, at, 1), length = peek(memory, at + 1, 1);

		if (type == 0 || type == 2) {
			bool wide = type == 2;
			uint64_t node = wide ? peek(memory, at + 4, 4) :
			                       peek(memory, at + 2, 1) |
			                               peek(memory, at + 9, 3) << 8;

			cr_assert_lt(cpus, config->cpu_count);
			cr_assert_eq(length, wide ? 24 : 16);
			cr_assert_eq(peek(memory, at + (wide ? 8 : 3), wide ? 4 : 1),
			             config->cpus[cpus].apic_id);
			cr_assert_eq(peek(memory, at + (wide ? 12 : 4), 4), 1, "enabled");
			cr_assert_eq(node, config->cpus[cpus].node, "vCPU %zu", cpus);
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

static void check_slit(const struct guest_memory *memory, const struct parsed *p,
                       const struct acpi_config *config)
{
	size_t n = config->nodes;

	cr_assert_eq(length_of(memory, p->slit), 44 + n * n);
	cr_assert_eq(peek(memory, p->slit + 36, 8), n);
	for (size_t i = 0; i < n * n; i++) {
		uint64_t want = i / n == i % n ? 10 : 20;

		if (config->distances)
			want = config->distances[i];
		cr_assert_eq(peek(memory, p->slit + 44 + i, 1), want);
	}
}

static void check_all(const struct acpi_config *config, const struct guest_memory *memory,
                      const uint64_t *node_sizes)
{
	struct problems problems = { 0 };
	struct parsed parsed;
	uint64_t rsdp = 0;

	cr_assert_eq(put_tables(config, memory, &problems, &rsdp), 0, "%s",
	             problems.list[0].message);
	cr_assert_eq(rsdp, LAYOUT_ACPI);
	parsed = parse(memory, rsdp);
	check_fadt(memory, &parsed);
	check_mcfg(memory, &parsed);
	check_madt(memory, &parsed, config);
	check_srat(memory, &parsed, config, node_sizes);
	check_slit(memory, &parsed, config);
}

/* `count` vCPUs dealt over the nodes; ids leave gaps, as topologies do, when spread is above 1. */
static void cpus_new(struct acpi_cpu *cpus, size_t count, size_t nodes, uint32_t spread)
{
	for (size_t i = 0; i < count; i++)
		cpus[i] = (struct acpi_cpu){
			.apic_id = (uint32_t)i * spread,
			.node = (uint32_t)(i * nodes / count),
		};
}

Test(acpi, tables_of_every_size)
{
	static const uint64_t sizes[GUEST_NODES_MAX] = { GIB,       512 * MIB, GIB,       GIB,
		                                         256 * MIB, MIB,       128 * MIB, 2 * GIB };
	static const size_t cpu_counts[] = { 1, 2, 64, 255, 256, CPUS_MAX };
	static const size_t node_counts[] = { 1, 2, 8 };

	for (size_t n = 0; n < ARRAY_SIZE(node_counts); n++)
		for (size_t c = 0; c < ARRAY_SIZE(cpu_counts); c++)
			/* 5: id 255, which is x2APIC's, long before the 255th vCPU */
			for (uint32_t spread = 1; spread <= 5; spread += 2) {
				struct guest_memory memory = guest_new(sizes, node_counts[n]);
				struct acpi_cpu cpus[CPUS_MAX];
				struct acpi_config config = {
					.cpus = cpus,
					.cpu_count = cpu_counts[c],
					.nodes = node_counts[n],
				};

				cpus_new(cpus, cpu_counts[c], node_counts[n], spread);
				check_all(&config, &memory, sizes);
			}
}

Test(acpi, distances_are_the_configs)
{
	static const uint64_t sizes[] = { 4 * GIB, 4 * GIB, MIB };
	static const uint8_t distances[] = { 10, 21, 31, 22, 10, 16, 33, 17, 10 };
	struct guest_memory memory = guest_new(sizes, 3);
	struct acpi_cpu cpus[4];
	struct acpi_config config = {
		.cpus = cpus,
		.cpu_count = 4,
		.nodes = 3,
		.distances = distances,
	};

	cpus_new(cpus, 4, 3, 1);
	check_all(&config, &memory, sizes);
}

/* A UID of 255 means all processors in an 8-bit field: such a vCPU needs the wide entry even when
 * its id is small. */
Test(acpi, ids_may_come_in_any_order)
{
	static const uint64_t size = 64 * MIB;
	struct guest_memory memory = guest_of(size);
	struct acpi_cpu cpus[CPUS_MAX];
	struct acpi_config config = { .cpus = cpus, .cpu_count = CPUS_MAX, .nodes = 1 };

	for (uint32_t i = 0; i < CPUS_MAX; i++)
		cpus[i] = (struct acpi_cpu){ .apic_id = CPUS_MAX - 1 - i };
	check_all(&config, &memory, &size);
}

Test(acpi, same_input_same_bytes)
{
	const uint64_t size = 64 * MIB;
	struct guest_memory a = guest_of(size), b = guest_of(size);
	struct acpi_cpu cpus[2];
	struct acpi_config config = { .cpus = cpus, .cpu_count = 2, .nodes = 1 };
	struct problems problems = { 0 };
	uint64_t rsdp;

	cpus_new(cpus, 2, 1, 1);
	cr_assert_eq(put_tables(&config, &a, &problems, &rsdp), 0);
	cr_assert_eq(put_tables(&config, &b, &problems, &rsdp), 0);
	cr_assert_arr_eq(guest_memory_at(&a, GPA(LAYOUT_ACPI), LAYOUT_ACPI_SIZE),
	                 guest_memory_at(&b, GPA(LAYOUT_ACPI), LAYOUT_ACPI_SIZE), LAYOUT_ACPI_SIZE);
	cr_assert_eq(peek(&a, LAYOUT_ACPI - 8, 8), 0);
	cr_assert_eq(peek(&a, LAYOUT_KERNEL, 8), 0);
}

/* The largest number that fits is accepted and ends inside the area; the next is refused. */
Test(acpi, too_many_vcpus_are_refused)
{
	enum { LIMIT = 8192 };
	struct guest_memory memory = guest_of(64 * MIB);
	struct acpi_cpu *cpus = calloc(LIMIT, sizeof(*cpus));
	struct acpi_config config = { .cpus = cpus, .nodes = 1 };
	size_t fits = 1, not = LIMIT;

	for (uint32_t i = 0; i < LIMIT; i++)
		cpus[i].apic_id = i;
	while (not - fits > 1) {
		struct problems problems = { 0 };
		uint64_t rsdp = 42;

		config.cpu_count = (fits + not) / 2;
		if (put_tables(&config, &memory, &problems, &rsdp) == 0) {
			parse(&memory, rsdp);
			fits = config.cpu_count;
			continue;
		}
		expect_problem(&problems, PROBLEM_HOST_LIMIT, "cpus.count", "do not fit");
		cr_assert_eq(rsdp, 42);
		cr_assert_eq(peek(&memory, LAYOUT_KERNEL, 8), 0, "nothing beyond the area");
		not = config.cpu_count;
	}
	cr_assert_gt(fits, 1000);
	cr_assert_lt(fits, LIMIT - 1);
	free(cpus);
}

Test(acpi, contradictions_are_refused)
{
	static const uint64_t sizes[] = { 64 * MIB, 64 * MIB };
	static const uint8_t good[] = { 10, 20, 20, 10 }, near[] = { 10, 9, 20, 10 },
	                     same[] = { 10, 10, 20, 10 }, far_self[] = { 11, 20, 20, 10 };
	static const struct {
		struct acpi_cpu cpus[2];
		size_t cpu_count;
		size_t nodes;
		const uint8_t *distances;
		const char *words;
	} cases[] = {
		{ { { 0, 0 }, { 1, 1 } }, 0, 2, good, "there must be a vCPU" },
		{ { { 0, 0 }, { 1, 1 } }, 2, 0, good, "1 to 8 nodes" },
		{ { { 0, 0 }, { 1, 1 } }, 2, 9, NULL, "1 to 8 nodes" },
		{ { { 0, 0 }, { 0, 1 } }, 2, 2, good, "one APIC id" },
		{ { { 0, 0 }, { 1, 2 } }, 2, 2, good, "a node or an APIC id" },
		{ { { 0, 0 }, { UINT32_MAX, 1 } }, 2, 2, good, "a node or an APIC id" },
		{ { { 0, 0 }, { 1, 0 } }, 2, 1, NULL, "memory is on a node" },
		{ { { 0, 0 }, { 1, 1 } }, 2, 2, near, "distance" },
		{ { { 0, 0 }, { 1, 1 } }, 2, 2, same, "distance" },
		{ { { 0, 0 }, { 1, 1 } }, 2, 2, far_self, "distance" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guest_memory memory = guest_new(sizes, 2);
		struct acpi_config config = {
			.cpus = cases[i].cpus,
			.cpu_count = cases[i].cpu_count,
			.nodes = cases[i].nodes,
			.distances = cases[i].distances,
		};
		struct problems problems = { 0 };
		uint64_t rsdp;

		cr_assert_eq(put_tables(&config, &memory, &problems, &rsdp), -EINVAL, "%zu", i);
		expect_problem(&problems, PROBLEM_INTERNAL, "", cases[i].words);
	}
}

Test(acpi, first_node_too_small_is_refused)
{
	static const uint64_t sizes[] = { MIB - 4096, 64 * MIB };
	struct guest_memory memory = guest_new(sizes, 2);
	struct acpi_cpu cpu = { 0 };
	struct acpi_config config = { .cpus = &cpu, .cpu_count = 1, .nodes = 2 };
	struct problems problems = { 0 };
	uint64_t rsdp;

	cr_assert_eq(put_tables(&config, &memory, &problems, &rsdp), -EFAULT);
	expect_problem(&problems, PROBLEM_SPEC_INVALID, "memory.nodes", "at least 1 MiB");
}

/* Runs iasl -d on NAME.aml in `directory`; gives back what it printed, then what it wrote. */
static void disassemble(const char *directory, const char *name, char *ret_output, size_t size)
{
	char command[256];
	size_t length;
	FILE *pipe;

	snprintf(command, sizeof(command), "cd %s && iasl -d %s.aml 2>&1 && cat %s.dsl", directory,
	         name, name);
	pipe = popen(command, "r");
	cr_assert_not_null(pipe);
	length = fread(ret_output, 1, size - 1, pipe);
	ret_output[length] = '\0';
	cr_assert_eq(pclose(pipe), 0, "%s", ret_output);
}

/* iasl's disassembler, a third parser: no warning, no error, no unknown
 * field. */
Test(acpi, iasl_reads_the_tables)
{
	static const char *const complaints[] = { "Warning", "Error", "rror:", "Invalid",
		                                  "Unknown", "****", "Could not" };
	static const uint64_t sizes[] = { 4 * GIB, 4 * GIB };
	struct guest_memory memory = guest_new(sizes, 2);
	struct acpi_cpu cpus[CPUS_MAX];
	struct acpi_config config = { .cpus = cpus, .cpu_count = CPUS_MAX, .nodes = 2 };
	char directory[] = "/tmp/axvm-acpi-XXXXXX", path[64], *output = malloc(MIB);
	struct problems problems = { 0 };
	struct parsed p;
	uint64_t rsdp;

	cpus_new(cpus, CPUS_MAX, 2, 1);
	cr_assert_eq(put_tables(&config, &memory, &problems, &rsdp), 0);
	p = parse(&memory, rsdp);
	cr_assert_not_null(mkdtemp(directory));

	const struct {
		const char *name;
		uint64_t at;
	} tables[] = {
		{ "facp", p.fadt }, { "apic", p.madt }, { "mcfg", p.mcfg },
		{ "srat", p.srat }, { "slit", p.slit }, { "dsdt", p.dsdt },
	};
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		uint64_t length = length_of(&memory, tables[i].at);
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s.aml", directory, tables[i].name);
		file = fopen(path, "w");
		cr_assert_eq(fwrite(guest_memory_at(&memory, GPA(tables[i].at), length), 1, length,
		                    file),
		             length);
		fclose(file);
		disassemble(directory, tables[i].name, output, MIB);
		cr_assert_not_null(strstr(output, "AXVM"), "%s", output);
		for (size_t j = 0; j < ARRAY_SIZE(complaints); j++)
			cr_assert_null(strstr(output, complaints[j]), "%s: %s: %s", tables[i].name,
			               complaints[j], output);
		remove(path);
		snprintf(path, sizeof(path), "%s/%s.dsl", directory, tables[i].name);
		remove(path);
	}
	cr_assert_eq(rmdir(directory), 0, "nothing left behind");
	free(output);
}

/* Runs a command of ACPICA's interpreter on the DSDT that the guest gets, with every register of
 * the operation regions holding `fill`. */
static void interpret(const char *command, unsigned int fill, char *ret_output, size_t size)
{
	struct guest_memory memory = guest_of(4 * MIB);
	struct acpi_cpu cpu = { 0 };
	struct acpi_config config = { .cpus = &cpu, .cpu_count = 1, .nodes = 1 };
	char path[] = "/tmp/axvm-dsdt-XXXXXX", line[512];
	struct problems problems = { 0 };
	uint64_t rsdp, length;
	struct parsed p;
	FILE *pipe;
	int fd;

	cr_assert_eq(put_tables(&config, &memory, &problems, &rsdp), 0);
	p = parse(&memory, rsdp);
	length = length_of(&memory, p.dsdt);
	fd = mkstemp(path);
	cr_assert_eq(write(fd, guest_memory_at(&memory, GPA(p.dsdt), length), length),
	             (ssize_t)length);
	snprintf(line, sizeof(line), "acpiexec -fv 0x%x -b '%s' %s 2>&1", fill, command, path);
	pipe = popen(line, "r");
	cr_assert_not_null(pipe);
	length = fread(ret_output, 1, size - 1, pipe);
	ret_output[length] = '\0';
	cr_assert_eq(pclose(pipe), 0, "%s", ret_output);
	unlink(path);
	close(fd);
}

Test(acpi, event_method_notifies_the_power_button)
{
	char output[16384];

	interpret("execute \\_SB.GED0._EVT 5", ACPI_EVENT_POWER_BUTTON, output, sizeof(output));
	cr_assert_not_null(strstr(output, "Notify on [PWRB]"), "%s", output);
	cr_assert_not_null(strstr(output, "Value 0x80"), "%s", output);
	interpret("execute \\_SB.GED0._EVT 5", 0xff & ~ACPI_EVENT_POWER_BUTTON, output,
	          sizeof(output));
	cr_assert_null(strstr(output, "Notify on"), "%s", output);
	cr_assert_not_null(strstr(output, "No object was returned"), "%s", output);
}

/* Capabilities that exist are granted, others are masked and the answer says so; an interface that
 * is not PCI's is refused. */
Test(acpi, osc_grants_what_exists)
{
	static const struct {
		const char *arguments;
		const char *want;
	} cases[] = {
		{ "(5B4DDB33F71F1C4096577441C03DD766) 1 3 (000000001F0000001D000000)",
		  "00 00 00 00 1F 00 00 00 1D 00 00 00" },
		{ "(5B4DDB33F71F1C4096577441C03DD766) 1 3 (010000001F000000FFFFFFFF)",
		  "11 00 00 00 1F 00 00 00 3F 00 00 00" },
		{ "(5B4DDB33F71F1C4096577441C03DD766) 2 2 (000000001F000000)",
		  "08 00 00 00 1F 00 00 00" },
		{ "(00112233445566778899AABBCCDDEEFF) 1 3 (000000001F0000001D000000)",
		  "04 00 00 00 1F 00 00 00 1D 00 00 00" },
	};
	char output[16384], command[1024] = "";
	const char *at = output;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		snprintf(command + strlen(command), sizeof(command) - strlen(command),
		         "execute \\_SB.PCI0._OSC %s;", cases[i].arguments);
	interpret(command, 0, output, sizeof(output));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		at = strstr(at, "[Buffer] Length");
		cr_assert_not_null(at, "%zu: %s", i, output);
		at = strchr(at, ':') + 2;
		cr_assert_eq(strncmp(at, cases[i].want, strlen(cases[i].want)), 0, "%zu: %s", i,
		             output);
	}
}

Test(acpi, resources_are_those_of_the_layout)
{
	static const struct {
		const char *device;
		const char *label;
		uint32_t value;
	} cases[] = {
		{ "PCI0", "Address Minimum : ", LAYOUT_BAR_WINDOW },
		{ "PCI0", "Address Maximum : ", LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE - 1 },
		{ "PCI0", "Address Length : ", LAYOUT_BAR_WINDOW_SIZE },
		{ "MBRD", "Address : ", LAYOUT_ECAM },
		{ "MBRD", "Address Length : ", LAYOUT_ECAM_SIZE },
		{ "MBRD", "Address : ", LAYOUT_ACPI_REGISTERS },
		{ "GED0", "Dword00 : ", LAYOUT_GED_GSI },
		{ "PEVT", "Address : ", LAYOUT_PANIC_REGISTER },
	};
	char output[65536], command[256] = "", want[64];
	const char *at = output;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (i == 0 || strcmp(cases[i].device, cases[i - 1].device) != 0)
			snprintf(command + strlen(command), sizeof(command) - strlen(command),
			         "resources \\_SB.%s;", cases[i].device);
	interpret(command, 0, output, sizeof(output));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(want, sizeof(want), "%s%08X\n", cases[i].label, cases[i].value);
		at = strstr(at, want);
		cr_assert_not_null(at, "%s lacks %s: %s", cases[i].device, want, output);
	}
}
