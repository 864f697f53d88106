/* SPDX-License-Identifier: MIT */
/* The transport by the rules of VIRTIO 1.2 §2 to §4: what the status allows, which
 * interrupt says what, and accesses at the edges of BAR and window. Offsets are written out. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdatomic.h>
#include <string.h>

#include "rig/keeper.h"
#include "rig/virtio_offsets.h"
#include "rig/wait.h"

#define SIZE KEEPER_SIZE
#define QUEUES KEEPER_QUEUES
#define CONFIG_VECTOR KEEPER_QUEUES
#define EVENT_IDX (1ULL << 29)
#define INDIRECT (1ULL << 28)
#define RING_RESET (1ULL << 40)

static struct keeper_rig rig;
static struct driver *const d = &rig.driver;
static struct keeper *const keeper = &rig.keeper;

static void set_up(void)
{
	keeper_start(&rig);
}

static void set_up_running(void)
{
	set_up();
	keeper_bring_up(&rig, KEEPER_FULL);
}

static void tear_down(void)
{
	keeper_stop(&rig);
}

TestSuite(virtio_rules, .timeout = 30, .fini = tear_down);

static uint64_t bar_in(uint32_t offset, uint32_t width)
{
	return mmio_in(&rig.m, d->bar + offset, width);
}

static void bar_out(uint32_t offset, uint64_t value, uint32_t width)
{
	mmio_out(&rig.m, d->bar + offset, value, width);
}

static void serve(uint16_t queue)
{
	keeper_serve(&rig, queue);
}

/* ---------------------------------------------------------------------------------- negotiation */

Test(virtio_rules, feature_words, .init = set_up)
{
	const uint64_t offered = KEEPER_FULL | EVENT_IDX;
	static const uint32_t beyond[] = { 2, 3, 32, 0x80000000, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
		common_out(d, DEVICE_FEATURE_SELECT, beyond[i], 4);
		cr_assert_eq(common_in(d, DEVICE_FEATURE, 4), 0, "word %#x", beyond[i]);
		common_out(d, DRIVER_FEATURE_SELECT, 0, 4);
		common_out(d, DRIVER_FEATURE, 0x1234, 4);
		common_out(d, DRIVER_FEATURE_SELECT, beyond[i], 4);
		common_out(d, DRIVER_FEATURE, 0xffffffff, 4);
		cr_assert_eq(common_in(d, DRIVER_FEATURE, 4), 0);
		common_out(d, DRIVER_FEATURE_SELECT, 0, 4);
		cr_assert_eq(common_in(d, DRIVER_FEATURE, 4), 0x1234,
		             "word %#x is none of the first", beyond[i]);
		common_out(d, DRIVER_FEATURE_SELECT, 1, 4);
		cr_assert_eq(common_in(d, DRIVER_FEATURE, 4), 0);
	}
	for (uint32_t word = 0; word < 2; word++) {
		common_out(d, DEVICE_FEATURE_SELECT, word, 4);
		cr_assert_eq(common_in(d, DEVICE_FEATURE, 4), (uint32_t)(offered >> 32 * word));
		common_out(d, DRIVER_FEATURE_SELECT, word, 4);
		common_out(d, DRIVER_FEATURE, 0xffffffff, 4);
		common_out(d, DRIVER_FEATURE, 0x00ff00ff, 4);
		cr_assert_eq(common_in(d, DRIVER_FEATURE, 4), 0x00ff00ff,
		             "a bit can be taken back");
	}
}

/* §2.2.2: each bit alone that is not offered, beside those that are. */
Test(virtio_rules, any_feature_that_is_not_offered_is_refused, .init = set_up)
{
	const uint64_t offered = KEEPER_FULL | EVENT_IDX;

	for (unsigned bit = 0; bit < 64; bit++) {
		bool good = offered >> bit & 1;

		driver_reset(d);
		cr_assert_eq(driver_negotiate(d, KEEPER_FULL | 1ULL << bit), good, "bit %u", bit);
		cr_assert_eq(driver_status(d), good ? 0x0b : 0x03);
		driver_ok(d);
		cr_assert_eq(driver_status(d), good ? 0x0f : 0x03,
		             "no DRIVER_OK without FEATURES_OK");
	}
}

/* A driver in a hurry: features and DRIVER_OK in one write of the status, good ones and others. */
Test(virtio_rules, features_and_driver_ok_in_one_write, .init = set_up)
{
	static const uint8_t all = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	                           VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

	driver_reset(d);
	for (uint32_t word = 0; word < 2; word++) {
		common_out(d, DRIVER_FEATURE_SELECT, word, 4);
		common_out(d, DRIVER_FEATURE, (uint32_t)(KEEPER_FULL >> 32 * word), 4);
	}
	common_out(d, STATUS, all, 1);
	cr_assert_eq(driver_status(d), all);
	driver_reset(d);
	common_out(d, STATUS, all, 1);
	cr_assert_eq(driver_status(d), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
	             "no DRIVER_OK by features that were refused");
	driver_reset(d);
}

/* §2.1: bits of the driver's stay until a reset; NEEDS_RESET and unknown ones are not its to
 * set. */
Test(virtio_rules, status_bits, .init = set_up)
{
	common_out(d, STATUS, 0x40, 1);
	cr_assert_eq(driver_status(d), 0);
	common_out(d, STATUS, 0x30, 1);
	cr_assert_eq(driver_status(d), 0);
	common_out(d, STATUS, 0x01, 1);
	cr_assert_eq(driver_status(d), 0x01);
	common_out(d, STATUS, 0x82, 1);
	cr_assert_eq(driver_status(d), 0x83, "FAILED is kept, and what was there");
	common_out(d, STATUS, 0, 1);
	cr_assert_eq(driver_status(d), 0);
	keeper_bring_up(&rig, KEEPER_FULL);
	common_out(d, STATUS, 0x80, 1);
	cr_assert_eq(driver_status(d), 0x8f);
}

/* Rings of what was negotiated, and nothing else. */
Test(virtio_rules, indirect_tables_only_when_negotiated, .init = set_up)
{
	const uint64_t table = 0x48000;

	for (int with = 1; with >= 0; with--) {
		keeper_bring_up(&rig, with ? KEEPER_FULL : KEEPER_FULL & ~INDIRECT);
		atomic_store(&keeper->prompt, true);
		ring_table_desc(&rig.rings[0], table, 0, KEEPER_DATA, 16, VRING_DESC_F_WRITE, 0);
		ring_desc(&rig.rings[0], 0, table, 16, VRING_DESC_F_INDIRECT, 0);
		ring_offer(&rig.rings[0], 0);
		driver_kick(d, 0);
		if (with)
			driver_await_used(&rig.rings[0], 1);
		else
			machine_await_events(&rig.m, 1);
	}
	cr_assert(rig.m.events[0].needs_reset);
}

Test(virtio_rules, kicks_are_suppressed_while_a_queue_is_served, .init = set_up)
{
	/* Without event indices by the flag (§2.7.10). */
	keeper_bring_up(&rig, KEEPER_FULL);
	serve(0);
	cr_assert_eq(atomic_load(&keeper->used_flags), 1);
	WAIT_UNTIL(ring_used_flags(&rig.rings[0]) == 0);
	/* With them the flag stays 0. */
	keeper_bring_up(&rig, KEEPER_FULL | EVENT_IDX);
	serve(0);
	cr_assert_eq(atomic_load(&keeper->used_flags), 0);
	WAIT_UNTIL(ring_avail_event(&rig.rings[0]) == 1);
	cr_assert_eq(ring_used_flags(&rig.rings[0]), 0);
}

/* --------------------------------------------------------------------------------------- queues */

Test(virtio_rules, a_queue_enabled_after_driver_ok_works, .init = set_up)
{
	cr_assert(driver_negotiate(d, KEEPER_FULL));
	driver_queue(d, 0, &rig.rings[0]);
	driver_ok(d);
	serve(0);
	driver_queue(d, 1, &rig.rings[1]);
	serve(1);
}

/* §2.6.1: queue_reset takes the feature, an enabled queue, and a 1. */
Test(virtio_rules, when_a_queue_can_be_reset, .init = set_up)
{
	cr_assert(driver_negotiate(d, KEEPER_FULL));
	driver_queue(d, 1, &rig.rings[1]);
	common_out(d, QUEUE_SELECT, 0, 2);
	common_out(d, QUEUE_DESC, 0x10000, 8);
	common_out(d, QUEUE_RESET, 1, 2);
	cr_assert_eq(common_in(d, QUEUE_DESC, 8), 0x10000, "not enabled: nothing to reset");
	/* Before DRIVER_OK it is done at once. */
	common_out(d, QUEUE_SELECT, 1, 2);
	common_out(d, QUEUE_RESET, 2, 2);
	cr_assert_eq(common_in(d, QUEUE_ENABLE, 2), 1);
	common_out(d, QUEUE_RESET, 1, 2);
	cr_assert_eq(common_in(d, QUEUE_RESET, 2), 0);
	cr_assert_eq(common_in(d, QUEUE_ENABLE, 2), 0);
	cr_assert_eq(common_in(d, QUEUE_DESC, 8), 0);
	cr_assert_eq(common_in(d, QUEUE_DRIVER, 8), 0);
	cr_assert_eq(common_in(d, QUEUE_DEVICE, 8), 0);
	cr_assert_eq(common_in(d, QUEUE_MSIX, 2), 0xffff);
	cr_assert_eq(common_in(d, QUEUE_SIZE, 2), SIZE);
	driver_queue(d, 1, &rig.rings[1]);
	driver_ok(d);
	serve(1);
	/* Running, a queue that was never enabled still has nothing to reset. */
	common_out(d, QUEUE_SELECT, 0, 2);
	common_out(d, QUEUE_RESET, 1, 2);
	cr_assert_eq(common_in(d, QUEUE_RESET, 2), 0);
	/* Without the feature the register is nothing. */
	keeper_bring_up(&rig, KEEPER_FULL & ~RING_RESET);
	common_out(d, QUEUE_SELECT, 1, 2);
	common_out(d, QUEUE_RESET, 1, 2);
	cr_assert_eq(common_in(d, QUEUE_RESET, 2), 0);
	cr_assert_eq(common_in(d, QUEUE_ENABLE, 2), 1);
	serve(1);
}

/* The reset of a queue is over when the last of its requests is back, not before. */
Test(virtio_rules, a_queue_reset_waits_for_the_last_request, .init = set_up_running)
{
	for (uint16_t i = 0; i < 3; i++)
		keeper_offer(&rig, 0, i);
	driver_kick(d, 0);
	keeper_await(&keeper->popped, 3);
	common_out(d, QUEUE_SELECT, 0, 2);
	common_out(d, QUEUE_RESET, 1, 2);
	keeper_await(&keeper->quiesces, 1);
	/* Turns of the loop go by; it has had every chance to get it wrong. */
	for (int i = 0; i < 3; i++)
		serve(1);
	cr_assert_eq(common_in(d, QUEUE_RESET, 2), 1);
	io_client_post(&keeper->device.client, KEEPER_RELEASE);
	WAIT_UNTIL(common_in(d, QUEUE_RESET, 2) == 0);
	cr_assert_eq(ring_used_idx(&rig.rings[0]), 0);
}

/* A visit is two rounds of the ring; what is left waits for the next turn, behind the other
 * queues. */
Test(virtio_rules, a_queue_has_its_turn_and_no_more, .init = set_up_running)
{
	struct virtio_queue_stats stats;

	WAIT_UNTIL(atomic_load(&keeper->activations) != 0);
	atomic_store(&keeper->peeks, 10 * 2 * SIZE);
	keeper_offer(&rig, 0, 0);
	driver_kick(d, 0);
	WAIT_UNTIL(atomic_load(&keeper->peeks) <= 0);
	keeper_await(&keeper->peek_visits, 10);
	cr_assert_eq(atomic_load(&keeper->peek_visits), 10);
	virtio_get_queue_stats(&keeper->device, 0, &stats);
	cr_assert_geq(stats.kicks, 10);
}

Test(virtio_rules, each_queue_has_the_vector_that_was_chosen, .init = set_up)
{
	static const uint16_t choices[][QUEUES] = { { 0, 1 }, { 1, 0 }, { 2, 2 }, { 0xffff, 1 } };

	for (size_t c = 0; c < ARRAY_SIZE(choices); c++) {
		uint64_t expected[QUEUES + 1] = { 0 };

		driver_reset(d);
		for (uint16_t i = 0; i < QUEUES; i++)
			ring_init(&rig.rings[i], &rig.m.memory, SIZE, rig.rings[i].desc);
		cr_assert(driver_negotiate(d, KEEPER_FULL));
		for (uint16_t i = 0; i < QUEUES; i++) {
			common_out(d, QUEUE_SELECT, i, 2);
			common_out(d, QUEUE_DESC, rig.rings[i].desc, 8);
			common_out(d, QUEUE_DRIVER, rig.rings[i].avail, 8);
			common_out(d, QUEUE_DEVICE, rig.rings[i].used, 8);
			common_out(d, QUEUE_MSIX, choices[c][i], 2);
			common_out(d, QUEUE_ENABLE, 1, 2);
		}
		driver_ok(d);
		for (uint16_t i = 0; i < QUEUES; i++) {
			serve(i);
			if (choices[c][i] != 0xffff)
				expected[choices[c][i]]++;
		}
		for (uint32_t vector = 0; vector <= QUEUES; vector++) {
			uint64_t got = 0;

			while (got < expected[vector]) {
				got += driver_interrupts(d, vector);
				pause_a_little();
			}
			cr_assert_eq(got + driver_interrupts(d, vector), expected[vector],
			             "choice %zu, vector %u", c, vector);
		}
	}
}

/* --------------------------------------------------------------------------- ISR, configuration */

/* §4.1.4.5: bit 0 a queue, bit 1 the configuration; a read of that byte clears both, no other read
 * does. */
Test(virtio_rules, the_isr_says_which, .init = set_up_running)
{
	uint32_t value = 1;

	serve(0);
	WAIT_UNTIL(driver_interrupts(d, 0) != 0);
	for (uint32_t offset = 1; offset < 16; offset++)
		cr_assert_eq(bar_in(BAR_ISR + offset, 1), 0);
	cr_assert_eq(bar_in(BAR_ISR, 1), 1);
	cr_assert_eq(bar_in(BAR_ISR, 1), 0);
	virtio_config_update(&keeper->device, 0, &value, sizeof(value));
	WAIT_UNTIL(driver_interrupts(d, CONFIG_VECTOR) != 0);
	bar_out(BAR_ISR, 0xff, 1);
	cr_assert_eq(bar_in(BAR_ISR, 1), 2);
	cr_assert_eq(bar_in(BAR_ISR, 1), 0);
}

/* §2.5.1: a change is new bytes and a new generation, in full, and an interrupt once there is a
 * driver. */
Test(virtio_rules, changes_of_configuration, .init = set_up)
{
	const uint8_t bytes[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
	uint8_t generation = (uint8_t)common_in(d, GENERATION, 1);
	static const struct {
		uint32_t offset, length;
		bool inside;
	} rows[] = { { 0, 8, true },  { 4, 4, true },  { 8, 0, true },
		     { 7, 1, true },  { 0, 9, false }, { 4, 5, false },
		     { 8, 1, false }, { 9, 0, false }, { 0xffffffff, 2, false } };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		keeper->config[0] = keeper->config[1] = keeper->config[2] = 0;
		virtio_config_update(&keeper->device, rows[i].offset, bytes, rows[i].length);
		generation = (uint8_t)(generation + rows[i].inside);
		cr_assert_eq(common_in(d, GENERATION, 1), generation, "row %zu", i);
		cr_assert_eq(keeper->config[2], 0, "nothing behind it");
		if (rows[i].inside)
			cr_assert_arr_eq((uint8_t *)keeper->config + rows[i].offset, bytes,
			                 rows[i].length);
	}
	/* Nobody is there to hear of it. */
	keeper_release(&rig);
	cr_assert_eq(bar_in(BAR_ISR, 1), 0);
	cr_assert_eq(driver_interrupts(d, CONFIG_VECTOR), 0);
	keeper_bring_up(&rig, KEEPER_FULL);
	keeper_await(&keeper->activations, 1);
	virtio_config_update(&keeper->device, 0, bytes, 8);
	WAIT_UNTIL(driver_interrupts(d, CONFIG_VECTOR) != 0);
	cr_assert_eq(bar_in(BAR_ISR, 1), 2);
	cr_assert_eq(bar_in(BAR_DEVICE, 8), 0x0807060504030201);
}

Test(virtio_rules, the_driver_writes_only_inside_the_configuration, .init = set_up)
{
	static const struct {
		uint32_t offset, width;
		bool inside;
	} rows[] = { { 0, 8, true },  { 7, 1, true },  { 4, 4, true },  { 6, 2, true },
		     { 8, 1, false }, { 7, 2, false }, { 5, 4, false }, { 1, 8, false } };
	uint32_t written = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bar_out(BAR_DEVICE + rows[i].offset, ~0ULL, rows[i].width);
		written += rows[i].inside;
		cr_assert_eq(atomic_load(&keeper->written), written, "row %zu", i);
	}
}

/* A page of configuration, so that there is something on both sides of its end. */
Test(virtio_rules, an_access_across_two_pages_is_nobodys, .init = set_up)
{
	memset(keeper->config, 0x5a, sizeof(keeper->config));
	keeper->device.config_size = sizeof(keeper->config);
	cr_assert_eq(bar_in(BAR_DEVICE + 0xffc, 4), 0x5a5a5a5a);
	cr_assert_eq(bar_in(BAR_DEVICE + 0xfff, 1), 0x5a);
	for (uint32_t width = 2; width <= 8; width *= 2)
		for (uint32_t offset = 0x1000 - width + 1; offset < 0x1000; offset++)
			cr_assert_eq(bar_in(BAR_DEVICE + offset, width), 0, "%#x, %u", offset,
			             width);
	keeper->device.config_size = 8;
}

Test(virtio_rules, kicks_by_an_exit, .init = set_up_running)
{
	uint64_t turns;

	atomic_store(&keeper->prompt, true);
	for (uint16_t queue = 0; queue < QUEUES; queue++) {
		keeper_offer(&rig, queue, 0);
		bar_out(BAR_NOTIFY + 4u * queue, queue, 2);
		driver_await_used(&rig.rings[queue], 1);
		WAIT_UNTIL(driver_interrupts(d, queue) != 0);
	}
	/* Of queues that are not there nobody hears: the loop sleeps on. */
	for (int i = 0; i < 50; i++)
		pause_a_little();
	turns = atomic_load(&rig.m.loop.stats.turns);
	for (uint32_t offset = 4 * QUEUES; offset < 0x1000; offset += 4)
		bar_out(BAR_NOTIFY + offset, 0, 2);
	for (int i = 0; i < 300; i++)
		pause_a_little();
	cr_assert_eq(atomic_load(&rig.m.loop.stats.turns), turns);
}

/* --------------------------------------------------------------------------------------- window */

static uint32_t window(void)
{
	uint32_t at = config_in(d, 0x34, 1);

	while (config_in(d, at, 1) != 0x09 || config_in(d, at + 3, 1) != 5)
		at = config_in(d, at + 1, 1);
	return at;
}

static void aim(uint32_t cap, uint32_t bar, uint32_t offset, uint32_t length)
{
	config_out(d, cap + 4, bar, 1);
	config_out(d, cap + 8, offset, 4);
	config_out(d, cap + 12, length, 4);
}

/* §4.1.4.9: length 1, 2 or 4, an offset that is a multiple of it, inside a BAR that is there. */
Test(virtio_rules, what_the_window_reaches, .init = set_up)
{
	const uint32_t cap = window(), nothing = 0xdeadbeef;
	static const struct {
		uint32_t bar, offset, length;
		bool good;
	} rows[] = {
		{ 0, BAR_DEVICE, 1, true },      { 0, BAR_DEVICE + 3, 1, true },
		{ 0, BAR_DEVICE, 2, true },      { 0, BAR_DEVICE + 2, 2, true },
		{ 0, BAR_DEVICE, 4, true },      { 0, 0x7ffc, 4, true },
		{ 0, 0x7ffe, 2, true },          { 0, 0x7fff, 1, true },
		{ 1, BAR_DEVICE, 4, false },     { 5, BAR_DEVICE, 4, false },
		{ 0xff, BAR_DEVICE, 4, false },  { 0, BAR_DEVICE + 1, 2, false },
		{ 0, BAR_DEVICE + 1, 4, false }, { 0, BAR_DEVICE + 2, 4, false },
		{ 0, BAR_DEVICE, 0, false },     { 0, BAR_DEVICE, 3, false },
		{ 0, BAR_DEVICE, 8, false },     { 0, 0x8000, 1, false },
		{ 0, 0x8000, 4, false },         { 0, 0xfffffffc, 4, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t value = 0, length = rows[i].length;

		/* What was in the data field stays when there is nothing to read. */
		aim(cap, 0xff, 0, 4);
		config_out(d, cap + 16, nothing, 4);
		aim(cap, rows[i].bar, rows[i].offset, length);
		value = config_in(d, cap + 16, 4);
		if (!rows[i].good)
			cr_assert_eq(value, nothing, "row %zu", i);
		else if (rows[i].offset >= 0x7000)
			cr_assert_eq(value & ~(0xffffffffu << (8 * length - 1) << 1), 0, "row %zu",
			             i);
		else
			cr_assert_eq(value & ~(0xffffffffu << (8 * length - 1) << 1),
			             0x11223344u >> 8 * (rows[i].offset - BAR_DEVICE) &
			                     ~(0xffffffffu << (8 * length - 1) << 1),
			             "row %zu", i);
	}
	/* And writes. */
	aim(cap, 0, BAR_DEVICE + 4, 4);
	config_out(d, cap + 16, 0x99887766, 4);
	cr_assert_eq(keeper->config[1], 0x99887766);
	aim(cap, 0, BAR_DEVICE + 5, 2);
	config_out(d, cap + 16, 0, 2);
	aim(cap, 1, BAR_DEVICE + 4, 4);
	config_out(d, cap + 16, 0, 4);
	cr_assert_eq(keeper->config[1], 0x99887766);
	cr_assert_eq(atomic_load(&keeper->written), 1);
}

/* ------------------------------------------------------------------------------------- counters */

Test(virtio_rules, a_devices_counters_are_the_sum_of_its_queues, .init = set_up_running)
{
	struct virtio_queue_stats each[QUEUES], sum = { 0 };
	struct virtio_stats all;

	/* Queue 0 interrupts; queue 1 does not want to. */
	ring_set_avail_flags(&rig.rings[1], VRING_AVAIL_F_NO_INTERRUPT);
	for (int i = 0; i < 3; i++)
		serve(0);
	for (int i = 0; i < 5; i++)
		serve(1);
	ring_desc(&rig.rings[0], 0, KEEPER_DATA, 24, 0, 0);
	ring_offer(&rig.rings[0], 0);
	driver_kick(d, 0);
	driver_await_used(&rig.rings[0], 4);
	do
		virtio_get_queue_stats(&keeper->device, 0, &each[0]);
	while (each[0].interrupts < 4);
	virtio_get_queue_stats(&keeper->device, 1, &each[1]);
	cr_assert_eq(each[0].batches, 4);
	cr_assert_eq(each[0].interrupts_suppressed, 0);
	cr_assert_eq(each[1].batches, 5);
	cr_assert_eq(each[1].interrupts, 0);
	cr_assert_eq(each[1].interrupts_suppressed, 5);
	for (size_t i = 0; i < QUEUES; i++) {
		sum.requests += each[i].requests;
		sum.bytes_from_guest += each[i].bytes_from_guest;
		sum.bytes_to_guest += each[i].bytes_to_guest;
		sum.kicks += each[i].kicks;
		sum.batches += each[i].batches;
		sum.interrupts += each[i].interrupts;
		sum.interrupts_suppressed += each[i].interrupts_suppressed;
	}
	virtio_get_stats(&keeper->device, &all);
	cr_assert_eq(sum.requests, 9);
	cr_assert_eq(sum.bytes_from_guest, 24);
	cr_assert_eq(sum.bytes_to_guest, 9 * 7);
	cr_assert_eq(memcmp(&all.all, &sum, sizeof(sum)), 0);
}

/* The doorbells read as nothing, whatever the width. */
Test(virtio_rules, doorbells_read_as_zero, .init = set_up)
{
	keeper_bring_up(&rig, KEEPER_FULL);
	keeper_await(&keeper->activations, 1);
	for (uint32_t width = 1; width <= 4; width *= 2)
		for (uint32_t offset = 0; offset < 16; offset += width)
			cr_assert_eq(bar_in(BAR_NOTIFY + offset, width), 0, "%u at %u", width,
			             offset);
}
