/* SPDX-License-Identifier: MIT */
/* A balloon as a driver uses it: as many pages as the host asks for are given up, in lists of every
 * order, taken back and used; page numbers that are not RAM; statistics each time they are asked
 * for; hints; reports of free pages; a reset amid discards. What has gone back reads as zeroes,
 * what has not is untouched. guest_numbers[0] is the size of the host's pages: one goes back when
 * all of it was given up. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#define PAGE 4096u
#define FIRST 0x800000u /* what is given up, from here on; above what guest_pages gives */
#define PAGES 2048u
#define BATCH 256u  /* as many as Linux has in a request */
#define SINGLES 96u /* more than the device has ranges */
#define ROUNDS 2u
#define MARK 0xba110000ba110000ULL
#define F_MUST_TELL_HOST (1ULL << 0)
#define F_STATS (1ULL << 1)
#define F_REPORTING (1ULL << 5)
#define CONFIG_ACTUAL 4

enum { INFLATE, DEFLATE, STATS, HINT, REPORT, QUEUES };

struct statistic {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

static struct virtio balloon;
static struct queue queues[QUEUES];
static volatile uint32_t list[BATCH];
static volatile struct statistic statistics[2];
static uint32_t host_page; /* in pages */

static uint64_t address_of(uint32_t page)
{
	return FIRST + (uint64_t)page * PAGE;
}

static void mark(uint32_t first, uint32_t count)
{
	for (uint32_t page = first; page < first + count; page++)
		write64(address_of(page), MARK + page);
}

static void want_gone(uint32_t page, bool gone)
{
	check_equal(read64(address_of(page)), gone ? 0 : MARK + page);
}

/* The first `given` pages are in the balloon, and the whole host pages among them gone. */
static void want(uint32_t given)
{
	for (uint32_t page = 0; page < PAGES; page++)
		want_gone(page, (page / host_page + 1) * host_page <= given);
}

static void request(uint16_t queue, const struct part *parts, unsigned count)
{
	uint32_t written;

	(void)queue_add(&queues[queue], parts, count);
	queue_kick(&queues[queue]);
	(void)queue_wait(&queues[queue], &written);
	check_equal(written, 0);
}

/* Upwards, downwards, and each a range of its own, in turn. */
static void fill_list(uint32_t first, uint32_t count)
{
	uint32_t order = first / BATCH % 3;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t nth = order == 0 ? i : order == 1 ? count - 1 - i : i * 97 % count;

		list[i] = (uint32_t)(address_of(first + nth) / PAGE);
	}
}

static void move(uint16_t queue, uint32_t first, uint32_t count)
{
	const struct part part = { list, 4 * count, false };

	fill_list(first, count);
	request(queue, &part, 1);
}

static void move_batches(uint16_t queue, uint32_t pages)
{
	for (uint32_t first = 0; first < pages; first += BATCH)
		move(queue, first, BATCH);
}

static void as_the_host_asks(void)
{
	mark(0, PAGES);
	await(read32(balloon.specific) == PAGES);
	await(irq_count[QUEUES] > 0);
	move_batches(INFLATE, PAGES - BATCH);
	want(PAGES - BATCH);
	/* 97 apart, round and round, is each of 255: the two have no common divisor. */
	move(INFLATE, PAGES - BATCH, BATCH - 1);
	want(PAGES - 1);
	move(INFLATE, PAGES - 1, 1);
	want(PAGES);
	write32(balloon.specific + CONFIG_ACTUAL, PAGES);
	move_batches(DEFLATE, PAGES);
	write32(balloon.specific + CONFIG_ACTUAL, 0);
	mark(0, PAGES);
	want(0);
}

static void numbers_that_are_no_ram(uint64_t ram)
{
	const struct part part = { list, 16, false };

	mark(5, 1);
	for (unsigned round = 0; round < 2; round++) {
		list[0] = ~0u;
		list[1] = (uint32_t)(address_of(5) / PAGE);
		list[2] = LAYOUT_ECAM / PAGE;
		list[3] = (uint32_t)(ram / PAGE);
		request(INFLATE, &part, 1);
		want_gone(5, host_page == 1);
		request(DEFLATE, &part, 1);
	}
}

/* The device has had the buffer since the start; at each interval it asks for new figures. */
static void offer_statistics(uint64_t free)
{
	const struct part part = { statistics, sizeof(statistics), false };

	statistics[0] = (struct statistic){ 4, free };
	statistics[1] = (struct statistic){ 0xffff, 1 }; /* a figure that it does not know */
	(void)queue_add(&queues[STATS], &part, 1);
	queue_kick(&queues[STATS]);
}

static void figures(void)
{
	uint32_t written;

	for (uint64_t round = 1; round <= ROUNDS; round++) {
		(void)queue_wait(&queues[STATS], &written);
		offer_statistics(round);
	}
}

static void reports(void)
{
	static struct part parts[SINGLES];
	uint32_t middle = PAGES / 2;

	request(HINT, &(const struct part){ list, 16, true }, 1);
	mark(0, PAGES);
	/* Not whole pages at its ends. */
	parts[0] = (struct part){ (const volatile void *)(address_of(10) + 100), 3 * PAGE, true };
	parts[1] = (struct part){ (const volatile void *)address_of(middle), middle * PAGE, true };
	request(REPORT, parts, 2);
	for (uint32_t page = 0; page < PAGES; page++)
		want_gone(page, page >= middle || (host_page == 1 && (page == 11 || page == 12)));
	mark(0, PAGES);
	for (uint32_t i = 0; i < SINGLES; i++)
		parts[i] = (struct part){ (const volatile void *)address_of(2 * i), PAGE, true };
	request(REPORT, parts, SINGLES);
	for (uint32_t page = 0; page < PAGES; page++)
		want_gone(page, host_page == 1 && page < 2 * SINGLES && page % 2 == 0);
}

static void begin(void)
{
	guest_pages_reset();
	virtio_begin(&balloon, F_MUST_TELL_HOST | F_STATS | F_REPORTING | F_EVENT_IDX);
	for (uint16_t i = 0; i < QUEUES; i++)
		queue_begin(&queues[i], &balloon, i, 128);
	virtio_start(&balloon);
	offer_statistics(0);
}

static void reset_amid_discards(void)
{
	static volatile uint32_t lists[PAGES / BATCH][BATCH];
	uint16_t used;

	for (uint32_t i = 0; i < PAGES / BATCH; i++) {
		const struct part part = { lists[i], sizeof(lists[i]), false };

		for (uint32_t n = 0; n < BATCH; n++)
			lists[i][n] = (uint32_t)(address_of(i * BATCH + n) / PAGE);
		(void)queue_add(&queues[INFLATE], &part, 1);
	}
	queue_kick(&queues[INFLATE]);
	virtio_reset(&balloon);
	used = queue_used_idx(&queues[INFLATE]);
	mark(0, PAGES);
	for (unsigned i = 0; i < 100; i++)
		(void)virtio_status(&balloon);
	check_equal(queue_used_idx(&queues[INFLATE]), used);
	want(0);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	host_page = guest_numbers[0] ? (uint32_t)(guest_numbers[0] / PAGE) : 1;
	irq_begin();
	virtio_find(VIRTIO_BALLOON, 0, &balloon);
	check_equal(balloon.queues, QUEUES);
	begin();
	check(!(balloon.features & F_MUST_TELL_HOST) == (host_page == 1));
	as_the_host_asks();
	numbers_that_are_no_ram(ram);
	reports();
	figures();
	for (unsigned i = 0; i < ROUNDS; i++) {
		reset_amid_discards();
		begin();
	}
	move_batches(INFLATE, PAGES);
	want(PAGES);
	check(!(virtio_status(&balloon) & STATUS_NEEDS_RESET));
	guest_power_off(GUEST_PASS, ROUNDS);
}
