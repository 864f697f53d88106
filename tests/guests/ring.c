/* SPDX-License-Identifier: MIT */
/* A driver that breaks one rule, by its number in a table (guest_numbers[0]): a disk works, is
 * violated, and either asks for a reset, with a configuration interrupt, and works again after it,
 * or answers as documented and goes on working. The vCPU does not notice otherwise. */
#define GUEST_HAS_APIC
#include "lib/block.h"

#define SIZE 64u
#define HOLE LAYOUT_ECAM
#define FEATURES (F_INDIRECT | F_EVENT_IDX | F_RING_RESET | BLOCK_F_FLUSH)

static struct virtio disk;
static struct queue q;
static uint64_t ram_end;
static struct block_request request = { .header = { .type = BLOCK_IN } };
static volatile uint8_t buffer[SECTOR] __attribute__((aligned(16)));
static volatile struct descriptor table[SIZE] __attribute__((aligned(16)));

/* Header, one buffer, status: descriptors 0, 1, 2. What a case changes, it changes afterwards. */
static void describe_request(void)
{
	queue_describe(&q, 0, (uint64_t)&request.header, 16, DESC_NEXT, 1);
	queue_describe(&q, 1, (uint64_t)buffer, SECTOR, DESC_NEXT | DESC_WRITE, 2);
	queue_describe(&q, 2, (uint64_t)&request.status, 1, DESC_WRITE, 0);
}

static void loop(void)
{
	q.desc[1].next = 1;
}
static void loop_through_head(void)
{
	q.desc[1].next = 0;
	q.desc[0].flags |= DESC_WRITE;
}
static void next_beyond(void)
{
	q.desc[1].next = SIZE;
}
static void zero_length(void)
{
	q.desc[1].length = 0;
}
static void address_wraps(void)
{
	q.desc[1].address = ~0ULL - 100;
}
static void in_the_hole(void)
{
	q.desc[1].address = HOLE;
}
static void in_a_bar(void)
{
	q.desc[1].address = disk.common;
}
static void beyond_ram(void)
{
	q.desc[1].address = ram_end;
}
static void across_the_end(void)
{
	q.desc[1].address = ram_end - 8;
}
static void far_away(void)
{
	q.desc[1].address = 1ULL << 52;
}
static void backwards(void)
{
	q.desc[0].flags |= DESC_WRITE;
	q.desc[1].flags = DESC_NEXT;
}
static void header_short(void)
{
	q.desc[0].length = 15;
}
static void no_status(void)
{
	q.desc[2].flags = 0;
	q.desc[1].flags = DESC_NEXT;
}
static void avail_jumps(void)
{
	q.avail_idx = (uint16_t)(q.avail_idx + SIZE);
}

static void head_beyond(void)
{
	for (unsigned i = 0; i < SIZE; i++)
		write16(q.avail + 4 + 2 * i, SIZE);
	q.avail_idx += SIZE - 1;
}

/* A table of which entry 0 is the header, entry 1 the status. */
static void use_table(uint64_t address, uint32_t length, uint16_t flags)
{
	table[0] = (struct descriptor){ (uint64_t)&request.header, 16, DESC_NEXT, 1 };
	table[1] = (struct descriptor){ (uint64_t)&request.status, 1, DESC_WRITE, 0 };
	queue_describe(&q, 0, address, length, (uint16_t)(DESC_INDIRECT | flags), 1);
}

static void table_empty(void)
{
	use_table((uint64_t)table, 0, 0);
}
static void table_odd(void)
{
	use_table((uint64_t)table, 31, 0);
}
static void table_with_next(void)
{
	use_table((uint64_t)table, 32, DESC_NEXT);
}
static void table_beyond_ram(void)
{
	use_table(ram_end, 32, 0);
}
static void table_wraps(void)
{
	use_table(~0ULL - 15, 32, 0);
}
static void table_next_beyond(void)
{
	use_table((uint64_t)table, 32, 0);
	table[0].next = 2;
}
static void table_loop(void)
{
	use_table((uint64_t)table, 32, 0);
	table[0].next = 0;
}
static void table_not_negotiated(void)
{
	use_table((uint64_t)table, 32, 0);
}

static void table_nested(void)
{
	use_table((uint64_t)table, 32, 0);
	table[1] = (struct descriptor){ (uint64_t)table, 32, DESC_INDIRECT, 0 };
}

/* Each buffer is all of RAM: with 128 MiB more than 2^32 bytes in 33 of them. */
static void adds_up(void)
{
	for (uint16_t i = 1; i < SIZE - 1; i++)
		queue_describe(&q, i, 0, (uint32_t)ram_end, DESC_NEXT | DESC_WRITE,
		               (uint16_t)(i + 1));
	queue_describe(&q, SIZE - 1, (uint64_t)&request.status, 1, DESC_WRITE, 0);
}

/* What is not allowed of registers is not done: the queue stays as it was. */
static void registers_frozen(void)
{
	uint64_t common = disk.common;

	queue_write16(&q, COMMON_QUEUE_SIZE, 4);
	queue_write16(&q, COMMON_QUEUE_SIZE, 1024);
	queue_write16(&q, COMMON_QUEUE_VECTOR, 0xffff);
	queue_write16(&q, COMMON_QUEUE_ENABLE, 0);
	write64(common + COMMON_QUEUE_DESC, 0);
	write64(common + COMMON_QUEUE_AVAIL, ram_end);
	write32(common + COMMON_QUEUE_USED + 4, 1);
	write32(common + COMMON_DRIVER_FEATURE_SELECT, 0);
	write32(common + COMMON_DRIVER_FEATURE, 0);
	check_equal(queue_read16(&q, COMMON_QUEUE_SIZE), SIZE);
	check_equal(queue_read16(&q, COMMON_QUEUE_VECTOR), 0);
	check_equal(queue_read16(&q, COMMON_QUEUE_ENABLE), 1);
	check_equal(read64(common + COMMON_QUEUE_DESC), (uint64_t)q.desc);
	check_equal(read64(common + COMMON_QUEUE_AVAIL), q.avail);
	check_equal(read64(common + COMMON_QUEUE_USED), q.used);
}

/* A queue that is not there: selected, written to, enabled, rung. */
static void queue_missing(void)
{
	uint64_t common = disk.common;

	write16(common + COMMON_QUEUE_SELECT, 1);
	check_equal(read16(common + COMMON_QUEUE_SIZE), 0);
	write16(common + COMMON_QUEUE_SIZE, 16);
	write64(common + COMMON_QUEUE_DESC, 0x1000);
	write16(common + COMMON_QUEUE_ENABLE, 1);
	check_equal(read16(common + COMMON_QUEUE_ENABLE), 0);
	write16(common + COMMON_QUEUE_SELECT, 0xffff);
	write16(common + COMMON_QUEUE_RESET, 1);
	write16(disk.notify + disk.notify_step, 1);
	write32(disk.notify + 0xffc, ~0u);
}

/* Before the queue is enabled. */
static void used_over_descriptors(void)
{
	write64(disk.common + COMMON_QUEUE_USED, (uint64_t)q.desc + 16);
}

static void avail_over_used(void)
{
	write64(disk.common + COMMON_QUEUE_AVAIL, q.used);
}
static void rings_in_the_hole(void)
{
	write64(disk.common + COMMON_QUEUE_DESC, HOLE);
}
static void rings_misaligned(void)
{
	write64(disk.common + COMMON_QUEUE_USED, q.used + 2);
}
static void ring_wraps(void)
{
	write64(disk.common + COMMON_QUEUE_DESC, ~0xfULL);
}

static void ring_across_the_end(void)
{
	write64(disk.common + COMMON_QUEUE_AVAIL, ram_end - 4);
}

static void size_zero(void)
{
	queue_write16(&q, COMMON_QUEUE_SIZE, 0);
	check_equal(queue_read16(&q, COMMON_QUEUE_SIZE), SIZE);
	queue_write16(&q, COMMON_QUEUE_SIZE, 48);
	queue_write16(&q, COMMON_QUEUE_SIZE, 2048);
	check_equal(queue_read16(&q, COMMON_QUEUE_SIZE), SIZE);
}

static const struct violation {
	/* One of them: before the queue is enabled; of a request that is then offered; of a device
	 * that works. */
	void (*place)(void), (*request)(void), (*registers)(void);
	bool harmless;    /* the documented answer is to go on */
	bool no_indirect; /* the driver does not negotiate it */
} violations[] = {
	{ .request = loop },
	{ .request = loop_through_head },
	{ .request = head_beyond },
	{ .request = next_beyond },
	{ .request = zero_length },
	{ .request = address_wraps },
	{ .request = in_the_hole },
	{ .request = in_a_bar },
	{ .request = beyond_ram },
	{ .request = across_the_end },
	{ .request = far_away },
	{ .request = backwards },
	{ .request = header_short },
	{ .request = no_status },
	{ .request = avail_jumps },
	{ .request = table_empty },
	{ .request = table_odd },
	{ .request = table_with_next },
	{ .request = table_beyond_ram },
	{ .request = table_wraps },
	{ .request = table_next_beyond },
	{ .request = table_loop },
	{ .request = table_not_negotiated, .no_indirect = true },
	{ .request = table_nested },
	{ .request = adds_up },
	{ .place = used_over_descriptors },
	{ .place = avail_over_used },
	{ .place = rings_in_the_hole },
	{ .place = rings_misaligned },
	{ .place = ring_wraps },
	{ .place = ring_across_the_end },
	{ .place = size_zero, .harmless = true },
	{ .registers = registers_frozen, .harmless = true },
	{ .registers = queue_missing, .harmless = true },
};

static void begin(const struct violation *v, void (*place)(void))
{
	guest_pages_reset();
	virtio_begin(&disk, v->no_indirect ? FEATURES & ~F_INDIRECT : FEATURES);
	queue_place(&q, &disk, 0, SIZE);
	if (place)
		place();
	queue_enable(&q);
	virtio_start(&disk);
}

static void want_failure(void)
{
	uint16_t used;

	await(virtio_status(&disk) & STATUS_NEEDS_RESET);
	await(irq_count[1] > 0);
	used = queue_used_idx(&q);
	check_equal(read8(disk.isr) & 2, 2);
	/* It does nothing any more, whatever it is told. */
	describe_request();
	queue_offer(&q, 0);
	queue_ring(&q);
	for (unsigned i = 0; i < 100; i++)
		(void)virtio_status(&disk);
	check_equal(queue_used_idx(&q), used);
	check(virtio_status(&disk) & STATUS_NEEDS_RESET);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	const struct violation *v = &violations[guest_numbers[0]];

	ram_end = ram;
	check(guest_numbers[0] < sizeof(violations) / sizeof(violations[0]));
	irq_begin();
	virtio_find(VIRTIO_BLOCK, 0, &disk);
	if (!v->place) {
		begin(v, NULL);
		block_prove(&q, 1, 1);
	} else {
		begin(v, v->place);
	}
	if (v->request) {
		describe_request();
		v->request();
		queue_offer(&q, 0);
		queue_ring(&q);
	}
	if (v->registers)
		v->registers();
	if (!v->harmless) {
		want_failure();
		begin(v, NULL);
	}
	block_prove(&q, 2, 2);
	check(!(virtio_status(&disk) & STATUS_NEEDS_RESET));
	guest_power_off(GUEST_PASS, 0);
}
