/* SPDX-License-Identifier: MIT */
/* virtio-rng through a real io_uring: bytes come, a limit holds, a liar is told to reset. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

#include "rig/virtio_driver.h"
#include "virtio/rng.h"

#define DATA 0x60000

static struct test_machine m;
static struct rng rng;
static struct driver driver;
static struct ring ring;
static int source;

static void bring_up(void)
{
	driver_reset(&driver);
	ring_init(&ring, &m.memory, RNG_QUEUE_SIZE, 0x10000);
	cr_assert(driver_negotiate(&driver, driver_offered(&driver)));
	driver_queue(&driver, 0, &ring);
	driver_ok(&driver);
}

static void start(const char *path, struct rate_config limit)
{
	source = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(source, 0);
	machine_init(&m);
	memset(&rng, 0, sizeof(rng));
	cr_assert_eq(rng_create(&rng, &(struct rng_spec){ .source_fd = source, .limit = limit },
	                        &m.host),
	             0);
	machine_start(&m);
	driver_probe(&driver, &m, 1);
	bring_up();
}

static void tear_down(void)
{
	machine_stop(&m, 0);
	rng_destroy(&rng);
	machine_done(&m);
	close(source);
}

static void offer(uint16_t index, uint32_t length, uint16_t flags)
{
	ring_desc(&ring, index, DATA + index * 0x2000u, length, flags, 0);
	ring_offer(&ring, index);
}

static uint8_t *data(uint16_t index)
{
	return guest_memory_at(&m.memory, GPA(DATA + index * 0x2000u), 0x2000);
}

TestSuite(rng, .timeout = 60);

Test(rng, bytes_come_and_no_more_than_fit, .fini = tear_down)
{
	static const uint8_t zeroes[32];

	start("/dev/urandom", (struct rate_config){ 0 });
	memset(data(0) + 64, 0x11, 64);
	offer(0, 64, VRING_DESC_F_WRITE);
	offer(1, 64, VRING_DESC_F_WRITE);
	offer(2, RNG_REQUEST_MAX + 100, VRING_DESC_F_WRITE);
	driver_kick(&driver, 0);
	driver_await_used(&ring, 3);
	for (uint16_t i = 0; i < 3; i++) {
		struct virtq_used used = ring_used(&ring, i);

		cr_assert_eq(used.length, used.id == 2 ? RNG_REQUEST_MAX : 64);
		cr_assert_neq(memcmp(data((uint16_t)used.id), zeroes, 32), 0);
	}
	cr_assert_neq(memcmp(data(0), data(1), 64), 0);
	cr_assert_eq(data(0)[64], 0x11);
	cr_assert_eq(rng_bytes(&rng), 128 + RNG_REQUEST_MAX);
}

Test(rng, a_limit_holds, .fini = tear_down)
{
	start("/dev/urandom", (struct rate_config){ .bytes_per_s = 1, .bytes_burst = 128 });
	for (uint16_t i = 0; i < 4; i++)
		offer(i, 64, VRING_DESC_F_WRITE);
	driver_kick(&driver, 0);
	driver_await_used(&ring, 2);
	for (int i = 0; i < 50; i++)
		pause_a_little();
	cr_assert_eq(ring_used_idx(&ring), 2);
	/* What is held back does not hold up a reset. */
	bring_up();
}

Test(rng, lies_and_a_broken_source, .fini = tear_down)
{
	start("/tmp", (struct rate_config){ 0 });
	offer(0, 64, VRING_DESC_F_WRITE);
	driver_kick(&driver, 0);
	driver_await_used(&ring, 1);
	cr_assert_eq(ring_used(&ring, 0).length, 0);
	machine_await_events(&m, 1);
	cr_assert(!m.events[0].needs_reset);
	offer(1, 64, 0);
	driver_kick(&driver, 0);
	machine_await_events(&m, 2);
	cr_assert(m.events[1].needs_reset);
	cr_assert(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	bring_up();
	cr_assert_eq(driver_status(&driver) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

/* One by one, each after its timer. */
Test(rng, a_limit_lets_go, .fini = tear_down, .timeout = 30)
{
	start("/dev/urandom", (struct rate_config){ .ops_per_s = 1000, .ops_burst = 1 });
	for (uint16_t i = 0; i < 6; i++)
		offer(i, 64, VRING_DESC_F_WRITE);
	driver_kick(&driver, 0);
	driver_await_used(&ring, 6);
	cr_assert_eq(rng_bytes(&rng), 6 * 64);
}

Test(rng, a_request_costs_its_bytes_and_one_operation, .fini = tear_down, .timeout = 30)
{
	/* At a token a second it would take a minute to make up for these. */
	start("/dev/urandom",
	      (struct rate_config){
		      .bytes_per_s = 1, .bytes_burst = 100000, .ops_per_s = 1, .ops_burst = 1000 });
	for (uint16_t i = 0; i < 100; i++) {
		offer(i % RNG_QUEUE_SIZE, 500, VRING_DESC_F_WRITE);
		driver_kick(&driver, 0);
		driver_await_used(&ring, (uint16_t)(i + 1));
	}
	machine_stop(&m, 0);
	cr_assert_lt(rng.limit.ops.level / 1000000000, 960);
	cr_assert_geq(rng.limit.ops.level / 1000000000, 900);
	cr_assert_lt(rng.limit.bytes.level / 1000000000, 50060);
	cr_assert_geq(rng.limit.bytes.level / 1000000000, 50000);
	cr_assert_eq(rng_bytes(&rng), 50000);
}
