/* SPDX-License-Identifier: MIT */
/* The driver; see virtio.h. x86 orders stores, and loads, so that the compiler is all that has to
 * be told; only a store that must be seen before a load that follows it needs a fence
 * (queue_kick). */
#define GUEST_HAS_APIC
#define GUEST_LINES 20000
#include "virtio.h"

#include "apic.h"

#define POOL_START 0x400000u
#define VIRTIO_DEVICE_BASE 0x1040u
#define RFLAGS_IF 0x200u
#define IRQ_TICK (IRQ_BASE + IRQ_COUNT)
#define TICK 1000000u /* KVM's APIC counts nanoseconds */
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3
#define CAP_DEVICE 4

volatile uint32_t irq_count[IRQ_COUNT];
static uint64_t pool = POOL_START;

#define HANDLER(n)                                                                                 \
	__attribute__((interrupt)) static void on_irq##n(volatile struct interrupt_frame *frame)   \
	{                                                                                          \
		(void)frame;                                                                       \
		irq_count[n]++;                                                                    \
		apic_eoi();                                                                        \
	}
HANDLER(0)
HANDLER(1)
HANDLER(2)
HANDLER(3)
HANDLER(4)
HANDLER(5)
HANDLER(6)
HANDLER(7)

__attribute__((interrupt)) static void on_tick(volatile struct interrupt_frame *frame)
{
	apic_eoi();
}

void irq_begin(void)
{
	static interrupt_handler *const handlers[IRQ_COUNT] = {
		on_irq0, on_irq1, on_irq2, on_irq3, on_irq4, on_irq5, on_irq6, on_irq7,
	};

	for (unsigned i = 0; i < IRQ_COUNT; i++)
		idt_set(IRQ_BASE + i, handlers[i]);
	idt_set(IRQ_TICK, on_tick);
	apic_enable();
	__asm__ volatile("sti" : : : "memory");
}

void irq_idle(void)
{
	uint64_t flags;
	bool on;

	__asm__ volatile("pushf; pop %0" : "=r"(flags) : : "memory");
	on = flags & RFLAGS_IF;
	/* A tick that came between its arming and HLT would leave nothing to wake it. */
	__asm__ volatile("cli" : : : "memory");
	wrmsr(X2APIC_TIMER_DIVIDE, 0xb);
	wrmsr(X2APIC_LVT_TIMER, IRQ_TICK);
	wrmsr(X2APIC_TIMER_INITIAL, TICK);
	__asm__ volatile("sti; hlt" : : : "memory");
	if (!on)
		__asm__ volatile("cli" : : : "memory");
}

uint64_t guest_pages(uint32_t bytes)
{
	uint64_t at = pool;
	uint64_t count = (bytes + 4095ULL) / 4096 * 4096 / 8;
	uint64_t to = at;

	pool += count * 8;
	__asm__ volatile("cld; rep stosq" : "+D"(to), "+c"(count) : "a"(0) : "memory");
	return at;
}

void guest_pages_reset(void)
{
	pool = POOL_START;
}

/* ---- the device ------------------------------------------------------------------------------ */

void virtio_find(uint16_t type, unsigned nth, struct virtio *ret)
{
	uint64_t *const structures[] = { [CAP_COMMON] = &ret->common,
		                         [CAP_NOTIFY] = &ret->notify,
		                         [CAP_ISR] = &ret->isr,
		                         [CAP_DEVICE] = &ret->specific };
	uint8_t cap = 0;

	check(pci_find((VIRTIO_DEVICE_BASE + type) << 16 | VIRTIO_VENDOR, nth, &ret->pci));
	while ((cap = pci_capability(&ret->pci, PCI_CAP_VENDOR, cap)) != 0) {
		uint64_t at = ret->pci.config + cap;
		uint8_t kind = read8(at + 3);

		if (kind < CAP_COMMON || kind > CAP_DEVICE)
			continue;
		*structures[kind] = pci_bar(&ret->pci, read8(at + 4)) + read32(at + 8);
		if (kind == CAP_NOTIFY)
			ret->notify_step = read32(at + 16);
	}
	check(ret->common && ret->notify && ret->isr);
	ret->queues = read16(ret->common + COMMON_NUM_QUEUES);
}

void virtio_reset(struct virtio *v)
{
	write8(v->common + COMMON_STATUS, 0);
	await(virtio_status(v) == 0);
}

static uint64_t offered(const struct virtio *v)
{
	uint64_t low;

	write32(v->common + COMMON_DEVICE_FEATURE_SELECT, 0);
	low = read32(v->common + COMMON_DEVICE_FEATURE);
	write32(v->common + COMMON_DEVICE_FEATURE_SELECT, 1);
	return (uint64_t)read32(v->common + COMMON_DEVICE_FEATURE) << 32 | low;
}

static void add_status(struct virtio *v, uint8_t bits)
{
	write8(v->common + COMMON_STATUS, virtio_status(v) | bits);
}

void virtio_begin(struct virtio *v, uint64_t wanted)
{
	virtio_reset(v);
	add_status(v, STATUS_ACKNOWLEDGE);
	add_status(v, STATUS_DRIVER);
	v->features = offered(v) & (wanted | F_VERSION_1);
	check(v->features & F_VERSION_1);
	for (uint32_t word = 0; word < 2; word++) {
		write32(v->common + COMMON_DRIVER_FEATURE_SELECT, word);
		write32(v->common + COMMON_DRIVER_FEATURE, (uint32_t)(v->features >> 32 * word));
	}
	add_status(v, STATUS_FEATURES_OK);
	check(virtio_status(v) & STATUS_FEATURES_OK);
}

void virtio_start(struct virtio *v)
{
	msix_control(&v->pci, MSIX_ENABLE | MSIX_MASK_ALL);
	for (uint16_t i = 0; i <= v->queues && i < IRQ_COUNT; i++) {
		msix_set(&v->pci, i, (uint8_t)(IRQ_BASE + i));
		irq_count[i] = 0;
	}
	msix_control(&v->pci, MSIX_ENABLE);
	write16(v->common + COMMON_CONFIG_VECTOR, v->queues);
	check_equal(read16(v->common + COMMON_CONFIG_VECTOR), v->queues);
	add_status(v, STATUS_DRIVER_OK);
}

/* ---- queues ---------------------------------------------------------------------------------- */

void queue_write16(const struct queue *q, uint32_t reg, uint16_t value)
{
	write16(q->device->common + COMMON_QUEUE_SELECT, q->index);
	write16(q->device->common + reg, value);
}

uint16_t queue_read16(const struct queue *q, uint32_t reg)
{
	write16(q->device->common + COMMON_QUEUE_SELECT, q->index);
	return read16(q->device->common + reg);
}

/* Fields of 64 bits are accessed by halves (§4.1.3.1); some devices take nothing else. */
static void write_address(uint64_t reg, uint64_t address)
{
	write32(reg, (uint32_t)address);
	write32(reg + 4, (uint32_t)(address >> 32));
}

void queue_place(struct queue *q, struct virtio *v, uint16_t index, uint16_t size)
{
	*q = (struct queue){ .device = v, .index = index, .size = size };
	check(queue_read16(q, COMMON_QUEUE_SIZE) >= size);
	q->desc = (volatile struct descriptor *)guest_pages(16u * size);
	q->avail = guest_pages(6u + 2u * size);
	q->used = guest_pages(6u + 8u * size);
	q->doorbell =
		v->notify + (uint64_t)queue_read16(q, COMMON_QUEUE_NOTIFY_OFF) * v->notify_step;
	queue_write16(q, COMMON_QUEUE_SIZE, size);
	write_address(v->common + COMMON_QUEUE_DESC, (uint64_t)q->desc);
	write_address(v->common + COMMON_QUEUE_AVAIL, q->avail);
	write_address(v->common + COMMON_QUEUE_USED, q->used);
	write16(v->common + COMMON_QUEUE_VECTOR, index);
}

void queue_enable(const struct queue *q)
{
	queue_write16(q, COMMON_QUEUE_ENABLE, 1);
	check_equal(queue_read16(q, COMMON_QUEUE_ENABLE), 1);
}

void queue_begin(struct queue *q, struct virtio *v, uint16_t index, uint16_t size)
{
	queue_place(q, v, index, size);
	queue_enable(q);
}

void queue_describe(struct queue *q, uint16_t index, uint64_t address, uint32_t length,
                    uint16_t flags, uint16_t next)
{
	volatile struct descriptor *d = &q->desc[index];

	d->address = address;
	d->length = length;
	d->flags = flags;
	d->next = next;
}

void queue_offer(struct queue *q, uint16_t head)
{
	write16(q->avail + 4 + 2u * (q->avail_idx & (q->size - 1)), head);
	__atomic_store_n((volatile uint16_t *)(q->avail + 2), ++q->avail_idx, __ATOMIC_RELEASE);
}

static void describe_part(volatile struct descriptor *d, const struct part *part, bool last,
                          uint16_t next)
{
	d->address = (uint64_t)part->at;
	d->length = part->length;
	d->flags = (uint16_t)((part->writable ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT));
	d->next = next;
}

uint16_t queue_add(struct queue *q, const struct part *parts, unsigned count)
{
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < count; i++) {
		uint16_t at = q->next_desc;

		q->next_desc = (uint16_t)((at + 1) & (q->size - 1));
		describe_part(&q->desc[at], &parts[i], i + 1 == count, q->next_desc);
	}
	queue_offer(q, head);
	return head;
}

uint16_t queue_add_indirect(struct queue *q, uint64_t table, const struct part *parts,
                            unsigned count)
{
	volatile struct descriptor *d = (volatile struct descriptor *)table;
	uint16_t head = q->next_desc;

	for (unsigned i = 0; i < count; i++)
		describe_part(&d[i], &parts[i], i + 1 == count, (uint16_t)(i + 1));
	queue_describe(q, head, table, 16 * count, DESC_INDIRECT, 0);
	q->next_desc = (uint16_t)((head + 1) & (q->size - 1));
	queue_offer(q, head);
	return head;
}

void queue_ring(struct queue *q)
{
	q->kicks++;
	write16(q->doorbell, q->index);
}

void queue_kick(struct queue *q)
{
	uint16_t before = q->kicked_idx;
	uint16_t event;

	q->kicked_idx = q->avail_idx;
	/* The index before the look at what the device wishes. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(q->device->features & F_EVENT_IDX)) {
		if (!(read16(q->used) & 1))
			queue_ring(q);
		return;
	}
	event = read16(q->used + 4 + 8u * q->size);
	if ((uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - before))
		queue_ring(q);
}

uint32_t queue_wait(struct queue *q, uint32_t *ret_length)
{
	uint64_t entry = q->used + 4 + 8u * (q->used_idx & (q->size - 1));

	/* For what is there no deadline is worked out: that asks CPUID, which is an exit. */
	if (queue_used_idx(q) == q->used_idx)
		await(queue_used_idx(q) != q->used_idx);
	q->used_idx++;
	if (q->device->features & F_EVENT_IDX)
		write16(q->avail + 4 + 2u * q->size, q->used_idx);
	*ret_length = read32(entry + 4);
	return read32(entry);
}
