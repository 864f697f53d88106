/* SPDX-License-Identifier: MIT */
/* The events of a device at a time that the test says: how many pass, which, and what becomes of
 * the rest. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

#include "rig/virtio_driver.h"
#include "virtio/complaints.h"
#include "virtio/rng.h"

#define START 5000000000ULL
#define MS 1000000ULL

static struct test_machine m;
static struct virtio_complaints complaints;

/* The loop is not built, so that its time stands still where the test puts it, and a timer goes off
 * when the test says. */
static void set_up(void)
{
	machine_init(&m);
	cr_assert_eq(virtio_complaints_init(&complaints, &m.host), 0);
	m.loop.turn_ns = START;
}

static void tear_down(void)
{
	machine_done(&m);
}

TestSuite(complaints, .timeout = 60);

static void complain(unsigned times, const char *message)
{
	for (unsigned i = 0; i < times; i++)
		virtio_complain(&complaints, &(struct virtio_event){ .device_id = "d",
		                                                     .message = message,
		                                                     .queue = 3,
		                                                     .error_number = EIO,
		                                                     .needs_reset = true });
}

static uint32_t told(void)
{
	return atomic_load(&m.event_count);
}

static void timer(int result)
{
	complaints.timer_op.done(&complaints.timer_op, result, 0);
}

Test(complaints, a_burst_of_20_then_10_a_second, .init = set_up, .fini = tear_down)
{
	uint64_t sum = 0;

	complain(20, "a");
	cr_assert_eq(told(), 20);
	complain(1, "b");
	cr_assert_eq(told(), 20, "it is kept");
	/* A minute of a thousand a second. */
	for (unsigned i = 0; i < 60000; i++) {
		m.loop.turn_ns += MS;
		complain(1, "flood");
	}
	cr_assert_eq(told(), 20 + 600);
	for (uint32_t i = 0; i < 20; i++)
		cr_assert_eq(m.events[i].suppressed, 0);
	for (uint32_t i = 20; i < TEST_EVENTS_MAX; i++) {
		/* 100 came in a tenth of a second, of which one was told; the very first had
		 * waited, too. */
		cr_assert_eq(m.events[i].suppressed, i == 20 ? 100 : 99, "event %u: %lu", i,
		             (unsigned long)m.events[i].suppressed);
		sum += m.events[i].suppressed + 1;
	}
	cr_assert_eq(sum, 100 * (TEST_EVENTS_MAX - 20) + 1);
}

/* The last thing that happened is always told, with all there was of it. */
Test(complaints, the_latest_is_told_when_its_turn_comes, .init = set_up, .fini = tear_down)
{
	complain(20, "a");
	complain(40, "b");
	complain(1, "the last");
	cr_assert_eq(told(), 20);
	/* Too early: nothing, and it waits again. */
	m.loop.turn_ns += 99 * MS;
	timer(-ETIME);
	cr_assert_eq(told(), 20);
	m.loop.turn_ns += MS;
	timer(-ETIME);
	cr_assert_eq(told(), 21);
	cr_assert_str_eq(m.events[20].message, "the last");
	cr_assert_eq(m.events[20].suppressed, 40);
	cr_assert_eq(m.events[20].queue, 3);
	cr_assert_eq(m.events[20].error, EIO);
	cr_assert(m.events[20].needs_reset);
	/* Nothing is kept any more. */
	m.loop.turn_ns += 1000 * MS;
	timer(-ETIME);
	cr_assert_eq(told(), 21);
	complain(1, "later");
	cr_assert_eq(told(), 22);
	cr_assert_eq(m.events[21].suppressed, 0);
}

Test(complaints, the_end_does_not_wait, .init = set_up, .fini = tear_down)
{
	complain(30, "a");
	timer(-ECANCELED);
	cr_assert_eq(told(), 21);
	cr_assert_eq(m.events[20].suppressed, 9);
}

/* What to do about a thread that a limit denies, whichever device misses it. */
Test(complaints, a_worker_that_lacks_comes_with_advice, .init = set_up, .fini = tear_down)
{
	virtio_complain(&complaints,
	                &(struct virtio_event){ .message = "m", .error_number = IO_NO_WORKER });
	complain(1, "m");
	cr_assert(strncmp(m.events[0].message, "m; the kernel could not start a thread", 38) == 0 &&
	                  strstr(m.events[0].message, "raise pids.max"),
	          "%s", m.events[0].message);
	cr_assert_eq(m.events[0].error, IO_NO_WORKER);
	cr_assert_str_eq(m.events[1].message, "m");
}

/* Every device's events go this way, whatever they are about; one device's do not count for
 * another. */
Test(complaints, events_of_one_device_do_not_count_for_another, .fini = tear_down)
{
	static struct rng rngs[2];
	int source = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	const struct rng_spec spec = { .source_fd = source };

	machine_init(&m);
	m.loop.turn_ns = START;
	memset(rngs, 0, sizeof(rngs));
	for (size_t i = 0; i < 2; i++)
		cr_assert_eq(rng_create(&rngs[i], &spec, &m.host), 0);
	for (unsigned i = 0; i < 100; i++)
		virtio_report(&rngs[0].device, 0, EIO, "report");
	cr_assert_eq(told(), 20);
	for (unsigned i = 0; i < 19; i++)
		virtio_report(&rngs[1].device, 0, EIO, "report");
	virtio_not_told(&rngs[1].device);
	virtio_fail(&rngs[1].device, 0, EPROTO, "failure");
	cr_assert_eq(told(), 40);
	cr_assert_str_eq(m.events[39].message, "failure");
	cr_assert_eq(m.events[39].suppressed, 1, "what the device itself did not tell counts");
	/* When the loop runs, what was kept before it did is told in its turn. */
	machine_start(&m);
	machine_await_events(&m, 41);
	cr_assert_eq(m.events[40].suppressed, 79);
	machine_stop(&m, 0);
	rng_destroy(&rngs[0]);
	rng_destroy(&rngs[1]);
	close(source);
}
