/* SPDX-License-Identifier: MIT */
/* ACPI tables: what they say is what they were built from, for many shapes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "guest/layout.h"
#include "rig/acpi_parser.h"
#include "rig/boot_guest.h"

#define CPUS_MAX 300

/* `count` vCPUs dealt over the nodes; ids leave gaps, as topologies do, when spread is above 1. */
static void cpus_new(struct acpi_cpu *cpus, size_t count, size_t nodes, uint32_t spread)
{
	for (size_t i = 0; i < count; i++)
		cpus[i] = (struct acpi_cpu){
			.apic_id = (uint32_t)i * spread,
			.node = (uint32_t)(i * nodes / count),
		};
}

Test(acpi, tables_are_right_for_every_number_of_cpus_and_nodes)
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
				acpi_check(&config, &memory, sizes);
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
	acpi_check(&config, &memory, sizes);
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
	acpi_check(&config, &memory, &size);
}

/* vCPUs dealt over the nodes one by one, and backwards: the SRAT has them by node, whatever their
 * order. */
Test(acpi, processors_are_told_by_node)
{
	static const uint64_t sizes[] = { 64 * MIB, 64 * MIB, 64 * MIB };

	for (uint32_t backwards = 0; backwards < 2; backwards++) {
		struct guest_memory memory = guest_new(sizes, 3);
		struct acpi_cpu cpus[CPUS_MAX];
		struct acpi_config config = { .cpus = cpus, .cpu_count = CPUS_MAX, .nodes = 3 };

		for (uint32_t i = 0; i < CPUS_MAX; i++)
			cpus[i] = (struct acpi_cpu){ .apic_id = i,
				                     .node = backwards ? 2 - i * 3 / CPUS_MAX
				                                       : i % 3 };
		acpi_check(&config, &memory, sizes);
	}
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
	cr_assert_eq(acpi_put(&config, &a, &problems, &rsdp), 0);
	cr_assert_eq(acpi_put(&config, &b, &problems, &rsdp), 0);
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
	size_t fits = 1, too_many = LIMIT;

	for (uint32_t i = 0; i < LIMIT; i++)
		cpus[i].apic_id = i;
	while (too_many - fits > 1) {
		struct problems problems = { 0 };
		uint64_t rsdp = 42;

		config.cpu_count = (fits + too_many) / 2;
		if (acpi_put(&config, &memory, &problems, &rsdp) == 0) {
			acpi_parse(&memory, rsdp);
			fits = config.cpu_count;
			continue;
		}
		expect_problem(&problems, ERROR_CODE_HOST_LIMIT, "cpus.count", "do not fit");
		cr_assert_eq(rsdp, 42);
		cr_assert_eq(peek(&memory, LAYOUT_KERNEL, 8), 0, "nothing beyond the area");
		too_many = config.cpu_count;
	}
	cr_assert_gt(fits, 1000);
	cr_assert_lt(fits, LIMIT - 1);
	free(cpus);
}

/* Tables that end with the last byte of their area are taken. Which number of vCPUs does that
 * depends on the lengths of all tables, so it is looked for: 24 bytes more for one with an APIC id
 * below 255, 40 for another. */
Test(acpi, an_area_may_be_full_to_the_byte)
{
	enum { LIMIT = 4096, LOW = 40 };
	static const uint64_t sizes[] = { 64 * MIB, 64 * MIB };
	static struct acpi_image image;
	struct guest_memory memory = guest_new(sizes, 2);
	struct acpi_cpu *cpus = calloc(LIMIT, sizeof(*cpus));
	struct acpi_config config = { .cpus = cpus, .nodes = 2 };
	size_t room, largest = 0;

	for (uint32_t low = 0; low < LOW && largest < LAYOUT_ACPI_SIZE; low++) {
		struct problems problems = { 0 };

		for (uint32_t i = 0; i < LIMIT; i++)
			cpus[i].apic_id = i < low ? i : 1000 + i;
		config.cpu_count = LOW;
		cr_assert_eq(acpi_build(&config, &memory, &problems, &image), 0);
		for (room = (LAYOUT_ACPI_SIZE - image.used) / 40 + 2; room > 0; room--) {
			config.cpu_count = LOW + room;
			if (acpi_build(&config, &memory, &problems, &image) == 0)
				break;
		}
		largest = MAX(largest, image.used);
	}
	cr_assert_eq(largest, LAYOUT_ACPI_SIZE);
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

		cr_assert_eq(acpi_put(&config, &memory, &problems, &rsdp), -EINVAL, "%zu", i);
		expect_problem(&problems, ERROR_CODE_INTERNAL, "", cases[i].words);
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

	cr_assert_eq(acpi_put(&config, &memory, &problems, &rsdp), -EFAULT);
	expect_problem(&problems, ERROR_CODE_SPEC_INVALID, "memory.nodes", "at least 1 MiB");
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
	static const char *const complaints[] = { "Warning", "Error", "rror:",    "Invalid",
		                                  "Unknown", "****",  "Could not" };
	static const uint64_t sizes[] = { 4 * GIB, 4 * GIB };
	struct guest_memory memory = guest_new(sizes, 2);
	struct acpi_cpu cpus[CPUS_MAX];
	struct acpi_config config = { .cpus = cpus, .cpu_count = CPUS_MAX, .nodes = 2 };
	char directory[] = "/tmp/axvm-acpi-XXXXXX", path[64], *output = malloc(MIB);
	struct problems problems = { 0 };
	struct acpi_parsed p;
	uint64_t rsdp;

	cpus_new(cpus, CPUS_MAX, 2, 1);
	cr_assert_eq(acpi_put(&config, &memory, &problems, &rsdp), 0);
	p = acpi_parse(&memory, rsdp);
	cr_assert_not_null(mkdtemp(directory));

	const struct {
		const char *name;
		uint64_t at;
	} tables[] = {
		{ "facp", p.fadt }, { "apic", p.madt }, { "mcfg", p.mcfg },
		{ "srat", p.srat }, { "slit", p.slit }, { "dsdt", p.dsdt },
	};
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		uint64_t length = acpi_length_of(&memory, tables[i].at);
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
	struct acpi_parsed p;
	FILE *pipe;
	int fd;

	cr_assert_eq(acpi_put(&config, &memory, &problems, &rsdp), 0);
	p = acpi_parse(&memory, rsdp);
	length = acpi_length_of(&memory, p.dsdt);
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
