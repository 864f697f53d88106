/* SPDX-License-Identifier: MIT */
/* One request of the balloon: gathers its pages into ranges and gives them back.
 *
 * Pages that the guest gives up are discarded with MADV_DONTNEED, which frees private pages at
 * once; a page that it takes back is a fresh zero page at its first touch. Page numbers are
 * gathered into contiguous ranges, and each range is one MADVISE in the ring. The ring is used and
 * not the system call, because an unmapping takes about 250 us a MiB (each page is freed, and each
 * vCPU's TLB flushed) and would hold up every other device of the thread, while queueing it takes 2
 * us; and the I/O thread's filter needs no madvise. A request is acknowledged when all its ranges
 * are done, so the driver does not use a page that is about to vanish.
 *
 * If the host's pages are larger than the balloon's, only whole host pages go back. A bit for each
 * page and a count for each host page tell when all of a host page is in the balloon. The guest
 * must then say which pages it takes back before it uses them (MUST_TELL_HOST), and such a request
 * waits for discards under way. For a driver without MUST_TELL_HOST inflate requests are
 * acknowledged, and nothing is discarded.
 *
 * The guest chooses the length of a list and how useless its numbers are. So each number counts as
 * work (virtio_work), and a list that is longer than a turn goes on in the next one. */
#include "virtio/balloon_job.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>

#include "io/op.h"

#define PFN_BYTES 4u
#define PFN_BATCH 256u
static_assert(VIRTIO_TURN_WORK / BALLOON_QUEUES > PFN_BATCH, "each turn gets on with a list");
#define MAIL_GO_ON VIRTIO_MAIL(0)

/* ------------------------------------------------------------------------------------- ranges */

/* Joins a range to the last one, or begins another; false if there is no room for it. Pages may
 * come in ascending or descending order. */
static bool add_range(struct balloon_job *job, uint8_t *start, size_t length)
{
	struct balloon_range *last = job->count > 0 ? &job->ranges[job->count - 1] : NULL;

	if (last && last->start + last->length == start &&
	    last->length + length <= IO_MADVISE_MAX) {
		last->length += length;
	} else if (last && start + length == last->start &&
	           last->length + length <= IO_MADVISE_MAX) {
		last->start = start;
		last->length += length;
	} else if (job->count < BALLOON_RANGES) {
		job->ranges[job->count++] = (struct balloon_range){ start, length };
	} else {
		return false;
	}
	return true;
}

static bool large_pages(const struct balloon *balloon)
{
	return balloon->host_page > BALLOON_PAGE;
}

/* The number of a page among all of guest memory; each region begins with a host page of its
 * own. */
static uint64_t page_number(const struct balloon *balloon, const uint8_t *page)
{
	uint64_t first = 0;

	for (size_t i = 0; i < balloon->memory->count; i++) {
		const struct guest_region *region = &balloon->memory->regions[i];

		if (page >= region->hva && page < region->hva + region->size)
			return first + (uint64_t)(page - region->hva) / BALLOON_PAGE;
		first += ALIGN_UP(region->size, balloon->host_page) / BALLOON_PAGE;
	}
	return first;
}

/* Clears the notes that an earlier driver left about a host page. */
static void forget_others(struct balloon *balloon, uint64_t host_page)
{
	uint64_t bytes = balloon->host_page / BALLOON_PAGE / 8;

	if (balloon->given_epoch[host_page] == balloon->epoch)
		return;
	balloon->given_epoch[host_page] = balloon->epoch;
	balloon->given_count[host_page] = 0;
	memset((uint8_t *)balloon->given + host_page * bytes, 0, bytes);
}

/* Notes that a page is in the balloon, or no longer is. True if all of its host page is now in
 * it. */
static bool note_page(struct balloon *balloon, const uint8_t *page, bool given)
{
	uint64_t number = page_number(balloon, page);
	uint64_t bit = 1ULL << (number % 64);
	uint64_t *word = &balloon->given[number / 64];
	uint64_t pages = balloon->host_page / BALLOON_PAGE;
	uint32_t *count = &balloon->given_count[number / pages];

	forget_others(balloon, number / pages);
	if (!(*word & bit) == !given)
		return false;
	*word ^= bit;
	*count += given ? 1u : ~0u;
	return given && *count == pages;
}

/* The page with this number; NULL, and one event, if it is not RAM. */
static uint8_t *page_at(struct balloon *balloon, uint16_t queue, uint32_t pfn)
{
	uint64_t address = (uint64_t)pfn << VIRTIO_BALLOON_PFN_SHIFT;
	uint8_t *page = guest_memory_at(balloon->memory, GPA(address), BALLOON_PAGE);

	if (!page && !balloon->told_bad_page) {
		balloon->told_bad_page = true;
		virtio_report(&balloon->device, queue, EFAULT,
		              "the guest gave up pages that are not its memory: they are ignored");
	}
	return page;
}

/* ----------------------------------------------------------------------------------- requests */

/* One page of an inflate or deflate request; false when there is no room for its range. */
static bool take_page(struct balloon_job *job, uint32_t pfn)
{
	struct balloon *balloon = job->balloon;
	uint8_t *page = page_at(balloon, job->queue, pfn);

	if (!page)
		return true;
	if (job->queue == QUEUE_DEFLATE) {
		(void)note_page(balloon, page, false);
		return true;
	}
	if (!large_pages(balloon))
		return add_range(job, page, BALLOON_PAGE);
	if (!virtio_has(&balloon->device, VIRTIO_BALLOON_F_MUST_TELL_HOST))
		return true;
	if (job->count == BALLOON_RANGES)
		return false;
	if (note_page(balloon, page, true))
		return add_range(job, page - (uintptr_t)page % balloon->host_page,
		                 balloon->host_page);
	return true;
}

/* Takes pages until the list ends, there is no room for a range, or the turn is used up (false).
 * The turn limits it because a guest may name pages that are not its memory, or one page again and
 * again, which fill no range. */
static bool gather_pages(struct balloon_job *job)
{
	uint32_t pfns[PFN_BATCH];

	while (job->next_pfn < job->pfns) {
		uint32_t count = MIN(job->pfns - job->next_pfn, PFN_BATCH);

		if (!virtio_work(&job->balloon->device, job->queue, count))
			return false;

		(void)virtq_copy_from(&job->chain, (size_t)job->next_pfn * PFN_BYTES, pfns,
		                      (size_t)count * PFN_BYTES);
		for (uint32_t i = 0; i < count; i++) {
			if (!take_page(job, le32toh(pfns[i])))
				return true;
			job->next_pfn++;
		}
	}
	return true;
}

/* Takes the whole host pages of each buffer of a report. A chain has few enough buffers for one
 * turn. */
static bool gather_buffers(struct balloon_job *job)
{
	uint64_t page = job->balloon->host_page;

	while (job->next_buffer < job->chain.writable) {
		struct iovec *buffer = &job->iov[job->chain.readable + job->next_buffer];
		uint8_t *start = buffer->iov_base;
		size_t skip = (size_t)(-(uintptr_t)start & (page - 1));
		size_t length;

		if (skip < buffer->iov_len) {
			length = MIN(ALIGN_DOWN(buffer->iov_len - skip, page),
			             (size_t)IO_MADVISE_MAX);
			if (length > 0 && !add_range(job, start + skip, length))
				return true;
			/* Bytes beyond one operation's limit stay for the next round. */
			buffer->iov_base = start + skip + length;
			buffer->iov_len -= skip + length;
			if (buffer->iov_len >= page)
				continue;
		}
		job->next_buffer++;
	}
	return true;
}

static void discard(struct balloon_job *job, struct balloon_op *op)
{
	op->range = job->ranges[job->next_range++];
	op->busy = io_madvise(job->balloon->device.loop, &op->op, op->range.start, op->range.length,
	                      job->balloon->advice);
	/* Refused only when the loop is about to end. */
	job->in_flight += op->busy;
}

static void start_discards(struct balloon_job *job)
{
	for (size_t i = 0; i < BALLOON_OPS && job->next_range < job->count; i++)
		if (!job->ops[i].busy)
			discard(job, &job->ops[i]);
}

/* Gathers the next ranges of a request; false if the turn is used up. A request whose ring is no
 * longer the driver's has none. */
static bool gather(struct balloon_job *job)
{
	job->next_range = job->count = 0;
	if (!virtio_live(&job->balloon->device, job->queue))
		return true;
	return job->queue == QUEUE_REPORT ? gather_buffers(job) : gather_pages(job);
}

/* Goes on with a request as far as this turn allows, and completes it once all of it is done. */
static void advance(struct balloon_job *job)
{
	struct virtio_device *device = &job->balloon->device;

	for (;;) {
		bool in_turn;

		start_discards(job);
		if (job->in_flight > 0)
			return;
		if (job->next_range < job->count)
			continue;
		in_turn = gather(job);
		if (job->count > 0)
			continue;
		if (in_turn)
			break;
		io_client_again(&device->client, MAIL_GO_ON);
		return;
	}
	job->active = false;
	virtio_push(device, job->queue, job->chain.head, 0);
}

/* Checks the form of a list of page numbers; the number of them, or -1 with the device failed. */
static int64_t count_pfns(struct balloon *balloon, uint16_t queue, const struct virtq_chain *chain)
{
	uint32_t bytes = chain->readable_bytes;

	if (bytes % PFN_BYTES == 0 && bytes / PFN_BYTES <= BALLOON_PFNS_MAX && bytes > 0)
		return bytes / PFN_BYTES;
	virtio_fail(&balloon->device, queue, EPROTO,
	            "a list of pages is empty, too long, or not made of page numbers");
	virtio_push(&balloon->device, queue, chain->head, 0);
	return -1;
}

static void begin(struct balloon_job *job)
{
	int64_t pfns = 0;

	if (job->queue != QUEUE_REPORT)
		pfns = count_pfns(job->balloon, job->queue, &job->chain);
	if (pfns < 0)
		return;
	job->pfns = (uint32_t)pfns;
	/* The guest takes pages of the host's size back by touching them; its list says nothing
	 * more. */
	job->next_pfn = job->queue == QUEUE_DEFLATE && !large_pages(job->balloon) ? job->pfns : 0;
	job->next_buffer = 0;
	job->next_range = job->count = 0;
	job->active = true;
	advance(job);
}

/* Whether a request must wait for one of another queue: a host page that is being discarded may
 * hold pages to be taken back, and the reverse. */
static bool waits(const struct balloon_job *job)
{
	const struct balloon *balloon = job->balloon;

	return (job->queue == QUEUE_DEFLATE && balloon->inflate.active) ||
	       (job->queue == QUEUE_INFLATE && balloon->deflate.active);
}

void balloon_job_run(struct balloon_job *job)
{
	struct virtio_device *device = &job->balloon->device;

	do {
		while (!job->active && !waits(job) && virtio_pop(device, job->queue, &job->chain))
			begin(job);
		/* The queue is looked at again when this request, or the other, is done. */
		if (job->active || waits(job))
			return;
	} while (virtio_want_kicks(device, job->queue));
}

/* Goes on with a request, and once it is done with the requests that waited for it. */
void balloon_job_go_on(struct balloon_job *job)
{
	struct balloon *balloon = job->balloon;

	if (!job->active)
		return;
	advance(job);
	if (job->active)
		return;
	balloon_job_run(job);
	if (job->queue == QUEUE_INFLATE)
		balloon_job_run(&balloon->deflate);
	else if (job->queue == QUEUE_DEFLATE)
		balloon_job_run(&balloon->inflate);
}

static void count_discard(struct balloon *balloon, const struct balloon_op *op, int result)
{
	if (result == 0) {
		counter_add(&balloon->returned_bytes, op->range.length);
		return;
	}
	counter_add(&balloon->failures, 1);
	if (balloon->told_refusal || result == -ECANCELED)
		return;
	balloon->told_refusal = true;
	virtio_report(&balloon->device, op->job->queue, result,
	              "the host did not take memory back that the guest gave up");
}

static void discard_done(struct io_op *io_op, int result, uint32_t flags)
{
	struct balloon_op *op = CONTAINER_OF(io_op, struct balloon_op, op);
	struct balloon_job *job = op->job;

	(void)flags;
	op->busy = false;
	job->in_flight--;
	count_discard(job->balloon, op, result);
	balloon_job_go_on(job);
}

/* ------------------------------------------------------------------------------------- build */

void balloon_job_init(struct balloon *balloon, struct balloon_job *job, uint16_t queue)
{
	job->balloon = balloon;
	job->queue = queue;
	job->chain.iov = job->iov;
	job->chain.iov_max = ARRAY_SIZE(job->iov);
	for (size_t i = 0; i < BALLOON_OPS; i++) {
		job->ops[i].job = job;
		job->ops[i].op.done = discard_done;
	}
}

static uint64_t host_pages(const struct balloon *balloon)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < balloon->memory->count; i++)
		pages += ALIGN_UP(balloon->memory->regions[i].size, balloon->host_page) /
		         balloon->host_page;
	return pages;
}

int balloon_jobs_allocate(struct balloon *balloon)
{
	uint64_t pages = host_pages(balloon);

	if (!large_pages(balloon))
		return 0;
	balloon->given = calloc(pages, balloon->host_page / BALLOON_PAGE / 8);
	balloon->given_count = calloc(pages, sizeof(*balloon->given_count));
	balloon->given_epoch = calloc(pages, sizeof(*balloon->given_epoch));
	return balloon->given && balloon->given_count && balloon->given_epoch ? 0 : -ENOMEM;
}
