/* SPDX-License-Identifier: MIT */
/* Facts: below made-up /proc and /sys trees, of this very machine, and through protobuf. */
#include "host/facts.h"
#include "host/cpulist.h"
#include "host/facts_proto.h"
#include "host/probe.h"
#include "launch/cli/text.h"
#include "tests/unit/rig/host_fixture.h"

#include <cpuid.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

Test(facts, cpu_lists_are_read_and_written_again)
{
	static const struct {
		const char *list, *again;
		int r;
	} cases[] = {
		{ "0-3,8,10-11\n", "0-3,8,10-11", 0 },
		{ "0", "0", 0 },
		{ "", "", 0 },
		{ "\n", "", 0 },
		{ "\t1,0\n", "0-1", 0 },
		{ "1020-4000", "1020-1023", 0 },
		{ "3-1", NULL, -EINVAL },
		{ "1,,2", NULL, -EINVAL },
		{ "1,", NULL, -EINVAL },
		{ "-1", NULL, -EINVAL },
		{ "1-", NULL, -EINVAL },
		{ "99999999999", NULL, -EINVAL },
		{ "0x3", NULL, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_bitmap bitmap;
		char text[64];

		cr_assert_eq(cpu_bitmap_parse(cases[i].list, &bitmap), cases[i].r, "\"%s\"",
		             cases[i].list);
		if (cases[i].r == 0)
			cr_assert_str_eq(cpu_bitmap_format(&bitmap, text, sizeof(text)),
			                 cases[i].again);
	}
}

/* By going from one to the next all are met and no other, at the ends of words too. */
Test(facts, cpus_of_a_set_one_after_the_other)
{
	static const char *const lists[] = { "",      "0", "63", "64", "1023", "0,63-64,127,1023",
		                             "0-1023" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct cpu_bitmap bitmap, met = { 0 };
		size_t steps = 0;

		cr_assert_eq(cpu_bitmap_parse(lists[i], &bitmap), 0);
		for (uint32_t cpu = cpu_bitmap_next(&bitmap, 0); cpu < CPU_BITMAP_MAX;
		     cpu = cpu_bitmap_next(&bitmap, cpu + 1)) {
			cpu_bitmap_add(&met, cpu);
			cr_assert_leq(++steps, (size_t)CPU_BITMAP_MAX, "\"%s\"", lists[i]);
		}
		cr_expect_eq(steps, cpu_bitmap_count(&bitmap), "\"%s\"", lists[i]);
		cr_expect_arr_eq(&met, &bitmap, sizeof(met), "\"%s\"", lists[i]);
		cr_expect_eq(cpu_bitmap_next(&bitmap, CPU_BITMAP_MAX), CPU_BITMAP_MAX);
	}
}

/* A host of 2 nodes, 2 cores each, 2 threads, CPU 7 offline, with the affinity and cpuset given. */
static void write_tree(const struct fixture_tree *tree, const char *cpus, const char *mems)
{
	char info[4096] = "", path[96];

	for (unsigned int id = 0; id < 7; id++)
		snprintf(
			info + strlen(info), sizeof(info) - strlen(info),
			"processor\t: %u\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 62\n"
			"model name\t: Intel(R) Xeon(R) CPU E5-2640 v2 @ 2.00GHz\nstepping\t: 4\n"
			"microcode\t: 0x42e\nphysical id\t: %u\ncore id\t\t: %u\napicid\t\t: %u\n"
			"flags\t\t: fpu lm vmx x2apic%s\nvmx flags\t: vnmi ept vpid\n\n",
			id, id % 4 / 2, id % 2, (id % 4 / 2) << 5 | (id % 2) << 1 | id / 4,
			id == 5 ? "" : " aes");
	fixture_tree_write(tree, "proc/cpuinfo", "%s", info);
	fixture_tree_write(tree, "proc/self/status",
	                   "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t%s\n"
	                   "Mems_allowed_list:\t%s\n",
	                   cpus, mems);
	fixture_tree_write(tree, "proc/sys/kernel/osrelease", "6.1.0-test\n");
	fixture_tree_write(tree, "sys/devices/system/cpu/present", "0-7\n");
	fixture_tree_write(tree, "sys/devices/system/cpu/online", "0-6\n");
	fixture_tree_write(tree, "sys/devices/system/node/online", "0-1\n");
	fixture_tree_write(tree, "sys/devices/system/node/node0/cpulist", "0-1,4-5\n");
	fixture_tree_write(tree, "sys/devices/system/node/node1/cpulist", "2-3,6\n");
	for (unsigned int n = 0; n < 2; n++) {
		snprintf(path, sizeof(path), "sys/devices/system/node/node%u/distance", n);
		fixture_tree_write(tree, path, n ? "21 10\n" : "10 21\n");
		snprintf(path, sizeof(path), "sys/devices/system/node/node%u/meminfo", n);
		fixture_tree_write(tree, path,
		                   "Node %u MemTotal:  2097152 kB\nNode %u MemFree:  %u kB\n", n, n,
		                   (n + 1) * 524288);
		snprintf(path, sizeof(path),
		         "sys/devices/system/node/node%u/hugepages/hugepages-2048kB/free_hugepages",
		         n);
		fixture_tree_write(tree, path, "%u\n", n * 3);
		snprintf(path, sizeof(path),
		         "sys/devices/system/node/node%u/hugepages/hugepages-2048kB/nr_hugepages",
		         n);
		fixture_tree_write(tree, path, "5\n");
	}
	for (unsigned int id = 0; id < 7; id++) {
		snprintf(path, sizeof(path),
		         "sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", id);
		if (id == 3)
			fixture_tree_write(tree, path, "3\n");
		else
			fixture_tree_write(tree, path, "%u,%u\n", id % 4, id % 4 + 4);
	}
	fixture_tree_write(tree, "sys/devices/system/cpu/vulnerabilities/mds", "Vulnerable\n");
	fixture_tree_write(tree, "sys/devices/system/cpu/vulnerabilities/l1tf", "Not affected\n");
	fixture_tree_write(tree, "sys/module/kvm_intel/parameters/ept", "N\n");
	fixture_tree_write(tree, "sys/module/kvm/parameters/halt_poll_ns", "200000\n");
}

Test(facts, two_nodes_with_smt_and_an_offline_cpu)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1");
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	fixture_tree_done(&tree);
	cr_assert_eq(facts->cpu_count, 8);
	cr_assert_eq(facts->node_count, 2);
	cr_assert_not(facts->cpus[7].online);
	cr_assert_not(facts->cpus[7].allowed);
	cr_assert_eq(facts->cpus[6].node, 1);
	cr_assert_eq(facts->cpus[6].sibling_count, 2);
	cr_assert_eq(facts->cpus[6].siblings[0], 2);
	cr_assert_eq(facts->cpus[3].sibling_count, 1);
	cr_assert_eq(facts->cpus[5].model, 62);
	cr_assert_eq(facts->cpus[5].microcode, 0x42e);
	cr_assert_eq(facts->distances[0][1], 21);
	cr_assert_eq(facts->nodes[1].free_mib, 1024 - 32, "less what the kernel is left with");
	cr_assert_eq(facts->nodes[1].huge[0].free, 3);
	cr_assert_eq(facts->nodes[1].huge[0].size_kib, 2048);
	cr_assert_eq(facts->vulnerability_count, 2);
	cr_assert_str_eq(facts->vulnerabilities[0].name, "l1tf");
	cr_assert_str_eq(facts->kernel_release, "6.1.0-test");
	cr_assert_str_eq(facts_kvm_parameter(facts, "kvm_intel.ept"), "N");
	cr_assert(facts->vmx.ept && facts->vmx.vpid && !facts->vmx.ept_ad);
	/* A flag counts when every CPU has it, and the CPU without it is told from the others. */
	cr_assert(flags_have(facts->flags, "x2apic"));
	cr_assert_not(flags_have(facts->flags, "aes"));
	cr_assert_neq(facts->cpus[5].flags_hash, facts->cpus[4].flags_hash);
	cr_assert_eq(facts->cpus[3].flags_hash, facts->cpus[4].flags_hash);
}

Test(facts, quick_probe_sees_the_same_shape)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1");
	cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
	fixture_tree_done(&tree);
	cr_assert(facts->quick);
	cr_assert_eq(facts->cpus[6].sibling_count, 2);
	cr_assert_eq(facts->cpus[6].siblings[0], 2);
	cr_assert_eq(facts->cpus[3].sibling_count, 1);
	cr_assert_eq(facts->cpus[1].node, 0);
	cr_assert_str_eq(facts_kvm_parameter(facts, "kvm_intel.ept"), "N");
}

/* Whether both have the same siblings, CPU by CPU, in the same order. */
static bool same_siblings(const struct host_facts *a, const struct host_facts *b)
{
	for (size_t i = 0; i < a->cpu_count; i++)
		if (a->cpus[i].sibling_count != b->cpus[i].sibling_count ||
		    memcmp(a->cpus[i].siblings, b->cpus[i].siblings, sizeof(a->cpus[i].siblings)) !=
		            0)
			return false;
	return a->cpu_count == b->cpu_count;
}

/* The kernel's list counts, here one that neither APIC ids nor core numbers would give. */
Test(facts, siblings_are_those_of_the_kernels_list_in_both_probes)
{
	_cleanup_free_ struct host_facts *facts = facts_new(), *quick = facts_new();
	static const char *const lists[] = { "0-1", "0-1", "2,6", "3", "4-5", "4-5", "2,6" };
	struct fixture_tree tree;
	char path[96];

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1");
	for (unsigned int id = 0; id < ARRAY_SIZE(lists); id++) {
		snprintf(path, sizeof(path),
		         "sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", id);
		fixture_tree_write(&tree, path, "%s\n", lists[id]);
	}
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	cr_assert_eq(facts_probe_quick(quick, tree.root), 0);
	fixture_tree_done(&tree);
	cr_expect(same_siblings(facts, quick));
	for (uint32_t id = 0; id < ARRAY_SIZE(lists); id++) {
		struct cpu_bitmap siblings = { 0 };
		char list[64];

		for (size_t k = 0; k < quick->cpus[id].sibling_count; k++)
			cpu_bitmap_add(&siblings, quick->cpus[id].siblings[k]);
		cr_expect_str_eq(cpu_bitmap_format(&siblings, list, sizeof(list)), lists[id],
		                 "CPU %u", id);
	}
}

/* A launch that is refused on a virtual machine names the hypervisor, as `axvm admit` does. Leaf
 * 0x40000000 has its name; without the hypervisor bit there is none to name. */
Test(facts, hypervisor_has_its_name_in_both_probes)
{
	_cleanup_free_ struct host_facts *facts = facts_new(), *quick = facts_new();
	uint32_t eax, words[4] = { 0 }, ecx, edx;
	const char *name = (const char *)words;

	__cpuid(1, eax, words[0], ecx, edx);
	words[0] = 0;
	if (ecx >> 31)
		__cpuid(0x40000000, eax, words[0], words[1], words[2]);
	cr_assert_eq(facts_probe(facts, NULL), 0);
	cr_assert_eq(facts_probe_quick(quick, NULL), 0);
	cr_expect_str_eq(facts->hypervisor_vendor, name);
	cr_expect_str_eq(quick->hypervisor_vendor, name);
	cr_expect_eq(quick->hypervisor, facts->hypervisor);
}

/* 4 packages of two nodes of 4 cores, which count their cores anew: Opteron 6134, without SMT and
 * without leaf 0xB. `nodes`: false where the firmware interleaves memory, and there is one. */
static void write_two_nodes_a_package(const struct fixture_tree *tree, bool nodes)
{
	char info[8192] = "", path[96];

	for (unsigned int id = 0; id < 32; id++)
		snprintf(
			info + strlen(info), sizeof(info) - strlen(info),
			"processor\t: %u\nvendor_id\t: AuthenticAMD\ncpu family\t: 16\nmodel\t\t: 9\n"
			"physical id\t: %u\ncore id\t\t: %u\napicid\t\t: %u\nflags\t\t: fpu ht lm\n\n",
			id, id / 8, id % 4, id + 16);
	fixture_tree_write(tree, "proc/cpuinfo", "%s", info);
	fixture_tree_write(tree, "sys/devices/system/cpu/online", "0-31\n");
	fixture_tree_write(tree, "sys/devices/system/node/online", nodes ? "0-7\n" : "0\n");
	for (unsigned int n = 0; n < (nodes ? 8 : 1); n++) {
		snprintf(path, sizeof(path), "sys/devices/system/node/node%u/cpulist", n);
		fixture_tree_write(tree, path, "%u-%u\n", n * 4, nodes ? n * 4 + 3 : 31);
	}
}

static size_t with_siblings(const struct host_facts *facts)
{
	size_t count = 0;

	for (size_t i = 0; i < facts->cpu_count; i++)
		count += facts->cpus[i].sibling_count != 1 ||
		         facts->cpus[i].siblings[0] != facts->cpus[i].id;
	return count;
}

/* Threads of one core are never on two nodes, whatever the numbers say: 32 CPUs, and not 16
 * pairs. */
Test(facts, no_siblings_across_nodes)
{
	typedef int probe(struct host_facts * facts, const char *root);
	static probe *const probes[] = { facts_probe, facts_probe_quick };

	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();
		struct fixture_tree tree;

		fixture_tree_new(&tree);
		write_two_nodes_a_package(&tree, true);
		cr_assert_eq(probes[i](facts, tree.root), 0);
		fixture_tree_done(&tree);
		cr_assert(facts->cpu_count == 32 && facts->node_count == 8);
		cr_expect_eq(with_siblings(facts), 0, "probe %zu: %zu CPUs", i,
		             with_siblings(facts));
	}
}

/* Where package, core and node do not tell them apart, the leaves do: what of them decides, and how
 * many CPUs are then paired (by the numbers, where a core has two threads or nothing is known). */
Test(facts, leaves_tell_that_a_core_is_one_thread)
{
	static const struct {
		const char *vendor;
		struct cpuid_leaf leaves[4];
		size_t paired;
	} rows[] = {
		{ "AuthenticAMD",
		  { { 1, 0, 0, 0x00080800, 0, 1u << 28 }, { 0x80000001, 0, 0, 0, 0x2, 0 } },
		  0 },
		{ "AuthenticAMD",
		  { { 1, 0, 0, 0x00080800, 0, 1u << 28 },
		    { 0x80000001, 0, 0, 0, 1u << 22, 0 },
		    { 0x8000001e, 0, 0, 0x000, 0, 0 } },
		  0 },
		{ "HygonGenuine",
		  { { 1, 0, 0, 0x00080800, 0, 1u << 28 },
		    { 0x80000001, 0, 0, 0, 1u << 22, 0 },
		    { 0x8000001e, 0, 0, 0x100, 0, 0 } },
		  32 },
		{ "AuthenticAMD", { { 1, 0, 0, 0x00080800, 0, 1u << 28 } }, 32 },
		{ "GenuineIntel", { { 1, 0, 0, 0x00010800, 0, 0 } }, 0 },
		{ "GenuineIntel",
		  { { 1, 0, 0, 0x00080800, 0, 1u << 28 }, { 4, 0, 7u << 26 | 0x121, 0, 0, 0 } },
		  0 },
		{ "GenuineIntel",
		  { { 1, 0, 0, 0x00100800, 0, 1u << 28 }, { 4, 0, 7u << 26 | 0x121, 0, 0, 0 } },
		  32 },
		{ "GenuineIntel", { { 1, 0, 0, 0x00100800, 0, 1u << 28 } }, 32 },
		{ "GenuineIntel",
		  { { 1, 0, 0, 0x00100800, 0, 1u << 28 }, { 0xb, 0, 0, 1, 0x100, 0 } },
		  0 },
		{ "GenuineIntel",
		  { { 1, 0, 0, 0x00100800, 0, 1u << 28 }, { 0xb, 0, 1, 2, 0x100, 0 } },
		  32 },
	};
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_two_nodes_a_package(&tree, false);
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	fixture_tree_done(&tree);
	cr_expect_eq(with_siblings(facts), 32, "nothing tells them apart");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		/* CPUID of one CPU only is as good as that of all, as in a quick probe. */
		size_t read = i % 2 ? facts->cpu_count : 1;

		for (size_t k = 0; k < facts->cpu_count; k++) {
			struct host_cpu *cpu = &facts->cpus[k];

			cpu->sibling_count = cpu->leaf_count = 0;
			snprintf(cpu->vendor, sizeof(cpu->vendor), "%s", rows[i].vendor);
			for (size_t n = 0;
			     k < read && n < ARRAY_SIZE(rows[i].leaves) && rows[i].leaves[n].leaf;
			     n++)
				cpu->leaves[cpu->leaf_count++] = rows[i].leaves[n];
		}
		facts_derive_siblings(facts);
		cr_expect_eq(with_siblings(facts), rows[i].paired, "row %zu: %zu CPUs", i,
		             with_siblings(facts));
	}
}

/* A kernel that has dropped the old name of the list. */
Test(facts, siblings_by_the_new_name_of_the_list)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_two_nodes_a_package(&tree, true);
	fixture_tree_write(&tree, "sys/devices/system/cpu/cpu9/topology/core_cpus_list", "9,30\n");
	cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
	fixture_tree_done(&tree);
	cr_expect(facts->cpus[9].sibling_count == 2 && facts->cpus[9].siblings[1] == 30);
	cr_expect(facts->cpus[30].sibling_count == 2 && facts->cpus[30].siblings[0] == 9);
}

/* As many nodes as Linux can have, with gaps in their numbers. */
Test(facts, all_nodes_are_seen)
{
	_cleanup_free_ struct host_facts *facts = facts_new(), *again = facts_new();
	uint8_t *bytes;
	Axvm__V1__HostFacts *message;
	struct fixture_tree tree;
	char path[96];
	size_t size;

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1,40,1023");
	fixture_tree_write(&tree, "sys/devices/system/node/online", "0-19,40,1023\n");
	fixture_tree_write(&tree, "sys/devices/system/node/node1/cpulist", "2-3\n");
	fixture_tree_write(&tree, "sys/devices/system/node/node1023/cpulist", "6\n");
	fixture_tree_write(&tree, "sys/devices/system/node/node1023/distance",
	                   "20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 254 40 10\n");
	for (unsigned int n = 2; n < 20; n++) {
		snprintf(path, sizeof(path), "sys/devices/system/node/node%u/meminfo", n);
		fixture_tree_write(&tree, path, "Node %u MemTotal:  2097152 kB\n", n);
	}
	cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
	cr_assert_eq(facts_refresh(facts, tree.root), 0);
	fixture_tree_done(&tree);
	cr_assert_eq(facts->node_count, 22);
	cr_expect_eq(facts->nodes[19].memory_mib, 2048);
	cr_expect_eq(facts->nodes[20].id, 40);
	cr_expect(facts->nodes[20].allowed && facts->nodes[21].allowed &&
	          !facts->nodes[19].allowed);
	cr_expect_eq(facts->cpus[6].node, 1023);
	cr_expect_eq(facts_distance(facts, 1023, 0), 20);
	cr_expect_eq(facts_distance(facts, 1023, 19), 254);
	cr_expect_eq(facts_distance(facts, 1023, 40), 40);
	cr_expect_eq(facts_distance(facts, 1023, 1023), 10);
	/* And from another machine's file. */
	cr_assert_eq(facts_to_message(facts, &message), 0);
	size = axvm__v1__host_facts__get_packed_size(message);
	bytes = malloc(size);
	cr_assert_not_null(bytes);
	axvm__v1__host_facts__pack(message, bytes);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	cr_assert_eq(facts_unpack(bytes, size, again), 0);
	free(bytes);
	cr_assert_eq(again->node_count, 22);
	cr_expect_eq(again->nodes[21].id, 1023);
	cr_expect_eq(again->cpus[6].node, 1023);
	cr_expect_eq(facts_distance(again, 1023, 19), 254);
}

/* A virtual machine whose CPUID is not intercepted answers with the ids of other processors, and of
 * another model; with and without leaf 0xB. */
Test(facts, the_kernels_numbers_stand_where_cpuid_has_others)
{
	for (int leaf_b = 0; leaf_b < 2; leaf_b++) {
		_cleanup_free_ struct host_facts *facts = facts_new(), *before = facts_new();
		struct fixture_tree tree;

		fixture_tree_new(&tree);
		write_tree(&tree, "0-7", "0-1");
		cr_assert_eq(facts_probe_quick(before, tree.root), 0);
		cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
		fixture_tree_done(&tree);
		fixture_foreign_cpuid(facts, leaf_b);
		cr_assert_eq(host_cpu_leaf_apic_id(&facts->cpus[1]), 170);
		cr_expect(same_siblings(facts, before));
		for (size_t i = 0; i < 7; i++) {
			const struct host_cpu *cpu = &facts->cpus[i];

			cr_expect_eq(cpu->apic_id, (i % 4 / 2) << 5 | (i % 2) << 1 | i / 4,
			             "CPU %zu", i);
			cr_expect_eq(cpu->package, before->cpus[i].package);
			cr_expect_eq(cpu->core, before->cpus[i].core);
			cr_expect_str_eq(cpu->brand, "Intel(R) Xeon(R) CPU E5-2640 v2 @ 2.00GHz");
		}
	}
}

/* CPUID of a quick probe is of one CPU: what it says must not make that one differ from the
 * others. */
Test(facts, the_kernels_signature_stands_where_cpuid_has_another)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1");
	fixture_tree_write(&tree, "proc/cpuinfo",
	                   "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n"
	                   "model\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\nflags\t\t: lm\n");
	cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
	fixture_tree_done(&tree);
	fixture_foreign_cpuid(facts, true);
	cr_expect_str_eq(facts->cpus[0].vendor, "AuthenticAMD");
	cr_expect_str_eq(facts->cpus[0].brand, "AMD EPYC");
	cr_expect_eq(facts->cpus[0].family, 25);
	cr_expect_eq(facts->cpus[0].model, 17);
	cr_expect_eq(facts->cpus[0].stepping, 1);
}

/* Facts of another machine in which siblings are left out, of a processor without leaf 0xB and of
 * one whose leaves would say something else. */
Test(facts, siblings_that_are_left_out_follow_from_package_and_core)
{
	for (int leaf_b = 0; leaf_b < 2; leaf_b++) {
		_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2(),
						 *before = fixture_e5_2697_v2();

		for (size_t i = 0; i < facts->cpu_count; i++)
			facts->cpus[i].sibling_count = 0;
		fixture_foreign_cpuid(facts, leaf_b);
		cr_expect(same_siblings(facts, before));
	}
}

Test(facts, affinity_and_cpuset_limit_what_is_allowed)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_tree(&tree, "2-3,7", "1");
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	fixture_tree_done(&tree);
	for (size_t i = 0; i < facts->cpu_count; i++)
		cr_assert_eq(facts->cpus[i].allowed, i == 2 || i == 3, "CPU %zu", i);
	cr_assert_not(facts->nodes[0].allowed);
	cr_assert(facts->nodes[1].allowed);
}

/* A shim that waits for its spec looks again at what may have changed. */
Test(facts, what_changes_is_read_again)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1");
	cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
	fixture_tree_write(&tree, "proc/self/status",
	                   "Name:\tx\nCpus_allowed_list:\t2-3\nMems_allowed_list:\t1\n");
	fixture_tree_write(&tree, "sys/devices/system/node/node1/meminfo",
	                   "Node 1 MemTotal:  2097152 kB\nNode 1 MemFree:  34816 kB\n");
	fixture_tree_write(&tree, "sys/devices/system/cpu/vulnerabilities/mds",
	                   "Mitigation: Clear CPU buffers\n");
	cr_assert_eq(facts_refresh(facts, tree.root), 0);
	cr_expect_eq(facts->vulnerability_count, 2);
	cr_expect_str_eq(facts_vulnerability(facts, "mds"), "Mitigation: Clear CPU buffers");
	cr_expect_null(facts_vulnerability(facts, "md"));
	for (size_t i = 0; i < facts->cpu_count; i++)
		cr_expect_eq(facts->cpus[i].allowed, i == 2 || i == 3, "CPU %zu", i);
	cr_expect_eq(facts->node_count, 2);
	cr_expect_not(facts->nodes[0].allowed);
	cr_expect_eq(facts->nodes[1].free_mib, 2, "34 MiB less the kernel's 32");
	cr_expect_eq(facts->distances[0][1], 21);
	fixture_tree_done(&tree);
}

/* A CPU or a node that has gone or come, the first as well as the last; or one for another, as many
 * as before. */
Test(facts, another_inventory_is_stale)
{
	static const struct {
		const char *cpus, *nodes;
		int r;
	} rows[] = {
		{ "0-6", "0-1", 0 },         { "0-5", "0-1", -ESTALE },
		{ "1-6", "0-1", -ESTALE },   { "0-7", "0-1", -ESTALE },
		{ "0-5,7", "0-1", -ESTALE }, { "0-2,4-7", "0-1", -ESTALE },
		{ "1-7", "0-1", -ESTALE },   { "0-6", "0", -ESTALE },
		{ "0-6", "1", -ESTALE },     { "0-6", "0-2", -ESTALE },
		{ "0-6", "0,2", -ESTALE },   { "0-6", "1-2", -ESTALE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();
		struct fixture_tree tree;

		fixture_tree_new(&tree);
		write_tree(&tree, "0-7", "0-2");
		cr_assert_eq(facts_probe_quick(facts, tree.root), 0);
		fixture_tree_write(&tree, "sys/devices/system/cpu/online", "%s\n", rows[i].cpus);
		fixture_tree_write(&tree, "sys/devices/system/node/online", "%s\n", rows[i].nodes);
		cr_expect_eq(facts_refresh(facts, tree.root), rows[i].r, "row %zu", i);
		fixture_tree_done(&tree);
	}
}

/* Without the kernel's list of CPUs that are online, each that /proc/cpuinfo has is, and no other;
 * with it, the list counts. Both ends of the numbering among them. */
Test(facts, cpus_that_cpuinfo_has_are_online)
{
	static const char *const lists[] = { NULL, "1-2", "0,4", "0-4" };
	static const char *const wanted[] = { "0,2-3", "1-2", "0,4", "0-4" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();
		struct cpu_bitmap online = { 0 }, allowed = { 0 };
		struct fixture_tree tree;
		char text[64];

		fixture_tree_new(&tree);
		fixture_tree_write(&tree, "proc/cpuinfo",
		                   "processor\t: 0\nflags\t\t: lm\n\nprocessor\t: 2\n"
		                   "flags\t\t: lm\n\nprocessor\t: 3\nflags\t\t: lm\n");
		fixture_tree_write(&tree, "sys/devices/system/cpu/present", "0-4\n");
		if (lists[i])
			fixture_tree_write(&tree, "sys/devices/system/cpu/online", "%s\n",
			                   lists[i]);
		cr_assert_eq(facts_probe(facts, tree.root), 0);
		fixture_tree_done(&tree);
		cr_expect_eq(facts->cpu_count, 5);
		for (size_t k = 0; k < facts->cpu_count; k++) {
			if (facts->cpus[k].online)
				cpu_bitmap_add(&online, facts->cpus[k].id);
			if (facts->cpus[k].allowed)
				cpu_bitmap_add(&allowed, facts->cpus[k].id);
		}
		cr_expect_str_eq(cpu_bitmap_format(&online, text, sizeof(text)), wanted[i],
		                 "row %zu", i);
		cr_expect_str_eq(cpu_bitmap_format(&allowed, text, sizeof(text)), wanted[i],
		                 "row %zu", i);
	}
}

Test(facts, an_empty_root_has_no_processor)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	cr_assert_eq(facts_probe(facts, tree.root), -ENODEV);
	fixture_tree_done(&tree);
}

Test(facts, probing_this_machine_moves_no_caller)
{
	_cleanup_free_ struct host_facts *facts = facts_new(), *quick = facts_new();
	cpu_set_t before, after;
	size_t online = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cr_assert_eq(facts_probe(facts, NULL), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after), "probing moved the caller");
	for (size_t i = 0; i < facts->cpu_count; i++) {
		const struct host_cpu *cpu = &facts->cpus[i];

		online += cpu->online;
		if (!cpu->online)
			continue;
		cr_assert_geq(cpu->sibling_count, 1);
		if (cpu->allowed)
			cr_assert_gt(cpu->leaf_count, 5, "CPUID was not run on CPU %u", cpu->id);
		if (i > 0)
			cr_assert_neq(cpu->apic_id, facts->cpus[i - 1].apic_id);
	}
	cr_assert_eq((long)online, sysconf(_SC_NPROCESSORS_ONLN));
	cr_assert(flags_have(facts->flags, "lm"));
	cr_assert_not(flags_have(facts->flags, "l"));
	cr_assert_geq(facts->node_count, 1);
	cr_assert_gt(facts->nodes[0].memory_mib, 0);
	cr_assert_eq(facts_probe_quick(quick, NULL), 0);
	cr_assert_eq(quick->cpu_count, facts->cpu_count);
	cr_assert_str_eq(quick->flags, facts->flags);
	cr_assert(same_siblings(quick, facts));
	for (size_t i = 0; i < facts->cpu_count; i++) {
		cr_assert_eq(quick->cpus[i].apic_id, facts->cpus[i].apic_id);
		cr_assert_str_eq(quick->cpus[i].brand, facts->cpus[i].brand);
		cr_assert_eq(quick->cpus[i].family, facts->cpus[i].family);
		cr_assert_eq(quick->cpus[i].model, facts->cpus[i].model);
	}
}

Test(facts, vmx_capabilities_from_recorded_msrs)
{
	_cleanup_free_ struct host_facts *ivy = fixture_i7_4930k(), *haswell = fixture_e5_2660_v3();

	cr_assert(ivy->vmx.ept && ivy->vmx.ept_2m && ivy->vmx.ept_1g && ivy->vmx.vpid);
	cr_assert(ivy->vmx.unrestricted_guest && ivy->vmx.pause_loop_exiting);
	cr_assert_not(ivy->vmx.apic_register_virtualization ||
	              ivy->vmx.virtual_interrupt_delivery || ivy->vmx.posted_interrupts ||
	              ivy->vmx.tsc_scaling || ivy->vmx.ept_ad);
	cr_assert(haswell->vmx.apic_register_virtualization &&
	          haswell->vmx.virtual_interrupt_delivery && haswell->vmx.posted_interrupts &&
	          haswell->vmx.ept_ad);
	cr_assert_not(haswell->vmx.tsc_scaling);
}

/* What is left out is not limited; what comes in another order is put in order; numbers are cut to
 * what is whole. */
Test(facts, a_host_with_gaps_is_read_in_order)
{
	static const struct {
		const char *path, *text;
	} files[] = {
		{ "proc/cpuinfo",
		  "processor\t: 3\nmicrocode\t: 0x2f\nflags\t\t:  lm  nx\n\n"
		  "processor\t: 1\nmodel name\t:  Two words  \nflags\t\t: lm vmx nx\n" },
		{ "sys/devices/system/cpu/present", "0-3\n" },
		/* without itself */
		{ "sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "3\n" },
		{ "sys/devices/system/node/online", "0,2\n" },
		{ "sys/devices/system/node/node0/cpulist", "1\n" },
		{ "sys/devices/system/node/node2/cpulist", "3\n" },
		{ "sys/devices/system/node/node0/distance", "10 300\n" },
		{ "sys/devices/system/node/node2/distance", "40 10\n" },
		{ "sys/devices/system/node/node2/meminfo",
		  "Node 2 MemTotal: 3071 kB\nNode 2 MemFree: 15000 kB\nNode 2 Active(file): 1500 kB\nNode 2 Inactive(file): 1500 kB\n"
		  "Node 2 SReclaimable: 430 kB\n" },
		{ "sys/devices/system/node/node2/hugepages/hugepages-2048kB/nr_hugepages", "7\n" },
		{ "sys/devices/system/node/node2/hugepages/hugepages-2048kB/free_hugepages",
		  "4\n" },
		{ "sys/module/kvm_amd/parameters/npt", "1\n" },
		{ "sys/module/kvm_intel/parameters/ept", "Y\n" },
		{ "sys/module/kvm_intel/parameters/vpid", "N\n" },
		{ "sys/module/kvm/parameters/halt_poll_ns", "200000\n" },
		{ "sys/devices/system/cpu/vulnerabilities/mds", "m\n" },
		{ "sys/devices/system/cpu/vulnerabilities/srbds", "s\n" },
		{ "sys/devices/system/cpu/vulnerabilities/itlb_multihit", "i\n" },
	};
	static const char *const parameters[][2] = { { "kvm.halt_poll_ns", "200000" },
		                                     { "kvm_amd.npt", "1" },
		                                     { "kvm_intel.ept", "Y" },
		                                     { "kvm_intel.vpid", "N" } };
	static const char *const vulnerabilities[] = { "itlb_multihit", "mds", "srbds" };
	_cleanup_free_ struct host_facts *facts = facts_new(), *quick = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		fixture_tree_write(&tree, files[i].path, "%s", files[i].text);
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	cr_assert_eq(facts_probe_quick(quick, tree.root), 0);
	fixture_tree_done(&tree);
	cr_assert_eq(facts->cpu_count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		const struct host_cpu *cpu = &facts->cpus[i];

		cr_expect(cpu->id == i && cpu->online == (i % 2 == 1) &&
		                  cpu->allowed == cpu->online,
		          "CPU %u", i);
		cr_expect_eq(cpu->node, i == 1 ? 0 : i == 3 ? 2 : -1, "CPU %u", i);
		cr_expect(cpu->package == -1 && cpu->core == -1);
		cr_expect_eq(cpu->sibling_count, cpu->online, "CPU %u is alone", i);
		cr_expect(!cpu->online || cpu->siblings[0] == i);
	}
	cr_expect_str_eq(facts->cpus[1].brand, "Two words");
	cr_expect_eq(facts->cpus[3].microcode, 0x2f);
	cr_expect(flags_have(facts->flags, "lm") && flags_have(facts->flags, "nx") &&
	          !flags_have(facts->flags, "vmx"));
	cr_assert_eq(facts->node_count, 2);
	cr_expect(facts->nodes[0].id == 0 && facts->nodes[1].id == 2);
	cr_expect(facts->nodes[0].allowed && facts->nodes[1].allowed);
	cr_expect(facts->nodes[0].memory_mib == 0 && facts->nodes[1].memory_mib == 2 &&
	          facts->nodes[1].free_mib == 1);
	cr_expect(facts->distances[0][0] == 10 && facts->distances[0][1] == 255 &&
	          facts->distances[1][0] == 40);
	cr_expect(facts->nodes[0].huge_count == 0 && facts->nodes[1].huge_count == 1);
	cr_expect(facts->nodes[1].huge[0].total == 7 && facts->nodes[1].huge[0].free == 4);
	cr_assert_eq(facts->kvm.parameter_count, ARRAY_SIZE(parameters));
	for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
		cr_expect_str_eq(facts->kvm.parameters[i].name, parameters[i][0]);
		cr_expect_str_eq(facts->kvm.parameters[i].value, parameters[i][1]);
	}
	cr_assert_eq(facts->vulnerability_count, ARRAY_SIZE(vulnerabilities));
	for (size_t i = 0; i < ARRAY_SIZE(vulnerabilities); i++) {
		cr_expect_str_eq(facts->vulnerabilities[i].name, vulnerabilities[i]);
		cr_expect_eq(facts->vulnerabilities[i].value[0], vulnerabilities[i][0]);
	}
	cr_assert_eq(quick->vulnerability_count, ARRAY_SIZE(vulnerabilities));
	for (size_t i = 0; i < ARRAY_SIZE(vulnerabilities); i++)
		cr_expect_str_eq(quick->vulnerabilities[i].name, vulnerabilities[i]);
	/* What a launch does not need is not read for it. */
	cr_expect_eq(quick->nodes[1].huge_count, 0);
	cr_assert_eq(quick->kvm.parameter_count, 1);
	cr_expect_str_eq(quick->kvm.parameters[0].name, "kvm_intel.ept");
}

/* Each capability by its own bit of its own MSR, and where the MSR is not to be read by its own
 * flag; none by another's. */
Test(facts, each_vmx_capability_is_its_own)
{
	static const struct {
		size_t offset;
		unsigned int msr, bit;
		/* among the "vmx flags"; among the flags of older kernels */
		const char *flag, *older;
	} rows[] = {
#define VMX(field_) offsetof(struct host_vmx, field_)
		{ VMX(posted_interrupts), 0x01, 39, "posted_intr", NULL },
		{ VMX(ept), 0x0b, 33, "ept", "ept" },
		{ VMX(virtualize_x2apic), 0x0b, 36, NULL, NULL },
		{ VMX(vpid), 0x0b, 37, "vpid", "vpid" },
		{ VMX(unrestricted_guest), 0x0b, 39, "unrestricted_guest", NULL },
		{ VMX(apic_register_virtualization), 0x0b, 40, "vapic_reg", NULL },
		{ VMX(virtual_interrupt_delivery), 0x0b, 41, "vid", NULL },
		{ VMX(pause_loop_exiting), 0x0b, 42, "ple", NULL },
		{ VMX(tsc_scaling), 0x0b, 57, "tsc_scaling", NULL },
		{ VMX(ept_2m), 0x0c, 16, NULL, NULL },
		{ VMX(ept_1g), 0x0c, 17, NULL, NULL },
		{ VMX(ept_ad), 0x0c, 21, "ept_ad", "ept_ad" },
#undef VMX
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int how = 0; how < 3; how++) {
			_cleanup_free_ struct host_facts *facts = facts_new();
			const char *flag = how == 1 ? rows[i].flag : rows[i].older;

			if (how == 0) {
				facts->vmx.msr_mask = 1u << 0x01 | 1u << 0x0b | 1u << 0x0c;
				facts->vmx.msrs[rows[i].msr] = 1ULL << rows[i].bit;
				/* What the MSR denies is not there, whatever the kernel's flags
				 * say. */
				strcpy(facts->vmx_flags, " ept vpid ept_ad ple vid ");
			} else if (flag) {
				snprintf(how == 1 ? facts->vmx_flags : facts->flags, 64, " %s ",
				         flag);
			}
			facts_decode(facts);
			for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
				cr_expect_eq(*((const bool *)&facts->vmx + rows[k].offset),
				             k == i && (how == 0 || flag),
				             "row %zu, by way %d: that of row %zu", i, how, k);
		}
}

/* Two names stand for two capabilities each. */
Test(facts, flags_that_stand_for_two)
{
	_cleanup_free_ struct host_facts *large = facts_new(), *apic = facts_new();

	strcpy(large->vmx_flags, " ept_1gb ");
	facts_decode(large);
	cr_expect(large->vmx.ept_2m && large->vmx.ept_1g && !large->vmx.ept);
	strcpy(apic->vmx_flags, " apicv ");
	facts_decode(apic);
	cr_expect(apic->vmx.apic_register_virtualization && apic->vmx.virtual_interrupt_delivery);
	cr_expect_not(apic->vmx.virtualize_x2apic || apic->vmx.posted_interrupts);
}

/* The processor that stands for all: the first that is online with leaves; without any, the first
 * that is online. */
Test(facts, which_cpu_stands_for_all)
{
	static const struct {
		bool online[3];
		size_t leaves[3];
		size_t wanted;
	} rows[] = {
		{ { true, true, true }, { 5, 5, 5 }, 0 },
		{ { true, true, true }, { 0, 5, 5 }, 1 },
		{ { false, true, true }, { 5, 0, 5 }, 2 },
		{ { false, true, true }, { 5, 0, 0 }, 1 },
		{ { false, false, true }, { 0, 0, 0 }, 2 },
		{ { false, false, false }, { 0, 5, 0 }, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();

		facts->cpu_count = 3;
		for (size_t k = 0; k < 3; k++) {
			facts->cpus[k].id = (uint32_t)k;
			facts->cpus[k].online = rows[i].online[k];
			facts->cpus[k].leaf_count = rows[i].leaves[k];
		}
		cr_expect_eq(facts_reference_cpu(facts) - facts->cpus, (long)rows[i].wanted,
		             "row %zu", i);
	}
}

static size_t pack(const struct host_facts *facts, uint8_t **ret)
{
	Axvm__V1__HostFacts *message;
	size_t size;

	cr_assert_eq(facts_to_message(facts, &message), 0);
	size = axvm__v1__host_facts__get_packed_size(message);
	*ret = malloc(size);
	axvm__v1__host_facts__pack(message, *ret);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	return size;
}

Test(facts, through_protobuf_and_back_to_the_byte)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2(), *again = facts_new();
	_cleanup_free_ uint8_t *first = NULL, *second = NULL;
	size_t size = pack(facts, &first);

	cr_assert_eq(facts_unpack(first, size, again), 0);
	cr_assert_eq(pack(again, &second), size);
	cr_assert_arr_eq(first, second, size);
	cr_assert_eq(again->cpus[47].apic_id, facts->cpus[47].apic_id);
	cr_assert_eq(memcmp(&again->vmx, &facts->vmx, sizeof(facts->vmx)), 0);
}

Test(facts, what_is_lacking_is_told_kvm_first)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2(), *again = facts_new();
	_cleanup_free_ uint8_t *bytes = NULL;
	char text[320];
	size_t size;

	cr_expect_null(facts_lacking(facts, 0, text, sizeof(text)));
	facts_add_offer(facts, "io_uring", true, 0, NULL);
	facts_add_offer(facts, "memory_policy", false, EPERM, "no mbind");
	cr_expect_null(facts_lacking(facts, 0, text, sizeof(text)),
	               "neither is a launch refused for");
	facts_add_offer(facts, "namespaces", true, EPERM, "no namespaces");
	facts_add_offer(facts, "root_mount", true, EINVAL, "no root");
	size = pack(facts, &bytes);
	cr_assert_eq(facts_unpack(bytes, size, again), 0);
	cr_assert_eq(again->offer_count, 4);
	cr_expect_str_eq(again->offers[2].name, "namespaces");
	cr_expect_eq(again->offers[2].error_number, EPERM);
	cr_expect(again->offers[0].available && again->offers[0].required &&
	          !again->offers[1].required);
	cr_expect_str_eq(facts_lacking(again, 0, text, sizeof(text)), "no namespaces");
	cr_expect_str_eq(facts_lacking(again, 1, text, sizeof(text)), "no root");
	cr_expect_null(facts_lacking(again, 2, text, sizeof(text)));

	again->kvm.present = again->kvm.accessible = false;
	cr_expect_not_null(
		strstr(facts_lacking(again, 0, text, sizeof(text)),
	               "there is no /dev/kvm, although the processor has VT-x: load kvm_intel"));
	cr_expect_str_eq(facts_lacking(again, 1, text, sizeof(text)), "no namespaces");
	cr_expect_null(facts_lacking(again, 3, text, sizeof(text)));
	fixture_remove_flag(again->flags, "vmx");
	cr_expect_not_null(strstr(facts_lacking(again, 0, text, sizeof(text)),
	                          "does not show VT-x: switch it on"));
	fixture_add_flag(again->flags, "svm");
	strcpy(again->cpus[0].vendor, "AuthenticAMD");
	cr_expect_not_null(
		strstr(facts_lacking(again, 0, text, sizeof(text)), "AMD-V: load kvm_amd"));
	fixture_remove_flag(again->flags, "svm");
	cr_expect_not_null(strstr(facts_lacking(again, 0, text, sizeof(text)),
	                          "does not show AMD-V: switch it on"));
	again->kvm.present = true;
	again->kvm.error_number = EACCES;
	cr_expect_not_null(strstr(facts_lacking(again, 0, text, sizeof(text)),
	                          "no permission for /dev/kvm: run as root"));
	again->kvm.error_number = ENODEV;
	cr_expect_not_null(strstr(facts_lacking(again, 0, text, sizeof(text)),
	                          "does not open: No such device; load kvm_amd (modprobe)"));
	again->cpu_count = 0;
	cr_expect_not_null(strstr(facts_lacking(again, 0, text, sizeof(text)),
	                          "load kvm_intel or kvm_amd (modprobe)"));
}

/* What is to be loaded is what the processor runs with: the other vendor's module does not help. */
Test(facts, each_vendors_module_of_kvm)
{
	static const char *const vendors[][3] = {
		{ "GenuineIntel", "VT-x", "kvm_intel" },
		{ "AuthenticAMD", "AMD-V", "kvm_amd" },
		{ "HygonGenuine", "AMD-V", "kvm_amd" },
		{ "CentaurHauls", "VT-x", "kvm_intel" },
		{ "  Shanghai  ", "VT-x", "kvm_intel" },
		{ "", "VT-x or AMD-V", "kvm_intel or kvm_amd" },
		{ "GenuineInte", "VT-x or AMD-V", "kvm_intel or kvm_amd" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++) {
		struct kvm_kind kind = kvm_kind_of(vendors[i][0]);

		cr_expect_str_eq(kind.technique, vendors[i][1], "%s", vendors[i][0]);
		cr_expect_str_eq(kind.module, vendors[i][2], "%s", vendors[i][0]);
	}
}

Test(facts, offers_end_where_their_room_ends)
{
	_cleanup_free_ struct host_facts *facts = facts_new();

	for (int i = 1; i <= FACTS_OFFERS_MAX + 2; i++)
		facts_add_offer(facts, "x", true, i, "no");
	cr_expect_eq(facts->offer_count, FACTS_OFFERS_MAX);
	cr_expect_eq(facts->offers[FACTS_OFFERS_MAX - 1].error_number, FACTS_OFFERS_MAX);
	cr_expect_eq(facts->vulnerability_count, 0, "what lies behind it");
}

/* More than a probe can find are not taken from a file. */
Test(facts, too_many_offers_are_refused)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	Axvm__V1__HostFacts message = AXVM__V1__HOST_FACTS__INIT;
	Axvm__V1__CpuFacts cpu = AXVM__V1__CPU_FACTS__INIT, *cpus[] = { &cpu };
	Axvm__V1__Offer offer = AXVM__V1__OFFER__INIT, *offers[FACTS_OFFERS_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(offers); i++)
		offers[i] = &offer;
	cpu.has_id = true;
	message.cpus = cpus;
	message.n_cpus = 1;
	message.offers = offers;
	message.n_offers = FACTS_OFFERS_MAX;
	cr_expect_eq(facts_from_message(&message, facts), 0);
	message.n_offers++;
	cr_expect_eq(facts_from_message(&message, facts), -EINVAL);
}

Test(facts, through_text_and_back_to_the_byte)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2(), *again = facts_new();
	_cleanup_free_ uint8_t *first = NULL, *second = NULL;
	Axvm__V1__HostFacts *message;
	ProtobufCMessage *parsed = NULL;
	struct text_error error = { 0 };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	/* Strings with every kind of escape, and a number that needs all 64 bits. */
	snprintf(facts->vulnerabilities[0].name, sizeof(facts->vulnerabilities[0].name),
	         "q\"b\\n\n\x01\xc3\xa9");
	facts->vulnerability_count = 1;
	facts->cpus[0].flags_hash = UINT64_MAX;
	cr_assert_eq(facts_to_message(facts, &message), 0);
	text_print(out, &message->base);
	fclose(out);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	cr_assert_eq(text_parse(text, size, &axvm__v1__host_facts__descriptor, &parsed, &error), 0,
	             "line %u: %s", error.line, error.message);
	cr_assert_eq(facts_from_message((Axvm__V1__HostFacts *)parsed, again), 0);
	protobuf_c_message_free_unpacked(parsed, NULL);
	size = pack(facts, &first);
	cr_assert_eq(pack(again, &second), size);
	cr_assert_arr_eq(first, second, size);
	free(text);
}

Test(facts, text_that_is_wrong_is_refused_by_line)
{
	static const struct {
		const char *text;
		unsigned int line; /* 0: it is right */
	} cases[] = {
		{ "", 0 },
		{ "quick: true # yes\n", 0 },
		{ "cpus { id: 0x1f } cpus < id: 010 >, cpus: { id: 3; }", 0 },
		{ "flags: ['a' \"b\", \"c\"] flags: []\nkvm { api_version: -1 }", 0 },
		{ "\n\ncolour: 3", 3 },
		{ "quick: maybe", 1 },
		{ "quick: true\nquick: false", 2 },
		{ "cpus { id: 4294967296 }", 1 },
		{ "cpus { id: -1 }", 1 },
		{ "kvm { api_version: 2147483648 }", 1 },
		{ "cpus { id: 1", 1 },
		{ "cpus { id: 1 }}", 1 },
		{ "cpus { id 1 }", 1 },
		{ "kernel_release: \"a\nb\"", 1 },
		{ "kernel_release: \"\\q\"", 1 },
		{ "kernel_release: 3", 1 },
		{ "distances: [1, 2", 1 },
		{ "cpus", 1 },
		{ "cpus { id: }", 1 },
		{ "cpus { id: 0x }", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ProtobufCMessage *message = NULL;
		struct text_error error = { 0 };
		int r = text_parse(cases[i].text, strlen(cases[i].text),
		                   &axvm__v1__host_facts__descriptor, &message, &error);

		cr_assert_eq(r, cases[i].line ? -EINVAL : 0, "%s: %s", cases[i].text,
		             error.message);
		cr_assert_eq(error.line, cases[i].line, "%s", cases[i].text);
		if (message)
			protobuf_c_message_free_unpacked(message, NULL);
	}
}

static int from_text(const char *text)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	ProtobufCMessage *message = NULL;
	struct text_error error;
	int r;

	cr_assert_eq(text_parse(text, strlen(text), &axvm__v1__host_facts__descriptor, &message,
	                        &error),
	             0, "%s", text);
	r = facts_from_message((Axvm__V1__HostFacts *)message, facts);
	protobuf_c_message_free_unpacked(message, NULL);
	return r;
}

Test(facts, messages_beyond_the_bounds_are_refused)
{
	cr_assert_eq(from_text("cpus { id: 0 } cpus { id: 1 } nodes { id: 0 cpus: [0, 1] }"), 0);
	cr_assert_eq(from_text(""), -EINVAL);
	cr_assert_eq(from_text("cpus { }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 1024 }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 1 } cpus { id: 1 }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 1 } cpus { id: 0 }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 smt_siblings: [0,1,2,3,4,5,6,7,8] }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 smt_siblings: 70000 }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 node: 3000000000 }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 } vmx { msrs { index: 0x492 } }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 } vmx { msrs { index: 0 } }"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 } nodes { id: 0 } distances: [10, 20]"), -EINVAL);
	cr_assert_eq(from_text("cpus { id: 0 } nodes { id: 0 } nodes { id: 0 }"), -EINVAL);
	cr_assert_eq(facts_unpack((const uint8_t *)"\xff\xff", 2, NULL), -EBADMSG);
}

/* Signatures of real processors: extended family and model count where SDM 2A and APM 3 say so. */
Test(facts, signatures_are_decoded)
{
	static const struct {
		uint32_t eax, family, model, stepping;
	} signatures[] = {
		{ 0x000306e4, 6, 0x3e, 4 },      /* Ivy Bridge-EP */
		{ 0x000306f2, 6, 0x3f, 2 },      /* Haswell-EP */
		{ 0x00000f4a, 15, 0x04, 10 },    /* Pentium D */
		{ 0x00060fb1, 15, 0x6b, 1 },     /* Athlon 64 X2 */
		{ 0x00100f42, 0x10, 0x04, 2 },   /* Phenom II */
		{ 0x00800f12, 0x17, 0x01, 2 },   /* Zen */
		{ 0x00a20f12, 0x19, 0x21, 2 },   /* Zen 3 */
		{ 0x00010542, 5, 0x04, 2 },      /* a family that has no extension */
		{ 0x0fff0fff, 0x10e, 0xff, 15 }, /* made up: every bit of each field, */
		{ 0x08080f88, 0x8f, 0x88, 8 },   /* the uppermost of each, */
		{ 0xf000f6e4, 6, 0x0e, 4 },      /* what is reserved is of none, */
		{ 0xfff0f6e4, 6, 0x0e, 4 },      /* nor is the extended family of 6 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		struct host_cpu cpu = {
			.leaf_count = 1, .leaves = { { 1, 0, signatures[i].eax, 0x2a000800, 0, 0 } }
		};

		host_cpu_decode(&cpu);
		cr_assert_eq(cpu.family, signatures[i].family, "%08x is family %u",
		             signatures[i].eax, cpu.family);
		cr_assert_eq(cpu.model, signatures[i].model, "%08x is model %#x", signatures[i].eax,
		             cpu.model);
		cr_assert_eq(cpu.stepping, signatures[i].stepping, "%08x", signatures[i].eax);
		cr_assert_eq(host_cpu_leaf_apic_id(&cpu), 0x2a, "without leaf 0xB");
	}
}

/* Leaf 0xB's 32 bits, where it says anything; the brand without the spaces at its ends, where it is
 * there. */
Test(facts, apic_id_vendor_and_brand_are_decoded)
{
	struct host_cpu cpu = {
		.leaf_count = 6,
		.leaves = {
			{ 0, 0, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69 },
			{ 1, 0, 0x306e4, 0x2a000800, 0, 0 },
			{ 0xb, 0, 1, 2, 0x100, 0x12345 },
			{ 0x80000002, 0, 0x20202020, 0x65722041, 0x20206c61, 0x646e6120 },
			{ 0x80000003, 0, 0x61702020, 0x64656464, 0x20202020, 0x20202020 },
			{ 0x80000004, 0, 0x20202020, 0x20202020, 0x20202020, 0x20202020 },
		},
	};

	host_cpu_decode(&cpu);
	cr_assert_str_eq(cpu.vendor, "GenuineIntel");
	cr_assert_eq(host_cpu_leaf_apic_id(&cpu), 0x12345);
	cr_assert_str_eq(cpu.brand, "A real   and  padded");
	cpu.leaves[2].ebx = 0;
	cr_assert_eq(host_cpu_leaf_apic_id(&cpu), 0x2a);
}

/* Whatever order the folder tells them in. */
Test(facts, sizes_of_huge_pages_ascend)
{
	static const uint64_t sizes[] = { 64, 2048, 32768, 1048576 };
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_tree(&tree, "0-7", "0-1");
	/* Node 0 has them made in ascending order, node 1 in descending. */
	for (unsigned node = 0; node < 2; node++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			uint64_t size = sizes[node ? ARRAY_SIZE(sizes) - 1 - i : i];
			char path[128];

			if (size == 2048)
				continue; /* it is there */
			snprintf(
				path, sizeof(path),
				"sys/devices/system/node/node%u/hugepages/hugepages-%zukB/free_hugepages",
				node, (size_t)size);
			fixture_tree_write(&tree, path, "%zu\n", (size_t)size / 64);
		}
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	fixture_tree_done(&tree);
	for (size_t node = 0; node < 2; node++) {
		cr_assert_eq(facts->nodes[node].huge_count, ARRAY_SIZE(sizes));
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			cr_assert_eq(facts->nodes[node].huge[i].size_kib, sizes[i], "node %zu",
			             node);
			cr_assert(sizes[i] == 2048 ||
			          facts->nodes[node].huge[i].free == sizes[i] / 64);
		}
	}
}

/* Facts that state a capability outright, with neither MSRs nor flags, are believed: each one, and
 * no other. */
Test(facts, capabilities_that_are_stated)
{
	const size_t fields[] = {
		offsetof(Axvm__V1__VmxFacts, ept),
		offsetof(Axvm__V1__VmxFacts, ept_ad),
		offsetof(Axvm__V1__VmxFacts, ept_2m),
		offsetof(Axvm__V1__VmxFacts, ept_1g),
		offsetof(Axvm__V1__VmxFacts, vpid),
		offsetof(Axvm__V1__VmxFacts, apic_register_virtualization),
		offsetof(Axvm__V1__VmxFacts, virtual_interrupt_delivery),
		offsetof(Axvm__V1__VmxFacts, posted_interrupts),
		offsetof(Axvm__V1__VmxFacts, virtualize_x2apic),
		offsetof(Axvm__V1__VmxFacts, tsc_scaling),
		offsetof(Axvm__V1__VmxFacts, unrestricted_guest),
		offsetof(Axvm__V1__VmxFacts, pause_loop_exiting),
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();
		Axvm__V1__HostFacts message = AXVM__V1__HOST_FACTS__INIT;
		Axvm__V1__CpuFacts cpu = AXVM__V1__CPU_FACTS__INIT, *cpus[] = { &cpu };
		Axvm__V1__VmxFacts vmx = AXVM__V1__VMX_FACTS__INIT;
		const struct host_vmx *got = &facts->vmx;

		cpu.has_id = true;
		message.cpus = cpus;
		message.n_cpus = 1;
		message.vmx = &vmx;
		*(protobuf_c_boolean *)((char *)&vmx + fields[i]) = true;
		cr_assert_eq(facts_from_message(&message, facts), 0);
		{
			const bool found[] = { got->ept,
				               got->ept_ad,
				               got->ept_2m,
				               got->ept_1g,
				               got->vpid,
				               got->apic_register_virtualization,
				               got->virtual_interrupt_delivery,
				               got->posted_interrupts,
				               got->virtualize_x2apic,
				               got->tsc_scaling,
				               got->unrestricted_guest,
				               got->pause_loop_exiting };

			for (size_t k = 0; k < ARRAY_SIZE(found); k++)
				cr_assert_eq(found[k], k == i, "stated %zu, found %zu", i, k);
		}
	}
}

/* Distances as a SLIT has them, where 10 is local: what is not told is as far as another node is by
 * default, and what is told on another scale is brought to this one. */
Test(facts, distances_are_on_one_scale)
{
	static const struct {
		uint32_t from, to;
		uint8_t local, remote;
		uint32_t wanted;
	} rows[] = {
		{ 3, 3, 10, 21, 10 }, { 3, 3, 0, 0, 10 },   { 3, 3, 40, 80, 10 },
		{ 9, 9, 10, 21, 10 }, { 3, 5, 10, 21, 21 }, { 3, 5, 0, 21, 21 },
		{ 3, 5, 0, 0, 20 },   { 3, 5, 10, 0, 20 },  { 3, 5, 20, 42, 21 },
		{ 3, 5, 40, 80, 20 }, { 3, 5, 20, 0, 20 },  { 3, 5, 10, 255, 255 },
		{ 3, 9, 10, 21, 20 }, { 9, 3, 10, 21, 20 }, { 5, 3, 10, 21, 77 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();

		facts->node_count = 2;
		facts->nodes[0].id = 3;
		facts->nodes[1].id = 5;
		facts->distances[0][0] = rows[i].local;
		facts->distances[0][1] = rows[i].remote;
		facts->distances[1][0] = 77;
		facts->distances[1][1] = 10;
		cr_expect_eq(facts_distance(facts, rows[i].from, rows[i].to), rows[i].wanted,
		             "row %zu", i);
	}
}

/* As many threads of a core as there is room for, and not one less. */
Test(facts, siblings_end_where_their_room_ends)
{
	for (size_t cpus = FACTS_SIBLINGS_MAX - 1; cpus <= FACTS_SIBLINGS_MAX + 1; cpus++) {
		_cleanup_free_ struct host_facts *facts = facts_new();

		facts->cpu_count = cpus;
		for (size_t i = 0; i < cpus; i++)
			facts->cpus[i] = (struct host_cpu){ .id = (uint32_t)i, .online = true };
		facts_derive_siblings(facts);
		for (size_t i = 0; i < cpus; i++) {
			cr_expect_eq(facts->cpus[i].sibling_count,
			             MIN(cpus, (size_t)FACTS_SIBLINGS_MAX));
			for (size_t k = 0; k < facts->cpus[i].sibling_count; k++)
				cr_expect_eq(facts->cpus[i].siblings[k], k);
		}
	}
}

/* Two packages count their cores alike, and share a node where memory is interleaved. */
Test(facts, cores_of_two_packages_are_not_one)
{
	_cleanup_free_ struct host_facts *facts = facts_new();

	facts->cpu_count = 4;
	for (uint32_t i = 0; i < 4; i++)
		facts->cpus[i] = (struct host_cpu){
			.id = i, .online = true, .package = (int32_t)(i % 2), .core = 0
		};
	facts_derive_siblings(facts);
	for (size_t i = 0; i < 4; i++)
		cr_expect(facts->cpus[i].sibling_count == 2 &&
		                  facts->cpus[i].siblings[0] == i % 2 &&
		                  facts->cpus[i].siblings[1] == i % 2 + 2,
		          "CPU %zu", i);
}

/* What a file leaves out is as on most hosts; what it states stands. */
Test(facts, cpus_and_nodes_that_are_left_open)
{
	for (int how = 0; how < 3; how++) {
		_cleanup_free_ struct host_facts *facts = facts_new();
		Axvm__V1__HostFacts message = AXVM__V1__HOST_FACTS__INIT;
		Axvm__V1__CpuFacts cpu = AXVM__V1__CPU_FACTS__INIT, *cpus[] = { &cpu };
		Axvm__V1__NodeFacts node = AXVM__V1__NODE_FACTS__INIT, *nodes[] = { &node };
		const bool wanted = how != 1; /* left open, denied, stated */

		cpu.has_id = node.has_id = true;
		cpu.has_online = cpu.has_allowed = node.has_allowed = how > 0;
		cpu.online = cpu.allowed = node.allowed = how == 2;
		message.cpus = cpus;
		message.nodes = nodes;
		message.n_cpus = message.n_nodes = 1;
		cr_assert_eq(facts_from_message(&message, facts), 0);
		cr_expect(facts->cpus[0].online == wanted && facts->cpus[0].allowed == wanted, "%d",
		          how);
		cr_expect_eq(facts->nodes[0].allowed, wanted, "%d", how);
		cr_expect(facts->cpus[0].node == -1 && facts->cpus[0].package == -1 &&
		          facts->cpus[0].core == -1);
	}
}

/* Lines without a blank behind their colon, and without anything there: what follows is no part of
 * them. */
Test(facts, lines_of_cpuinfo_without_a_blank)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	fixture_tree_write(
		&tree, "proc/cpuinfo",
		"processor:1\nvendor_id:GenuineIntel\ncpu family:6\nmodel:62\nstepping:4\n"
		"microcode:0x42e\nmodel name:\nflags:lm nx\nno colon\n:no key\npower management:");
	cr_assert_eq(facts_probe(facts, tree.root), 0);
	fixture_tree_done(&tree);
	cr_assert_eq(facts->cpu_count, 1);
	cr_expect(facts->cpus[0].id == 1 && facts->cpus[0].family == 6 &&
	          facts->cpus[0].model == 62);
	cr_expect(facts->cpus[0].stepping == 4 && facts->cpus[0].microcode == 0x42e);
	cr_expect_str_eq(facts->cpus[0].vendor, "GenuineIntel");
	cr_expect_str_eq(facts->cpus[0].brand, "");
	cr_expect_str_eq(facts->flags, " lm nx ");
}

/* Where MSRs are given, what is stated beside them does not count. Distances end at what a SLIT can
 * hold. */
Test(facts, msrs_count_before_what_is_stated)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	Axvm__V1__HostFacts message = AXVM__V1__HOST_FACTS__INIT;
	Axvm__V1__CpuFacts cpu = AXVM__V1__CPU_FACTS__INIT, *cpus[] = { &cpu };
	Axvm__V1__NodeFacts one = AXVM__V1__NODE_FACTS__INIT, two = AXVM__V1__NODE_FACTS__INIT,
			    *nodes[] = { &one, &two };
	Axvm__V1__VmxFacts vmx = AXVM__V1__VMX_FACTS__INIT;
	Axvm__V1__Msr msr = AXVM__V1__MSR__INIT, *msrs[] = { &msr };
	uint32_t distances[] = { 10, 255, 300, 10 };

	cpu.has_id = one.has_id = two.has_id = true;
	two.id = 1;
	message.cpus = cpus;
	message.n_cpus = 1;
	message.nodes = nodes;
	message.n_nodes = 2;
	message.distances = distances;
	message.n_distances = 4;
	message.vmx = &vmx;
	vmx.ept = vmx.vpid = true;
	vmx.msrs = msrs;
	vmx.n_msrs = 1;
	msr.index = 0x48b;
	msr.value = 1ULL << 37;
	cr_assert_eq(facts_from_message(&message, facts), 0);
	cr_expect(facts->vmx.vpid && !facts->vmx.ept);
	cr_expect(facts->distances[0][1] == 255 && facts->distances[1][0] == 255);
}

/* A CPU that has no room is no reason to go on without it. */
Test(facts, more_cpus_than_are_known)
{
	for (unsigned last = 1022; last < 1026; last++) {
		_cleanup_free_ struct host_facts *facts = facts_new();
		struct fixture_tree tree;
		int r;

		fixture_tree_new(&tree);
		fixture_tree_write(&tree, "proc/cpuinfo", "processor\t: 0\n\nprocessor\t: %u\n\n",
		                   last);
		fixture_tree_write(&tree, "sys/devices/system/cpu/online", "0,%u\n", last);
		r = facts_probe_quick(facts, tree.root);
		cr_expect_eq(r, last < 1024 ? 0 : -E2BIG, "%u: %d", last, r);
		fixture_tree_done(&tree);
	}
	cr_expect_not_null(strstr(facts_error(-E2BIG), "nr_cpus=1024"));
	cr_expect_not_null(strstr(facts_error(-ENODEV), "mount /proc"));
	cr_expect_str_eq(facts_error(-EIO), errno_text(EIO));
}
