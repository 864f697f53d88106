/* SPDX-License-Identifier: MIT */
/* virtio-balloon through a real io_uring: pages that vanish, pages that stay, lists that lie. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "rig/virtio_driver.h"
#include "rig/wait.h"
#include "virtio/balloon.h"

#define INFLATE 0
#define DEFLATE 1
#define STATS 2
#define REPORT 4
#define SIZE 16
#define LIST 0x60000u
#define FIRST_PAGE 0x100u /* of the second MiB, which holds no ring */
#define LARGE 65536u
#define PER_LARGE (LARGE / BALLOON_PAGE)
#define BASE                                                                                       \
	(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) |            \
	 VIRTIO_FEATURE(VIRTIO_BALLOON_F_STATS_VQ) |                                               \
	 VIRTIO_FEATURE(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |                                         \
	 VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING))
#define TELL VIRTIO_FEATURE(VIRTIO_BALLOON_F_MUST_TELL_HOST)

static struct test_machine m;
static struct balloon balloon;
static struct driver driver;
static struct ring rings[BALLOON_QUEUES];

static void align_memory(void)
{
	for (size_t i = 0; i < m.memory.count; i++) {
		free(m.memory.regions[i].hva);
		m.memory.regions[i].hva = aligned_alloc(LARGE, RING_NODE_BYTES);
		cr_assert_not_null(m.memory.regions[i].hva);
		memset(m.memory.regions[i].hva, 0, RING_NODE_BYTES);
	}
}

static void bring_up(uint64_t features)
{
	driver_reset(&driver);
	for (uint16_t i = 0; i < BALLOON_QUEUES; i++)
		ring_init(&rings[i], &m.memory, SIZE, 0x10000 + 0x8000u * i);
	cr_assert(driver_negotiate(&driver, features));
	common_out(&driver, VIRTIO_PCI_COMMON_MSIX, BALLOON_QUEUES, 2);
	for (uint16_t i = 0; i < BALLOON_QUEUES; i++)
		driver_queue(&driver, i, &rings[i]);
	driver_ok(&driver);
}

static void start(const struct balloon_spec *spec, uint64_t features)
{
	machine_init(&m);
	align_memory();
	memset(&balloon, 0, sizeof(balloon));
	cr_assert_eq(balloon_create(&balloon, spec, &m.host), 0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	bring_up(features);
	memset(m.memory.regions[1].hva, 0xa5, RING_NODE_BYTES);
}

static void set_up(void)
{
	const struct balloon_spec spec = {
		.host_page = BALLOON_PAGE,
		.free_page_reporting = true,
		.deflate_on_oom = true,
	};

	start(&spec, BASE);
}

static void set_up_large(void)
{
	const struct balloon_spec spec = { .host_page = LARGE, .free_page_reporting = true };

	start(&spec, BASE | TELL);
}

static void tear_down(void)
{
	machine_stop(&m, 0);
	balloon_destroy(&balloon);
	machine_done(&m);
}

static void offer(uint16_t queue, uint64_t address, uint32_t length, uint16_t flags)
{
	ring_desc(&rings[queue], 0, address, length, flags, 0);
	ring_offer(&rings[queue], 0);
	driver_kick(&driver, queue);
}

/* Sends a list of pages and waits for its acknowledgement. */
static void send_list(uint16_t queue, const uint32_t *pfns, uint32_t count)
{
	uint16_t done = ring_used_idx(&rings[queue]);

	cr_assert_eq(guest_memory_write(&m.memory, GPA(LIST), pfns, count * 4), 0);
	offer(queue, LIST, count * 4, 0);
	driver_await_used(&rings[queue], (uint16_t)(done + 1));
}

static void send_run(uint16_t queue, uint32_t first, uint32_t count)
{
	uint32_t pfns[256];

	for (uint32_t i = 0; i < count; i++)
		pfns[i] = first + i;
	send_list(queue, pfns, count);
}

static bool gone(uint32_t pfn)
{
	unsigned char resident = 0;
	void *page = guest_memory_at(&m.memory, GPA((uint64_t)pfn << 12), BALLOON_PAGE);

	cr_assert_not_null(page);
	cr_assert_eq(mincore(page, BALLOON_PAGE, &resident), 0);
	return !(resident & 1);
}

static uint32_t count_gone(uint32_t first, uint32_t count)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < count; i++)
		n += gone(first + i);
	return n;
}

static struct balloon_state state(void)
{
	struct balloon_state s;

	balloon_get_state(&balloon, &s);
	return s;
}

TestSuite(balloon, .timeout = 60);

Test(balloon, inflated_pages_go_back_and_no_others, .init = set_up, .fini = tear_down)
{
	send_run(INFLATE, FIRST_PAGE + 8, 32);
	cr_assert_eq(count_gone(FIRST_PAGE + 8, 32), 32);
	cr_assert_eq(count_gone(FIRST_PAGE, 8), 0);
	cr_assert_eq(count_gone(FIRST_PAGE + 40, 216), 0);
	cr_assert_eq(state().returned_bytes, 32 * BALLOON_PAGE);
	cr_assert_eq(*(m.memory.regions[1].hva + 8 * BALLOON_PAGE), 0);
	send_run(DEFLATE, FIRST_PAGE + 8, 32);
	cr_assert_eq(state().failures, 0);
	WAIT_UNTIL(driver_interrupts(&driver, INFLATE) != 0);
}

Test(balloon, scattered_pages_in_any_order, .init = set_up, .fini = tear_down)
{
	uint32_t pfns[128];

	/* Every second page, downwards: more ranges than are gathered at a time. */
	for (uint32_t i = 0; i < 128; i++)
		pfns[i] = FIRST_PAGE + 254 - 2 * i;
	cr_assert_gt(128, BALLOON_RANGES);
	send_list(INFLATE, pfns, 128);
	for (uint32_t i = 0; i < 256; i++)
		cr_assert_eq(gone(FIRST_PAGE + i), i % 2 == 0, "page %u", i);
	cr_assert_eq(state().returned_bytes, 128 * BALLOON_PAGE);
}

Test(balloon, descending_run_is_one_range, .init = set_up, .fini = tear_down)
{
	uint32_t pfns[64];

	for (uint32_t i = 0; i < 64; i++)
		pfns[i] = FIRST_PAGE + 63 - i;
	atomic_store(&m.loop.stats.sqes, 0);
	send_list(INFLATE, pfns, 64);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 64);
	/* The discard, the interrupt, and what polls cost when the loop is slow; not a discard a
	 * page. */
	cr_assert_leq(atomic_load(&m.loop.stats.sqes), 16);
}

Test(balloon, pages_that_are_not_ram, .init = set_up, .fini = tear_down)
{
	const uint32_t pfns[] = { 0xffffffff, FIRST_PAGE, 0x200, 0xc0000, FIRST_PAGE + 2, 0xfffff };

	send_list(INFLATE, pfns, 6);
	send_list(INFLATE, pfns, 6);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 2);
	machine_await_events(&m, 1);
	cr_assert_eq(atomic_load(&m.event_count), 1);
	cr_assert(!m.events[0].needs_reset);
	cr_assert_eq(m.events[0].error, EFAULT);
	send_list(DEFLATE, pfns, 6);
}

static void expect_needs_reset(uint32_t events)
{
	machine_await_events(&m, events);
	cr_assert(m.events[events - 1].needs_reset);
	cr_assert(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	bring_up(BASE);
	send_run(INFLATE, FIRST_PAGE, 1);
	cr_assert(gone(FIRST_PAGE));
}

Test(balloon, malformed_lists_need_a_reset, .init = set_up, .fini = tear_down)
{
	offer(INFLATE, LIST, 7, 0);
	expect_needs_reset(1);
	offer(DEFLATE, LIST, 3, 0);
	expect_needs_reset(2);
	offer(INFLATE, LIST, 64, VRING_DESC_F_WRITE);
	expect_needs_reset(3);
	/* One page number too many. */
	offer(INFLATE, LIST, (BALLOON_PFNS_MAX + 1) * 4, 0);
	expect_needs_reset(4);
}

Test(balloon, only_whole_large_pages_go_back, .init = set_up_large, .fini = tear_down)
{
	send_run(INFLATE, FIRST_PAGE, PER_LARGE - 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 0);
	/* Twice the same page is one page. */
	send_run(INFLATE, FIRST_PAGE, 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 0);
	send_run(INFLATE, FIRST_PAGE + PER_LARGE - 1, 2);
	cr_assert_eq(count_gone(FIRST_PAGE, PER_LARGE), PER_LARGE);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), PER_LARGE);
	cr_assert_eq(state().returned_bytes, LARGE);
}

Test(balloon, a_large_page_taken_back_in_part_stays, .init = set_up_large, .fini = tear_down)
{
	send_run(INFLATE, FIRST_PAGE, PER_LARGE - 1);
	send_run(DEFLATE, FIRST_PAGE + 3, 1);
	send_run(INFLATE, FIRST_PAGE + PER_LARGE - 1, 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 0);
	send_run(INFLATE, FIRST_PAGE + 3, 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), PER_LARGE);
}

Test(balloon, a_reset_empties_the_balloon, .init = set_up_large, .fini = tear_down)
{
	send_run(INFLATE, FIRST_PAGE, PER_LARGE - 1);
	bring_up(BASE | TELL);
	send_run(INFLATE, FIRST_PAGE + PER_LARGE - 1, 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 0);
}

Test(balloon, a_driver_that_does_not_tell_keeps_large_pages, .init = set_up_large,
     .fini = tear_down)
{
	bring_up(BASE);
	send_run(INFLATE, FIRST_PAGE, PER_LARGE);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 0);
}

Test(balloon, reports_give_whole_pages_back, .init = set_up, .fini = tear_down)
{
	uint64_t at = (uint64_t)FIRST_PAGE << 12;

	ring_desc(&rings[REPORT], 0, at + 100, 3 * BALLOON_PAGE,
	          VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	ring_desc(&rings[REPORT], 1, at + 0x20000, 0x10000, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT,
	          2);
	ring_desc(&rings[REPORT], 2, at + 0x40000, 100, VRING_DESC_F_WRITE, 0);
	ring_offer(&rings[REPORT], 0);
	driver_kick(&driver, REPORT);
	driver_await_used(&rings[REPORT], 1);
	cr_assert_eq(ring_used(&rings[REPORT], 0).length, 0);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 2 + 16);
	cr_assert(!gone(FIRST_PAGE) && gone(FIRST_PAGE + 1) && gone(FIRST_PAGE + 2));
	cr_assert(!gone(FIRST_PAGE + 3));
}

Test(balloon, a_report_gives_back_whole_large_pages_only, .init = set_up_large, .fini = tear_down)
{
	uint64_t at = (uint64_t)FIRST_PAGE << 12;

	offer(REPORT, at + BALLOON_PAGE, 3 * LARGE, VRING_DESC_F_WRITE);
	driver_await_used(&rings[REPORT], 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 2 * PER_LARGE);
	cr_assert_eq(count_gone(FIRST_PAGE + PER_LARGE, 2 * PER_LARGE), 2 * PER_LARGE);
}

static uint32_t config(uint32_t offset)
{
	return (uint32_t)mmio_in(&m, driver.bar + VIRTIO_BAR_DEVICE + offset, 4);
}

static unsigned told;

static void on_reached(void *context)
{
	cr_assert_eq(context, &told);
	told++;
}

static void says_actual(uint32_t pages)
{
	mmio_out(&m, driver.bar + VIRTIO_BAR_DEVICE + offsetof(struct balloon_config, actual),
	         pages, 4);
}

/* While it is awaited, and only what was asked; that the guest has gone on since does not make it
 * unreached. */
Test(balloon, a_target_that_is_reached, .fini = tear_down)
{
	const struct balloon_spec spec = { .host_page = BALLOON_PAGE,
		                           .free_page_reporting = true,
		                           .reached = on_reached,
		                           .context = &told };
	uint64_t all;

	start(&spec, BASE);
	all = guest_memory_size(&m.memory);
	cr_assert_eq(balloon_set_target(&balloon, all - 8 * BALLOON_PAGE), 0);
	says_actual(8);
	cr_assert_eq(told, 0, "nobody awaits it");
	cr_assert(balloon_has_reached(&balloon));
	balloon_await(&balloon, true);
	cr_assert(balloon_has_reached(&balloon), "it had before");
	cr_assert_eq(balloon_set_target(&balloon, all - 4 * BALLOON_PAGE), 0);
	cr_assert_not(balloon_has_reached(&balloon));
	says_actual(5);
	says_actual(3);
	cr_assert_eq(told, 0);
	cr_assert_not(balloon_has_reached(&balloon));
	says_actual(4);
	cr_assert_eq(told, 1);
	says_actual(0);
	cr_assert_eq(told, 1);
	cr_assert(balloon_has_reached(&balloon), "it has been");
	/* What was reached was another target. */
	cr_assert_eq(balloon_set_target(&balloon, all - 2 * BALLOON_PAGE), 0);
	cr_assert_not(balloon_has_reached(&balloon));
	balloon_await(&balloon, true);
	cr_assert_eq(balloon_set_target(&balloon, all - 4 * BALLOON_PAGE), 0);
	cr_assert_not(balloon_has_reached(&balloon), "what was reached before is forgotten");
	balloon_await(&balloon, false);
	says_actual(4);
	cr_assert_eq(told, 1);
}

Test(balloon, a_target_reaches_the_guest_and_its_answer_the_state, .init = set_up,
     .fini = tear_down)
{
	(void)driver_interrupts(&driver, BALLOON_QUEUES);
	cr_assert_eq(config(0), 0);
	cr_assert_eq(balloon_set_target(&balloon, MIB), 0);
	cr_assert_eq(config(0), MIB / BALLOON_PAGE);
	WAIT_UNTIL(driver_interrupts(&driver, BALLOON_QUEUES) != 0);
	cr_assert_eq(balloon_set_target(&balloon, 0), -ERANGE);
	cr_assert_eq(balloon_set_target(&balloon, 2 * MIB + 1), -ERANGE);
	cr_assert_eq(state().target_bytes, MIB);
	mmio_out(&m, driver.bar + VIRTIO_BAR_DEVICE + 4, 17, 4);
	cr_assert_eq(config(4), 17);
	cr_assert_eq(state().actual_bytes, 17 * BALLOON_PAGE);
	/* The rest is not the driver's to write. */
	mmio_out(&m, driver.bar + VIRTIO_BAR_DEVICE, 5, 4);
	mmio_out(&m, driver.bar + VIRTIO_BAR_DEVICE + 8, 5, 4);
	mmio_out(&m, driver.bar + VIRTIO_BAR_DEVICE + 3, 0xffffffff, 4);
	/* Nor is a part of it, or more than it. */
	for (uint32_t width = 1; width <= 8; width *= 2)
		if (width != 4)
			mmio_out(&m, driver.bar + VIRTIO_BAR_DEVICE + 4, 0x5a5a5a5a5a5a5a5a, width);
	cr_assert_eq(config(0), MIB / BALLOON_PAGE);
	cr_assert_eq(config(4), 17);
	cr_assert_eq(state().actual_bytes, 17 * BALLOON_PAGE);
	cr_assert_eq(config(8), 0);
	cr_assert_eq(balloon_set_target(&balloon, 2 * MIB), 0);
	cr_assert_eq(config(0), 0);
}

Test(balloon, features_follow_the_spec, .init = set_up, .fini = tear_down)
{
	cr_assert(driver_offered(&driver) & VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM));
	cr_assert(driver_offered(&driver) & VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING));
	cr_assert(!(driver_offered(&driver) & TELL));
	cr_assert(!(driver_offered(&driver) & VIRTIO_FEATURE(VIRTIO_BALLOON_F_PAGE_POISON)));
}

static void set_up_stats(void)
{
	const struct balloon_spec spec = { .host_page = BALLOON_PAGE, .stats_interval_s = 1 };

	start(&spec, BASE & ~VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING));
}

static void send_stats(uint64_t free_bytes)
{
	const struct virtio_balloon_stat stats[] = {
		{ VIRTIO_BALLOON_S_MEMFREE, free_bytes },
		{ 999, 1 },
		{ VIRTIO_BALLOON_S_MEMTOT, 9 },
	};

	cr_assert_eq(guest_memory_write(&m.memory, GPA(LIST), stats, sizeof(stats)), 0);
	/* The last one is cut short. */
	offer(STATS, LIST, sizeof(stats) - 1, 0);
}

Test(balloon, statistics_come_anew_each_interval, .init = set_up_stats, .fini = tear_down)
{
	for (uint16_t round = 1; round <= 2; round++) {
		send_stats(1000u + round);
		WAIT_UNTIL(state().stats[VIRTIO_BALLOON_S_MEMFREE] == 1000u + round);
		driver_await_used(&rings[STATS], round);
	}
	cr_assert_eq(state().stats[VIRTIO_BALLOON_S_MEMTOT], UINT64_MAX);
	cr_assert_geq(state().stats_count, 2);
}

Test(balloon, requests_do_not_outlive_a_reset, .init = set_up, .fini = tear_down)
{
	uint32_t pfns[128];

	for (uint32_t i = 0; i < 128; i++)
		pfns[i] = FIRST_PAGE + 2 * i;
	for (int round = 0; round < 50; round++) {
		memset(m.memory.regions[1].hva, 0xa5, RING_NODE_BYTES);
		cr_assert_eq(guest_memory_write(&m.memory, GPA(LIST), pfns, sizeof(pfns)), 0);
		offer(INFLATE, LIST, sizeof(pfns), 0);
		driver_reset(&driver);
		/* From here on the pages are the guest's again. */
		memset(m.memory.regions[1].hva, 0x5a, RING_NODE_BYTES);
		bring_up(BASE);
		send_run(INFLATE, FIRST_PAGE + 255, 1);
		cr_assert_eq(count_gone(FIRST_PAGE, 255), 0);
	}
}

/* ------------------------------------------------------------------------------- at the bounds */

/* 65536 page numbers are the most of one request, in either direction. */
Test(balloon, a_list_of_65536_pages_is_taken_and_no_longer_one, .init = set_up, .fini = tear_down)
{
	static uint32_t pfns[65536];

	for (uint32_t i = 0; i < ARRAY_SIZE(pfns); i++)
		pfns[i] = FIRST_PAGE + i % 256;
	for (uint16_t queue = INFLATE; queue <= DEFLATE; queue++) {
		send_list(queue, pfns, ARRAY_SIZE(pfns));
		cr_assert_eq(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
	}
	cr_assert_eq(count_gone(FIRST_PAGE, 256), 256);
	cr_assert_eq(state().returned_bytes, (uint64_t)ARRAY_SIZE(pfns) * BALLOON_PAGE,
	             "each time counts");
	cr_assert_eq(state().failures, 0);
	/* One more is too many. */
	for (uint16_t queue = INFLATE; queue <= DEFLATE; queue++) {
		offer(queue, LIST, (ARRAY_SIZE(pfns) + 1) * 4, 0);
		expect_needs_reset(queue + 1u);
	}
}

/* Every tag that there is room for, and none behind them (VIRTIO 1.2 §5.5.6.4 has 10 of them). */
Test(balloon, every_known_statistic_is_kept_and_no_other, .init = set_up, .fini = tear_down)
{
	const uint64_t at = LIST + 0x1000; /* read at any time: nothing else goes there */
	struct virtio_balloon_stat stats[18];

	for (uint16_t tag = 0; tag < ARRAY_SIZE(stats); tag++)
		stats[tag] =
			(struct virtio_balloon_stat){ .tag = tag, .val = 1000000000000u + tag };
	/* The largest comes first: what is read are as many as there are tags. */
	stats[0].tag = 15;
	stats[15].tag = 0;
	cr_assert_eq(guest_memory_write(&m.memory, GPA(at), stats, sizeof(stats)), 0);
	offer(STATS, at, sizeof(stats), 0);
	WAIT_UNTIL(state().stats_count != 0);
	for (uint64_t tag = 0; tag < 16; tag++)
		cr_assert_eq(state().stats[tag],
		             1000000000000u + (tag == 0    ? 15
		                               : tag == 15 ? 0
		                                           : tag),
		             "tag %lu", (unsigned long)tag);
	/* Without an interval the buffer stays where it is. */
	send_run(INFLATE, FIRST_PAGE, 1);
	cr_assert_eq(ring_used_idx(&rings[STATS]), 0);
	cr_assert_eq(atomic_load(&m.event_count), 0);
}

/* The next driver's mistakes are its own. */
Test(balloon, bad_pages_are_reported_once_a_driver, .init = set_up, .fini = tear_down)
{
	const uint32_t beyond = 0x200;

	for (uint32_t round = 1; round <= 3; round++) {
		send_list(INFLATE, &beyond, 1);
		send_list(INFLATE, &beyond, 1);
		cr_assert_eq(atomic_load(&m.event_count), round);
		bring_up(BASE);
	}
}

/* --------------------------------------------------------------------- the advice, and refusals */

/* As a guest's memory that the spec has locked. */
static void lock_pages(void)
{
	/* The call itself: the sanitizers' mlock() does nothing. */
	if (syscall(SYS_mlock, m.memory.regions[1].hva, 64 * KIB) < 0)
		cr_skip_test("needs 64 KiB of RLIMIT_MEMLOCK");
}

static void set_up_locked(void)
{
	const struct balloon_spec spec = { .host_page = BALLOON_PAGE,
		                           .memory_locked = true,
		                           .free_page_reporting = true };

	start(&spec, BASE);
	lock_pages();
}

Test(balloon, locked_memory_goes_back, .init = set_up_locked, .fini = tear_down)
{
	/* Linux 5.18: MADV_DONTNEED_LOCKED is 24. */
	if (madvise(m.memory.regions[1].hva + 15 * BALLOON_PAGE, BALLOON_PAGE, 24) < 0)
		cr_skip_test("needs a kernel with MADV_DONTNEED_LOCKED");
	send_run(INFLATE, FIRST_PAGE, 8);
	cr_assert_eq(count_gone(FIRST_PAGE, 16), 8 + 1);
	offer(REPORT, ((uint64_t)FIRST_PAGE << 12) + 8 * BALLOON_PAGE, 4 * BALLOON_PAGE,
	      VRING_DESC_F_WRITE);
	driver_await_used(&rings[REPORT], 1);
	cr_assert_eq(count_gone(FIRST_PAGE, 16), 12 + 1);
	cr_assert_eq(state().failures, 0);
	cr_assert_eq(state().returned_bytes, 12 * BALLOON_PAGE);
	cr_assert_eq(m.memory.regions[1].hva[0], 0);
	cr_assert_eq(m.memory.regions[1].hva[12 * BALLOON_PAGE], 0xa5);
	/* Pages that nobody locked as well. */
	send_run(INFLATE, FIRST_PAGE + 100, 8);
	cr_assert_eq(count_gone(FIRST_PAGE + 100, 8), 8);
}

/* Memory that is locked behind the balloon's back does not go: each refusal counts, the first is
 * told. */
Test(balloon, what_the_host_refuses_is_counted, .init = set_up, .fini = tear_down)
{
	const uint32_t apart[] = { FIRST_PAGE, FIRST_PAGE + 2, FIRST_PAGE + 4, FIRST_PAGE + 100 };

	lock_pages();
	send_list(INFLATE, apart, 4);
	cr_assert_eq(state().failures, 3);
	cr_assert_eq(state().returned_bytes, BALLOON_PAGE);
	machine_await_events(&m, 1);
	cr_assert_not(m.events[0].needs_reset);
	cr_assert_eq(m.events[0].error, EINVAL);
	cr_assert_eq(m.events[0].queue, INFLATE);
	send_list(INFLATE, apart, 4);
	cr_assert_eq(state().failures, 6);
	cr_assert_eq(atomic_load(&m.event_count), 1);
	cr_assert_eq(m.memory.regions[1].hva[0], 0xa5);
}

/* The host may be about to discard a page that the guest takes back: first the one, then the
 * other. */
Test(balloon, taking_back_waits_for_discards, .init = set_up_large, .fini = tear_down,
     .timeout = 30)
{
	const uint32_t pfn = FIRST_PAGE;

	for (int under_way = 1; under_way >= 0; under_way--) {
		/* Parked, the loop's thread does not look. */
		io_loop_pause(&m.loop);
		cr_assert_eq(io_loop_await(&m.loop, IO_PARKED), IO_PARKED);
		balloon.inflate.active = under_way;
		io_loop_resume(&m.loop);
		if (under_way) {
			cr_assert_eq(guest_memory_write(&m.memory, GPA(LIST), &pfn, 4), 0);
			offer(DEFLATE, LIST, 4, 0);
			/* Another queue is served after that kick: it was seen. */
			offer(REPORT, ((uint64_t)FIRST_PAGE << 12), 2 * LARGE, VRING_DESC_F_WRITE);
			driver_await_used(&rings[REPORT], 1);
			cr_assert_eq(ring_used_idx(&rings[DEFLATE]), 0);
		}
	}
	driver_await_used(&rings[DEFLATE], 1);
}

/* ------------------------------------------------------------------------------- ranges of GiBs */

#define HUGE_BYTES (2 * GIB + 16 * MIB)

/* A region of which only what is touched exists. */
static void set_up_huge(void)
{
	const struct balloon_spec spec = { .host_page = BALLOON_PAGE, .free_page_reporting = true };
	const uint64_t size = HUGE_BYTES;

	machine_init(&m);
	ring_memory_done(&m.memory);
	cr_assert_eq(guest_memory_layout(&m.memory, &size, 1), 0);
	m.memory.regions[0].hva = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
	                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	cr_assert_neq(m.memory.regions[0].hva, MAP_FAILED);
	memset(&balloon, 0, sizeof(balloon));
	cr_assert_eq(balloon_create(&balloon, &spec, &m.host), 0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	bring_up(BASE);
}

static void tear_down_huge(void)
{
	machine_stop(&m, 0);
	balloon_destroy(&balloon);
	munmap(m.memory.regions[0].hva, HUGE_BYTES);
	m.memory.count = 0;
	machine_done(&m);
}

/* One MADVISE takes 1 GiB; two buffers of that, side by side, or one of more, take several. */
Test(balloon, reports_of_more_than_one_operation_takes, .init = set_up_huge, .fini = tear_down_huge)
{
	const uint64_t base = MIB;
	const uint64_t touched[] = { 0, GIB - 4096, GIB, GIB + 4096, 2 * GIB - 4096 };
	struct ring *ring = &rings[REPORT];

	for (uint16_t round = 0; round < 2; round++) {
		uint64_t returned = state().returned_bytes;

		for (size_t i = 0; i < ARRAY_SIZE(touched); i++)
			m.memory.regions[0].hva[base + touched[i]] = 0xa5;
		m.memory.regions[0].hva[base + 2 * GIB] = 0xa5;
		if (round == 0) {
			ring_desc(ring, 0, base, GIB, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
			ring_desc(ring, 1, base + GIB, GIB, VRING_DESC_F_WRITE, 0);
		} else {
			ring_desc(ring, 0, base, 2 * GIB, VRING_DESC_F_WRITE, 0);
		}
		ring_offer(ring, 0);
		driver_kick(&driver, REPORT);
		driver_await_used(ring, (uint16_t)(round + 1));
		for (size_t i = 0; i < ARRAY_SIZE(touched); i++)
			cr_assert(gone((uint32_t)((base + touched[i]) >> 12)), "round %u, %#lx",
			          round, (unsigned long)touched[i]);
		cr_assert_eq(m.memory.regions[0].hva[base + 2 * GIB], 0xa5);
		cr_assert_eq(state().returned_bytes - returned, 2 * GIB);
		cr_assert_eq(state().failures, 0);
	}
}

/* ------------------------------------------------------------------------ much ado, little work */

static uint64_t turns(void)
{
	return atomic_load(&m.loop.stats.turns);
}

/* A full ring of the longest lists, of pages that are not RAM: they give nothing back, and cost a
 * look each. Each turn of the loop looks at its share. */
static void send_bad_lists(uint16_t queue)
{
	static uint32_t bad[BALLOON_PFNS_MAX];
	const uint64_t at = 0x100000; /* the second MiB */
	uint16_t done = ring_used_idx(&rings[queue]);
	uint64_t before;

	memset(bad, 0xff, sizeof(bad));
	cr_assert_eq(guest_memory_write(&m.memory, GPA(at), bad, sizeof(bad)), 0);
	before = turns();
	ring_desc(&rings[queue], 0, at, sizeof(bad), 0, 0);
	for (int i = 0; i < SIZE; i++)
		ring_offer(&rings[queue], 0);
	driver_kick(&driver, queue);
	driver_await_used(&rings[queue], (uint16_t)(done + SIZE));
	cr_assert_geq(turns() - before,
	              (uint64_t)SIZE * BALLOON_PFNS_MAX / (VIRTIO_TURN_WORK / BALLOON_QUEUES));
}

Test(balloon, lists_of_bad_pages_take_many_turns, .init = set_up, .fini = tear_down)
{
	send_bad_lists(INFLATE);
	cr_assert_eq(state().returned_bytes, 0);
	/* And it goes on as if nothing had been. */
	send_run(INFLATE, FIRST_PAGE, 4);
	cr_assert_eq(state().returned_bytes, 4 * BALLOON_PAGE);
}

Test(balloon, lists_of_large_pages_take_many_turns, .init = set_up_large, .fini = tear_down)
{
	send_bad_lists(INFLATE);
	send_bad_lists(DEFLATE);
	memset(m.memory.regions[1].hva, 0xa5, RING_NODE_BYTES);
	send_run(INFLATE, FIRST_PAGE, PER_LARGE);
	cr_assert_eq(count_gone(FIRST_PAGE, 256), PER_LARGE);
}

/* In the middle of its lists, the driver resets; or the VM is paused, which waits for the list at
 * hand. */
Test(balloon, a_long_list_outlives_no_reset, .init = set_up_large, .fini = tear_down)
{
	const uint64_t at = 0x100000;

	for (int round = 0; round < 50; round++) {
		memset(guest_memory_at(&m.memory, GPA(at), BALLOON_PFNS_MAX * 4), 0xff,
		       BALLOON_PFNS_MAX * 4);
		for (uint16_t queue = INFLATE; queue <= DEFLATE; queue++) {
			ring_desc(&rings[queue], 0, at, BALLOON_PFNS_MAX * 4, 0, 0);
			for (int i = 0; i < SIZE; i++)
				ring_offer(&rings[queue], 0);
			driver_kick(&driver, queue);
		}
		if (round % 2) {
			io_loop_pause(&m.loop);
			cr_assert_eq(io_loop_await(&m.loop, IO_PARKED), IO_PARKED);
			io_loop_resume(&m.loop);
		}
		bring_up(BASE | TELL);
	}
	send_run(INFLATE, FIRST_PAGE, PER_LARGE);
	cr_assert_eq(state().failures, 0);
}
