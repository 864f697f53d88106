/* SPDX-License-Identifier: MIT */
/* CPUID and MSRs of processors that are made up, by way of the device files of a CPU that nobody
 * can run on; and files that are read in pieces. */
#include "host/facts.h"
#include "host/probe.h"
#include "tests/unit/rig/fake_kvm.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FAR_CPU (FACTS_CPUS_MAX - 1)

/* What the device files say: of leaves that are not listed, zeros. `kept`: the facts are to have
 * it. */
struct answer {
	struct cpuid_leaf leaf;
	bool kept;
};

static struct {
	const struct answer *leaves;
	size_t count;
	const uint64_t *msrs; /* of VMX, 0 for those that are not there */
	uint64_t apic_base;   /* likewise */
	size_t brings;        /* bytes of a leaf at most */
	char opened[64];
	int fd;
} fake;

static int open_device(const char *path)
{
	if (strncmp(path, "/dev/cpu/", 9) != 0)
		return FAKE_OPEN_REALLY;
	snprintf(fake.opened, sizeof(fake.opened), "%s", path);
	return fake.fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool read_leaf(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result)
{
	uint32_t registers[4] = { 0 };

	if (fd != fake.fd)
		return false;
	for (size_t i = 0; i < fake.count; i++) {
		const struct cpuid_leaf *leaf = &fake.leaves[i].leaf;

		if ((uint32_t)offset == leaf->leaf && (uint64_t)offset >> 32 == leaf->subleaf)
			memcpy(registers, &leaf->eax, sizeof(registers));
	}
	cr_assert_eq(length, sizeof(registers));
	memcpy(buffer, registers, MIN(length, fake.brings));
	*ret_result = (ssize_t)fake.brings;
	return true;
}

static bool read_msr(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result)
{
	uint64_t value = offset == 0x1b                      ? fake.apic_base
	                 : offset >= 0x480 && offset < 0x492 ? fake.msrs[offset - 0x480]
	                                                     : 0;

	if (fd != fake.fd)
		return false;
	cr_assert_eq(length, sizeof(value));
	memcpy(buffer, &value, sizeof(value));
	*ret_result = value ? (ssize_t)sizeof(value) : -1;
	errno = EIO;
	return true;
}

/* One CPU that is not there to be run on, and what was read of it. */
static struct host_facts *read_far_cpu(const struct answer *leaves, size_t count, size_t brings)
{
	struct host_facts *facts = facts_new();

	facts->cpu_count = 2;
	facts->cpus[0].id = FAR_CPU - 1; /* offline: not asked */
	facts->cpus[1] = (struct host_cpu){ .id = FAR_CPU, .online = true };
	fake.leaves = leaves;
	fake.count = count;
	fake.brings = brings;
	fake_open = open_device;
	fake_read = read_leaf;
	probe_cpuid_everywhere(facts);
	fake_open = NULL;
	fake_read = NULL;
	cr_assert_str_eq(fake.opened, "/dev/cpu/1023/cpuid");
	cr_assert_eq(facts->cpus[0].leaf_count, 0);
	return facts;
}

/* Subleaves up to the last that there is, or the last that is looked at; ranges likewise. */
static const struct answer intel[] = {
	{ { 0, 0, 0x22, 0x756e6547, 0x6c65746e, 0x49656e69 }, true },
	{ { 0x1, 0, 0x306e4, 0x2a000800, 0x80000001, 0x1234 }, true },
	{ { 0x1, 1, 9, 9, 9, 9 }, false },
	{ { 0x4, 0, 0x121, 1, 2, 3 }, true },
	{ { 0x4, 1, 0x122, 4, 5, 6 }, true },
	{ { 0x4, 2, 0x20, 0, 0, 0 }, true }, /* no cache: here they end */
	{ { 0x4, 3, 0x143, 9, 9, 9 }, false },
	{ { 0x6, 0, 0, 0, 0, 1 }, true },
	{ { 0x7, 0, 2, 7, 8, 9 }, true },
	{ { 0x7, 1, 1, 2, 3, 4 }, true },
	{ { 0x7, 2, 9, 9, 9, 9 }, false },
	{ { 0xa, 0, 0, 0, 1, 0 }, true },
	{ { 0xb, 0, 1, 2, 0x100, 42 }, true },
	{ { 0xb, 1, 5, 24, 0x201, 42 }, true },
	{ { 0xb, 2, 0, 0, 0x302, 42 }, true },
	{ { 0xb, 3, 9, 9, 0x403, 9 }, false },
	{ { 0xd, 0, 7, 0x340, 0x340, 0 }, true },
	{ { 0xd, 1, 0, 0, 0, 0 }, true },
	{ { 0xd, 2, 9, 9, 9, 9 }, false },
	{ { 0x1f, 0, 0, 1, 0, 0 }, true },
	{ { 0x1f, 1, 9, 9, 9, 9 }, false },
	{ { 0x20, 0, 9, 9, 9, 9 }, false },
	{ { 0x80000000, 0, 0x80000021, 0, 0, 0 }, true },
	{ { 0x80000001, 0, 0, 0, 1, 0x2c100000 }, true },
	{ { 0x80000008, 0, 0x302e, 0, 0, 0 }, true },
	{ { 0x80000009, 0, 9, 9, 9, 9 }, false },
	{ { 0x8000001e, 0, 9, 9, 9, 9 }, false },
	{ { 0x40000000, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d }, true },
	{ { 0x40000001, 0, 0x1000, 0, 0, 0 }, true },
	{ { 0x40000002, 0, 9, 9, 9, 9 }, false },
};

/* AMD has one leaf more; without a hypervisor none of its leaves are asked for; of six caches all
 * are there. */
static const struct answer amd[] = {
	{ { 0, 0, 0xb, 0x68747541, 0x444d4163, 0x69746e65 }, true },
	{ { 0x1, 0, 0x00a20f12, 0x05000800, 0x7fffffff, 0 }, true },
	{ { 0x4, 0, 1, 0, 0, 0 }, true },
	{ { 0x4, 1, 1, 1, 0, 0 }, true },
	{ { 0x4, 2, 1, 2, 0, 0 }, true },
	{ { 0x4, 3, 1, 3, 0, 0 }, true },
	{ { 0x4, 4, 1, 4, 0, 0 }, true },
	{ { 0x4, 5, 1, 5, 0, 0 }, true },
	{ { 0x4, 6, 1, 6, 0, 0 }, false },
	{ { 0x7, 0, 0, 1, 0, 0 }, true },
	{ { 0x7, 1, 9, 9, 9, 9 }, false },
	{ { 0xb, 0, 0, 1, 0x0, 5 }, true },
	{ { 0xb, 1, 9, 9, 0x201, 9 }, false },
	{ { 0xd, 0, 9, 9, 9, 9 }, false },
	{ { 0x80000000, 0, 0x80000001, 0, 0, 0 }, true },
	{ { 0x80000001, 0, 1, 2, 3, 4 }, true },
	{ { 0x80000002, 0, 9, 9, 9, 9 }, false },
	{ { 0x8000001e, 0, 5, 6, 7, 8 }, true },
	{ { 0x40000000, 0, 0x40000001, 9, 9, 9 }, false },
};

static void expect_leaves(const struct answer *answers, size_t count)
{
	_cleanup_free_ struct host_facts *facts = read_far_cpu(answers, count, 16);
	const struct host_cpu *cpu = &facts->cpus[1];
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		const struct cpuid_leaf *leaf = &answers[i].leaf,
					*found = host_cpu_leaf(cpu, leaf->leaf, leaf->subleaf);

		kept += answers[i].kept;
		cr_expect_eq(found != NULL, answers[i].kept, "leaf %#x, subleaf %u", leaf->leaf,
		             leaf->subleaf);
		if (found && answers[i].kept)
			cr_expect_eq(memcmp(found, leaf, sizeof(*leaf)), 0, "leaf %#x, subleaf %u",
			             leaf->leaf, leaf->subleaf);
	}
	cr_expect_eq(cpu->leaf_count, kept);
}

Test(facts_cpuid, leaves_of_a_cpu_that_is_out_of_reach)
{
	_cleanup_free_ struct host_facts *facts = read_far_cpu(intel, ARRAY_SIZE(intel), 16);

	expect_leaves(intel, ARRAY_SIZE(intel));
	expect_leaves(amd, ARRAY_SIZE(amd));
	cr_expect_str_eq(facts->cpus[1].vendor, "GenuineIntel", "and they are decoded");
	cr_expect(facts->cpus[1].family == 6 && facts->cpus[1].model == 0x3e &&
	          facts->cpus[1].stepping == 4);
}

/* A device that does not say all of a leaf has said nothing. */
Test(facts_cpuid, half_a_leaf_is_none)
{
	_cleanup_free_ struct host_facts *half = read_far_cpu(intel, ARRAY_SIZE(intel), 8);

	cr_expect_eq(half->cpus[1].leaf_count, 0);
	cr_expect_str_eq(half->cpus[1].vendor, "");
}

/* Each MSR in its place, those that are not there told from those that are; of the processor that
 * stands for all. */
Test(facts_cpuid, msrs_are_those_of_the_reference_cpu)
{
	static const struct {
		uint64_t apic_base;
		char x2apic;
	} rows[] = { { 0xfee00c00, 'y' },
		     { 0xfee00900, 'n' },
		     { 0xfee00bff, 'n' },
		     { 0x400, 'y' },
		     { 0, 0 } };
	static const uint64_t msrs[VMX_MSR_COUNT] = { 0x100, 0x101,        0,           0x103, 0,
		                                      0,     [11] = 0x10b, [17] = 0x111 };

	fake.msrs = msrs;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ struct host_facts *facts = facts_new();

		facts->cpu_count = 2;
		facts->cpus[1] = (struct host_cpu){ .id = 7, .online = true };
		fake.apic_base = rows[i].apic_base;
		fake_open = open_device;
		fake_read = read_msr;
		probe_msrs(facts);
		fake_open = NULL;
		fake_read = NULL;
		cr_expect_str_eq(fake.opened, "/dev/cpu/7/msr");
		cr_expect_eq(facts->x2apic_enabled, rows[i].x2apic, "row %zu", i);
		cr_expect_eq(facts->vmx.msr_mask, 0x2080bu, "%#x", facts->vmx.msr_mask);
		cr_expect_arr_eq(facts->vmx.msrs, msrs, sizeof(msrs));
	}
}

static struct {
	int error, times, after;
	size_t brings;
} reading;

static bool read_a_little(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result)
{
	if (offset >= 0)
		return false;
	if (reading.times > 0 && reading.after-- <= 0) {
		reading.times--;
		errno = reading.error;
		*ret_result = -1;
		return true;
	}
	*ret_result = syscall(SYS_read, fd, buffer, MIN(length, reading.brings));
	return true;
}

/* Lines that a piece ends in, anywhere; a last one without its newline. */
Test(facts_cpuid, cpuinfo_comes_in_pieces)
{
	_cleanup_free_ struct host_facts *broken = facts_new();
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	fixture_tree_write(&tree, "proc/cpuinfo",
	                   "processor\t: 3\nvendor_id\t: GenuineIntel\nmodel\t\t: 62\n\n"
	                   "processor\t: 7\nvendor_id\t: GenuineIntel\nmodel\t\t: 58");
	for (size_t brings = 1; brings < 64; brings++) {
		_cleanup_free_ struct host_facts *facts = facts_new();

		reading.error = EINTR;
		reading.times = brings % 2;
		reading.after = 3;
		reading.brings = brings;
		fake_read = read_a_little;
		cr_expect_eq(probe_cpuinfo(facts, tree.root), 0);
		fake_read = NULL;
		cr_assert_eq(facts->cpu_count, 2, "%zu", brings);
		cr_expect(facts->cpus[0].id == 3 && facts->cpus[0].model == 62, "%zu", brings);
		cr_expect(facts->cpus[1].id == 7 && facts->cpus[1].model == 58, "%zu", brings);
		cr_expect_str_eq(facts->cpus[1].vendor, "GenuineIntel", "%zu", brings);
	}
	reading.error = EIO;
	reading.times = 1;
	reading.after = 1;
	fake_read = read_a_little;
	cr_expect_eq(probe_cpuinfo(broken, tree.root), -EIO);
	fake_read = NULL;
	fixture_tree_done(&tree);
}

/* The kernel's answers are those of the file that they stand for. */
Test(facts_cpuid, what_is_allowed_by_call_and_by_file)
{
	struct probe_allowed called, from_file;
	struct fixture_tree tree;
	char text[8192];
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	cr_assert_gt(root_read("", text, sizeof(text), "proc/self/status"), 0);
	fixture_tree_new(&tree);
	fixture_tree_write(&tree, "proc/self/status", "%s\n", text);
	probe_allowed(tree.root, &from_file);
	fixture_tree_done(&tree);
	probe_allowed("", &called);
	cr_expect(called.cpus_limited && called.nodes_limited);
	cr_expect_eq(cpu_bitmap_count(&called.cpus), 1);
	cr_expect_arr_eq(&called, &from_file, sizeof(called));
}

/* /proc gives a piece at a time, and a signal may come between; what does not fit is cut off. */
Test(facts_cpuid, files_come_in_pieces)
{
	static const struct {
		int error, times, after;
		size_t brings, size;
		ssize_t r;
		const char *text;
	} rows[] = {
		{ 0, 0, 0, 1, 64, 11, "one and two" },
		{ 0, 0, 0, 3, 64, 11, "one and two" },
		{ EINTR, 2, 0, 64, 64, 11, "one and two" },
		{ EINTR, 1, 2, 4, 64, 11, "one and two" },
		{ EIO, 1, 0, 64, 64, -EIO, NULL },
		{ EIO, 1, 1, 4, 64, -EIO, NULL },
		{ 0, 0, 0, 3, 8, 7, "one and" },
		{ 0, 0, 0, 64, 12, 11, "one and two" },
	};
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	fixture_tree_write(&tree, "some/file", "one and two\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[64];
		ssize_t r;

		reading.error = rows[i].error;
		reading.times = rows[i].times;
		reading.after = rows[i].after;
		reading.brings = rows[i].brings;
		fake_read = read_a_little;
		r = root_read(tree.root, text, rows[i].size, "some/%s", "file");
		fake_read = NULL;
		cr_expect_eq(r, rows[i].r, "row %zu: %zd", i, r);
		if (rows[i].text)
			cr_expect_str_eq(text, rows[i].text, "row %zu", i);
	}
	fixture_tree_done(&tree);
}
