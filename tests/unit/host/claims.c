/* SPDX-License-Identifier: MIT */
/* Claims of CPUs: slots, whole CPUs, the ladder, looking, and how long a claim lasts. Other VMs are
 * other struct claims of this process: the locks of two open file descriptions see each other,
 * whoever has them. */
#include "host/claims.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/wait.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define LAST_SLOT (CLAIMS_SLOTS - 1)

static struct fixture_tree folder;
static struct claims a, b, c;

static void open_three(void)
{
	fixture_tree_new(&folder);
	cr_assert_eq(claims_open(&a, -1, folder.root, false), 0);
	cr_assert_eq(claims_open(&b, -1, folder.root, false), 0);
	cr_assert_eq(claims_open(&c, -1, folder.root, true), 0);
}

static void close_three(void)
{
	claims_close(&a);
	claims_close(&b);
	claims_close(&c);
	fixture_tree_done(&folder);
}

TestSuite(claims, .init = open_three, .fini = close_three);

static unsigned entries_of(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	cr_assert_not_null(dir, "%s", path);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

Test(claims, a_slot_is_of_one_vm)
{
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_VCPU, 0), -EAGAIN);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_VCPU, 1), 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 1), -EAGAIN);
	cr_expect_eq(claims_take(&b, 1, CLAIMS_VCPU, 0), 0, "of another CPU");
	cr_expect_eq(claims_take(&b, 0, CLAIMS_IO, 0), 0, "of an I/O thread");
	cr_expect_eq(claims_take(&a, 0, CLAIMS_IO, 0), -EAGAIN);
	claims_drop(&a, 0, CLAIMS_VCPU, 0);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 1), -EAGAIN, "only what was named is dropped");
}

Test(claims, the_two_ranges_of_slots_are_apart)
{
	cr_expect_eq(claims_take(&a, 7, CLAIMS_VCPU, LAST_SLOT), 0);
	cr_expect_eq(claims_take(&b, 7, CLAIMS_IO, 0), 0);
	cr_expect_eq(claims_take(&b, 7, CLAIMS_VCPU, LAST_SLOT), -EAGAIN);
	cr_expect_eq(claims_take(&b, 7, CLAIMS_IO, LAST_SLOT), 0);
	cr_expect_eq(claims_take(&a, 7, CLAIMS_IO, LAST_SLOT), -EAGAIN);
	cr_expect_eq(claims_take(&a, 7, CLAIMS_VCPU, CLAIMS_SLOTS), -EINVAL);
	cr_expect_eq(claims_take(&a, 7, CLAIMS_IO, CLAIMS_SLOTS), -EINVAL);
	cr_expect_eq(claims_take(&a, FACTS_CPUS_MAX - 1, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take(&a, FACTS_CPUS_MAX, CLAIMS_VCPU, 0), -EINVAL);
	cr_expect_eq(claims_take_whole(&a, FACTS_CPUS_MAX), -EINVAL);
}

Test(claims, a_whole_cpu_is_refused_while_anybody_has_a_slot)
{
	static const struct {
		enum claims_range range;
		uint32_t slot;
	} rows[] = { { CLAIMS_VCPU, 0 },
		     { CLAIMS_VCPU, LAST_SLOT },
		     { CLAIMS_IO, 0 },
		     { CLAIMS_IO, LAST_SLOT } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		cr_expect_eq(claims_take(&a, 0, rows[i].range, rows[i].slot), 0);
		cr_expect_eq(claims_take_whole(&b, 0), -EAGAIN, "row %zu", i);
		claims_drop(&a, 0, rows[i].range, rows[i].slot);
		cr_expect_eq(claims_take_whole(&b, 0), 0, "row %zu", i);
		cr_expect_eq(claims_take(&a, 0, rows[i].range, rows[i].slot), -EAGAIN, "row %zu",
		             i);
		cr_expect_eq(claims_take_whole(&a, 0), -EAGAIN, "row %zu", i);
		cr_expect_eq(claims_take_whole(&a, 1), 0, "row %zu: of another CPU", i);
		claims_drop_whole(&a, 1);
		claims_drop_whole(&b, 0);
	}
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
}

/* As a shim climbs it: the first slot of every CPU, then the second. */
static int climb(struct claims *claims, uint32_t cpus)
{
	for (uint32_t slot = 0; slot < CLAIMS_LEVELS_MAX; slot++)
		for (uint32_t cpu = 0; cpu < cpus; cpu++)
			if (claims_take(claims, cpu, CLAIMS_VCPU, slot) == 0)
				return (int)cpu;
	return -EAGAIN;
}

Test(claims, who_climbs_gets_the_cpu_with_the_fewest_claims)
{
	enum { CPUS = 4, VMS = 40 };
	static struct claims vms[VMS];
	struct claims_load load;

	for (uint32_t i = 0; i < VMS; i++) {
		cr_assert_eq(claims_open(&vms[i], -1, folder.root, false), 0);
		cr_expect_eq(climb(&vms[i], CPUS), (int)(i % CPUS), "VM %u", i);
	}
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		cr_expect_eq(claims_look(&c, cpu, &load), 0);
		cr_expect(load.vcpus == VMS / CPUS && load.io == 0 && !load.whole, "CPU %u: %u",
		          cpu, load.vcpus);
	}
	/* One that leaves makes room on its CPU for the next. */
	claims_close(&vms[14]);
	cr_expect_eq(climb(&a, CPUS), 14 % CPUS);
	cr_expect_eq(climb(&b, CPUS), 0);
	for (uint32_t i = 0; i < VMS; i++)
		claims_close(&vms[i]);
}

/* -------------------------------------------------------------------------------- looking only */

Test(claims, who_only_looks_takes_nothing_and_makes_no_file)
{
	struct claims_load load;
	uint64_t room;

	cr_expect_eq(claims_take(&c, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take_whole(&c, 1), 0);
	cr_expect_eq(claims_take_memory(&c, 0, 64, 64, &room), 0);
	cr_expect_eq(claims_look(&c, 2, &load), 0);
	cr_expect(load.vcpus == 0 && load.io == 0 && !load.whole);
	cr_expect(claims_idle(&c, 3) && !claims_whole(&c, 3));
	cr_expect_eq(entries_of(folder.root), 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 1), 0);
	cr_expect_eq(claims_take(&c, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take(&c, 0, CLAIMS_VCPU, 1), -EAGAIN);
	cr_expect_eq(claims_take_whole(&c, 0), -EAGAIN);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_VCPU, 0), 0, "what was looked at is free");
	cr_expect_eq(claims_take_memory(&a, 0, 64, 128, &room), 0);
	cr_expect_eq(claims_take_memory(&c, 0, 64, 128, &room), 0);
	cr_expect_eq(claims_take_memory(&c, 0, 65, 128, &room), -EAGAIN);
	cr_expect_eq(claims_take_memory(&b, 0, 64, 128, &room), 0, "what was looked at is free");
	cr_expect_eq(claims_keep(&c), 0);
	cr_expect_not(c.open);
}

Test(claims, a_load_is_what_others_have)
{
	struct claims_load load;

	cr_expect_eq(claims_look(&a, 0, &load), 0);
	cr_expect(load.vcpus == 0 && load.io == 0 && !load.whole);
	/* Neighbours, which the kernel makes one lock of, and some apart. */
	for (uint32_t slot = 0; slot < 20; slot += slot < 5 ? 1 : 3)
		cr_expect_eq(claims_take(slot % 2 ? &a : &b, 0, CLAIMS_VCPU, slot), 0);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_IO, 0), 0);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_IO, 9), 0);
	cr_expect_eq(claims_look(&c, 0, &load), 0);
	cr_expect(load.vcpus == 10 && load.io == 2 && !load.whole, "%u, %u", load.vcpus, load.io);
	cr_expect_eq(claims_look(&b, 0, &load), 0);
	cr_expect(load.vcpus == 5 && load.io == 0 && !load.whole, "%u, %u", load.vcpus, load.io);
	cr_expect_eq(claims_look(&a, 0, &load), 0);
	cr_expect(load.vcpus == 5 && load.io == 2 && !load.whole, "%u, %u", load.vcpus, load.io);
	cr_expect_eq(claims_take_whole(&a, 1), 0);
	cr_expect_eq(claims_look(&b, 1, &load), 0);
	cr_expect(load.vcpus == CLAIMS_LEVELS_MAX && load.io == CLAIMS_LEVELS_MAX && load.whole);
	cr_expect_eq(claims_look(&a, 1, &load), 0);
	cr_expect(load.vcpus == 0 && load.io == 0 && !load.whole, "its own");
	cr_expect_eq(claims_look(&a, FACTS_CPUS_MAX, &load), -EINVAL);
}

Test(claims, a_cpu_is_idle_for_those_who_have_its_only_vcpus)
{
	cr_expect(claims_idle(&a, 0) && !claims_whole(&a, 0));
	cr_expect_eq(claims_take(&b, 0, CLAIMS_IO, 0), 0);
	cr_expect(claims_idle(&a, 0), "an I/O thread does not count");
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 3), 0);
	cr_expect(claims_idle(&a, 0), "its own");
	cr_expect_not(claims_idle(&b, 0));
	cr_expect_eq(claims_take(&b, 1, CLAIMS_VCPU, LAST_SLOT), 0);
	cr_expect_not(claims_idle(&a, 1));
	cr_expect_not(claims_whole(&a, 1));
	cr_expect_eq(claims_take_whole(&b, 2), 0);
	cr_expect(!claims_idle(&a, 2) && claims_whole(&a, 2));
	cr_expect(claims_idle(&b, 2) && !claims_whole(&b, 2), "its own");
	cr_expect_not(claims_idle(&a, FACTS_CPUS_MAX));
	cr_expect_not(claims_whole(&a, FACTS_CPUS_MAX));
}

/* ------------------------------------------------------------------------------------- memory */

static uint64_t slot;

static int speak(struct claims *claims, uint32_t node, uint64_t mib, uint64_t free_mib)
{
	return claims_take_memory(claims, node, mib, free_mib, &slot);
}

/* What another VM would get now. */
static int look_for(uint32_t node, uint64_t mib, uint64_t free_mib)
{
	int r = speak(&c, node, mib, free_mib);

	if (r == 0)
		claims_drop_memory(&c, node, mib, slot);
	return r;
}

Test(claims, memory_that_others_have_spoken_for_is_not_there)
{
	/* 15 slots of 64 MiB, and a rest that is none. */
	cr_expect_eq(speak(&a, 0, 640, 1023), 0);
	cr_expect_eq(slot, 0);
	cr_expect_eq(speak(&b, 0, 321, 1023), -EAGAIN, "6 slots");
	cr_expect_eq(speak(&b, 1, 321, 1023), 0, "of another node");
	cr_expect_eq(speak(&b, 0, 320, 1023), 0, "5 slots");
	cr_expect_eq(slot, 10);
	cr_expect_eq(look_for(0, 1, 1023), -EAGAIN);
	cr_expect_eq(slot, 10, "untouched");
	cr_expect_eq(look_for(0, 1, 1024), 0);
	cr_expect_eq(slot, 15);
	/* It is there now, and what is free says so. */
	claims_drop_all_memory(&a);
	cr_expect_eq(look_for(0, 640, 1023), 0);
	cr_expect_eq(look_for(0, 641, 1023), -EAGAIN);
	cr_expect_eq(look_for(1, 1, 384), -EAGAIN, "of the other node nothing was dropped");
	cr_expect_eq(look_for(FACTS_NODES_MAX, 64, 1023), -EINVAL);
	cr_expect_eq(look_for(FACTS_NODES_MAX - 1, 64, 63), -EAGAIN);
	cr_expect_eq(look_for(FACTS_NODES_MAX - 1, 64, 64), 0);
}

/* Memory that is asked for in huge pages of one size is none of the other pools'. */
Test(claims, pools_of_pages_are_apart)
{
	a.page_kib = 2048;
	cr_expect_eq(speak(&a, 0, 640, 640), 0);
	cr_expect_eq(look_for(0, 640, 640), 0, "ordinary pages");
	cr_expect_eq(entries_of(folder.root), 1);
	b.page_kib = 1048576;
	cr_expect_eq(speak(&b, 0, 640, 640), 0);
	b.page_kib = 2048;
	claims_drop_all_memory(&b);
	c.page_kib = 2048;
	cr_expect_eq(look_for(0, 64, 640), -EAGAIN);
	claims_drop_all_memory(&a);
	cr_expect_eq(look_for(0, 640, 640), 0);
}

/* A slot has at least one byte: a lock of none would reach to the end of the file. */
Test(claims, no_memory_takes_no_more_than_a_slot)
{
	cr_expect_eq(speak(&a, 0, 0, 128), 0);
	cr_expect_eq(speak(&b, 0, 64, 128), 0);
	claims_drop_memory(&a, 0, 0, 0);
	claims_drop_all_memory(&b);
	cr_expect_eq(speak(&b, 0, 128, 128), 0);
}

Test(claims, memory_of_one_node_is_dropped_by_its_slot)
{
	cr_expect_eq(speak(&a, 0, 128, 640), 0);
	cr_expect_eq(speak(&a, 1, 640, 640), 0);
	claims_drop_memory(&a, 0, 128, 0);
	cr_expect_eq(speak(&b, 0, 640, 640), 0);
	cr_expect_eq(speak(&b, 1, 64, 640), -EAGAIN, "the other node's stays");
	claims_drop_memory(&b, 0, 640, 0);
	cr_expect_eq(speak(&a, 0, 640, 640), 0);
}

/* Two guest nodes on one host node: a VM does not see its own. */
Test(claims, memory_of_one_vm_counts_each_time_it_is_spoken_for)
{
	uint64_t first;

	cr_expect_eq(speak(&b, 0, 64, 640), 0);
	cr_expect_eq(speak(&a, 0, 128, 640), 0);
	first = slot;
	cr_expect_eq(speak(&a, 0, 128, 640), 0);
	cr_expect(first == 1 && slot == 3);
	cr_expect_eq(look_for(0, 320, 640), 0);
	cr_expect_eq(look_for(0, 321, 640), -EAGAIN);
	cr_expect_eq(speak(&a, 0, 321, 640), -EAGAIN);
	claims_drop_memory(&a, 0, 128, 3);
	cr_expect_eq(look_for(0, 448, 640), 0, "one of them is left");
	cr_expect_eq(look_for(0, 449, 640), -EAGAIN);
	cr_expect_eq(speak(&a, 0, 64, 640), 0);
	cr_expect_eq(slot, 3);
	claims_drop_all_memory(&a);
	cr_expect_eq(look_for(0, 576, 640), 0);
}

Test(claims, memory_goes_into_the_first_gap_that_is_large_enough)
{
	static struct claims vms[5];

	for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
		cr_assert_eq(claims_open(&vms[i], -1, folder.root, false), 0);
		cr_expect_eq(speak(&vms[i], 0, 128, 640), 0, "VM %zu", i);
	}
	claims_drop_memory(&vms[1], 0, 128, 2);
	cr_expect_eq(speak(&a, 0, 192, 640), -EAGAIN);
	claims_drop_memory(&vms[3], 0, 128, 6);
	claims_drop_memory(&vms[4], 0, 128, 8);
	cr_expect_eq(speak(&a, 0, 192, 640), 0);
	cr_expect_eq(slot, 6);
	cr_expect_eq(speak(&b, 0, 128, 640), 0);
	cr_expect_eq(slot, 2);
	cr_expect_eq(look_for(0, 128, 640), -EAGAIN);
	for (size_t i = 0; i < ARRAY_SIZE(vms); i++)
		claims_close(&vms[i]);
}

/* One spoke for memory when more of it was free: beyond what is free now, but not yet taken. */
Test(claims, memory_spoken_for_while_more_was_free_still_counts)
{
	cr_expect_eq(speak(&a, 0, 100 * 64, 160 * 64), 0);
	cr_expect_eq(speak(&b, 0, 30 * 64, 160 * 64), 0);
	cr_expect_eq(slot, 100);
	/* The first has its own now. 56 slots are free, and 30 of them are the second's. */
	claims_drop_all_memory(&a);
	cr_expect_eq(look_for(0, 27 * 64, 56 * 64), -EAGAIN);
	cr_expect_eq(speak(&a, 0, 20 * 64, 56 * 64), 0);
	cr_expect_eq(look_for(0, 7 * 64, 56 * 64), -EAGAIN);
	cr_expect_eq(look_for(0, 6 * 64, 56 * 64), 0);
	/* All of it counts where it lies across the end of what is free, too: slots 100 to 129. */
	cr_expect_eq(look_for(0, 61 * 64, 110 * 64), -EAGAIN);
	cr_expect_eq(look_for(0, 60 * 64, 110 * 64), 0);
}

/* --------------------------------------------------------------------------- how long they last */

/* A VM of its own process: claims slot 0 of CPU 0, all of CPU 1 and a slot of node 0; then runs
 * `then`, says so, and waits to be killed. */
static pid_t vm(int fd, int (*then)(struct claims *claims))
{
	static struct claims claims;
	int said[2];
	char word = '\0';
	pid_t pid;

	cr_assert_eq(pipe2(said, O_CLOEXEC), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		unsigned before;

		/* What this process has of the three is not the VM's. */
		claims_close(&a);
		claims_close(&b);
		claims_close(&c);
		before = entries_of("/proc/self/fd");
		if (claims_open(&claims, fd, fd < 0 ? folder.root : NULL, false) == 0 &&
		    claims_take(&claims, 0, CLAIMS_VCPU, 0) == 0 &&
		    claims_take_whole(&claims, 1) == 0 && speak(&claims, 0, 64, 64) == 0 &&
		    then(&claims) == 0 && !claims.open && entries_of("/proc/self/fd") == before)
			word = 'y';
		if (write(said[1], &word, 1) == 1)
			pause();
		_exit(1);
	}
	close(said[1]);
	cr_expect_eq(wait_read(said[0], &word, 1), 1);
	cr_expect_eq(word, 'y', "it could not claim, or descriptors are left");
	close(said[0]);
	return pid;
}

static void kill_vm(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_expect(WIFSIGNALED(wait_child(pid)));
}

static int close_all(struct claims *claims)
{
	claims_close(claims);
	return 0;
}

Test(claims, what_is_kept_needs_no_descriptor_and_ends_with_the_process)
{
	pid_t pid = vm(-1, claims_keep);

	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), -EAGAIN);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 1), 0);
	cr_expect_eq(claims_take(&a, 1, CLAIMS_IO, LAST_SLOT), -EAGAIN);
	cr_expect_eq(speak(&a, 0, 64, 64), -EAGAIN);
	kill_vm(pid);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take_whole(&a, 1), 0);
	cr_expect_eq(speak(&a, 0, 64, 64), 0);
}

Test(claims, what_is_closed_is_free_at_once)
{
	pid_t pid = vm(-1, close_all);

	cr_expect_eq(claims_take_whole(&a, 0), 0);
	cr_expect_eq(claims_take_whole(&a, 1), 0);
	cr_expect_eq(speak(&a, 0, 64, 64), 0);
	kill_vm(pid);
}

static int drop_and_keep(struct claims *claims)
{
	claims_drop(claims, 0, CLAIMS_VCPU, 0);
	claims_drop_whole(claims, 1);
	claims_drop_all_memory(claims);
	return claims_keep(claims);
}

Test(claims, what_was_dropped_is_not_kept)
{
	pid_t pid = vm(-1, drop_and_keep);

	cr_expect_eq(claims_take_whole(&a, 0), 0);
	cr_expect_eq(claims_take_whole(&a, 1), 0);
	cr_expect_eq(speak(&a, 0, 64, 64), 0);
	kill_vm(pid);
}

/* A launcher opens the folder once, gives the descriptor to all its VMs, and keeps its own copy. */
Test(claims, vms_of_one_descriptor_see_each_other_and_it_keeps_no_claim)
{
	int fd = open(folder.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid = vm(fd, claims_keep);
	struct claims other = { 0 };

	cr_assert_eq(claims_open(&other, fd, NULL, false), 0);
	cr_expect_eq(claims_take(&other, 0, CLAIMS_VCPU, 0), -EAGAIN);
	cr_expect_eq(claims_take(&other, 0, CLAIMS_VCPU, 1), 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 1), -EAGAIN);
	kill_vm(pid);
	cr_expect_eq(claims_take(&other, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take_whole(&other, 1), 0);
	claims_close(&other);
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC, "it is the caller's");
	close(fd);
}
