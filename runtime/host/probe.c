/* SPDX-License-Identifier: MIT */
/* Probes this host: reads its facts in order, and derives others from them. */
#include "host/probe.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define BIT_HTT (1u << 28)                 /* leaf 1 EDX */
#define BIT_TOPOLOGY_EXTENSIONS (1u << 22) /* leaf 0x80000001 ECX */
#define LEVEL_THREADS 1                    /* leaf 0xB ECX[15:8] */

/* VMX capabilities: SDM 3D appendix A. Bits of "allowed-1" halves, and of EPT_VPID_CAP. */
static const struct vmx_bit {
	size_t offset; /* of the bool in struct host_vmx */
	uint8_t msr;   /* minus 0x480 */
	uint8_t bit;
	const char *flags[2]; /* the kernel's names in "vmx flags", older kernels' in "flags" */
} vmx_bits[] = {
/* clang-format off */
#define BIT(field_, msr_, bit_, ...)                                                               \
	{ .offset = offsetof(struct host_vmx, field_), .msr = (msr_), .bit = (bit_),               \
	  .flags = { __VA_ARGS__ } }
	/* clang-format on */
	BIT(ept, 0x0b, 32 + 1, "ept"),
	BIT(vpid, 0x0b, 32 + 5, "vpid"),
	BIT(virtualize_x2apic, 0x0b, 32 + 4, NULL), /* the kernel has no name for it */
	BIT(unrestricted_guest, 0x0b, 32 + 7, "unrestricted_guest"),
	BIT(apic_register_virtualization, 0x0b, 32 + 8, "vapic_reg", "apicv"),
	BIT(virtual_interrupt_delivery, 0x0b, 32 + 9, "vid", "apicv"),
	BIT(pause_loop_exiting, 0x0b, 32 + 10, "ple"),
	BIT(tsc_scaling, 0x0b, 32 + 25, "tsc_scaling"),
	BIT(posted_interrupts, 0x01, 32 + 7, "posted_intr"),
	BIT(ept_2m, 0x0c, 16, "ept_1gb"), /* the kernel's name for 1 GiB pages, which imply it */
	BIT(ept_1g, 0x0c, 17, "ept_1gb"),
	BIT(ept_ad, 0x0c, 21, "ept_ad"),
#undef BIT
};

static bool vmx_has(const struct host_facts *facts, const struct vmx_bit *row)
{
	const struct host_vmx *vmx = &facts->vmx;

	if (vmx->msr_mask & (1u << row->msr))
		return vmx->msrs[row->msr] >> row->bit & 1;
	for (size_t i = 0; i < ARRAY_SIZE(row->flags) && row->flags[i]; i++)
		if (flags_have(facts->vmx_flags, row->flags[i]) ||
		    flags_have(facts->flags, row->flags[i]))
			return true;
	return false;
}

void facts_decode(struct host_facts *facts)
{
	const struct host_cpu *cpu = facts_reference_cpu(facts);
	const struct cpuid_leaf *one = host_cpu_leaf(cpu, 1, 0);
	const struct cpuid_leaf *vendor = host_cpu_leaf(cpu, 0x40000000, 0);

	for (size_t i = 0; i < ARRAY_SIZE(vmx_bits); i++) {
		bool *field = (bool *)(void *)((char *)&facts->vmx + vmx_bits[i].offset);

		*field = vmx_has(facts, &vmx_bits[i]);
	}
	facts->hypervisor = flags_have(facts->flags, "hypervisor") || (one && one->ecx >> 31);
	if (facts->hypervisor && vendor) {
		memcpy(facts->hypervisor_vendor, &vendor->ebx, 4);
		memcpy(facts->hypervisor_vendor + 4, &vendor->ecx, 4);
		memcpy(facts->hypervisor_vendor + 8, &vendor->edx, 4);
	}
}

/* How many threads a core of this processor can have, from its leaves; 0: unknown. (SDM 3A 9.9.3.1;
 * AMD APM 3, appendix E.5.) */
static uint32_t threads_of_core(const struct host_cpu *cpu)
{
	const struct cpuid_leaf *one = host_cpu_leaf(cpu, 1, 0), *four = host_cpu_leaf(cpu, 4, 0);
	const struct cpuid_leaf *b = host_cpu_leaf(cpu, 0xb, 0),
				*unit = host_cpu_leaf(cpu, 0x8000001e, 0);
	const struct cpuid_leaf *extended = host_cpu_leaf(cpu, 0x80000001, 0);
	bool amd = strcmp(cpu->vendor, "AuthenticAMD") == 0 ||
	           strcmp(cpu->vendor, "HygonGenuine") == 0;

	if (b && b->ebx && (b->ecx >> 8 & 0xff) == LEVEL_THREADS)
		return b->ebx & 0xffff;
	if (amd && extended && !(extended->ecx & BIT_TOPOLOGY_EXTENSIONS))
		return 1; /* before family 15H each core is one thread */
	if (amd)
		return unit ? (unit->ebx >> 8 & 0xff) + 1 : 0;
	if (one && !(one->edx & BIT_HTT))
		return 1;
	return one && four && four->eax ? (one->ebx >> 16 & 0xff) / ((four->eax >> 26) + 1) : 0;
}

/* Derives siblings if the kernel's lists are missing: in facts of another machine that leave them
 * out, or without /sys. It compares the kernel's package and core numbers, never APIC ids, which
 * CPUID and the kernel may count in different ways. In a package with two nodes core numbers start
 * again in each (AMD family 10H and 15H); if the memory of such a package is interleaved, only the
 * leaves show that. */
static bool same_core(const struct host_cpu *a, const struct host_cpu *b)
{
	if (a->node >= 0 && b->node >= 0 && a->node != b->node)
		return false;
	return a->package == b->package && a->core == b->core && a->core >= 0;
}

void facts_derive_siblings(struct host_facts *facts)
{
	for (size_t i = 0; i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];
		bool alone;

		if (!cpu->online || cpu->sibling_count > 0)
			continue;
		alone = threads_of_core(cpu->leaf_count ? cpu : facts_reference_cpu(facts)) == 1;
		for (size_t k = 0; k < facts->cpu_count; k++) {
			const struct host_cpu *other = &facts->cpus[k];

			if (other->online && cpu->sibling_count < FACTS_SIBLINGS_MAX &&
			    (k == i || (!alone && same_core(cpu, other))))
				cpu->siblings[cpu->sibling_count++] = (uint16_t)other->id;
		}
	}
}

static void probe_release(struct host_facts *facts, const char *root)
{
	struct utsname name;

	if (*root == '\0' && uname(&name) == 0)
		snprintf(facts->kernel_release, sizeof(facts->kernel_release), "%.64s",
		         name.release);
	else
		(void)root_read(root, facts->kernel_release, sizeof(facts->kernel_release),
		                "proc/sys/kernel/osrelease");
}

static struct host_cpu *find_cpu(struct host_facts *facts, uint32_t id)
{
	for (size_t i = 0; i < facts->cpu_count; i++)
		if (facts->cpus[i].id == id)
			return &facts->cpus[i];
	return NULL;
}

static int probe(struct host_facts *facts, const char *root, bool quick)
{
	const char *below = root && strcmp(root, "/") != 0 ? root : "";
	bool real = *below == '\0';
	struct probe_allowed allowed;

	facts->quick = quick;
	probe_allowed(below, &allowed);
	(void)probe_cpuinfo(facts, below);
	probe_cpus(facts, below, &allowed);
	probe_topology(facts, below);
	if (facts->cpu_count == 0)
		return -ENODEV;
	if (facts->too_many_cpus)
		return -E2BIG;
	if (real && quick) {
		int here = sched_getcpu();
		struct host_cpu *cpu = here < 0 ? NULL : find_cpu(facts, (uint32_t)here);

		if (cpu)
			probe_cpuid_here(cpu, true);
	} else if (real) {
		probe_cpuid_everywhere(facts);
		probe_msrs(facts);
	}
	probe_nodes(facts, below, &allowed, !quick);
	probe_release(facts, below);
	probe_kvm_parameters(facts, below, !quick);
	probe_vulnerabilities(facts, below);
	if (real)
		probe_kvm(facts, !quick);
	if (real && !quick) {
		facts_probe_tsc(facts);
		probe_offers(facts);
	}
	facts_derive_siblings(facts);
	facts_decode(facts);
	return 0;
}

const char *facts_error(int r)
{
	static_assert(FACTS_CPUS_MAX == 1024, "as the text says");
	if (r == -E2BIG)
		return "it has CPUs with numbers above 1023, the last that AxVM knows; boot it with nr_cpus=1024";
	if (r == -ENODEV)
		return "/proc/cpuinfo and /sys/devices/system/cpu show no CPU; mount /proc and /sys";
	return errno_text(-r);
}

int facts_probe(struct host_facts *facts, const char *root)
{
	return probe(facts, root, false);
}

int facts_probe_quick(struct host_facts *facts, const char *root)
{
	return probe(facts, root, true);
}

/* A number that changes with the set of CPUs and nodes. */
static uint64_t inventory(const struct host_facts *facts)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < facts->cpu_count; i++)
		if (facts->cpus[i].online)
			hash = (hash ^ facts->cpus[i].id) * 0x100000001b3;
	for (size_t i = 0; i < facts->node_count; i++)
		hash = (hash ^ ~facts->nodes[i].id) * 0x100000001b3;
	return hash;
}

int facts_refresh(struct host_facts *facts, const char *root)
{
	const char *below = root && strcmp(root, "/") != 0 ? root : "";
	uint64_t before = inventory(facts);
	struct probe_allowed allowed;

	probe_allowed(below, &allowed);
	probe_cpus(facts, below, &allowed);
	facts->node_count = 0;
	probe_nodes(facts, below, &allowed, false);
	/* Mitigations change when microcode is loaded late or SMT is switched off. */
	facts->vulnerability_count = 0;
	probe_vulnerabilities(facts, below);
	return inventory(facts) == before ? 0 : -ESTALE;
}
