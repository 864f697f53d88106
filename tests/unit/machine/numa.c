/* SPDX-License-Identifier: MIT */
/* Guest memory on its node: bound, populated by all, read back, and refused in time. */
#include "machine/numa.h"
#include "host/cpulist.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/populating.h"
#include "tests/unit/rig/wait.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <numaif.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *map(size_t size, int flags)
{
	char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
	                   -1, 0);

	cr_assert_neq(start, MAP_FAILED);
	return start;
}

static int policy_at(void *start)
{
	int mode = -1;

	cr_assert_eq(get_mempolicy(&mode, NULL, 0, start, MPOL_F_ADDR), 0);
	return mode;
}

static size_t threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	size_t count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

Test(numa, binds_populates_and_reads_back)
{
	_cleanup_free_ struct host_facts *facts = facts_new();
	const size_t size = 96 * MIB;
	struct problems problems = { 0 };
	struct numa_range ranges[2];
	size_t before;

	cr_assert_eq(facts_probe_quick(facts, NULL), 0);
	before = threads();
	for (size_t i = 0; i < 2; i++) {
		ranges[i] = (struct numa_range){ map(size, 0), size, 4096, (int)facts->nodes[0].id,
			                         (uint32_t)i };
		/* No huge pages, whatever is this host's default. */
		(void)madvise(ranges[i].start, size, MADV_NOHUGEPAGE);
		cr_assert_eq(numa_bind_memory(ranges[i].start, size, ranges[i].host_node), 0);
		cr_assert_eq(policy_at(ranges[i].start), MPOL_BIND);
	}
	((char *)ranges[1].start)[size - 1] = 7;
	cr_assert_eq(numa_check_free(ranges, 2, NULL, &problems), 0, "%s",
	             problems.list[0].message);
	cr_assert_eq(numa_populate(ranges, 2, facts, 0, NULL, &problems), 0);
	cr_assert_eq(((char *)ranges[1].start)[size - 1], 7, "populating kept what was there");
	/* One that has been joined leaves /proc a moment later. */
	WAIT_UNTIL(threads() == before);
	for (size_t i = 0; i < 2; i++) {
		struct numa_counts counts;

		cr_assert_eq(numa_read_back(&ranges[i], 1, &counts), 0);
		cr_assert_eq(counts.pages_4k, size / 4096);
		cr_assert_eq(counts.pages_2m + counts.pages_1g, 0);
		cr_assert_eq(counts.remote_pages, 0);
		cr_assert_eq(counts.absent_pages, 0);
		munmap(ranges[i].start, size);
	}
}

Test(numa, read_back_sees_remote_and_absent_pages)
{
	const size_t size = 16 * MIB;
	struct numa_range range = { map(size, 0), size, 4096, 0, 0 };
	struct numa_counts counts;

	cr_assert_eq(madvise(range.start, size, MADV_NOHUGEPAGE), 0);
	/* Whatever node the test runs on. */
	cr_assert_eq(numa_bind_memory(range.start, size, 0), 0);
	memset(range.start, 1, size / 2);
	cr_assert_eq(numa_read_back(&range, 1, &counts), 0);
	cr_assert_eq(counts.pages_4k, size / 2 / 4096);
	cr_assert_eq(counts.absent_pages, size / 2 / 4096);
	cr_assert_eq(counts.remote_pages, 0);
	/* The same pages, asked for on another node, are all remote. */
	range.host_node = 1;
	cr_assert_eq(numa_read_back(&range, 1, &counts), 0);
	cr_assert_eq(counts.remote_pages, size / 2 / 4096);
	munmap(range.start, size);
}

/* A range inside a larger mapping is asked about page by page; the answer must be the same. */
Test(numa, both_ways_of_reading_back_agree)
{
	const size_t size = 24 * MIB;
	char *start = map(size, 0);
	struct numa_range whole = { start, size, 4096, 0, 0 };
	struct numa_range part = { start + MIB, size - 2 * MIB, 4096, 0, 0 };
	struct numa_counts a, b;

	cr_assert_eq(madvise(start, size, MADV_NOHUGEPAGE), 0);
	/* A policy of its own keeps neighbours from being merged with it. */
	cr_assert_eq(numa_bind_memory(start, size, 0), 0);
	memset(start + MIB, 1, size - 4 * MIB);
	cr_assert_eq(numa_read_back(&whole, 1, &a), 0);
	cr_assert_eq(numa_read_back(&part, 1, &b), 0);
	cr_assert_eq(a.pages_4k, (size - 4 * MIB) / 4096);
	cr_assert_eq(b.pages_4k, a.pages_4k);
	cr_assert_eq(a.absent_pages, 4 * MIB / 4096);
	cr_assert_eq(b.absent_pages, 2 * MIB / 4096);
	whole.host_node = part.host_node = 1;
	cr_assert_eq(numa_read_back(&whole, 1, &a), 0);
	cr_assert_eq(numa_read_back(&part, 1, &b), 0);
	cr_assert_eq(a.remote_pages, a.pages_4k);
	cr_assert_eq(b.remote_pages, a.remote_pages);
	munmap(start, size);
}

Test(numa, transparent_huge_pages_are_counted_as_such)
{
	const size_t size = 64 * MIB;
	char *room = map(size + 2 * MIB, 0);
	char *start = (char *)ALIGN_UP((uintptr_t)room, (uintptr_t)(2 * MIB));
	struct numa_range range = { start, size, 4096, 0, 0 };
	struct problems problems = { 0 };
	struct numa_counts counts;

	if (madvise(start, size, MADV_HUGEPAGE) < 0)
		cr_skip_test("this kernel has no transparent huge pages");
	cr_assert_eq(numa_populate(&range, 1, NULL, 0, NULL, &problems), 0);
	cr_assert_eq(numa_read_back(&range, 1, &counts), 0);
	cr_assert_eq(counts.pages_2m * 512 + counts.pages_4k, size / 4096);
	printf("numa: %lu of %llu MiB in transparent huge pages\n",
	       (unsigned long)counts.pages_2m * 2, size / MIB);
	munmap(room, size + 2 * MIB);
}

/* One walk for all ranges; and what a host gives unasked is no page of 4 KiB either. */
Test(numa, transparent_huge_pages_are_counted_range_by_range)
{
	const size_t size = 8 * MIB;
	char *room = map(4 * size, 0);
	char *start = (char *)ALIGN_UP((uintptr_t)room, (uintptr_t)(2 * MIB));
	struct numa_range ranges[] = { { start, size, 4096, -1, 0 },
		                       { start + size, size, 4096, -1, 1 } };
	struct problems problems = { 0 };
	struct numa_counts counts[2];

	if (madvise(start + size, size, MADV_HUGEPAGE) < 0)
		cr_skip_test("this kernel has no transparent huge pages");
	cr_assert_eq(madvise(start, size, MADV_NOHUGEPAGE), 0);
	cr_assert_eq(numa_populate(ranges, 2, NULL, 0, NULL, &problems), 0);
	cr_assert_eq(numa_read_back(ranges, 2, counts), 0);
	cr_expect(counts[0].pages_2m == 0 && counts[0].pages_4k == size / 4096);
	cr_expect_eq(counts[1].pages_2m * 512 + counts[1].pages_4k, size / 4096);
	/* No more of them than that were free: then there is nothing to tell apart. */
	if (counts[1].pages_2m == 0)
		cr_skip_test("no transparent huge page was to be had");
	munmap(room, 4 * size);
}

/* In a child, as a user of whom there is nobody else: how many threads there may be is counted by
 * uid. */
static int populates_with(rlim_t threads_at_most, uid_t uid)
{
	const struct rlimit limit = { threads_at_most, threads_at_most };
	_cleanup_free_ struct host_facts *facts = facts_new();
	const size_t size = 64 * MIB; /* work for two threads, where there are two CPUs */
	struct problems problems = { 0 };
	struct numa_range ranges[3];
	struct numa_counts counts[3];

	if (facts_probe_quick(facts, NULL) < 0)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		ranges[i] = (struct numa_range){ map(size, 0), size, 4096, (int)facts->nodes[0].id,
			                         (uint32_t)i };
	if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
	    setrlimit(RLIMIT_NPROC, &limit) < 0)
		return 3;
	if (numa_populate(ranges, ARRAY_SIZE(ranges), facts, 0, NULL, &problems) < 0)
		return 4;
	if (numa_read_back(ranges, ARRAY_SIZE(ranges), counts) < 0)
		return 5;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (counts[i].absent_pages != 0)
			return 10 + (int)i;
	return 0;
}

/* Whether a range gets its threads depends on those before it: one that gets none is populated all
 * the same. */
Test(numa, a_range_that_no_thread_could_be_had_for_is_populated_too)
{
	if (getuid() != 0)
		cr_skip_test("only root can become a user without other processes");
	for (rlim_t threads_at_most = 1; threads_at_most <= 8; threads_at_most++) {
		pid_t child = fork();
		int status;

		if (child == 0)
			_exit(populates_with(threads_at_most,
			                     (uid_t)(2000001000 + threads_at_most)));
		status = wait_child(child);
		cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%u threads: status %d",
		          (unsigned int)threads_at_most, WEXITSTATUS(status));
	}
}

/* What the workers asked the kernel for, on a host that is made up. */
static struct {
	_Atomic unsigned int workers; /* that bound themselves */
	_Atomic unsigned int others;  /* of those: to a set that none of `sets` is */
	_Atomic unsigned int of[3];
	struct cpu_bitmap sets[3];
} seen;

static bool note_worker(long nr, const uint64_t args[static 6], long *ret_result)
{
	bool known = false;

	(void)nr;
	*ret_result = 0;
	seen.workers++;
	for (size_t i = 0; i < ARRAY_SIZE(seen.sets); i++)
		if (args[1] == sizeof(seen.sets[i]) &&
		    memcmp((const void *)(uintptr_t)args[2], &seen.sets[i], sizeof(seen.sets[i])) ==
		            0) {
			seen.of[i]++;
			known = true;
		}
	seen.others += !known;
	return true;
}

/* In a child: 18 CPUs of node 0 may be used, 20 of node 1, and a range that is not bound may use
 * them all. Nothing can be populated there: it is about where the threads are, and they are there
 * before they find out. */
static int binds_workers(void)
{
	static const char *const sets[] = { "0-2,4-9,20-21,23-29", "10-19,30-39",
		                            "0-2,4-21,23-39" };
	static const long calls[] = { SYS_sched_setaffinity };
	_cleanup_free_ struct host_facts *facts = fixture_shape(2, 10, 2);
	const size_t size = 4 * GIB;
	void *nothing =
		mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct problems problems = { 0 };
	struct numa_range ranges[3];

	facts->cpus[3].allowed = false;
	facts->cpus[22].online = false;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		ranges[i] = (struct numa_range){ nothing, size, 2 * MIB, i < 2 ? (int)i : -1, 0 };
		if (cpu_bitmap_parse(sets[i], &seen.sets[i]) < 0)
			return 2;
	}
	if (fake_kernel_begin(calls, ARRAY_SIZE(calls), note_worker) < 0)
		return 3;
	if (nothing == MAP_FAILED ||
	    numa_populate(ranges, ARRAY_SIZE(ranges), facts, 0, NULL, &problems) == 0)
		return 4;
	if (seen.others != 0)
		return 5;
	/* As many as a range's node has CPUs, and 16 at most. */
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (seen.of[i] != 16)
			return 10 + (int)i;
	if (numa_populate(ranges, 1, facts, 5, NULL, &problems) == 0 || seen.of[0] != 16 + 5)
		return 6;
	/* Of a node without a CPU that may be used: on all that may. */
	for (size_t i = 0; i < facts->cpu_count; i++)
		facts->cpus[i].allowed &= facts->cpus[i].node != 1;
	if (numa_populate(&ranges[1], 1, facts, 0, NULL, &problems) == 0 || seen.others != 0 ||
	    seen.of[0] != 16 + 5 + 16)
		return 8;
	/* Without facts nobody knows a node's CPUs: the threads stay where the caller may be. */
	seen.workers = 0;
	return numa_populate(ranges, 1, NULL, 0, NULL, &problems) < 0 && seen.workers == 0 ? 0 : 7;
}

/* A host's node 0 whose free memory is another one after each 16 MiB that are taken: in MiB, beyond
 * what the kernel keeps. */
static struct {
	struct fixture_tree tree;
	const unsigned int *mib;
	size_t populated;
} shrinking;

static void now_free(unsigned int node, unsigned int mib)
{
	char path[80];

	snprintf(path, sizeof(path), "sys/devices/system/node/node%u/meminfo", node);
	fixture_tree_write(&shrinking.tree, path,
	                   "Node %u MemTotal: 1048576 kB\nNode %u MemFree: %u kB\n", node, node,
	                   (mib + 8) * 1024); /* 1/128 of a GiB */
}

static void takes(size_t length)
{
	shrinking.populated += length;
	if (shrinking.populated % (16 * MIB) == 0)
		now_free(0, shrinking.mib[shrinking.populated / (16 * MIB)]);
}

/* By one thread. `mib` has an entry for each 16 MiB, and one for when all is there. */
static int populates_while(const unsigned int *mib, struct numa_range *ranges, size_t n,
                           struct problems *problems)
{
	int r;

	for (size_t i = 0; i < n; i++)
		ranges[i].start = map(ranges[i].size, 0);
	shrinking.mib = mib;
	shrinking.populated = 0;
	now_free(0, mib[0]);
	now_free(1, 32);
	populating_seen = takes;
	r = numa_populate(ranges, n, NULL, 1, shrinking.tree.root, problems);
	populating_seen = NULL;
	for (size_t i = 0; i < n; i++)
		munmap(ranges[i].start, ranges[i].size);
	return r;
}

/* Each of two launches at once finds that there is enough: the one that sees first that it is not
 * so any more is refused, before anybody is killed for want of memory. One that is alone takes all
 * that there is. */
Test(numa, what_another_launch_takes_meanwhile_is_missed_in_time)
{
	static const unsigned int alone[] = { 80, 64, 48, 32, 16, 0 },
				  beside[] = { 80, 64, 47, 12, 12, 12 };
	struct numa_range range = {
		.size = 80 * MIB, .page_size = 4096, .host_node = 0, .guest_node = 2
	};
	struct problems problems = { 0 };

	fixture_tree_new(&shrinking.tree);
	cr_expect_eq(populates_while(alone, &range, 1, &problems), 0);
	cr_expect_eq(shrinking.populated, 80 * MIB);
	cr_expect_eq(problems.count, 0);
	cr_expect_eq(populates_while(beside, &range, 1, &problems), -ENOMEM);
	cr_expect_eq(shrinking.populated, 32 * MIB, "no more is taken");
	cr_assert_eq(problems.count, 1);
	cr_expect_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
	cr_expect_str_eq(problems.list[0].field, "memory.nodes[2]");
	cr_expect_str_eq(problems.list[0].message,
	                 "cannot populate 80 MiB on host node 0, 39 MiB are free there now: "
	                 "Cannot allocate memory; ask for less");
	fixture_tree_done(&shrinking.tree);
}

/* What is to come on a node is that of all its ranges, and of no other node's. */
Test(numa, what_is_to_come_is_a_nodes)
{
	struct numa_range two[] = { { .size = 48 * MIB, .page_size = 4096 },
		                    { .size = 32 * MIB, .page_size = 4096, .guest_node = 1 } };
	struct problems problems = { 0 };

	fixture_tree_new(&shrinking.tree);
	for (size_t i = 0; i < ARRAY_SIZE(two); i++)
		two[i].start = map(two[i].size, 0);
	now_free(0, 79);
	cr_expect_eq(numa_populate(two, 2, NULL, 1, shrinking.tree.root, &problems), -ENOMEM);
	two[1].host_node = 1;
	now_free(0, 48);
	now_free(1, 32);
	cr_expect_eq(numa_populate(two, 2, NULL, 1, shrinking.tree.root, &problems), 0);
	for (size_t i = 0; i < ARRAY_SIZE(two); i++)
		munmap(two[i].start, two[i].size);
	fixture_tree_done(&shrinking.tree);
}

/* Two launches at once, whose workers each had one CPU, had the same ones. */
Test(numa, workers_are_bound_to_all_of_a_nodes_cpus_and_to_no_other)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(binds_workers());
	status = wait_child(child);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", WEXITSTATUS(status));
}

Test(numa, binding_to_a_node_that_is_not_there_fails)
{
	char *start = map(4096, 0);

	cr_assert_eq(numa_bind_memory(start, 4096, 900), -EINVAL);
	cr_assert_eq(numa_bind_memory(start, 4096, -1), -EINVAL);
	cr_assert_eq(numa_bind_memory(start, 4096, 100000), -EINVAL);
	cr_assert_eq(policy_at(start), MPOL_DEFAULT);
	munmap(start, 4096);
}

Test(numa, preferring_a_node_is_undone)
{
	int mode = -1;

	cr_assert_eq(numa_prefer(0), 0);
	cr_assert_eq(get_mempolicy(&mode, NULL, 0, NULL, 0), 0);
	cr_assert_eq(mode, MPOL_PREFERRED);
	/* The first that the mask has no bit for: an empty mask would be taken, and prefer
	 * nothing. */
	cr_assert_eq(numa_prefer(1024), -EINVAL);
	cr_assert_eq(get_mempolicy(&mode, NULL, 0, NULL, 0), 0);
	cr_assert_eq(mode, MPOL_PREFERRED);
	cr_assert_eq(numa_prefer(-1), 0);
	cr_assert_eq(get_mempolicy(&mode, NULL, 0, NULL, 0), 0);
	cr_assert_eq(mode, MPOL_DEFAULT);
}

/* Reserving no page at the time of mmap() is how a huge page comes to be missing late. */
Test(numa, a_missing_huge_page_is_an_error_and_not_a_signal)
{
	const size_t size = 512 * GIB;
	char *start = mmap(NULL, size, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_HUGETLB |
	                           21 << MAP_HUGE_SHIFT,
	                   -1, 0);
	struct numa_range range = { start, 64 * 2 * MIB, 2 * MIB, -1, 3 };
	struct problems problems = { 0 };

	if (start == MAP_FAILED)
		cr_skip_test("this kernel has no 2 MiB huge pages: %s", errno_text(errno));
	/* Whatever is in the pool, more is asked for. */
	range.size = size;
	cr_assert_lt(numa_populate(&range, 1, NULL, 1, NULL, &problems), 0);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
	cr_assert_str_eq(problems.list[0].field, "memory.nodes[3]");
	munmap(start, size);
}

static void write_node(const struct fixture_tree *tree, unsigned int node, unsigned int free_mib,
                       unsigned int cache_mib, unsigned int huge)
{
	char path[128];

	snprintf(path, sizeof(path), "sys/devices/system/node/node%u/meminfo", node);
	fixture_tree_write(tree, path,
	                   "Node %u MemTotal:       2097152 kB\nNode %u MemFree:        %u kB\n"
	                   "Node %u Active(file):   %u kB\nNode %u Inactive(file): 0 kB\n"
	                   "Node %u Active(anon):   900000 kB\nNode %u SReclaimable:   0 kB\n",
	                   node, node, free_mib * 1024, node, cache_mib * 1024, node, node, node);
	snprintf(path, sizeof(path),
	         "sys/devices/system/node/node%u/hugepages/hugepages-2048kB/free_hugepages", node);
	fixture_tree_write(tree, path, "%u\n", huge);
}

Test(numa, a_node_without_room_is_named_with_asked_and_free)
{
	struct numa_range ranges[] = {
		{ NULL, 512 * MIB, 4096, 0, 0 },   { NULL, 600 * MIB, 4096, 1, 1 },
		{ NULL, 600 * MIB, 4096, 1, 2 },   { NULL, 20 * MIB, 2 * MIB, 0, 3 },
		{ NULL, 22 * MIB, 2 * MIB, 1, 4 },
	};
	struct problems problems = { 0 };
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_node(&tree, 0, 500, 100,
	           10); /* 568 MiB after the kernel's share: enough with the cache */
	write_node(&tree, 1, 1200, 0, 10); /* 1168 MiB: each of the two fits, both do not */
	cr_assert_eq(numa_check_free(ranges, 1, tree.root, &problems), 0);
	cr_assert_eq(numa_check_free(ranges, 2, tree.root, &problems), 0);
	cr_assert_eq(numa_check_free(ranges, ARRAY_SIZE(ranges), tree.root, &problems), -ENOMEM);
	fixture_tree_done(&tree);
	cr_assert_eq(problems.count, 2);
	cr_assert_str_eq(
		problems.list[0].message,
		"host node 1: 1200 MiB of memory were asked for, 1168 MiB are free: ask for less, or free some");
	cr_assert_str_eq(problems.list[0].field, "memory.nodes[1]");
	cr_assert_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
	cr_assert_str_eq(
		problems.list[1].message,
		"host node 1: 22 MiB of huge pages of 2048 KiB were asked for, 20 MiB are free: ask for less, or free some");
}

/* Without a node of its own a demand is held against all that are online, whatever their
 * numbers. */
Test(numa, room_on_any_node_is_the_sum_of_all)
{
	struct numa_range range = { NULL, 600 * MIB, 4096, -1, 0 };
	struct problems problems = { .count = 0 };
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	write_node(&tree, 0, 132, 0, 0);
	write_node(&tree, 17, 332, 0, 0);
	write_node(&tree, 1023, 332, 0, 0);
	write_node(&tree, 5, 2000, 0, 0); /* not online */
	fixture_tree_write(&tree, "sys/devices/system/node/online", "0,17,1023\n");
	cr_assert_eq(numa_check_free(&range, 1, tree.root, &problems), 0, "%s",
	             problems.list[0].message);
	range.size = 800 * MIB;
	cr_assert_eq(numa_check_free(&range, 1, tree.root, &problems), -ENOMEM);
	cr_assert_str_eq(
		problems.list[0].message,
		"this host: 800 MiB of memory were asked for, 700 MiB are free: ask for less, or free some");
	/* A kernel without NUMA has no list, and may have node 0. */
	fixture_tree_write(&tree, "sys/devices/system/node/online", "\n");
	range.size = 100 * MIB;
	cr_assert_eq(numa_check_free(&range, 1, tree.root, &problems), 0);
	range.size = 101 * MIB;
	cr_assert_eq(numa_check_free(&range, 1, tree.root, &problems), -ENOMEM);
	fixture_tree_done(&tree);
}

/* Pages smaller than those that were asked for are not counted as such: the kernel's sum of a
 * mapping is then more than the range can hold, and page by page it is told. */
Test(numa, pages_of_another_size)
{
	const size_t size = 4 * MIB;
	char *room = map(size + 2 * MIB, 0);
	char *start = (char *)ALIGN_UP((uintptr_t)room, (uintptr_t)(2 * MIB));
	struct numa_range range = { start, size, 2 * MIB, 0, 0 };
	struct numa_counts counts;

	cr_assert_eq(madvise(start, size, MADV_NOHUGEPAGE), 0);
	cr_assert_eq(numa_bind_memory(start, size, 0), 0);
	memset(start, 1, size);
	cr_assert_eq(numa_read_back(&range, 1, &counts), 0);
	cr_expect_eq(counts.pages_2m, 2);
	cr_expect(counts.absent_pages == 0 && counts.remote_pages == 0);
	munmap(room, size + 2 * MIB);
}

/* Transparent huge pages of what lies beside a range, before it and behind, are not the range's. */
Test(numa, transparent_huge_pages_of_neighbours_do_not_count)
{
	const size_t size = 8 * MIB;
	char *room = map(4 * size, 0);
	char *start = (char *)ALIGN_UP((uintptr_t)room, (uintptr_t)(2 * MIB)) + size;
	struct numa_range range = { start, size, 4096, 0, 0 };
	struct numa_counts counts;

	/* where there are none, none are counted either */
	(void)madvise(start - size, 3 * size, MADV_HUGEPAGE);
	(void)madvise(start, size, MADV_NOHUGEPAGE);
	memset(start - size, 1, 3 * size);
	cr_assert_eq(numa_read_back(&range, 1, &counts), 0);
	cr_expect(counts.pages_2m == 0 && counts.pages_4k == size / 4096, "%lu",
	          (unsigned long)counts.pages_2m);
	munmap(room, 4 * size);
}
