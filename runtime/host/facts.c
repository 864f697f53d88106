/* SPDX-License-Identifier: MIT */
/* Questions about the facts of a host. */
#include "host/facts.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

struct host_facts *facts_new(void)
{
	return calloc(1, sizeof(struct host_facts));
}

bool flags_have(const char *flags, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = flags; (at = strstr(at, name)); at++)
		if (at > flags && at[-1] == ' ' && (at[length] == ' ' || at[length] == '\0'))
			return true;
	return false;
}

bool facts_is_vulnerable(const char *state)
{
	static const char word[] = "vulnerable";

	for (const char *at = state; (at = strcasestr(at, word)); at++) {
		const char *before = at;

		while (before > state && before[-1] == ' ')
			before--;
		/* "Vulnerable" as a clause of its own, or after the name of a part. */
		if (before == state || strchr(";,:", before[-1]))
			return true;
	}
	return false;
}

const struct host_cpu *facts_cpu(const struct host_facts *facts, uint32_t id)
{
	/* If ids have no gaps, as usual, the id is the position. */
	if (id < facts->cpu_count && facts->cpus[id].id == id)
		return &facts->cpus[id];
	for (size_t i = 0; i < facts->cpu_count; i++)
		if (facts->cpus[i].id == id)
			return &facts->cpus[i];
	return NULL;
}

uint64_t host_node_room_mib(const struct host_node *node, uint64_t page_kib)
{
	if (page_kib <= 4)
		return node->free_mib;
	for (size_t i = 0; i < node->huge_count; i++)
		if (node->huge[i].size_kib == page_kib)
			return node->huge[i].free * page_kib / 1024;
	return 0;
}

const struct host_node *facts_node(const struct host_facts *facts, uint32_t id)
{
	for (size_t i = 0; i < facts->node_count; i++)
		if (facts->nodes[i].id == id)
			return &facts->nodes[i];
	return NULL;
}

const struct cpuid_leaf *host_cpu_leaf(const struct host_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < cpu->leaf_count; i++)
		if (cpu->leaves[i].leaf == leaf && cpu->leaves[i].subleaf == subleaf)
			return &cpu->leaves[i];
	return NULL;
}

const char *facts_kvm_parameter(const struct host_facts *facts, const char *name)
{
	for (size_t i = 0; i < facts->kvm.parameter_count; i++)
		if (strcmp(facts->kvm.parameters[i].name, name) == 0)
			return facts->kvm.parameters[i].value;
	return NULL;
}

const char *facts_vulnerability(const struct host_facts *facts, const char *name)
{
	for (size_t i = 0; i < facts->vulnerability_count; i++)
		if (strcmp(facts->vulnerabilities[i].name, name) == 0)
			return facts->vulnerabilities[i].value;
	return NULL;
}

uint32_t facts_distance(const struct host_facts *facts, uint32_t from, uint32_t to)
{
	const struct host_node *a = facts_node(facts, from), *b = facts_node(facts, to);
	uint32_t distance, local;

	if (from == to)
		return 10;
	if (!a || !b)
		return 20;
	distance = facts->distances[a - facts->nodes][b - facts->nodes];
	local = facts->distances[a - facts->nodes][a - facts->nodes];
	if (distance == 0)
		return 20;
	return local == 0 || local == 10 ? distance : distance * 10 / local;
}

const struct host_cpu *facts_reference_cpu(const struct host_facts *facts)
{
	const struct host_cpu *first = NULL;

	for (size_t i = 0; i < facts->cpu_count; i++) {
		const struct host_cpu *cpu = &facts->cpus[i];

		if (cpu->online && cpu->leaf_count > 0)
			return cpu;
		if (cpu->online && !first)
			first = cpu;
	}
	return first ? first : &facts->cpus[0];
}
