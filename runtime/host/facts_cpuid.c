/* SPDX-License-Identifier: MIT */
/* CPUID and VMX capability MSRs of the real processors (SDM 2A CPUID, 3D appendix A).
 *
 * CPUID answers for the CPU that executes it, so a thread of its own visits each CPU in turn; the
 * caller's affinity is not touched. CPUID of a CPU outside the affinity is read from
 * /dev/cpu/N/cpuid. */
#include "host/probe.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Runs CPUID by way of `fd`, or here when fd is -1. */
static int cpuid(int fd, uint32_t leaf, uint32_t subleaf, struct cpuid_leaf *ret)
{
	struct cpuid_leaf out = { .leaf = leaf, .subleaf = subleaf };
	uint32_t registers[4];

	if (fd < 0) {
		__cpuid_count(leaf, subleaf, out.eax, out.ebx, out.ecx, out.edx);
	} else {
		/* cpuid(4): the file position is the leaf, its upper half the subleaf. */
		ssize_t n = pread(fd, registers, sizeof(registers),
		                  (off_t)((uint64_t)subleaf << 32 | leaf));

		if (n != (ssize_t)sizeof(registers))
			return n < 0 ? -errno : -EIO;
		out.eax = registers[0];
		out.ebx = registers[1];
		out.ecx = registers[2];
		out.edx = registers[3];
	}
	*ret = out;
	return 0;
}

/* Adds a leaf; false when there is no room or no answer. Leaves of zeros carry no information and
 * would take the room of others, so they are left out, except as the end of a list of subleaves. */
static bool add_leaf(struct host_cpu *cpu, int fd, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_leaf *at = &cpu->leaves[cpu->leaf_count];

	if (cpu->leaf_count == FACTS_LEAVES_MAX || cpuid(fd, leaf, subleaf, at) < 0)
		return false;
	if (subleaf > 0 || (at->eax | at->ebx | at->ecx | at->edx) != 0)
		cpu->leaf_count++;
	return true;
}

/* Adds the useful subleaves of the leaf just added, as many as that leaf says there are. */
static void add_subleaves(struct host_cpu *cpu, int fd, uint32_t leaf)
{
	const uint32_t limit = leaf == 0x4                  ? 5
	                       : leaf == 0xb                ? 2
	                       : leaf == 0xd || leaf == 0x7 ? 1
	                                                    : 0;
	const struct cpuid_leaf *last = &cpu->leaves[cpu->leaf_count - 1];

	if (last->leaf != leaf || (leaf == 0x7 && last->eax == 0))
		return;
	for (uint32_t subleaf = 1; subleaf <= limit; subleaf++) {
		last = &cpu->leaves[cpu->leaf_count - 1];
		if ((leaf == 0x4 && (last->eax & 0x1f) == 0) ||
		    (leaf == 0xb && (last->ecx >> 8 & 0xff) == 0) ||
		    !add_leaf(cpu, fd, leaf, subleaf))
			return;
	}
}

static void read_leaves(struct host_cpu *cpu, int fd)
{
	static const struct {
		uint32_t base, last;
	} ranges[] = { { 0, 0x1f }, { 0x80000000, 0x80000008 }, { 0x40000000, 0x40000001 } };

	cpu->leaf_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		uint32_t base = ranges[i].base, last;
		const struct cpuid_leaf *one = host_cpu_leaf(cpu, 1, 0);

		if (base == 0x40000000 && !(one && one->ecx >> 31))
			continue;
		if (!add_leaf(cpu, fd, base, 0) || cpu->leaf_count == 0)
			break;
		last = MIN(cpu->leaves[cpu->leaf_count - 1].eax, ranges[i].last);
		for (uint32_t leaf = base + 1; leaf <= last && add_leaf(cpu, fd, leaf, 0); leaf++)
			add_subleaves(cpu, fd, leaf);
	}
	if (cpu->leaf_count > 0 && cpu->leaves[0].ebx == 0x68747541) /* "Auth": AMD */
		(void)add_leaf(cpu, fd, 0x8000001e, 0);
}

/* The leaves that admission needs. The list is short because each CPUID in a virtual machine is an
 * exit. Leaf 0x40000000 names the hypervisor, where there is one. */
static void read_few_leaves(struct host_cpu *cpu)
{
	static const struct {
		uint32_t leaf, subleaf;
	} few[] = {
		{ 0, 0 },
		{ 1, 0 },
		{ 0x80000007, 0 },
	};
	const struct cpuid_leaf *one;

	cpu->leaf_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(few); i++)
		if (i < 2 || cpu->leaves[0].eax >= few[i].leaf || few[i].leaf > 0x80000000)
			(void)add_leaf(cpu, -1, few[i].leaf, few[i].subleaf);
	one = host_cpu_leaf(cpu, 1, 0);
	if (one && one->ecx >> 31)
		(void)add_leaf(cpu, -1, 0x40000000, 0);
}

static void decode_brand(struct host_cpu *cpu)
{
	char brand[49] = { 0 };
	const char *first = brand;
	size_t length;

	for (uint32_t i = 0; i < 3; i++) {
		const struct cpuid_leaf *leaf = host_cpu_leaf(cpu, 0x80000002 + i, 0);

		if (leaf)
			memcpy(brand + i * 16, &leaf->eax, 16);
	}
	while (*first == ' ')
		first++;
	length = strlen(first);
	while (length > 0 && first[length - 1] == ' ')
		length--;
	if (length > 0 && cpu->brand[0] == '\0')
		snprintf(cpu->brand, sizeof(cpu->brand), "%.*s", (int)length, first);
}

static void decode_signature(struct host_cpu *cpu, uint32_t eax)
{
	uint32_t family = eax >> 8 & 0xf, model = eax >> 4 & 0xf;

	if (family == 6 || family == 0xf)
		model |= (eax >> 16 & 0xf) << 4;
	if (family == 0xf)
		family += eax >> 20 & 0xff;
	cpu->family = family;
	cpu->model = model;
	cpu->stepping = eax & 0xf;
}

/* The kernel's values take precedence, CPU by CPU: CPUID may have been run on one CPU only, and if
 * a hypervisor does not intercept it, it describes another machine. */
void host_cpu_decode(struct host_cpu *cpu)
{
	const struct cpuid_leaf *zero = host_cpu_leaf(cpu, 0, 0), *one = host_cpu_leaf(cpu, 1, 0);

	static_assert(offsetof(struct cpuid_leaf, edx) - offsetof(struct cpuid_leaf, eax) == 12,
	              "the four registers adjoin");
	if (one && cpu->family == 0 && cpu->vendor[0] == '\0')
		decode_signature(cpu, one->eax);
	if (zero && cpu->vendor[0] == '\0') {
		memcpy(cpu->vendor, &zero->ebx, 4);
		memcpy(cpu->vendor + 4, &zero->edx, 4);
		memcpy(cpu->vendor + 8, &zero->ecx, 4);
		cpu->vendor[12] = '\0';
	}
	decode_brand(cpu);
}

uint32_t host_cpu_leaf_apic_id(const struct host_cpu *cpu)
{
	const struct cpuid_leaf *one = host_cpu_leaf(cpu, 1, 0), *b = host_cpu_leaf(cpu, 0xb, 0);

	if (b && b->ebx)
		return b->edx;
	return one ? one->ebx >> 24 : 0;
}

void probe_cpuid_here(struct host_cpu *cpu, bool few)
{
	if (few)
		read_few_leaves(cpu);
	else
		read_leaves(cpu, -1);
	host_cpu_decode(cpu);
}

static void *visit(void *arg)
{
	struct host_facts *facts = arg;
	cpu_set_t *set = CPU_ALLOC(FACTS_CPUS_MAX);
	size_t size = CPU_ALLOC_SIZE(FACTS_CPUS_MAX);

	for (size_t i = 0; set && i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];

		if (!cpu->online)
			continue;
		CPU_ZERO_S(size, set);
		CPU_SET_S(cpu->id, size, set);
		if (sched_setaffinity(0, size, set) == 0 && sched_getcpu() == (int)cpu->id)
			probe_cpuid_here(cpu, false);
	}
	if (set)
		CPU_FREE(set);
	return NULL;
}

void probe_cpuid_everywhere(struct host_facts *facts)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, visit, facts) == 0)
		pthread_join(thread, NULL);
	for (size_t i = 0; i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];
		_cleanup_close_ int fd = -1;
		char path[48];

		if (!cpu->online || cpu->leaf_count > 0)
			continue;
		snprintf(path, sizeof(path), "/dev/cpu/%u/cpuid", cpu->id);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		read_leaves(cpu, fd);
		host_cpu_decode(cpu);
	}
}

#define MSR_APIC_BASE 0x1b
#define APIC_BASE_X2APIC (1ULL << 10)

void probe_msrs(struct host_facts *facts)
{
	const struct host_cpu *cpu = facts_reference_cpu(facts);
	_cleanup_close_ int fd = -1;
	char path[48];
	uint64_t value;

	snprintf(path, sizeof(path), "/dev/cpu/%u/msr", cpu->id);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (pread(fd, &value, sizeof(value), MSR_APIC_BASE) == (ssize_t)sizeof(value))
		facts->x2apic_enabled = value & APIC_BASE_X2APIC ? 'y' : 'n';
	for (uint32_t i = 0; i < VMX_MSR_COUNT; i++) {
		/* Reading an MSR that does not exist fails with EIO. */
		if (pread(fd, &value, sizeof(value), (off_t)(VMX_MSR_FIRST + i)) !=
		    (ssize_t)sizeof(value))
			continue;
		facts->vmx.msrs[i] = value;
		facts->vmx.msr_mask |= 1u << i;
	}
}
