/* SPDX-License-Identifier: MIT */
/* Topologies from hosts of any shape, and ACPI tables from any topology, re-parsed by a parser that
 * shares nothing with their writer. */
#include "lib/input.h"

#include "guest/layout.h"
#include "machine/topology.h"
#include "rig/acpi_parser.h"
#include "rig/boot_guest.h"
#include "rig/host_fixture.h"

#define CPUS_MAX 600

static uint8_t *low; /* the first MiB, between pages that fault */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct guest_memory memory = guest_of(MIB);

	(void)argc, (void)argv;
	low = memory.regions[0].hva;
	return 0;
}

static uint64_t take_size(struct input *input)
{
	uint8_t what = (uint8_t)take(input, 1);

	return what & 0x80 ? take(input, 6) : (1ULL + what) << (12 + take(input, 1) % 32);
}

static void build(struct input *input, struct acpi_config *config)
{
	uint64_t sizes[GUEST_NODES_MAX];
	struct guest_memory memory = { 0 };
	struct problems problems = { 0 };
	uint64_t rsdp;

	for (size_t i = 0; i < config->nodes && i < GUEST_NODES_MAX; i++)
		sizes[i] = take_size(input);
	if (guest_memory_layout(&memory, sizes, config->nodes) < 0)
		return;
	memset(low, 0, MIB);
	/* The tables lie in the first MiB. What else of RAM were touched is not there. */
	for (size_t i = 0; i < memory.count; i++)
		memory.regions[i].hva = i == 0 ? low : low - 4096;
	if (acpi_put(config, &memory, &problems, &rsdp) < 0) {
		cr_assert_gt(problems.count, 0);
		return;
	}
	acpi_check(config, &memory, sizes);
}

/* vCPUs as a host's shape and a placement make them. */
static void derived(struct input *input)
{
	struct host_facts *facts =
		fixture_shape(1 + (uint32_t)take(input, 1) % 8, 1 + (uint32_t)take(input, 1) % 24,
	                      1 + (uint32_t)take(input, 1) % 2);
	struct placement_request request = {
		.vcpus = 1 + (uint32_t)take(input, 1) % PLACEMENT_VCPUS_MAX,
		.overcommit = true,
		.dedicated = take(input, 1) & 1,
		.node_count = 1 + take(input, 1) % PLACEMENT_NODES_MAX,
		.host_node = { -1, -1, -1, -1, -1, -1, -1, -1 },
	};
	static struct guest_topology topology;
	static struct placement placement;
	static struct acpi_cpu cpus[TOPOLOGY_VCPUS_MAX];
	static uint8_t distances[PLACEMENT_NODES_MAX * PLACEMENT_NODES_MAX];
	struct acpi_config config = { .cpus = cpus, .distances = distances };
	struct problems problems = { 0 };
	bool seen[256] = { false };

	if (placement_plan(facts, &request, &placement, &problems) == 0) {
		cr_assert_eq(topology_derive(&placement, facts, &topology), 0);
		config.cpu_count = topology.vcpu_count;
		config.nodes = topology.node_count;
		for (uint32_t i = 0; i < topology.vcpu_count; i++) {
			uint32_t id = topology.vcpus[i].apic_id;

			cr_assert_leq(id, TOPOLOGY_APIC_ID_MAX);
			cr_assert(!seen[id]);
			seen[id] = true;
			cpus[i] =
				(struct acpi_cpu){ .apic_id = id, .node = topology.vcpus[i].node };
		}
		for (size_t i = 0; i < config.nodes * config.nodes; i++)
			distances[i] = topology.distances[i / config.nodes][i % config.nodes];
		cr_assert_eq(cpus[0].apic_id, 0);
		build(input, &config);
	}
	free(facts);
}

/* vCPUs as nobody would have them. */
static void invented(struct input *input)
{
	static struct acpi_cpu cpus[CPUS_MAX];
	static uint8_t distances[256];
	struct acpi_config config = {
		.cpus = cpus,
		.cpu_count = take(input, 2) % CPUS_MAX,
		.nodes = take(input, 1) % 10,
	};
	uint8_t what = (uint8_t)take(input, 1);
	uint32_t id = (uint32_t)take(input, what & 2 ? 4 : 1), step = (uint32_t)take(input, 1);

	for (size_t i = 0; i < config.cpu_count; i++, id += step)
		cpus[i] = (struct acpi_cpu){
			.apic_id = id,
			.node = what & 4 ? (uint32_t)take(input, 1)
			                 : (uint32_t)(i % MAX(config.nodes, (size_t)1)),
		};
	if (what & 1) {
		for (size_t i = 0; i < config.nodes * config.nodes; i++)
			distances[i] = what & 8                      ? (uint8_t)take(input, 1)
			               : i % (config.nodes + 1) == 0 ? 10
			                                             : 11 + (what >> 4);
		config.distances = distances;
	}
	build(input, &config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };

	if (take(&input, 1) & 1)
		derived(&input);
	else
		invented(&input);
	return 0;
}
