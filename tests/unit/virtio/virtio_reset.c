/* SPDX-License-Identifier: MIT */
/* What a reset of the device forgets (VIRTIO 1.2 §2.4, §4.1.4.3), and what it waits for. Offsets
 * are written out. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdatomic.h>

#include "rig/keeper.h"
#include "rig/virtio_offsets.h"
#include "rig/wait.h"

#define SIZE KEEPER_SIZE
#define QUEUES KEEPER_QUEUES
#define CONFIG_VECTOR KEEPER_QUEUES

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

TestSuite(virtio_reset, .timeout = 30, .fini = tear_down);

static uint64_t bar_in(uint32_t offset, uint32_t width)
{
	return mmio_in(&rig.m, d->bar + offset, width);
}

static void mask_vector(uint32_t vector, bool on)
{
	mmio_out(&rig.m, d->bar + BAR_TABLE + 16 * vector + 12, on, 4);
}

/* Everything that a driver can write gets a value that no reset leaves. */
static void scribble(void)
{
	common_out(d, DEVICE_FEATURE_SELECT, 1, 4);
	common_out(d, MSIX_CONFIG, 1, 2);
	for (uint16_t queue = 0; queue < QUEUES; queue++) {
		common_out(d, QUEUE_SELECT, queue, 2);
		common_out(d, QUEUE_SIZE, 4, 2);
		common_out(d, QUEUE_MSIX, 1, 2);
		common_out(d, QUEUE_DESC, 0x10000, 8);
		common_out(d, QUEUE_DRIVER, 0x11000, 8);
		common_out(d, QUEUE_DEVICE, 0x12000, 8);
		common_out(d, QUEUE_ENABLE, 1, 2);
	}
}

static void expect_forgotten(void)
{
	static const struct {
		uint32_t offset, width;
		uint64_t value;
	} rows[] = {
		{ DEVICE_FEATURE_SELECT, 4, 0 }, { DRIVER_FEATURE_SELECT, 4, 0 }, { DRIVER_FEATURE, 4, 0 },
		{ MSIX_CONFIG, 2, 0xffff },      { STATUS, 1, 0 },                { QUEUE_SELECT, 2, 0 },
	}, of_queue[] = {
		{ QUEUE_SIZE, 2, SIZE }, { QUEUE_MSIX, 2, 0xffff }, { QUEUE_ENABLE, 2, 0 },
		{ QUEUE_DESC, 8, 0 },    { QUEUE_DRIVER, 8, 0 },    { QUEUE_DEVICE, 8, 0 }, { QUEUE_RESET, 2, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_assert_eq(common_in(d, rows[i].offset, rows[i].width), rows[i].value, "%#x",
		             rows[i].offset);
	common_out(d, DRIVER_FEATURE_SELECT, 1, 4);
	cr_assert_eq(common_in(d, DRIVER_FEATURE, 4), 0);
	for (uint16_t queue = 0; queue < QUEUES; queue++) {
		common_out(d, QUEUE_SELECT, queue, 2);
		for (size_t i = 0; i < ARRAY_SIZE(of_queue); i++)
			cr_assert_eq(common_in(d, of_queue[i].offset, of_queue[i].width),
			             of_queue[i].value, "queue %u, %#x", queue, of_queue[i].offset);
	}
	cr_assert_eq(bar_in(BAR_ISR, 1), 0);
	cr_assert_eq(bar_in(BAR_PENDING, 8), 0);
	cr_assert_eq(keeper->device.negotiated, 0);
}

/* §2.4: a reset brings everything back, whether the device was running or not. */
Test(virtio_reset, a_reset_before_driver_ok_forgets_all, .init = set_up)
{
	cr_assert(driver_negotiate(d, KEEPER_FULL));
	scribble();
	common_out(d, DRIVER_FEATURE_SELECT, 1, 4);
	common_out(d, STATUS, 0, 1);
	expect_forgotten();
}

Test(virtio_reset, a_reset_of_a_running_device_forgets_all, .init = set_up)
{
	struct virtio_stats stats;

	for (uint64_t round = 1; round <= 3; round++) {
		cr_assert(driver_negotiate(d, KEEPER_FULL));
		scribble();
		driver_ok(d);
		keeper_await(&keeper->activations, (uint32_t)round);
		cr_assert_eq(keeper->device.negotiated, KEEPER_FULL);
		common_out(d, DRIVER_FEATURE_SELECT, 1, 4);
		driver_reset(d);
		expect_forgotten();
		virtio_get_stats(&keeper->device, &stats);
		cr_assert_eq(stats.resets, round);
		cr_assert_eq(stats.failures, 0);
	}
}

/* Each vector is left pending by something else; none of it reaches the next driver. */
Test(virtio_reset, no_interrupt_of_before_a_reset_comes_after_it, .init = set_up_running)
{
	uint32_t value = 7;

	for (uint32_t vector = 0; vector <= CONFIG_VECTOR; vector++)
		mask_vector(vector, true);
	for (uint16_t queue = 0; queue < QUEUES; queue++)
		keeper_serve(&rig, queue);
	virtio_config_update(&keeper->device, 0, &value, sizeof(value));
	WAIT_UNTIL(bar_in(BAR_PENDING, 8) == 7);
	driver_reset(d);
	cr_assert_eq(bar_in(BAR_PENDING, 8), 0);
	cr_assert_eq(bar_in(BAR_ISR, 1), 0);
	for (uint32_t vector = 0; vector <= CONFIG_VECTOR; vector++)
		mask_vector(vector, false);
	keeper_bring_up(&rig, KEEPER_FULL);
	/* A whole round trip: whatever was to be replayed has been. */
	keeper_serve(&rig, 1);
	WAIT_UNTIL(driver_interrupts(d, 1) != 0);
	cr_assert_eq(driver_interrupts(d, 0), 0);
	cr_assert_eq(driver_interrupts(d, CONFIG_VECTOR), 0);
}

Test(virtio_reset, a_failure_is_counted_and_ends_with_the_reset, .init = set_up)
{
	struct virtio_stats stats;

	for (uint32_t round = 1; round <= 3; round++) {
		keeper_bring_up(&rig, KEEPER_FULL);
		ring_offer(&rig.rings[1], 200);
		driver_kick(d, 1);
		machine_await_events(&rig.m, round);
		cr_assert(rig.m.events[round - 1].needs_reset);
		cr_assert_eq(rig.m.events[round - 1].queue, 1);
		cr_assert_eq(rig.m.events[round - 1].error, EBADMSG);
		WAIT_UNTIL(driver_status(d) & 0x40);
		virtio_get_stats(&keeper->device, &stats);
		cr_assert_eq(stats.failures, round);
	}
	keeper_bring_up(&rig, KEEPER_FULL);
	keeper_serve(&rig, 0);
	cr_assert_eq(driver_status(d), 0x0f);
	virtio_get_stats(&keeper->device, &stats);
	cr_assert_eq(stats.resets, 3);
}

/* A reset of the device while one of its queues is being reset ends both. */
Test(virtio_reset, a_reset_takes_the_reset_of_a_queue_along, .init = set_up_running)
{
	keeper_offer(&rig, 0, 0);
	driver_kick(d, 0);
	keeper_await(&keeper->popped, 1);
	common_out(d, QUEUE_SELECT, 0, 2);
	common_out(d, QUEUE_RESET, 1, 2);
	keeper_await(&keeper->quiesces, 1);
	common_out(d, STATUS, 0, 1);
	keeper_await(&keeper->quiesces, 1 + QUEUES);
	io_client_post(&keeper->device.client, KEEPER_RELEASE);
	WAIT_UNTIL(driver_status(d) == 0);
	expect_forgotten();
	keeper_bring_up(&rig, KEEPER_FULL);
	keeper_serve(&rig, 0);
	common_out(d, QUEUE_SELECT, 0, 2);
	cr_assert_eq(common_in(d, QUEUE_ENABLE, 2), 1);
	cr_assert_eq(common_in(d, QUEUE_MSIX, 2), 0);
}

/* §2.4.2: until the reset is complete it is as if the driver had written nothing. */
Test(virtio_reset, nothing_can_be_written_during_a_reset, .init = set_up_running)
{
	static const struct {
		uint32_t offset, width;
		uint64_t value;
	} rows[] = {
		{ MSIX_CONFIG, 2, 0 },        { STATUS, 1, 0xff },
		{ QUEUE_SIZE, 2, 4 },         { QUEUE_MSIX, 2, 2 },
		{ QUEUE_ENABLE, 2, 1 },       { QUEUE_DESC, 8, 0x30000 },
		{ QUEUE_DRIVER, 8, 0x30000 }, { QUEUE_DEVICE, 8, 0x30000 },
		{ QUEUE_RESET, 2, 1 },
	};
	uint64_t before[QUEUES][ARRAY_SIZE(rows)];

	keeper_offer(&rig, 0, 0);
	driver_kick(d, 0);
	keeper_await(&keeper->popped, 1);
	common_out(d, STATUS, 0, 1);
	keeper_await(&keeper->quiesces, QUEUES);
	for (uint16_t queue = 0; queue < QUEUES; queue++) {
		common_out(d, QUEUE_SELECT, queue, 2);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			before[queue][i] = common_in(d, rows[i].offset, rows[i].width);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			common_out(d, rows[i].offset, rows[i].value, rows[i].width);
		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			cr_assert_eq(common_in(d, rows[i].offset, rows[i].width), before[queue][i],
			             "queue %u, %#x", queue, rows[i].offset);
	}
	io_client_post(&keeper->device.client, KEEPER_RELEASE);
	WAIT_UNTIL(driver_status(d) == 0);
	expect_forgotten();
}

/* A configuration that changes during a reset is there after it, and interrupts nobody. */
Test(virtio_reset, no_change_of_configuration_is_told_during_a_reset, .init = set_up_running)
{
	static const uint8_t bytes[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

	keeper_offer(&rig, 0, 0);
	driver_kick(d, 0);
	keeper_await(&keeper->popped, 1);
	common_out(d, STATUS, 0, 1);
	keeper_await(&keeper->quiesces, QUEUES);
	virtio_config_update(&keeper->device, 0, bytes, sizeof(bytes));
	/* What the device is told comes after the change. */
	keeper_release(&rig);
	WAIT_UNTIL(driver_status(d) == 0);
	cr_assert_eq(driver_interrupts(d, CONFIG_VECTOR), 0);
	cr_assert_eq(bar_in(BAR_ISR, 1), 0);
	cr_assert_eq(bar_in(BAR_DEVICE, 8), 0x0807060504030201);
}
