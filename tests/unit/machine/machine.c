/* SPDX-License-Identifier: MIT */
/* The machine's own parts without KVM: layout of memory, I/O APIC, ACPI registers, kicks, the final
 * state. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "machine/machine.h"
#include "machine/numa.h"
#include "machine/ram.h"
#include "tests/unit/rig/boot_guest.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/populating.h"

/* ---- layout of memory ------------------------------------------------------------------------ */

#define LIMIT (1ULL << 46)

Test(machine, memory_layouts_that_cannot_be)
{
	static const struct {
		uint64_t sizes[GUEST_NODES_MAX + 1];
		size_t nodes;
	} refused[] = {
		{ { 0 }, 1 },
		{ { MIB }, 0 },
		{ { MIB, MIB, MIB, MIB, MIB, MIB, MIB, MIB, MIB }, 9 },
		{ { MIB + 1 }, 1 },
		{ { MIB - 512 }, 1 },
		{ { MIB, 0 }, 2 },
		{ { LIMIT + 4096 }, 1 },
		{ { UINT64_MAX - 4095 }, 1 },
		/* The hole counts: what lies above it ends at 2^46. */
		{ { 4 * GIB, LIMIT - 4 * GIB }, 2 },
		{ { LIMIT, LIMIT }, 2 },
		{ { 1ULL << 45, 1ULL << 45 }, 2 },
		{ { LIMIT / 2, MIB, LIMIT / 2 }, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct guest_memory memory = { .count = 77 };

		cr_assert_eq(guest_memory_layout(&memory, refused[i].sizes, refused[i].nodes),
		             -EINVAL, "%zu", i);
		cr_assert_eq(memory.count, 77, "%zu: written in spite of the refusal", i);
	}
}

Test(machine, memory_goes_around_the_hole)
{
	static const struct {
		uint64_t sizes[3];
		size_t nodes, regions;
		struct {
			uint64_t base, size;
			uint32_t node;
		} want[4];
	} shapes[] = {
		{ { 4096 }, 1, 1, { { 0, 4096, 0 } } },
		{ { 3 * GIB }, 1, 1, { { 0, 3 * GIB, 0 } } },
		{ { 3 * GIB + 4096 }, 1, 2, { { 0, 3 * GIB, 0 }, { 4 * GIB, 4096, 0 } } },
		{ { 3 * GIB, MIB }, 2, 2, { { 0, 3 * GIB, 0 }, { 4 * GIB, MIB, 1 } } },
		{ { 2 * GIB, 2 * GIB, GIB },
		  3,
		  4,
		  { { 0, 2 * GIB, 0 },
		    { 2 * GIB, GIB, 1 },
		    { 4 * GIB, GIB, 1 },
		    { 5 * GIB, GIB, 2 } } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct guest_memory memory;
		uint64_t sum = 0, below = 0;

		cr_assert_eq(guest_memory_layout(&memory, shapes[i].sizes, shapes[i].nodes), 0);
		cr_assert_eq(memory.count, shapes[i].regions, "%zu", i);
		for (size_t k = 0; k < memory.count; k++) {
			cr_assert_eq(memory.regions[k].base.v, shapes[i].want[k].base, "%zu/%zu", i,
			             k);
			cr_assert_eq(memory.regions[k].size, shapes[i].want[k].size, "%zu/%zu", i,
			             k);
			cr_assert_eq(memory.regions[k].node, shapes[i].want[k].node, "%zu/%zu", i,
			             k);
			sum += memory.regions[k].size;
			below += memory.regions[k].base.v < 3 * GIB ? memory.regions[k].size : 0;
		}
		cr_assert_eq(guest_memory_size(&memory), sum);
		cr_assert_eq(guest_memory_below_hole(&memory), below);
		cr_assert_eq(guest_memory_above_hole(&memory), sum - below);
	}
}

/* Two nodes side by side: a pointer stays in its region, a copy goes on into the next. */
Test(machine, memory_at_the_ends_of_regions)
{
	const uint64_t sizes[] = { 2 * MIB, 2 * MIB };
	struct guest_memory memory = guest_new(sizes, 2);
	uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, back[8] = { 0 };
	uint64_t left = 0;

	cr_assert_not_null(guest_memory_at(&memory, GPA(2 * MIB - 4), 4));
	cr_assert_null(guest_memory_at(&memory, GPA(2 * MIB - 4), 5));
	cr_assert_null(guest_memory_at(&memory, GPA(0), 0));
	cr_assert_null(guest_memory_at(&memory, GPA(4 * MIB), 1));
	cr_assert_null(guest_memory_at(&memory, GPA(UINT64_MAX), 1));
	cr_assert_null(guest_memory_at(&memory, GPA(MIB), UINT64_MAX));
	cr_assert_not_null(guest_memory_from(&memory, GPA(4 * MIB - 1), &left));
	cr_assert_eq(left, 1);
	cr_assert_eq(guest_memory_write(&memory, GPA(2 * MIB - 3), bytes, 8), 0);
	cr_assert_eq(guest_memory_read(&memory, GPA(2 * MIB - 3), back, 8), 0);
	cr_assert_arr_eq(back, bytes, 8);
	cr_assert_eq(memory.regions[1].hva[4], 8);
	/* Half of it is RAM: nothing is copied. */
	memset(back, 0xee, sizeof(back));
	cr_assert_eq(guest_memory_write(&memory, GPA(4 * MIB - 4), bytes, 8), -EFAULT);
	cr_assert_eq(memory.regions[1].hva[2 * MIB - 1], 0);
	cr_assert_eq(guest_memory_read(&memory, GPA(4 * MIB - 4), back, 8), -EFAULT);
	cr_assert_eq(back[0], 0xee);
	cr_assert_eq(guest_memory_read(&memory, GPA(UINT64_MAX - 3), back, 8), -EFAULT);
}

Test(machine, as_many_remote_pages_as_are_allowed)
{
	for (uint64_t allowed = 0; allowed < 3; allowed++)
		for (uint64_t remote = 0; remote < 4; remote++) {
			struct ram_config config = { .remote_pages_allowed = allowed };
			struct ram_placement placement = { .remote_pages = remote };
			struct problems problems = { 0 };

			cr_assert_eq(ram_judge(&config, &placement, &problems),
			             remote > allowed ? -EREMOTE : 0, "%zu remote, %zu allowed",
			             (size_t)remote, (size_t)allowed);
			cr_assert_eq(problems.count, remote > allowed);
			cr_assert(remote <= allowed ||
			          problems.list[0].code == ERROR_CODE_PLACEMENT_FAILED);
		}
}

/* KiB of address space of this process. */
static uint64_t address_space(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	cr_assert_eq(fscanf(file, "%lu", &pages), 1);
	fclose(file);
	return pages * 4;
}

/* Guest memory is aligned to 2 MiB, and what was mapped beside it for that is given back at both
 * ends. */
Test(machine, guest_memory_is_aligned_and_alone)
{
	struct ram_config config = { .pages = RAM_PAGES_4K,
		                     .nodes = 2,
		                     .node_size = { 6 * MIB, 5 * MIB },
		                     .host_node = { -1, -1 } };
	struct guest_memory memory = { .count = 0 };
	struct problems problems = { 0 };
	struct ram_placement placement;
	uint64_t before = address_space(), more;

	cr_assert_eq(ram_acquire(&config, &memory, &placement, &problems), 0, "%s",
	             problems.list[0].message);
	more = address_space() - before;
	/* A sanitizer's own allocations aside; what is given back is a MiB and more. */
	cr_assert(more >= 11 * KIB && more < 11 * KIB + 512, "%zu KiB more are mapped",
	          (size_t)more);
	cr_assert_eq(memory.count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct guest_region *region = &memory.regions[i];

		cr_assert_eq((uintptr_t)region->hva % (2 * MIB), 0);
		region->hva[0] = region->hva[region->size - 1] = 1;
	}
	cr_assert_not(placement.populated);
}

/* In place of the C library's, for the whole program: populating fails while a test wants it to,
 * with this errno and as many times. */
static _Atomic int populating_fails, populating_times;
/* So does asking for transparent huge pages. */
static _Atomic int huge_pages_fail;
/* It says to each thread that it has populated what lies beyond this many bytes, and has not. */
static _Atomic bool populating_lies;
static _Atomic size_t populating_limit;
static _Thread_local size_t populating_done;

void (*populating_seen)(size_t length);

int madvise(void *start, size_t length, int advice)
{
	if (populating_seen && advice == MADV_POPULATE_WRITE)
		populating_seen(length);
	if (huge_pages_fail && advice == MADV_HUGEPAGE) {
		errno = huge_pages_fail;
		return -1;
	}
	if (populating_fails && advice == MADV_POPULATE_WRITE && populating_times-- > 0) {
		errno = populating_fails;
		return -1;
	}
	if (populating_lies && advice == MADV_POPULATE_WRITE) {
		length = MIN(length, atomic_load(&populating_limit) - populating_done);
		populating_done += length;
		if (length == 0)
			return 0;
	}
	return (int)syscall(SYS_madvise, start, length, advice);
}

/* Memory that cannot be had is no launch: nothing stays mapped, and nothing is written to. */
Test(machine, memory_that_cannot_be_populated_is_refused)
{
	struct ram_config config = { .pages = RAM_PAGES_4K,
		                     .nodes = 1,
		                     .node_size = { 8 * MIB },
		                     .host_node = { -1 },
		                     .populate = true };
	struct guest_memory memory = { .count = 77 };
	struct problems problems = { 0 };
	struct ram_placement placement;
	uint64_t before = address_space(), after;
	int r;

	populating_times = 1000;
	populating_fails = ENOMEM;
	r = ram_acquire(&config, &memory, &placement, &problems);
	populating_fails = 0;
	after = address_space();
	cr_assert_eq(r, -ENOMEM);
	cr_assert_eq(memory.count, 77);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
	cr_assert_str_eq(problems.list[0].field, "memory.nodes[0]");
	/* The stacks of threads that are gone may be kept for others; guest memory is not. */
	cr_assert_lt(after - before, 8 * KIB * 9, "%zu KiB more are mapped",
	             (size_t)(after - before));
	cr_assert_eq(ram_acquire(&config, &memory, &placement, &problems), 0);
	cr_assert(placement.populated && memory.count == 1);
	cr_assert_eq(placement.nodes[0].pages_4k * 4 + placement.nodes[0].pages_2m * 2048, 8 * KIB);
}

/* The proof is of pages that are there, not only of those that are where they should be. */
Test(machine, memory_that_was_not_populated_after_all_is_refused)
{
	static const struct {
		bool lock;
		const char *says;
	} rows[] = {
		{ false,
		  "1024 of 2048 pages of 4 KiB are not there after they were populated, paged out perhaps: free "
		  "memory on this host, or set memory.lock" },
		{ true,
		  "1024 of 2048 pages of 4 KiB are not there after they were populated: free memory on this "
		  "host, or ask for less" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ram_config config = { .pages = RAM_PAGES_4K,
			                     .nodes = 2,
			                     .node_size = { 8 * MIB, 4 * MIB },
			                     .host_node = { -1, -1 },
			                     .lock = rows[i].lock };
		struct ram_placement placement = { .nodes = { { .absent_pages = 1024 } } };
		struct problems problems = { 0 };

		cr_expect_eq(ram_judge(&config, &placement, &problems), -ENOMEM);
		cr_assert_eq(problems.count, 1);
		cr_expect_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
		cr_expect_str_eq(problems.list[0].field, "memory.nodes[0]");
		cr_expect_str_eq(problems.list[0].message, rows[i].says);
	}
	for (size_t limit = 0; limit < 3; limit++) {
		struct ram_config config = { .pages = RAM_PAGES_4K,
			                     .nodes = 2,
			                     .node_size = { 2 * MIB, 4 * MIB },
			                     .host_node = { -1, -1 },
			                     .populate = true };
		struct guest_memory memory = { .count = 77 };
		struct problems problems = { 0 };
		struct ram_placement placement;
		int r;

		populating_limit = limit * 2 * MIB;
		populating_lies = true;
		r = ram_acquire(&config, &memory, &placement, &problems);
		populating_lies = false;
		cr_expect_eq(r, limit < 2 ? -ENOMEM : 0, "limit %zu", limit);
		cr_expect_eq(memory.count, limit < 2 ? 77 : 2, "limit %zu", limit);
		cr_assert_eq(problems.count, 2 - limit, "limit %zu", limit);
		cr_expect(problems.count == 0 ||
		          problems.list[0].code == ERROR_CODE_MEMORY_UNAVAILABLE);
		cr_expect(limit != 1 || strcmp(problems.list[0].field, "memory.nodes[1]") == 0);
		if (r == 0)
			cr_expect(placement.populated && placement.nodes[1].absent_pages == 0);
	}
}

static bool locks_nothing(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	*ret_result = 0;
	return true;
}

/* What is locked is counted by the kernel; that a call said yes is not enough. */
Test(machine, memory_that_was_not_locked_after_all_is_refused)
{
	static const long calls[] = { SYS_mlock, SYS_mlock2 };
	struct ram_config config = { .pages = RAM_PAGES_4K,
		                     .nodes = 1,
		                     .node_size = { 2 * MIB },
		                     .host_node = { -1 },
		                     .lock = true };
	struct guest_memory memory = { .count = 77 };
	struct problems problems = { 0 };
	struct ram_placement placement;

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(fake_kernel_begin(calls, ARRAY_SIZE(calls), locks_nothing), 0);
	cr_assert_eq(ram_acquire(&config, &memory, &placement, &problems), -ENOMEM);
	cr_assert_eq(problems.count, 1);
	cr_expect_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
	cr_expect_str_eq(problems.list[0].field, "memory.lock");
	cr_expect_str_eq(problems.list[0].message,
	                 "2 MiB were to be locked, and the kernel says that 0 MiB are: launch "
	                 "again, or without memory.lock");
	cr_expect_eq(memory.count, 77);
}

/* What populating may fail with: once more; by touching, where the kernel does not know it and a
 * page is one that can be touched; or not at all. */
Test(machine, populating_that_fails)
{
	static const struct {
		int error;
		uint64_t page_size;
		int host_node;
		bool taken;
		const char *says;
	} rows[] = {
		{ EINTR, 4 * KIB, -1, true, "" },
		{ EAGAIN, 4 * KIB, -1, true, "" },
		{ EAGAIN, 2 * MIB, -1, true, "" },
		{ EINVAL, 4 * KIB, -1, true, "" },
		{ EINVAL, 2 * MIB, -1, false,
		  "cannot populate 2 huge pages of 2048 KiB, 0 are free there now: Invalid argument; reserve more "
		  "(nr_hugepages), or ask for less" },
		{ EFAULT, 2 * MIB, 900, false,
		  "cannot populate 2 huge pages of 2048 KiB on host node 900, 0 are free there now: Bad address; reserve "
		  "more (nr_hugepages), or ask for less" },
		{ ENOMEM, 4 * KIB, -1, false,
		  "cannot populate 4 MiB, 484 MiB are free there now: Cannot allocate memory; ask for less" },
		{ EHWPOISON, 4 * KIB, 900, false,
		  "cannot populate 4 MiB on host node 900, 184 MiB are free there now: Memory page has hardware error; "
		  "ask for less" },
	};
	static const char meminfo[] = "Node %u MemTotal: 1048576 kB\nNode %u MemFree: %u kB\n";
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	fixture_tree_write(&tree, "sys/devices/system/node/node0/meminfo", meminfo, 0, 0,
	                   500 * 1024);
	fixture_tree_write(&tree, "sys/devices/system/node/node900/meminfo", meminfo, 900, 900,
	                   200 * 1024);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct numa_range range = { .size = 4 * MIB,
			                    .page_size = rows[i].page_size,
			                    .guest_node = 5,
			                    .host_node = rows[i].host_node };
		struct problems problems = { 0 };
		unsigned char resident[1024];
		int r;

		range.start = mmap(NULL, range.size, PROT_READ | PROT_WRITE,
		                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		/* Twice: what is tried again is tried until it is done, and each of two threads may
		 * have its share. */
		populating_times = rows[i].error == EINTR || rows[i].error == EAGAIN ? 2 : 1000;
		populating_fails = rows[i].error;
		r = numa_populate(&range, 1, NULL, 1, tree.root, &problems);
		populating_fails = 0;
		cr_expect_eq(r, rows[i].taken ? 0 : -rows[i].error, "row %zu", i);
		cr_expect_eq(problems.count, !rows[i].taken, "row %zu", i);
		cr_assert_eq(mincore(range.start, range.size, resident), 0);
		for (size_t page = 0; page < ARRAY_SIZE(resident); page++)
			cr_assert(!rows[i].taken || resident[page] & 1, "row %zu: page %zu", i,
			          page);
		if (!rows[i].taken) {
			cr_expect_eq(problems.list[0].code, ERROR_CODE_MEMORY_UNAVAILABLE);
			cr_expect_eq(problems.list[0].error_number, rows[i].error, "row %zu", i);
			cr_expect_str_eq(problems.list[0].field, "memory.nodes[5]");
			cr_expect_str_eq(problems.list[0].message, rows[i].says);
		}
		munmap(range.start, range.size);
	}
	fixture_tree_done(&tree);
}

/* Told is what was asked for, and not the part below the hole. */
Test(machine, too_much_memory_is_refused_by_its_size)
{
	struct ram_config config = { .pages = RAM_PAGES_THP,
		                     .nodes = 1,
		                     .node_size = { GUEST_HOLE_START + 8 * MIB },
		                     .host_node = { -1 } };
	struct guest_memory memory = { 0 };
	struct problems problems = { 0 };
	struct ram_placement placement;

	huge_pages_fail = ENOMEM;
	cr_expect_eq(ram_acquire(&config, &memory, &placement, &problems), -ENOMEM);
	huge_pages_fail = 0;
	cr_assert_geq(problems.count, 1);
	cr_expect_str_eq(problems.list[0].field, "memory.nodes[0]");
	cr_expect_str_eq(problems.list[0].message,
	                 "cannot get 3080 MiB of transparent huge pages: Cannot allocate memory; "
	                 "ask for less");
}

/* Whether there is room is asked for what is populated, which huge pages always are: a host node
 * that is not there has none. Of other memory it is told when it is to be bound. */
Test(machine, room_is_asked_for_where_memory_is_populated)
{
	static const struct {
		enum ram_pages pages;
		bool populate;
		int error;
		const char *says;
	} rows[] = {
		{ RAM_PAGES_4K, false, EINVAL,
		  "cannot bind 8 MiB of 4 KiB pages on its host node: Invalid argument" },
		{ RAM_PAGES_THP, false, EINVAL,
		  "cannot bind 8 MiB of transparent huge pages on its host node: Invalid argument" },
		{ RAM_PAGES_4K, true, ENOMEM,
		  "host node 900: 8 MiB of memory were asked for, 0 MiB are free: ask for less, or free some" },
		{ RAM_PAGES_THP, true, ENOMEM,
		  "host node 900: 8 MiB of memory were asked for, 0 MiB are free: ask for less, or free some" },
		{ RAM_PAGES_2M, false, ENOMEM,
		  "host node 900: 8 MiB of huge pages of 2048 KiB were asked for, 0 MiB are free: ask for less, or free some" },
		{ RAM_PAGES_1G, false, ENOMEM,
		  "host node 900: 8 MiB of huge pages of 1048576 KiB were asked for, 0 MiB are free: ask for less, or free some" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ram_config config = { .pages = rows[i].pages,
			                     .nodes = 2,
			                     .node_size = { MIB, 8 * MIB },
			                     .host_node = { -1, 900 },
			                     .populate = rows[i].populate };
		struct guest_memory memory = { .count = 77 };
		struct problems problems = { 0 };
		struct ram_placement placement;
		const struct problem *last;

		/* Huge pages of no node in particular may lack here as well. */
		cr_expect_eq(ram_acquire(&config, &memory, &placement, &problems), -rows[i].error,
		             "row %zu", i);
		cr_expect_eq(memory.count, 77);
		cr_assert_geq(problems.count, 1);
		cr_expect(problems.count == 1 || rows[i].pages >= RAM_PAGES_2M, "row %zu", i);
		last = &problems.list[problems.count - 1];
		cr_expect_eq(last->code, ERROR_CODE_MEMORY_UNAVAILABLE);
		cr_expect_str_eq(last->field, "memory.nodes[1]");
		cr_expect_eq(last->error_number, rows[i].error, "row %zu", i);
		cr_expect_str_eq(last->message, rows[i].says);
	}
}

/* ---- I/O APIC -------------------------------------------------------------------------------- */

#define SELECT 0x00
#define WINDOW 0x10
#define MASKED 0x10000u

static struct msi_message delivered[8];
static size_t deliveries;

static void note_delivery(void *context, const struct msi_message *message)
{
	cr_assert_eq(context, (void *)delivered);
	cr_assert_lt(deliveries, ARRAY_SIZE(delivered));
	delivered[deliveries++] = *message;
}

static struct ioapic new_ioapic(void)
{
	struct ioapic ioapic;

	deliveries = 0;
	ioapic_init(&ioapic, note_delivery, delivered);
	return ioapic;
}

static uint32_t ioapic_get(struct ioapic *ioapic, uint32_t index)
{
	ioapic_bus_ops.write(ioapic, SELECT, 4, index);
	return (uint32_t)ioapic_bus_ops.read(ioapic, WINDOW, 4);
}

static void ioapic_set(struct ioapic *ioapic, uint32_t index, uint32_t value)
{
	ioapic_bus_ops.write(ioapic, SELECT, 4, index);
	ioapic_bus_ops.write(ioapic, WINDOW, 4, value);
}

/* 82093AA §3.2. */
Test(machine, ioapic_registers)
{
	struct ioapic ioapic = new_ioapic();

	cr_assert_eq(ioapic_get(&ioapic, 1), 0x00000011, "version, one entry");
	cr_assert_eq(ioapic_get(&ioapic, 0x10), MASKED, "after reset");
	cr_assert_eq(ioapic_get(&ioapic, 0x11), 0);
	ioapic_set(&ioapic, 0, 0xffffffff);
	cr_assert_eq(ioapic_get(&ioapic, 0), 0x0f000000, "four bits of id");
	cr_assert_eq(ioapic_get(&ioapic, 2), 0x0f000000, "the arbitration id follows it");
	ioapic_set(&ioapic, 1, 0xffffffff);
	cr_assert_eq(ioapic_get(&ioapic, 1), 0x00000011, "read-only");
	/* The halves of an entry are apart; delivery status and remote IRR cannot be written. */
	ioapic_set(&ioapic, 0x10, 0xffffffff);
	cr_assert_eq(ioapic_get(&ioapic, 0x10), 0xffffffffu & ~(1u << 12) & ~(1u << 14));
	cr_assert_eq(ioapic_get(&ioapic, 0x11), 0);
	ioapic_set(&ioapic, 0x11, 0xa5000000);
	cr_assert_eq(ioapic_get(&ioapic, 0x11), 0xa5000000);
	cr_assert_eq(ioapic_get(&ioapic, 0x10), 0xffffffffu & ~(1u << 12) & ~(1u << 14));
	/* No entry, no register; the select register has eight bits. */
	ioapic_set(&ioapic, 0x12, 0x12345678);
	cr_assert_eq(ioapic_get(&ioapic, 0x12), 0);
	cr_assert_eq(ioapic_get(&ioapic, 0x0f), 0);
	ioapic_bus_ops.write(&ioapic, SELECT, 4, 0x101);
	cr_assert_eq(ioapic_bus_ops.read(&ioapic, SELECT, 4), 1);
	cr_assert_eq(ioapic_bus_ops.read(&ioapic, 0x20, 4), 0);
	cr_assert_eq(deliveries, 0);
}

/* SDM 3A §11.11: destination, its mode, vector and delivery mode as the entry has them. */
Test(machine, ioapic_turns_an_edge_into_an_msi)
{
	struct ioapic ioapic = new_ioapic();

	ioapic_set(&ioapic, 0x11, 0x03000000);
	ioapic_set(&ioapic, 0x10, 0x31);
	ioapic_raise(&ioapic, 0);
	cr_assert_eq(deliveries, 1);
	cr_assert_eq(delivered[0].address, 0xfee03000);
	cr_assert_eq(delivered[0].data, 0x31);
	/* Logical destination, lowest priority, polarity and trigger mode left out. */
	ioapic_set(&ioapic, 0x11, 0xff000000);
	ioapic_set(&ioapic, 0x10, 0xa000 | 1u << 11 | 1u << 8 | 0x42);
	ioapic_raise(&ioapic, 0);
	cr_assert_eq(deliveries, 2);
	cr_assert_eq(delivered[1].address, 0xfeeff004);
	cr_assert_eq(delivered[1].data, 0x142);
	/* Nor is it delivered while the entry is masked. */
	ioapic_set(&ioapic, 0x10, MASKED | 0x42);
	ioapic_raise(&ioapic, 0);
	cr_assert_eq(deliveries, 2, "masked");
}

/* What comes while masked waits, as one; it comes when unmasked, once, and not at a write that
 * leaves it masked. */
Test(machine, ioapic_latches_one_edge_while_masked)
{
	struct ioapic ioapic = new_ioapic();

	ioapic_raise(&ioapic, 0);
	ioapic_raise(&ioapic, 0);
	ioapic_set(&ioapic, 0x10, MASKED | 0x31);
	ioapic_set(&ioapic, 0x11, 0);
	cr_assert_eq(deliveries, 0);
	ioapic_set(&ioapic, 0x10, 0x31);
	cr_assert_eq(deliveries, 1);
	cr_assert_eq(delivered[0].data, 0x31);
	ioapic_set(&ioapic, 0x10, 0x32);
	ioapic_set(&ioapic, 0x11, 0x01000000);
	ioapic_set(&ioapic, 0x10, MASKED | 0x32);
	ioapic_set(&ioapic, 0x10, 0x32);
	cr_assert_eq(deliveries, 1, "one edge, one interrupt");
}

/* ---- ACPI registers -------------------------------------------------------------------------- */

static uint32_t acpi_asks(uint64_t offset, uint64_t value)
{
	struct acpi_registers acpi = { 0 };

	acpi_registers_bus_ops.write(&acpi, offset, 1, value);
	return acpi.request;
}

Test(machine, acpi_power_off_and_reset)
{
	for (uint64_t value = 0; value < 256; value++) {
		/* SLP_EN and SLP_TYP 5; the other bits are nobody's (ACPI 6.5 §4.8.3.7). */
		bool off = (value & 0x20) && (value >> 2 & 7) == 5;

		cr_assert_eq(acpi_asks(ACPI_REG_SLEEP_CONTROL, value),
		             off ? ACPI_REQUEST_POWER_OFF : ACPI_REQUEST_NONE, "sleep control %#zx",
		             (size_t)value);
		cr_assert_eq(acpi_asks(ACPI_REG_RESET, value),
		             value == 1 ? ACPI_REQUEST_RESET : ACPI_REQUEST_NONE);
		cr_assert_eq(acpi_asks(ACPI_REG_SLEEP_STATUS, value), ACPI_REQUEST_NONE);
		cr_assert_eq(acpi_asks(ACPI_REG_EVENTS, value), ACPI_REQUEST_NONE);
	}
}

Test(machine, reset_port)
{
	for (uint64_t value = 0; value < 256; value++) {
		struct acpi_registers acpi = { 0 };

		reset_port_bus_ops.write(&acpi, 0, 1, value);
		cr_assert_eq(acpi.request, value == 1 ? ACPI_REQUEST_RESET : ACPI_REQUEST_NONE);
	}
	cr_assert_null(reset_port_bus_ops.read);
}

/* The event is there until it is read, in one dword; each press is an interrupt. */
Test(machine, power_button)
{
	struct ioapic ioapic = new_ioapic();
	struct acpi_registers acpi = { .ioapic = &ioapic };

	ioapic_set(&ioapic, 0x10 + 2 * LAYOUT_GED_PIN, 0x31);
	cr_assert_eq(acpi_registers_bus_ops.read(&acpi, ACPI_REG_EVENTS, 4), 0);
	acpi_press_power_button(&acpi);
	cr_assert_eq(deliveries, 1);
	cr_assert_eq(acpi_registers_bus_ops.read(&acpi, ACPI_REG_EVENTS, 1), 0,
	             "one byte is not the register");
	cr_assert_eq(acpi_registers_bus_ops.read(&acpi, ACPI_REG_SLEEP_STATUS, 4), 0);
	cr_assert_eq(acpi_registers_bus_ops.read(&acpi, ACPI_REG_EVENTS, 4),
	             ACPI_EVENT_POWER_BUTTON);
	cr_assert_eq(acpi_registers_bus_ops.read(&acpi, ACPI_REG_EVENTS, 4), 0, "a read clears it");
	acpi_press_power_button(&acpi);
	acpi_press_power_button(&acpi);
	cr_assert_eq(deliveries, 3);
	cr_assert_eq(acpi_registers_bus_ops.read(&acpi, ACPI_REG_EVENTS, 4),
	             ACPI_EVENT_POWER_BUTTON);
	cr_assert_eq(acpi.request, ACPI_REQUEST_NONE);
}

/* Bit 0: it panicked. Bit 1 alone: it dumps itself, and is left alone. */
Test(machine, panic_register)
{
	for (uint64_t value = 0; value < 4; value++) {
		struct acpi_registers acpi = { 0 };

		panic_register_bus_ops.write(&acpi, 0, 1, value);
		cr_assert_eq(acpi.panicked, value & 1);
		panic_register_bus_ops.write(&acpi, 1, 1, 1);
		cr_assert_eq(acpi.panicked, value & 1, "another byte");
		cr_assert_eq(panic_register_bus_ops.read(&acpi, 0, 1), 3);
		cr_assert_eq(panic_register_bus_ops.read(&acpi, 1, 1), 0);
	}
}

/* ---- asking the crew ------------------------------------------------------------------------- */

static volatile sig_atomic_t kicks;

static void count_kick(int number)
{
	(void)number;
	kicks++;
}

/* Who is in the guest is kicked out of it; who is parked, or not yet there, is not; to go on nobody
 * is kicked. */
Test(machine, asking_kicks_those_who_run)
{
	static struct kvm_run runs[3];
	static struct machine machine = { .vcpu_count = 3 };

	signal(MACHINE_KICK_SIGNAL, count_kick);
	machine.pid = getpid();
	for (int i = 0; i < 3; i++)
		machine.vcpus[i].run = &runs[i];
	machine.vcpus[0].tid = machine.vcpus[1].tid = (pid_t)syscall(SYS_gettid);
	machine.vcpus[1].parked = true;
	for (int want = MACHINE_RUN; want <= MACHINE_STOP; want++) {
		kicks = 0;
		memset(runs, 0, sizeof(runs));
		machine_ask(&machine, (enum machine_want)want);
		cr_assert_eq((int)machine.want, want);
		cr_assert_eq(kicks, want != MACHINE_RUN, "want %d", want);
		cr_assert_eq(runs[0].immediate_exit, want != MACHINE_RUN);
		cr_assert_eq(runs[1].immediate_exit + runs[2].immediate_exit, 0);
	}
	machine.parked = 2;
	cr_assert_not(machine_all_parked(&machine));
	machine.parked = 3;
	cr_assert(machine_all_parked(&machine));
}

/* The first end stands, with its vCPU and its detail, and the control thread is woken for it
 * alone. */
Test(machine, the_first_end_stands)
{
	static struct kvm_run runs[2] = { { .exit_reason = KVM_EXIT_SHUTDOWN },
		                          { .exit_reason = KVM_EXIT_HLT } };
	static struct machine machine = { .vcpu_count = 2 };
	uint64_t woken = 0;

	machine.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (uint32_t i = 0; i < 2; i++)
		machine.vcpus[i] =
			(struct vcpu){ .index = i, .fd = -1, .run = &runs[i], .machine = &machine };
	machine_end_from(&machine.vcpus[1], MACHINE_END_RESET, 9);
	machine_end_from(&machine.vcpus[0], MACHINE_END_TRIPLE_FAULT, 7);
	cr_assert_eq(machine.end, MACHINE_END_RESET);
	cr_assert_eq(machine.end_vcpu, 1);
	cr_assert_eq(machine.end_detail, 9);
	cr_assert_eq(machine.end_exit, KVM_EXIT_HLT);
	cr_assert(machine.vcpus[1].captured && !machine.vcpus[0].captured);
	cr_assert_eq(read(machine.wake_fd, &woken, sizeof(woken)), sizeof(woken));
	cr_assert_eq(woken, 1);
	close(machine.wake_fd);
}

Test(machine, exits_have_names)
{
	cr_assert_str_eq(vcpu_exit_name(KVM_EXIT_HLT), "KVM_EXIT_HLT");
	cr_assert_str_eq(vcpu_exit_name(KVM_EXIT_SHUTDOWN), "KVM_EXIT_SHUTDOWN");
	cr_assert_str_eq(vcpu_exit_name(KVM_EXIT_X86_BUS_LOCK), "KVM_EXIT_X86_BUS_LOCK");
	cr_assert_str_eq(vcpu_exit_name(12), "KVM_EXIT_TPR_ACCESS");
	cr_assert_str_eq(vcpu_exit_name(13), "KVM_EXIT_?", "s390's");
	cr_assert_str_eq(vcpu_exit_name(UINT32_MAX), "KVM_EXIT_?");
}

/* ---- the final state of a vCPU --------------------------------------------------------------- */

#define TABLES 0x10000u
#define PG (1ULL << 31)
#define PAE (1ULL << 5)
#define LMA (1ULL << 10)
#define PRESENT 1ULL
#define LARGE 0x81ULL

static struct guest_memory ram;
static uint64_t code_segment; /* where CS begins */

/* A vCPU that ended at `rip`: captured, with no KVM behind it (KVM_RUN fails, as it does with
 * EINTR). */
static struct vcpu captured_at(uint64_t rip, uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	static struct kvm_run run;
	static struct machine machine;
	struct vcpu vcpu = { .fd = -1, .run = &run, .machine = &machine };

	machine.memory = ram;
	run.s.regs.regs.rip = rip;
	run.s.regs.sregs =
		(struct kvm_sregs){ .cr0 = cr0, .cr3 = TABLES | 0x18, .cr4 = cr4, .efer = efer };
	run.s.regs.sregs.cs.base = code_segment;
	vcpu_capture(&vcpu);
	cr_assert(vcpu.captured && vcpu.regs.rip == rip);
	return vcpu;
}

static void write_entry(unsigned table, unsigned index, uint64_t value)
{
	put(ram.regions[0].hva + TABLES + table * 4096u + index * 8u, value, 8);
}

/* One path through four tables: entry 1 of each, and a leaf in table `level` (1: 4 KiB, 2: 2 MiB,
 * 3: 1 GiB). */
static void map_path(unsigned level, uint64_t leaf)
{
	memset(ram.regions[0].hva + TABLES, 0, 4 * 4096);
	for (unsigned l = 4; l > level; l--)
		write_entry(4 - l, 1, (TABLES + (5 - l) * 4096u) | PRESENT | 1ULL << 63);
	write_entry(4 - level, 1, leaf);
}

static uint64_t address_of(unsigned level, uint64_t offset)
{
	uint64_t address = offset;

	for (unsigned l = 4; l >= level; l--)
		address |= 1ULL << (12 + 9 * (l - 1));
	return address;
}

static void expect_code(const struct vcpu *vcpu, uint64_t gpa, size_t length)
{
	cr_assert_eq(vcpu->code_length, length, "%zu bytes", vcpu->code_length);
	for (size_t i = 0; i < length; i++)
		cr_assert_eq(vcpu->code[i], (uint8_t)((gpa + i) >> 4 ^ (gpa + i)),
		             "byte %zu of %#zx", i, (size_t)gpa);
}

static void new_ram(void)
{
	ram = guest_of(4 * MIB);
	for (uint64_t i = 0; i < 4 * MIB; i++)
		ram.regions[0].hva[i] = (uint8_t)(i >> 4 ^ i);
}

Test(machine, code_bytes_without_paging, .init = new_ram)
{
	struct vcpu vcpu = captured_at(0x200000, 0, 0, 0);

	expect_code(&vcpu, 0x200000, 16);
	/* To the end of the page, and no further. */
	vcpu = captured_at(0x200ff5, 0, 0, 0);
	expect_code(&vcpu, 0x200ff5, 11);
	vcpu = captured_at(0x200fff, 0, 0, 0);
	expect_code(&vcpu, 0x200fff, 1);
	/* 32 bits of address; and what is no RAM has no code. */
	vcpu = captured_at(0x100200000, 0, 0, 0);
	expect_code(&vcpu, 0x200000, 16);
	vcpu = captured_at(0x400000, 0, 0, 0);
	expect_code(&vcpu, 0, 0);
}

Test(machine, code_bytes_through_pages_of_each_size, .init = new_ram)
{
	static const uint64_t leaves[] = { 0, 0x234000 | PRESENT, 0x200000 | LARGE, 0 | LARGE };
	static const uint64_t offsets[] = { 0, 0x123, 0x34123, 0x234123 };
	static const uint64_t wanted[] = { 0, 0x234123, 0x234123, 0x234123 };

	for (unsigned level = 1; level <= 3; level++) {
		struct vcpu vcpu;

		map_path(level, leaves[level] | 1ULL << 63);
		vcpu = captured_at(address_of(level, offsets[level]), PG, PAE, LMA);
		expect_code(&vcpu, wanted[level], 16);
		/* 32-bit paging is not looked through. */
		vcpu = captured_at(address_of(level, offsets[level]), PG, PAE, 0);
		expect_code(&vcpu, 0, 0);
		vcpu = captured_at(address_of(level, offsets[level]), PG, 0, LMA);
		expect_code(&vcpu, 0, 0);
		/* Not present at any one of the levels. */
		for (unsigned l = 4; l >= level; l--) {
			map_path(level, leaves[level]);
			write_entry(4 - l, 1, (TABLES + 0x1000) & ~PRESENT);
			vcpu = captured_at(address_of(level, offsets[level]), PG, PAE, LMA);
			expect_code(&vcpu, 0, 0);
		}
	}
	/* A table beyond RAM. */
	map_path(1, leaves[1]);
	write_entry(1, 1, 0x7fffffffff000 | PRESENT);
	expect_code(&(struct vcpu){ 0 }, 0, 0);
	expect_code((struct vcpu[]){ captured_at(address_of(1, 0x123), PG, PAE, LMA) }, 0, 0);
	/* The top level has no large pages: bit 7 there means nothing. */
	map_path(1, leaves[1]);
	write_entry(0, 1, (TABLES + 0x1000) | LARGE);
	expect_code((struct vcpu[]){ captured_at(address_of(1, 0x123), PG, PAE, LMA) }, 0x234123,
	            16);
}

/* RIP counts from where CS begins, without paging and with it; so does the end of the page. */
Test(machine, code_bytes_of_a_segment_that_begins_elsewhere, .init = new_ram)
{
	code_segment = 0x1f8010;
	expect_code((struct vcpu[]){ captured_at(0x8000, 0, 0, 0) }, 0x200010, 16);
	expect_code((struct vcpu[]){ captured_at(0x8fe8, 0, 0, 0) }, 0x200ff8, 8);
	expect_code((struct vcpu[]){ captured_at(0x8ff8, 0, 0, 0) }, 0x201008, 16);
	map_path(1, 0x234000 | PRESENT);
	code_segment = address_of(1, 0x100);
	expect_code((struct vcpu[]){ captured_at(0x23, PG, PAE, LMA) }, 0x234123, 16);
	/* A reset's: the last 16 bytes of 4 GiB, where there is no RAM. */
	code_segment = 0xffff0000;
	expect_code((struct vcpu[]){ captured_at(0xfff0, 0, 0, 0) }, 0, 0);
}

Test(machine, a_state_is_captured_once, .init = new_ram)
{
	struct vcpu vcpu = captured_at(0x200000, 0, 0, 0);

	vcpu.run->s.regs.regs.rip = 0x300000;
	vcpu_capture(&vcpu);
	cr_assert_eq(vcpu.regs.rip, 0x200000);
}
