/* SPDX-License-Identifier: MIT */
/* virtio-balloon (VIRTIO 1.2 §5.5): inflate, deflate, statistics, free-page hints, free-page
 * reports.
 *
 * balloon_job.c gathers the pages of a request and gives them back.
 *
 * Queue numbers. Drivers disagree on the number of the reporting queue when a feature in between is
 * missing (Linux numbers without gaps, the specification with them). Statistics and hints are
 * always offered, so that both agree; the device never asks for hints (the command stays STOP).
 *
 * Statistics. The driver has one buffer. It is read in place and stays in the ring; at the end of
 * the interval it is given back, and the driver sends it again with new figures. */
#include "virtio/balloon.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "io/op.h"
#include "virtio/balloon_job.h"

#define PCI_CLASS_OTHER 0xff0000
/* The most that a driver can report at once: the largest block of Linux's page allocator on x86. A
 * report never covers a host page larger than that, so nothing would be given back. */
#define REPORT_BYTES_MAX (4 * MIB)
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* Linux 5.18 */
#endif

static_assert(sizeof(struct balloon_config) == sizeof(struct virtio_balloon_config),
              "the configuration is that of the specification");

static const uint16_t queue_sizes[BALLOON_QUEUES] = {
	BALLOON_QUEUE_SIZE, BALLOON_QUEUE_SIZE, BALLOON_QUEUE_SIZE,
	BALLOON_QUEUE_SIZE, BALLOON_QUEUE_SIZE,
};

static struct balloon *balloon_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct balloon, device);
}

/* -------------------------------------------------------------------------- the other queues */

/* Reads the driver's figures and leaves them in the ring. */
static void read_stats(struct balloon *balloon)
{
	struct virtq_chain chain = { .iov = balloon->iov, .iov_max = ARRAY_SIZE(balloon->iov) };
	struct virtio_balloon_stat stat;

	if (!virtio_pop(&balloon->device, QUEUE_STATS, &chain))
		return;
	for (size_t i = 0; i < BALLOON_STATS; i++) {
		uint16_t tag;

		if (virtq_copy_from(&chain, i * sizeof(stat), &stat, sizeof(stat)) < sizeof(stat))
			break;
		tag = le16toh(stat.tag);
		if (tag < BALLOON_STATS)
			atomic_store_explicit(&balloon->stats[tag], le64toh(stat.val),
			                      memory_order_relaxed);
	}
	counter_add(&balloon->stats_count, 1);
	virtio_unpop(&balloon->device, QUEUE_STATS);
}

static void run_stats(struct balloon *balloon)
{
	/* The result does not matter: the buffer stays in the ring. The next kick comes with the
	 * next buffer. */
	(void)virtio_want_kicks(&balloon->device, QUEUE_STATS);
	read_stats(balloon);
}

/* Gives the driver its buffer back, which asks for new figures. */
static void ask_for_stats(struct balloon *balloon)
{
	struct virtq_chain chain = { .iov = balloon->iov, .iov_max = ARRAY_SIZE(balloon->iov) };

	if (!virtio_pop(&balloon->device, QUEUE_STATS, &chain))
		return;
	virtio_push(&balloon->device, QUEUE_STATS, chain.head, 0);
	run_stats(balloon);
}

static void tick(struct io_op *op, int result, uint32_t flags)
{
	struct balloon *balloon = CONTAINER_OF(op, struct balloon, timer_op);

	(void)flags;
	if (result == -ECANCELED)
		return;
	ask_for_stats(balloon);
	(void)io_timeout(balloon->device.loop, &balloon->timer_op, &balloon->interval);
}

/* The device never asks for hints, so a buffer that comes is given back. */
static void run_hints(struct balloon *balloon)
{
	struct virtq_chain chain = { .iov = balloon->iov, .iov_max = ARRAY_SIZE(balloon->iov) };

	do {
		while (virtio_pop(&balloon->device, QUEUE_HINT, &chain))
			virtio_push(&balloon->device, QUEUE_HINT, chain.head, 0);
	} while (virtio_want_kicks(&balloon->device, QUEUE_HINT));
}

/* ------------------------------------------------------------------------------- as a device */

static void balloon_kick(struct virtio_device *device, uint16_t queue)
{
	struct balloon *balloon = balloon_of(device);

	if (queue == QUEUE_INFLATE)
		balloon_job_run(&balloon->inflate);
	else if (queue == QUEUE_DEFLATE)
		balloon_job_run(&balloon->deflate);
	else if (queue == QUEUE_STATS)
		run_stats(balloon);
	else if (queue == QUEUE_HINT)
		run_hints(balloon);
	else
		balloon_job_run(&balloon->report);
}

static void balloon_mail(struct virtio_device *device, uint32_t bits)
{
	struct balloon *balloon = balloon_of(device);
	struct balloon_job *const jobs[] = { &balloon->inflate, &balloon->report,
		                             &balloon->deflate };

	(void)bits;
	/* Jobs with discards in flight go on when those are done. */
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		if (jobs[i]->in_flight == 0)
			balloon_job_go_on(jobs[i]);
}

static void balloon_start(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);

	if (balloon->interval.tv_sec > 0)
		(void)io_timeout(device->loop, &balloon->timer_op, &balloon->interval);
}

/* A driver begins with an empty balloon. The notes about it can be megabytes, and a guest can reset
 * as often as it likes. So a reset only takes a new epoch, which voids the notes; each host page's
 * notes are cleared when they are next used. */
static void balloon_reset(struct virtio_device *device)
{
	struct balloon *balloon = balloon_of(device);

	balloon->epoch++;
	balloon->told_bad_page = false;
}

/* The driver writes `actual` and nothing else. vCPU thread, registers locked. */
static void balloon_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                                 uint32_t length)
{
	struct balloon *balloon = balloon_of(device);
	const uint32_t at = offsetof(struct balloon_config, actual);

	if (offset != at || length != sizeof(balloon->config.actual))
		return;
	memcpy(&balloon->config.actual, data, length);
	/* Sequentially consistent, as in balloon_await(): either this calls `reached`, or the
	 * caller of balloon_await() sees the new value. */
	atomic_store(&balloon->actual_pages, le32toh(balloon->config.actual));
	if (balloon->reached && atomic_load(&balloon->awaited) &&
	    atomic_load(&balloon->target_pages) == le32toh(balloon->config.actual)) {
		atomic_store(&balloon->reached_pages, le32toh(balloon->config.actual));
		balloon->reached(balloon->context);
	}
}

static const struct virtio_device_ops balloon_ops = {
	.name = "balloon",
	.device_id = VIRTIO_ID_BALLOON,
	.pci_class = PCI_CLASS_OTHER,
	.start = balloon_start,
	.kick = balloon_kick,
	.reset = balloon_reset,
	.mail = balloon_mail,
	.config_write = balloon_config_write,
};

static uint64_t features_of(const struct balloon_spec *spec)
{
	uint64_t features = VIRTIO_FEATURE(VIRTIO_BALLOON_F_STATS_VQ) |
	                    VIRTIO_FEATURE(VIRTIO_BALLOON_F_FREE_PAGE_HINT);

	if (spec->deflate_on_oom)
		features |= VIRTIO_FEATURE(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (spec->free_page_reporting && spec->host_page <= REPORT_BYTES_MAX)
		features |= VIRTIO_FEATURE(VIRTIO_BALLOON_F_REPORTING);
	if (spec->host_page > BALLOON_PAGE)
		features |= VIRTIO_FEATURE(VIRTIO_BALLOON_F_MUST_TELL_HOST);
	return features;
}

int balloon_create(struct balloon *balloon, const struct balloon_spec *spec,
                   const struct virtio_host *host)
{
	int r;

	balloon->memory = host->memory;
	balloon->host_page = spec->host_page;
	balloon->advice = spec->memory_locked ? MADV_DONTNEED_LOCKED : MADV_DONTNEED;
	balloon->reached = spec->reached;
	balloon->context = spec->context;
	balloon->interval.tv_sec = spec->stats_interval_s;
	balloon->timer_op.done = tick;
	for (size_t i = 0; i < BALLOON_STATS; i++)
		atomic_init(&balloon->stats[i], UINT64_MAX);
	balloon_job_init(balloon, &balloon->inflate, QUEUE_INFLATE);
	balloon_job_init(balloon, &balloon->deflate, QUEUE_DEFLATE);
	balloon_job_init(balloon, &balloon->report, QUEUE_REPORT);
	balloon->device.ops = &balloon_ops;
	balloon->device.id = "balloon";
	balloon->device.features = features_of(spec);
	balloon->device.queue_count = BALLOON_QUEUES;
	balloon->device.queue_sizes = queue_sizes;
	balloon->device.config = &balloon->config;
	balloon->device.config_size = sizeof(balloon->config);
	r = balloon_jobs_allocate(balloon);
	io_loop_uses(host->loop, IO_USE_MEMORY);
	if (r == 0)
		r = io_loop_reserve(host->loop, 2 * BALLOON_OPS + 1);
	if (r == 0)
		r = virtio_pci_attach(&balloon->device, host);
	if (r < 0)
		balloon_destroy(balloon);
	return r;
}

void balloon_destroy(struct balloon *balloon)
{
	if (!balloon->device.ops)
		return;
	virtio_pci_detach(&balloon->device);
	free(balloon->given);
	free(balloon->given_count);
	free(balloon->given_epoch);
	memset(balloon, 0, sizeof(*balloon));
}

int balloon_set_target(struct balloon *balloon, uint64_t bytes)
{
	uint64_t all = guest_memory_size(balloon->memory);
	uint32_t pages;
	uint32_t value;

	if (bytes == 0 || bytes > all)
		return -ERANGE;
	/* At most 2^46 bytes of RAM are 2^34 pages, and the field has 32 bits. */
	pages = (uint32_t)MIN((all - bytes) / BALLOON_PAGE, (uint64_t)UINT32_MAX);
	value = htole32(pages);
	atomic_store_explicit(&balloon->target_pages, pages, memory_order_relaxed);
	virtio_config_update(&balloon->device, offsetof(struct balloon_config, num_pages), &value,
	                     sizeof(value));
	return 0;
}

void balloon_await(struct balloon *balloon, bool on)
{
	atomic_store(&balloon->reached_pages, UINT64_MAX);
	atomic_store(&balloon->awaited, on);
}

/* True also if the guest has moved on since. A vCPU may note an earlier target as reached after
 * balloon_await(). That is harmless: it counts only if it equals the present target, which was then
 * reached. */
bool balloon_has_reached(const struct balloon *balloon)
{
	uint32_t target = atomic_load(&balloon->target_pages);

	return atomic_load(&balloon->actual_pages) == target ||
	       atomic_load(&balloon->reached_pages) == target;
}

static uint64_t bytes_of(const _Atomic uint32_t *pages)
{
	return (uint64_t)atomic_load(pages) * BALLOON_PAGE;
}

void balloon_get_state(const struct balloon *balloon, struct balloon_state *ret_state)
{
	*ret_state = (struct balloon_state){
		.target_bytes = bytes_of(&balloon->target_pages),
		.actual_bytes = bytes_of(&balloon->actual_pages),
		.returned_bytes =
			atomic_load_explicit(&balloon->returned_bytes, memory_order_relaxed),
		.failures = atomic_load_explicit(&balloon->failures, memory_order_relaxed),
		.stats_count = atomic_load_explicit(&balloon->stats_count, memory_order_relaxed),
	};
	for (size_t i = 0; i < BALLOON_STATS; i++)
		ret_state->stats[i] =
			atomic_load_explicit(&balloon->stats[i], memory_order_relaxed);
}
