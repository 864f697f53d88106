/* SPDX-License-Identifier: MIT */
/* The transport and the device state machine, with a device that keeps its requests until told. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <string.h>

#include "io/op.h"
#include "rig/keeper.h"

#define SIZE KEEPER_SIZE
#define QUEUES KEEPER_QUEUES
#define DATA KEEPER_DATA
#define FULL KEEPER_FULL
#define MAIL_RELEASE KEEPER_RELEASE

static struct keeper_rig rig;
static struct test_machine *const m = &rig.m;
static struct keeper *const keeper = &rig.keeper;
static struct driver *const driver = &rig.driver;
static struct ring *const rings = rig.rings;

static void set_up(void)
{
	keeper_start(&rig);
}

static void bring_up(void)
{
	keeper_bring_up(&rig, FULL);
}

static void set_up_running(void)
{
	set_up();
	bring_up();
}

static void tear_down(void)
{
	keeper_stop(&rig);
}

static void offer(uint16_t queue, uint16_t head)
{
	keeper_offer(&rig, queue, head);
}

static void await(_Atomic uint32_t *counter, uint32_t value)
{
	keeper_await(counter, value);
}

TestSuite(virtio, .timeout = 60);

Test(virtio, what_pci_shows, .init = set_up, .fini = tear_down)
{
	uint32_t seen = 0;

	cr_assert_eq(config_in(driver, PCI_VENDOR_ID, 4), (0x1040 + 42) << 16 | 0x1af4);
	cr_assert_eq(config_in(driver, PCI_REVISION_ID, 1), 1);
	for (uint32_t at = config_in(driver, PCI_CAPABILITY_LIST, 1); at != 0;
	     at = config_in(driver, at + 1, 1)) {
		uint32_t kind = config_in(driver, at + 3, 1);

		if (config_in(driver, at, 1) != PCI_CAP_ID_VNDR)
			continue;
		cr_assert_lt(kind, 6);
		cr_assert_not(seen & 1u << kind);
		seen |= 1u << kind;
		if (kind == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			cr_assert_eq(config_in(driver, at + 2, 1), 20);
			cr_assert_eq(config_in(driver, at + 8, 4), VIRTIO_BAR_NOTIFY);
			cr_assert_eq(config_in(driver, at + 12, 4), 4 * QUEUES);
			cr_assert_eq(config_in(driver, at + 16, 4), 4);
		}
	}
	cr_assert_eq(seen, 0x3e, "all five structures");
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_NUMQ, 2), QUEUES);
	cr_assert_eq(driver_offered(driver), FULL | VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX));
}

Test(virtio, features_are_checked, .init = set_up, .fini = tear_down)
{
	cr_assert_not(driver_negotiate(driver, FULL & ~VIRTIO_FEATURE(VIRTIO_F_VERSION_1)));
	driver_reset(driver);
	cr_assert_not(driver_negotiate(driver, FULL | VIRTIO_FEATURE(50)));
	driver_ok(driver);
	cr_assert_not(driver_status(driver) & VIRTIO_CONFIG_S_DRIVER_OK, "not without FEATURES_OK");
	driver_reset(driver);
	cr_assert(driver_negotiate(driver, FULL));
	common_out(driver, VIRTIO_PCI_COMMON_GFSELECT, 0, 4);
	common_out(driver, VIRTIO_PCI_COMMON_GF, 0, 4);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_GF, 4), (uint32_t)FULL, "frozen");
}

Test(virtio, requests_and_interrupts, .init = set_up_running, .fini = tear_down)
{
	struct virtio_stats stats;

	atomic_store(&keeper->prompt, true);
	offer(0, 3);
	driver_kick(driver, 0);
	driver_await_used(&rings[0], 1);
	cr_assert_eq(ring_used(&rings[0], 0).id, 3);
	cr_assert_eq(ring_used(&rings[0], 0).length, 7);
	WAIT_UNTIL(driver_interrupts(driver, 0) != 0);
	cr_assert_eq(driver_interrupts(driver, 1), 0);
	/* By an exit instead of a doorbell. */
	offer(1, 0);
	mmio_out(m, driver->bar + VIRTIO_BAR_NOTIFY + 4, 1, 2);
	driver_await_used(&rings[1], 1);
	virtio_get_stats(&keeper->device, &stats);
	cr_assert_eq(stats.all.requests, 2);
	cr_assert_eq(stats.failures, 0);
}

Test(virtio, each_queue_counts_what_it_does, .init = set_up_running, .fini = tear_down)
{
	struct virtio_queue_stats one, other;
	struct virtio_latency_stats latency;
	struct virtio_stats all;
	uint64_t timed = 0;

	/* Two requests kept for at least 3 ms and completed in one batch, one that is not timed. */
	keeper->device.untimed_queues = 1u << 1;
	offer(0, 3);
	offer(0, 4);
	driver_kick(driver, 0);
	await(&keeper->popped, 2);
	ring_desc(&rings[1], 0, DATA, 24, 0, 0);
	ring_offer(&rings[1], 0);
	/* As a driver that polls. */
	ring_set_avail_flags(&rings[1], VRING_AVAIL_F_NO_INTERRUPT);
	driver_kick(driver, 1);
	await(&keeper->popped, 3);
	usleep(3000);
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	driver_await_used(&rings[0], 2);
	driver_await_used(&rings[1], 1);
	WAIT_UNTIL(driver_interrupts(driver, 0) != 0);
	WAIT_UNTIL((virtio_get_queue_stats(&keeper->device, 0, &one), one.interrupts > 0));
	virtio_get_queue_stats(&keeper->device, 1, &other);
	cr_assert_eq(one.requests, 2);
	cr_assert_eq(one.bytes_from_guest, 0);
	cr_assert_eq(one.bytes_to_guest, 14);
	cr_assert_eq(one.batches, 1);
	cr_assert_eq(one.interrupts, 1);
	cr_assert_eq(one.interrupts_suppressed, 0);
	cr_assert_geq(one.kicks, 1);
	cr_assert_eq(other.requests, 1);
	cr_assert_eq(other.bytes_from_guest, 24);
	cr_assert_eq(other.batches, 1);
	cr_assert_eq(other.interrupts, 0);
	cr_assert_eq(other.interrupts_suppressed, 1);
	virtio_get_stats(&keeper->device, &all);
	cr_assert_eq(all.all.requests, 3);
	cr_assert_eq(all.all.bytes_from_guest, 24);
	virtio_get_latency(&keeper->device, &latency);
	for (size_t i = 0; i < ARRAY_SIZE(latency.counts); i++)
		timed += latency.counts[i];
	cr_assert_eq(timed, 2);
	cr_assert_geq(latency.sum_ns, 2 * 3000000);
	for (unsigned i = 0; 1ULL << (LATENCY_FIRST_BIT + i) < 3000000; i++)
		cr_assert_eq(latency.counts[i], 0, "none took less than 2^%u ns",
		             LATENCY_FIRST_BIT + i);
}

Test(virtio, a_request_given_back_is_not_counted, .init = set_up_running, .fini = tear_down)
{
	struct virtio_stats stats;

	atomic_store(&keeper->returns, true);
	ring_desc(&rings[0], 0, DATA, 24, 0, 0);
	ring_offer(&rings[0], 0);
	driver_kick(driver, 0);
	await(&keeper->popped, 1);
	do
		virtio_get_stats(&keeper->device, &stats);
	while (stats.all.requests != 0 || stats.all.bytes_from_guest != 0);
	cr_assert_geq(stats.all.kicks, 1);
}

Test(virtio, latencies_fall_between_their_bounds)
{
	static const struct {
		uint64_t ns;
		unsigned bucket;
	} rows[] = {
		{ 0, 0 },
		{ 1, 0 },
		{ 1024, 0 },
		{ 1025, 1 },
		{ 2048, 1 },
		{ 2049, 2 },
		{ 1ULL << 33, LATENCY_BOUNDS - 1 },
		{ (1ULL << 33) + 1, LATENCY_BOUNDS },
		{ UINT64_MAX, LATENCY_BOUNDS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct virtio_latency latency = { 0 };

		virtio_latency_add(&latency, rows[i].ns);
		cr_assert_eq(latency.counts[rows[i].bucket], 1, "%zu ns", (size_t)rows[i].ns);
		cr_assert_eq(latency.sum_ns, rows[i].ns);
	}
}

Test(virtio, a_kick_that_overtakes_driver_ok_is_not_lost, .init = set_up, .fini = tear_down)
{
	atomic_store(&keeper->prompt, true);
	for (uint32_t i = 0; i < 200; i++) {
		driver_reset(driver);
		ring_init(&rings[0], &m->memory, SIZE, rings[0].desc);
		cr_assert(driver_negotiate(driver, FULL));
		driver_queue(driver, 0, &rings[0]);
		offer(0, 0);
		driver_kick(driver, 0);
		driver_ok(driver);
		driver_kick(driver, 0);
		driver_await_used(&rings[0], 1);
	}
	cr_assert_eq(atomic_load(&keeper->activations), 200);
}

Test(virtio, a_reset_waits_for_what_is_in_flight, .init = set_up_running, .fini = tear_down)
{
	offer(0, 1);
	offer(0, 2);
	driver_kick(driver, 0);
	await(&keeper->popped, 2);
	common_out(driver, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	await(&keeper->quiesces, QUEUES);
	for (int i = 0; i < 20; i++) {
		cr_assert_neq(driver_status(driver), 0, "requests are still out");
		pause_a_little();
	}
	common_out(driver, VIRTIO_PCI_COMMON_Q_SIZE, 4, 2);
	common_out(driver, VIRTIO_PCI_COMMON_STATUS, 15 | VIRTIO_CONFIG_S_FAILED, 1);
	cr_assert_not(driver_status(driver) & VIRTIO_CONFIG_S_FAILED);
	cr_assert_eq(atomic_load(&keeper->resets), 0);
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	WAIT_UNTIL(driver_status(driver) == 0);
	cr_assert_eq(atomic_load(&keeper->resets), 1);
	cr_assert_eq(ring_used_idx(&rings[0]), 0, "nothing completed into the guest");
	cr_assert_eq(driver_interrupts(driver, 0), 0);
	common_out(driver, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_DESCLO, 4), 0);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	atomic_store(&keeper->prompt, true);
	bring_up();
	offer(0, 5);
	driver_kick(driver, 0);
	driver_await_used(&rings[0], 1);
}

Test(virtio, one_queue_is_reset_and_comes_back, .init = set_up_running, .fini = tear_down)
{
	offer(0, 1);
	driver_kick(driver, 0);
	await(&keeper->popped, 1);
	common_out(driver, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	common_out(driver, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	await(&keeper->quiesces, 1);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_RESET, 2), 1);
	atomic_store(&keeper->prompt, true);
	offer(1, 0);
	driver_kick(driver, 1);
	driver_await_used(&rings[1], 1);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_RESET, 2), 1);
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	WAIT_UNTIL(common_in(driver, VIRTIO_PCI_COMMON_Q_RESET, 2) == 0);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	cr_assert_eq(ring_used_idx(&rings[0]), 0);
	ring_init(&rings[0], &m->memory, 4, rings[0].desc);
	driver_queue(driver, 0, &rings[0]);
	offer(0, 2);
	driver_kick(driver, 0);
	driver_await_used(&rings[0], 1);
	cr_assert_eq(atomic_load(&keeper->resets), 0);
	cr_assert_eq(atomic_load(&keeper->activations), 1);
}

Test(virtio, queue_registers_are_frozen_while_enabled, .init = set_up_running, .fini = tear_down)
{
	const uint32_t offsets[] = { VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO,
		                     VIRTIO_PCI_COMMON_Q_USEDHI };

	common_out(driver, VIRTIO_PCI_COMMON_Q_SELECT, 0, 2);
	common_out(driver, VIRTIO_PCI_COMMON_Q_SIZE, 4, 2);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2), SIZE);
	common_out(driver, VIRTIO_PCI_COMMON_Q_MSIX, 1, 2);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		uint64_t before = common_in(driver, offsets[i], 4);

		common_out(driver, offsets[i], 0x777000, 4);
		cr_assert_eq(common_in(driver, offsets[i], 4), before);
	}
	common_out(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 0, 2);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	common_out(driver, VIRTIO_PCI_COMMON_Q_SELECT, 99, 2);
	cr_assert_eq(common_in(driver, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0, "no such queue");
	common_out(driver, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

Test(virtio, a_lie_ends_in_needs_reset_and_a_reset_mends_it, .init = set_up_running,
     .fini = tear_down)
{
	ring_offer(&rings[0], 200);
	driver_kick(driver, 0);
	machine_await_events(m, 1);
	WAIT_UNTIL(driver_status(driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	cr_assert(m->events[0].needs_reset);
	cr_assert_eq(m->events[0].queue, 0);
	cr_assert_eq(m->events[0].error, EBADMSG);
	WAIT_UNTIL(driver_interrupts(driver, QUEUES) != 0);
	offer(1, 0);
	driver_kick(driver, 1);
	driver_kick(driver, 0);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(atomic_load(&keeper->popped), 0, "a failed device does nothing");
	cr_assert_eq(atomic_load(&m->event_count), 1, "and says so once");
	atomic_store(&keeper->prompt, true);
	bring_up();
	cr_assert_not(driver_status(driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	offer(0, 0);
	driver_kick(driver, 0);
	driver_await_used(&rings[0], 1);
}

Test(virtio, rings_laid_over_one_another, .init = set_up, .fini = tear_down)
{
	cr_assert(driver_negotiate(driver, FULL));
	rings[0].used = rings[0].desc;
	driver_queue(driver, 0, &rings[0]);
	driver_ok(driver);
	machine_await_events(m, 1);
	cr_assert(m->events[0].needs_reset);
	driver_reset(driver);
	rings[0].used = rings[0].avail + 4096;
	atomic_store(&keeper->prompt, true);
	bring_up();
	offer(0, 0);
	driver_kick(driver, 0);
	driver_await_used(&rings[0], 1);
}

Test(virtio, without_bus_mastering_nothing_moves, .init = set_up_running, .fini = tear_down)
{
	offer(0, 1);
	driver_kick(driver, 0);
	await(&keeper->popped, 1);
	config_out(driver, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	offer(0, 2);
	driver_kick(driver, 0);
	for (int i = 0; i < 50; i++)
		pause_a_little();
	cr_assert_eq(ring_used_idx(&rings[0]), 0);
	cr_assert_eq(atomic_load(&keeper->popped), 1);
	atomic_store(&keeper->prompt, true);
	config_out(driver, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	driver_await_used(&rings[0], 2);
	WAIT_UNTIL(driver_interrupts(driver, 0) != 0);
}

Test(virtio, a_masked_vector_is_replayed, .init = set_up_running, .fini = tear_down)
{
	uint64_t control = driver->bar + VIRTIO_BAR_MSIX_TABLE + 12;

	atomic_store(&keeper->prompt, true);
	mmio_out(m, control, 1, 4);
	offer(0, 1);
	driver_kick(driver, 0);
	WAIT_UNTIL(mmio_in(m, driver->bar + VIRTIO_BAR_MSIX_PBA, 8) & 1);
	cr_assert_eq(driver_interrupts(driver, 0), 0);
	mmio_out(m, control, 0, 4);
	WAIT_UNTIL(driver_interrupts(driver, 0) != 0);
	cr_assert_eq(mmio_in(m, driver->bar + VIRTIO_BAR_MSIX_PBA, 8), 0);
}

Test(virtio, pause_waits_parks_and_resumes, .init = set_up_running, .fini = tear_down)
{
	offer(0, 1);
	driver_kick(driver, 0);
	await(&keeper->popped, 1);
	io_loop_pause(&m->loop);
	cr_assert_eq(io_loop_await(&m->loop, IO_QUIESCING), IO_QUIESCING);
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	cr_assert_eq(io_loop_await(&m->loop, IO_PARKED), IO_PARKED);
	cr_assert_eq(ring_used_idx(&rings[0]), 1, "what was in flight is in the guest");
	offer(0, 2);
	driver_kick(driver, 0);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(atomic_load(&keeper->popped), 1);
	atomic_store(&keeper->prompt, true);
	io_loop_resume(&m->loop);
	driver_await_used(&rings[0], 2);
	/* A pause can be taken back. */
	atomic_store(&keeper->prompt, false);
	offer(0, 3);
	driver_kick(driver, 0);
	await(&keeper->popped, 3);
	io_loop_pause(&m->loop);
	io_loop_resume(&m->loop);
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	driver_await_used(&rings[0], 3);
	cr_assert_eq(io_loop_await(&m->loop, IO_RUNNING), IO_RUNNING);
}

/* A guest that powers off right after its last request: the kick may not have been seen yet. */
Test(virtio, what_is_offered_before_a_pause_is_served_before_it, .init = set_up_running,
     .fini = tear_down)
{
	atomic_store(&keeper->prompt, true);
	WAIT_UNTIL(atomic_load(&keeper->activations) != 0);
	offer(0, 2);
	io_loop_pause(&m->loop);
	cr_assert_eq(io_loop_await(&m->loop, IO_PARKED), IO_PARKED);
	cr_assert_eq(ring_used_idx(&rings[0]), 1);
}

Test(virtio, device_configuration, .init = set_up_running, .fini = tear_down)
{
	uint64_t base = driver->bar + VIRTIO_BAR_DEVICE;
	uint8_t generation = (uint8_t)common_in(driver, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	uint32_t value = 0x55667788;

	cr_assert_eq(mmio_in(m, base, 4), 0x11223344);
	cr_assert_eq(mmio_in(m, base + 3, 8), 0x11, "past the end reads as zero");
	cr_assert_eq(mmio_in(m, base + 8, 4), 0);
	mmio_out(m, base + 4, 0xabcd, 2);
	cr_assert_eq(keeper->config[1], 0xabcd);
	mmio_out(m, base + 6, ~0ULL, 4);
	mmio_out(m, base + 4000, ~0ULL, 8);
	cr_assert_eq(atomic_load(&keeper->written), 1, "only what lies inside");
	virtio_config_update(&keeper->device, 0, &value, sizeof(value));
	cr_assert_eq(mmio_in(m, base, 4), value);
	cr_assert_neq((uint8_t)common_in(driver, VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	WAIT_UNTIL(driver_interrupts(driver, QUEUES) != 0);
	cr_assert_eq(mmio_in(m, driver->bar + VIRTIO_BAR_ISR, 1) & 2, 2);
	cr_assert_eq(mmio_in(m, driver->bar + VIRTIO_BAR_ISR, 1), 0, "a read clears");
}

Test(virtio, the_window_in_configuration_space, .init = set_up, .fini = tear_down)
{
	uint32_t cap = config_in(driver, PCI_CAPABILITY_LIST, 1);

	while (config_in(driver, cap, 1) != PCI_CAP_ID_VNDR ||
	       config_in(driver, cap + 3, 1) != VIRTIO_PCI_CAP_PCI_CFG)
		cap = config_in(driver, cap + 1, 1);
	config_out(driver, cap + 8, VIRTIO_PCI_COMMON_NUMQ, 4);
	config_out(driver, cap + 12, 2, 4);
	cr_assert_eq(config_in(driver, cap + 16, 2), QUEUES);
	config_out(driver, cap + 8, VIRTIO_PCI_COMMON_STATUS, 4);
	config_out(driver, cap + 12, 1, 4);
	config_out(driver, cap + 16, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	cr_assert_eq(driver_status(driver), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	config_out(driver, cap + 8, ~0u, 4);
	config_out(driver, cap + 12, 4, 4);
	(void)config_in(driver, cap + 16, 4);
	config_out(driver, cap + 8, VIRTIO_BAR_SIZE - 4, 4);
	(void)config_in(driver, cap + 16, 4);
	config_out(driver, cap + 12, ~0u, 4);
	(void)config_in(driver, cap + 16, 4);
}

Test(virtio, any_access_to_the_bar_is_safe, .init = set_up_running, .fini = tear_down)
{
	uint64_t seed = 12345;

	for (uint32_t i = 0; i < 200000; i++) {
		uint32_t width = 1u << (seed >> 60 & 3);
		uint64_t offset = (seed >> 20) % (VIRTIO_BAR_SIZE + 16);

		seed = seed * 6364136223846793005 + 1442695040888963407;
		if (i % 3 == 0)
			(void)mmio_in(m, driver->bar + offset, width);
		else
			mmio_out(m, driver->bar + offset, seed, width);
	}
	for (uint32_t offset = 0; offset < 128; offset++)
		for (uint32_t width = 1; width <= 8; width *= 2)
			(void)common_in(driver, offset, width);
	/* Whatever that was, the device is there afterwards. */
	io_client_post(&keeper->device.client, MAIL_RELEASE);
	atomic_store(&keeper->prompt, true);
	bring_up();
	driver_probe(driver, m, 1);
	offer(0, 0);
	driver_kick(driver, 0);
	driver_await_used(&rings[0], 1);
}

Test(virtio, before_the_loop_exists_all_is_done_at_once)
{
	keeper_create(&rig);
	driver_probe(driver, m, 1);
	atomic_store(&keeper->prompt, true);
	bring_up();
	offer(0, 4);
	mmio_out(m, driver->bar + VIRTIO_BAR_NOTIFY, 0, 2);
	cr_assert_eq(ring_used_idx(&rings[0]), 1);
	cr_assert_eq(driver_interrupts(driver, 0), 1);
	common_out(driver, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	cr_assert_eq(driver_status(driver), 0);
	tear_down();
}
