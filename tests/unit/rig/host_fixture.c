/* SPDX-License-Identifier: MIT */
/* Fixtures: register values transcribed from dumps of real processors (InstLatx64 collection). */
#include "tests/unit/rig/host_fixture.h"

#include "host/probe.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What two processors of these records share, leaf by leaf; brand and model differ. */
struct recorded {
	struct cpuid_leaf leaves[24];
	uint64_t msrs[17]; /* 0x480 to 0x490 */
	uint32_t microcode;
	const char *flags;
};

#define IVY_BRIDGE_FLAGS                                                                             \
	" fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush dts acpi " \
	"mmx fxsr sse sse2 ss ht tm pbe syscall nx pdpe1gb rdtscp lm constant_tsc arch_perfmon "     \
	"nopl xtopology nonstop_tsc aperfmperf pni pclmulqdq dtes64 monitor ds_cpl vmx est tm2 "     \
	"ssse3 cx16 xtpr pdcm pcid dca sse4_1 sse4_2 x2apic popcnt tsc_deadline_timer aes xsave "    \
	"avx f16c rdrand lahf_lm fsgsbase smep erms xsaveopt "

/* `secondary`: what the secondary processor-based controls may be, MSR 0x48B. */
/* clang-format off */
#define VMX_MSRS_306E4(secondary)                                                                  \
	{                                                                                          \
		0x00da040000000010, 0x0000007f00000016, 0xfff9fffe0401e172, 0x007fffff00036dff,    \
		0x0000ffff000011ff, 0x00000000100401e5, 0x0000000080000021, 0x00000000ffffffff,    \
		0x0000000000002000, 0x00000000001727ff, 0x000000000000002a, (secondary),           \
		0x00000f0106134141, 0x0000007f00000016, 0xfff9fffe04006172, 0x007fffff00036dfb,    \
		0x0000ffff000011fb                                                                 \
	}
/* clang-format on */

static const struct recorded e5_2697_v2 = {
	.leaves = {
		{ 0x0, 0, 0x0000000d, 0x756e6547, 0x6c65746e, 0x49656e69 },
		{ 0x1, 0, 0x000306e4, 0x00200800, 0x7fbee3ff, 0xbfebfbff },
		{ 0x2, 0, 0x76035a01, 0x00f0b2ff, 0x00000000, 0x00ca0000 },
		{ 0x4, 0, 0x3c004121, 0x01c0003f, 0x0000003f, 0x00000000 },
		{ 0x4, 1, 0x3c004122, 0x01c0003f, 0x0000003f, 0x00000000 },
		{ 0x4, 2, 0x3c004143, 0x01c0003f, 0x000001ff, 0x00000000 },
		{ 0x4, 3, 0x3c07c163, 0x04c0003f, 0x00005fff, 0x00000006 },
		{ 0x6, 0, 0x00000077, 0x00000002, 0x00000009, 0x00000000 },
		{ 0x7, 0, 0x00000000, 0x00000281, 0x00000000, 0x00000000 },
		{ 0xa, 0, 0x07300403, 0x00000000, 0x00000000, 0x00000603 },
		{ 0xb, 0, 0x00000001, 0x00000002, 0x00000100, 0x00000000 },
		{ 0xb, 1, 0x00000005, 0x00000018, 0x00000201, 0x00000000 },
		{ 0xd, 0, 0x00000007, 0x00000340, 0x00000340, 0x00000000 },
		{ 0x80000000, 0, 0x80000008, 0x00000000, 0x00000000, 0x00000000 },
		{ 0x80000001, 0, 0x00000000, 0x00000000, 0x00000001, 0x2c100000 },
		{ 0x80000002, 0, 0x20202020, 0x6e492020, 0x286c6574, 0x58202952 },
		{ 0x80000003, 0, 0x286e6f65, 0x43202952, 0x45205550, 0x36322d35 },
		{ 0x80000004, 0, 0x76203739, 0x20402032, 0x30372e32, 0x007a4847 },
		{ 0x80000006, 0, 0x00000000, 0x00000000, 0x01006040, 0x00000000 },
		{ 0x80000007, 0, 0x00000000, 0x00000000, 0x00000000, 0x00000100 },
		{ 0x80000008, 0, 0x0000302e, 0x00000000, 0x00000000, 0x00000000 },
	},
	.msrs = VMX_MSRS_306E4(0x00000fff00000000), /* with APIC virtualization */
	.microcode = 0x42e,
	.flags = IVY_BRIDGE_FLAGS "smx ",
};

static const struct recorded i7_4930k = {
	.leaves = {
		{ 0x0, 0, 0x0000000d, 0x756e6547, 0x6c65746e, 0x49656e69 },
		{ 0x1, 0, 0x000306e4, 0x00200800, 0x7fbee3bf, 0xbfebfbff },
		{ 0x2, 0, 0x76036301, 0x00f0b2ff, 0x00000000, 0x00ca0000 },
		{ 0x4, 0, 0x3c004121, 0x01c0003f, 0x0000003f, 0x00000000 },
		{ 0x4, 1, 0x3c004122, 0x01c0003f, 0x0000003f, 0x00000000 },
		{ 0x4, 2, 0x3c004143, 0x01c0003f, 0x000001ff, 0x00000000 },
		{ 0x4, 3, 0x3c07c163, 0x03c0003f, 0x00002fff, 0x00000006 },
		{ 0x6, 0, 0x00000075, 0x00000002, 0x00000009, 0x00000000 },
		{ 0x7, 0, 0x00000000, 0x00000281, 0x00000000, 0x00000000 },
		{ 0xa, 0, 0x07300403, 0x00000000, 0x00000000, 0x00000603 },
		{ 0xb, 0, 0x00000001, 0x00000002, 0x00000100, 0x00000000 },
		{ 0xb, 1, 0x00000005, 0x0000000c, 0x00000201, 0x00000000 },
		{ 0xd, 0, 0x00000007, 0x00000340, 0x00000340, 0x00000000 },
		{ 0x80000000, 0, 0x80000008, 0x00000000, 0x00000000, 0x00000000 },
		{ 0x80000001, 0, 0x00000000, 0x00000000, 0x00000001, 0x2c100000 },
		{ 0x80000002, 0, 0x20202020, 0x49202020, 0x6c65746e, 0x20295228 },
		{ 0x80000003, 0, 0x65726f43, 0x294d5428, 0x2d376920, 0x30333934 },
		{ 0x80000004, 0, 0x5043204b, 0x20402055, 0x30342e33, 0x007a4847 },
		{ 0x80000006, 0, 0x00000000, 0x00000000, 0x01006040, 0x00000000 },
		{ 0x80000007, 0, 0x00000000, 0x00000000, 0x00000000, 0x00000100 },
		{ 0x80000008, 0, 0x0000302e, 0x00000000, 0x00000000, 0x00000000 },
	},
	.msrs = VMX_MSRS_306E4(0x00000cff00000000),
	.microcode = 0x416,
	.flags = IVY_BRIDGE_FLAGS,
};

static const struct recorded e5_2660_v3 = {
	.leaves = {
		{ 0x0, 0, 0x0000000f, 0x756e6547, 0x6c65746e, 0x49656e69 },
		{ 0x1, 0, 0x000306f2, 0x00200800, 0x7ffefbff, 0xbfebfbff },
		{ 0x4, 0, 0x3c004121, 0x01c0003f, 0x0000003f, 0x00000000 },
		{ 0x4, 3, 0x3c07c163, 0x04c0003f, 0x00004fff, 0x00000006 },
		{ 0x7, 0, 0x00000000, 0x000037ab, 0x00000000, 0x00000000 },
		{ 0xb, 0, 0x00000001, 0x00000002, 0x00000100, 0x00000000 },
		{ 0xb, 1, 0x00000005, 0x00000014, 0x00000201, 0x00000000 },
		{ 0x80000000, 0, 0x80000008, 0x00000000, 0x00000000, 0x00000000 },
		{ 0x80000001, 0, 0x00000000, 0x00000000, 0x00000021, 0x2c100000 },
		{ 0x80000002, 0, 0x65746e49, 0x2952286c, 0x6f655820, 0x2952286e },
		{ 0x80000003, 0, 0x55504320, 0x2d354520, 0x30363632, 0x20337620 },
		{ 0x80000004, 0, 0x2e322040, 0x48473036, 0x0000007a, 0x00000000 },
		{ 0x80000007, 0, 0x00000000, 0x00000000, 0x00000000, 0x00000100 },
	},
	.msrs = {
		0x00da040000000012, 0x000000ff00000016, 0xfff9fffe0401e172, 0x007fffff00036dff,
		0x0000ffff000011ff, 0x00000000300481e5, 0x0000000080000021, 0x00000000ffffffff,
		0x0000000000002000, 0x00000000001767ff, 0x000000000000002a, 0x00007fff00000000,
		0x00000f0106334141, 0x000000ff00000016, 0xfff9fffe04006172, 0x007fffff00036dfb,
		0x0000ffff000011fb,
	},
	.microcode = 0x27,
	.flags = IVY_BRIDGE_FLAGS "fma movbe bmi1 avx2 bmi2 invpcid abm ",
};

struct host_facts *fixture_shape(uint32_t nodes, uint32_t cores_per_node, uint32_t threads)
{
	struct host_facts *facts = facts_new();
	uint32_t cores = nodes * cores_per_node;

	cr_assert_not_null(facts);
	cr_assert_leq(cores * threads, FACTS_CPUS_MAX);
	for (uint32_t id = 0; id < cores * threads; id++) {
		struct host_cpu *cpu = &facts->cpus[facts->cpu_count++];
		uint32_t core = id % cores, thread = id / cores;

		cpu->id = id;
		cpu->online = cpu->allowed = true;
		cpu->node = cpu->package = (int32_t)(core / cores_per_node);
		cpu->core = (int32_t)(core % cores_per_node);
		cpu->apic_id = (uint32_t)cpu->package << 6 | (uint32_t)cpu->core << 1 | thread;
		for (uint32_t k = 0; k < threads; k++)
			cpu->siblings[cpu->sibling_count++] = (uint16_t)(core + k * cores);
	}
	for (uint32_t n = 0; n < nodes; n++) {
		facts->nodes[n] = (struct host_node){
			.id = n, .allowed = true, .memory_mib = 65536, .free_mib = 60000
		};
		for (uint32_t k = 0; k < nodes; k++)
			facts->distances[n][k] = n == k ? 10 : 21;
	}
	facts->node_count = nodes;
	return facts;
}

static void give_leaves(struct host_cpu *cpu, const struct recorded *recorded, uint32_t apic_id,
                        bool leaf_b)
{
	cpu->leaf_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(recorded->leaves); i++) {
		struct cpuid_leaf leaf = recorded->leaves[i];

		if (i > 0 && leaf.leaf == 0)
			break;
		if (leaf.leaf == 1)
			leaf.ebx = (leaf.ebx & 0xffffff) | apic_id << 24;
		if (leaf.leaf == 0xb)
			leaf.edx = apic_id;
		if (leaf_b || leaf.leaf != 0xb)
			cpu->leaves[cpu->leaf_count++] = leaf;
	}
}

void fixture_foreign_cpuid(struct host_facts *facts, bool leaf_b)
{
	for (size_t i = 0; i < facts->cpu_count; i++) {
		give_leaves(&facts->cpus[i], &e5_2697_v2, i % 2 ? 170 : 229, leaf_b);
		host_cpu_decode(&facts->cpus[i]);
	}
	facts_derive_siblings(facts);
	facts_decode(facts);
}

void fixture_set_vulnerability(struct host_facts *facts, const char *name, const char *state)
{
	size_t at = 0;

	while (at < facts->vulnerability_count &&
	       strcmp(facts->vulnerabilities[at].name, name) != 0)
		at++;
	if (!state) {
		cr_assert_lt(at, facts->vulnerability_count, "the fixture has no %s", name);
		facts->vulnerabilities[at] = facts->vulnerabilities[--facts->vulnerability_count];
		return;
	}
	cr_assert_lt(at, (size_t)FACTS_VULNERABILITIES_MAX);
	facts->vulnerability_count += at == facts->vulnerability_count;
	snprintf(facts->vulnerabilities[at].name, sizeof(facts->vulnerabilities[at].name), "%s",
	         name);
	snprintf(facts->vulnerabilities[at].value, sizeof(facts->vulnerabilities[at].value), "%s",
	         state);
}

static void give_vulnerabilities(struct host_facts *facts)
{
	static const char *const rows[][2] = {
		{ "itlb_multihit", "KVM: Mitigation: Split huge pages" },
		{ "l1tf",
		  "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable" },
		{ "mds", "Mitigation: Clear CPU buffers; SMT vulnerable" },
		{ "meltdown", "Mitigation: PTI" },
		{ "mmio_stale_data", "Unknown: No mitigations" },
		{ "retbleed", "Not affected" },
		{ "spec_store_bypass", "Mitigation: Speculative Store Bypass disabled via prctl" },
		{ "spectre_v1",
		  "Mitigation: usercopy/swapgs barriers and __user pointer sanitization" },
		{ "spectre_v2",
		  "Mitigation: Retpolines; IBPB: conditional; IBRS_FW; STIBP: conditional; RSB filling; "
		  "PBRSB-eIBRS: Not affected; BHI: Not affected" },
		{ "srbds", "Not affected" },
		{ "tsx_async_abort", "Not affected" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fixture_set_vulnerability(facts, rows[i][0], rows[i][1]);
}

static struct host_facts *build(const struct recorded *recorded, uint32_t nodes, uint32_t cores)
{
	struct host_facts *facts = fixture_shape(nodes, cores, 2);

	for (size_t i = 0; i < facts->cpu_count; i++) {
		struct host_cpu *cpu = &facts->cpus[i];
		/* As recorded: cores 0-5 and 8-13 of a package, where it has more than 6. */
		uint32_t core = (uint32_t)cpu->core + (cpu->core >= 6 ? 2 : 0);

		cpu->apic_id = (uint32_t)cpu->package << 5 | core << 1 |
		               (uint32_t)(i >= facts->cpu_count / 2);
		give_leaves(cpu, recorded, cpu->apic_id, true);
		cpu->microcode = recorded->microcode;
		cpu->flags_hash = 0x1234;
		host_cpu_decode(cpu);
	}
	snprintf(facts->flags, sizeof(facts->flags), "%s", recorded->flags);
	memcpy(facts->vmx.msrs, recorded->msrs, sizeof(recorded->msrs));
	facts->vmx.msr_mask = 0x1ffff;
	facts->kvm.present = facts->kvm.accessible = true;
	facts->kvm.api_version = 12;
	facts->kvm.parameter_count = 1;
	facts->kvm.parameters[0] = (struct host_named){ "kvm_intel.ept", "Y" };
	snprintf(facts->kernel_release, sizeof(facts->kernel_release), "6.1.0-28-amd64");
	give_vulnerabilities(facts);
	facts_decode(facts);
	return facts;
}

struct host_facts *fixture_e5_2697_v2(void)
{
	return build(&e5_2697_v2, 2, 12);
}

struct host_facts *fixture_i7_4930k(void)
{
	return build(&i7_4930k, 1, 6);
}

struct host_facts *fixture_e5_2660_v3(void)
{
	return build(&e5_2660_v3, 2, 10);
}

void fixture_add_flag(char *flags, const char *name)
{
	strcat(flags, name);
	strcat(flags, " ");
}

void fixture_remove_flag(char *flags, const char *name)
{
	char word[64], *at;

	snprintf(word, sizeof(word), " %s ", name);
	at = strstr(flags, word);
	cr_assert_not_null(at, "the fixture has no flag %s", name);
	memmove(at, at + strlen(word) - 1, strlen(at + strlen(word) - 1) + 1);
}

struct cpuid_leaf *fixture_leaf(struct host_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	for (size_t i = 0; i < cpu->leaf_count; i++)
		if (cpu->leaves[i].leaf == leaf && cpu->leaves[i].subleaf == subleaf)
			return &cpu->leaves[i];
	cr_assert_fail("the fixture has no leaf 0x%x", leaf);
	return NULL;
}

void fixture_guest_leaves(struct host_facts *facts)
{
	for (size_t i = 0; i < facts->cpus[0].leaf_count; i++)
		facts->kvm.guest_leaves[i].leaf = facts->cpus[0].leaves[i];
	facts->kvm.guest_leaf_count = facts->cpus[0].leaf_count;
	facts->kvm.guest_leaves[facts->kvm.guest_leaf_count++].leaf =
		(struct cpuid_leaf){ 0x40000001, 0, 0x0fffffff, 0, 0, 0 };
}

void fixture_tree_new(struct fixture_tree *tree)
{
	const char *base = getenv("TMPDIR");

	snprintf(tree->root, sizeof(tree->root), "%.40s/axvm-tree-XXXXXX", base ? base : "/tmp");
	cr_assert_not_null(mkdtemp(tree->root));
}

void fixture_tree_write(const struct fixture_tree *tree, const char *path, const char *format, ...)
{
	char full[320];
	va_list args;
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", tree->root, path);
	for (char *at = full + strlen(tree->root) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		(void)mkdir(full, 0700);
		*at = '/';
	}
	file = fopen(full, "we");
	cr_assert_not_null(file, "%s", full);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

void fixture_tree_done(struct fixture_tree *tree)
{
	nftw(tree->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
