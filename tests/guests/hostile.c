/* SPDX-License-Identifier: MIT */
/* Noise: guest_numbers[1] operations on each of two vCPUs, drawn from a generator that begins with
 * guest_numbers[0]. Accesses of every width to ports and to all that is not RAM, configuration
 * space, BARs moved, vectors, doorbells, MSRs, local and I/O APIC; and, in between, devices set up
 * more or less rightly, with rings that both vCPUs change while they are read, and resets at any
 * time.
 *
 * It does what it likes to the machine, and spares itself: nothing is written that ends the VM, no
 * interrupt is sent that a vCPU does not return from (NMI, INIT), and what a device or KVM may
 * write to lies in the arena. At the end everything is put back, each device must work, the word is
 * written to the first disk, and the power button is waited for. */
#define GUEST_HAS_APIC
#include "lib/apic.h"
#include "lib/block.h"

/* 8 MiB of RAM are the devices': rings at the start, buffers in the upper half. What is written to
 * either cannot be taken for a descriptor that names RAM elsewhere: words that stand where an
 * address could (multiples of 16) are addresses in the arena, or beyond RAM. */
#define ARENA 0x800000ULL
#define ARENA_BYTES 0x800000ULL
#define BUFFERS (ARENA + ARENA_BYTES / 2)
#define DEVICES_MAX 6u
#define QUEUES 3u
#define RING_SIZE 64u
#define RING_BYTES 0x4000u
#define WORD_SECTOR 7

struct toy {
	struct virtio v;
	uint16_t type;
	uint16_t avail_idx[QUEUES];
};

static struct toy toys[DEVICES_MAX];
static uint32_t toy_count;
static volatile uint64_t done; /* vCPUs that have had enough */
static volatile uint32_t interrupts, faults;

struct noise {
	uint64_t state;
};

static uint64_t next(struct noise *n)
{
	n->state ^= n->state << 13;
	n->state ^= n->state >> 7;
	n->state ^= n->state << 17;
	return n->state;
}

static uint32_t below(struct noise *n, uint32_t limit)
{
	return (uint32_t)(next(n) >> 33) % limit;
}

/* ---- values and addresses -------------------------------------------------------------------- */

static uint64_t in_arena(struct noise *n)
{
	return BUFFERS + (next(n) & (ARENA_BYTES / 2 - 16));
}

/* Numbers that programs stumble over. */
static uint64_t value(struct noise *n)
{
	uint64_t random = next(n);

	switch (below(n, 8)) {
	case 0:
		return 0;
	case 1:
		return ~0ULL;
	case 2:
		return 1ULL << (random & 63);
	case 3:
		return (1ULL << (random & 63)) - 1;
	case 4:
		return random & 63;
	case 5:
		return in_arena(n);
	case 6:
		return random & 0xffffffff;
	default:
		return random;
	}
}

/* An address that is written to is in the arena, or is not RAM. */
static uint64_t harmless_address(uint64_t address)
{
	return (address & 0xffffffff) < ARENA + ARENA_BYTES ? address | ARENA : address;
}

/* Interrupts come by fixed vectors from 0x20 on. */
static uint64_t harmless_interrupt(uint64_t message)
{
	return (message & ~0x700ULL) | 0x20;
}

/* A buffer: most lie in the arena, with the start of one now and then outside RAM. */
static uint64_t buffer(struct noise *n)
{
	static const uint64_t bad[] = {
		~0ULL,      ~0xfffULL, LAYOUT_ECAM, LAYOUT_BAR_WINDOW, ARENA + ARENA_BYTES,
		1ULL << 40, 0xfffff000
	};

	return below(n, 8) ? in_arena(n) : bad[below(n, 7)];
}

static void read_any(uint64_t address, uint32_t width)
{
	switch (width) {
	case 0:
		(void)read8(address);
		return;
	case 1:
		(void)read16(address);
		return;
	case 2:
		(void)read32(address);
		return;
	default:
		(void)read64(address);
	}
}

static void write_any(uint64_t address, uint32_t width, uint64_t what)
{
	switch (width) {
	case 0:
		write8(address, (uint8_t)what);
		return;
	case 1:
		write16(address, (uint16_t)what);
		return;
	case 2:
		write32(address, (uint32_t)what);
		return;
	default:
		write64(address, what);
	}
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct toy *any_toy(struct noise *n)
{
	return &toys[below(n, toy_count)];
}

/* Where a register of a BAR asks for an address or an interrupt, it is given a harmless one. */
static uint64_t for_bar(const struct virtio *v, uint64_t address, uint64_t what)
{
	uint64_t offset = address - v->common;

	if (offset >= COMMON_QUEUE_DESC - 7 && offset < COMMON_QUEUE_USED + 8)
		return harmless_address(what);
	if (address - v->pci.table < 0x1000)
		return (address & 15) == 8 ? harmless_interrupt(what) : what & ~0xff00700ULL;
	return what;
}

static void bar_access(struct noise *n)
{
	const struct virtio *v = &any_toy(n)->v;
	/* Half of them to the registers, the rest anywhere in the BAR. */
	uint32_t offset = below(n, 2) ? below(n, 0x40) : below(n, 0x8000);
	uint64_t address = v->pci.bar + offset;
	uint32_t width = below(n, 4);

	if (below(n, 2))
		write_any(address, width, for_bar(v, address, value(n)));
	else
		read_any(address, width);
}

static void table_access(struct noise *n)
{
	const struct virtio *v = &any_toy(n)->v;
	uint64_t entry = v->pci.table + 16 * below(n, v->queues + 2);

	write32(entry, below(n, 2) ? 0xfee00000 : (uint32_t)value(n));
	write32(entry + 4, (uint32_t)value(n));
	write32(entry + 8, (uint32_t)harmless_interrupt(value(n)));
	write32(entry + 12, below(n, 2));
	(void)read64(v->pci.pba);
}

static void doorbell(struct noise *n)
{
	const struct virtio *v = &any_toy(n)->v;

	write_any(v->notify + below(n, 8) * v->notify_step, below(n, 4), value(n));
}

/* The window to BAR 0 that is in configuration space wants whole, harmless values. */
static void configuration_access(struct noise *n)
{
	uint64_t function =
		LAYOUT_ECAM + below(n, 10) * 0x8000ULL + (below(n, 8) ? 0 : below(n, 8) << 12);
	uint32_t offset = below(n, 8) ? below(n, 0x100) : below(n, 0x1000);
	uint32_t width = below(n, 4);
	uint64_t what = value(n);

	if (below(n, 2)) {
		read_any(function + offset, width);
		return;
	}
	/* BARs are moved elsewhere: each move costs milliseconds. */
	if (offset + 8 > PCI_COMMAND && offset < PCI_BAR0 + 4)
		offset = 0x40 + (offset & 0x3f);
	write_any((function + offset) & ~3ULL, 2, harmless_address(harmless_interrupt(what)));
	if (offset < 0x30)
		write_any(function + offset, width, what);
}

/* Onto RAM, onto one another, out of the window, away and back. */
static void move_bar(struct noise *n)
{
	const struct toy *toy = any_toy(n);
	const uint64_t places[] = { 0,
		                    0x100000,
		                    any_toy(n)->v.pci.bar,
		                    toy->v.pci.bar,
		                    LAYOUT_ECAM,
		                    LAYOUT_BAR_WINDOW + below(n, 0x1000) * 0x8000ULL,
		                    0xffff8000,
		                    LAYOUT_IOAPIC,
		                    value(n) };

	write32(toy->v.pci.config + PCI_BAR0, (uint32_t)places[below(n, 9)]);
	write16(toy->v.pci.config + PCI_COMMAND, (uint16_t)value(n) | (below(n, 2) ? 6 : 0));
	(void)read32(toy->v.pci.bar + below(n, 0x1000));
	write32(toy->v.pci.config + PCI_BAR0, (uint32_t)toy->v.pci.bar);
	write16(toy->v.pci.config + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void hole_access(struct noise *n)
{
	static const struct {
		uint64_t base;
		uint32_t size;
	} windows[] = {
		{ LAYOUT_ACPI_REGISTERS, 0x1000 },
		{ LAYOUT_PANIC_REGISTER, 0x20 },
		{ LAYOUT_IOAPIC, 0x40 },
		{ LAYOUT_LAPIC, 0x1000 },
		{ LAYOUT_BAR_WINDOW, 0x10000000 },
		{ LAYOUT_ECAM, 0x200000 },
		{ LAYOUT_KVM_IDENTITY_MAP, 0x4000 },
		{ ARENA + ARENA_BYTES, 0x10000000 },
		{ 0xfffff000, 0xff8 },
	};
	uint32_t which = below(n, 9);
	uint64_t offset = below(n, windows[which].size), address = windows[which].base + offset;
	uint64_t what = harmless_address(value(n));
	uint32_t width = below(n, 4);

	if (below(n, 2)) {
		read_any(address, width);
		return;
	}
	/* Not the end of the VM, and no word of a panic, at whichever byte: an access across the
	 * end of a page comes as two. */
	if (which < 2)
		what &= ~0x2121212121212121ULL;
	if (which == 2)
		what = harmless_interrupt(what);
	/* Configuration space has an operation of its own. */
	if (which == 5 && offset < 0x80000)
		return;
	write_any(address, width, what);
}

/* What ends the VM at none of the ports that four bytes reach from here. */
static uint32_t harmless_at(uint16_t port, uint32_t what)
{
	static const struct {
		uint16_t port;
		uint8_t cleared, set; /* of each byte */
	} ends[] = {
		{ LAYOUT_PORT_RESET, 0x01, 0 },
		{ LAYOUT_PORT_KEYBOARD, 0, 0x01 },
		{ LAYOUT_PORT_RESET_CONTROL, 0x04, 0 },
	};

	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (port <= ends[i].port && ends[i].port - port < 4)
			what = (what & ~(ends[i].cleared * 0x01010101u)) |
			       ends[i].set * 0x01010101u;
	return what;
}

static void port_access(struct noise *n)
{
	static const uint16_t known[] = { LAYOUT_PORT_RESET,
		                          LAYOUT_PORT_DEBUG,
		                          LAYOUT_PORT_UART,
		                          0xcf8,
		                          0xcfc,
		                          0x604,
		                          0x60,
		                          LAYOUT_PORT_KEYBOARD,
		                          0x70,
		                          0x20,
		                          LAYOUT_PORT_TIMER,
		                          LAYOUT_PORT_NMI_STATUS,
		                          LAYOUT_PORT_RESET_CONTROL };
	uint16_t port =
		below(n, 2) ? (uint16_t)next(n) : known[below(n, sizeof(known) / sizeof(known[0]))];
	uint32_t what = harmless_at(port, (uint32_t)value(n));
	uint64_t at = in_arena(n) & ~0xfffULL, count = below(n, 64);

	switch (below(n, 5)) {
	case 0:
		(void)inb(port);
		return;
	case 1:
		(void)inl(port);
		return;
	case 2:
		outb(port, (uint8_t)what);
		return;
	case 3:
		__asm__ volatile("outl %0, %1" : : "a"(what), "d"(port));
		return;
	default:
		__asm__ volatile("cld; rep insb" : "+D"(at), "+c"(count) : "d"(port) : "memory");
	}
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

/* What would change what this guest itself runs on: its modes, clock, APIC's mode; page faults by
 * the hypervisor, and what a paravirtual KVM has from 0x4b564d06 on. */
static bool is_spared(uint32_t msr)
{
	static const uint32_t spared[] = { 0x10, 0x1b, 0x3b, 0xc0000080, 0x4b564d02 };

	if (msr >= 0x4b564d06 && msr < 0x4b564e00)
		return true;
	for (unsigned i = 0; i < sizeof(spared) / sizeof(spared[0]); i++)
		if (spared[i] == msr)
			return true;
	return false;
}

static void msr_access(struct noise *n)
{
	static const uint32_t bases[] = { 0,          0x170,      0x200,      0x400,
		                          0x480,      0x800,      0x830,      0x4b564d00,
		                          0xc0000080, 0xc0010000, 0x40000000, 0xda0 };
	uint32_t msr = bases[below(n, 12)] + below(n, 64);
	uint64_t what = value(n);

	if (below(n, 16) == 0)
		msr = (uint32_t)next(n);
	if (below(n, 2)) {
		(void)rdmsr(msr);
		return;
	}
	if (is_spared(msr))
		return;
	/* The hypervisor's MSRs tell it where to write. */
	if (msr >= 0x800 && msr < 0x900)
		what = harmless_interrupt(what);
	else
		what = harmless_address(what);
	wrmsr(msr, what);
}

/* ---- devices, more or less rightly ----------------------------------------------------------- */

static uint64_t ring(const struct toy *toy, uint32_t queue, uint32_t offset)
{
	return ARENA + ((uint64_t)(toy - toys) * QUEUES + queue) * RING_BYTES + offset;
}

static uint64_t ring_place(struct noise *n, const struct toy *toy, uint32_t queue, uint32_t offset)
{
	return below(n, 32) ? ring(toy, queue, offset) : harmless_address(buffer(n));
}

static void set_up(struct noise *n)
{
	struct toy *toy = any_toy(n);
	uint64_t common = toy->v.common;

	write8(common + COMMON_STATUS, 0);
	for (unsigned i = 0; i < 50 && read8(common + COMMON_STATUS); i++)
		relax();
	for (uint32_t word = 0; word < 2; word++) {
		write32(common + COMMON_DEVICE_FEATURE_SELECT, word);
		write32(common + COMMON_DRIVER_FEATURE_SELECT, word);
		write32(common + COMMON_DRIVER_FEATURE,
		        read32(common + COMMON_DEVICE_FEATURE) &
		                (below(n, 4) ? ~0u : (uint32_t)next(n)));
	}
	write8(common + COMMON_STATUS, below(n, 16) ? 0xb : (uint8_t)value(n));
	for (uint16_t i = 0; i < toy->v.queues && i < QUEUES; i++) {
		write16(common + COMMON_QUEUE_SELECT, i);
		write16(common + COMMON_QUEUE_SIZE, below(n, 16) ? RING_SIZE : (uint16_t)value(n));
		write64(common + COMMON_QUEUE_DESC, ring_place(n, toy, i, 0));
		write64(common + COMMON_QUEUE_AVAIL, ring_place(n, toy, i, 0x1000));
		write64(common + COMMON_QUEUE_USED, ring_place(n, toy, i, 0x2000));
		write16(common + COMMON_QUEUE_VECTOR, (uint16_t)value(n) & 7);
		write64(ring(toy, i, 0x1000), 0);
		write16(common + COMMON_QUEUE_ENABLE, 1);
		toy->avail_idx[i] = 0;
	}
	write16(common + COMMON_CONFIG_VECTOR, (uint16_t)value(n) & 7);
	if (below(n, 8) == 0)
		msix_control(&toy->v.pci, below(n, 4) ? MSIX_ENABLE : (uint16_t)value(n));
	write8(common + COMMON_STATUS, 0xf);
}

static void describe(struct noise *n, volatile struct descriptor *d)
{
	d->address = buffer(n);
	d->length = below(n, 4) ? 16 + 16 * below(n, 300) : (uint32_t)value(n);
	d->flags = (uint16_t)(below(n, 16) ? below(n, 4) : value(n));
	d->next = (uint16_t)(below(n, 16) ? below(n, RING_SIZE) : value(n));
}

/* A request as it should be, for a disk. */
static void block_chain(struct noise *n, volatile struct descriptor *d, uint16_t at)
{
	uint64_t header = in_arena(n) & ~63ULL;
	bool in = below(n, 2);

	write64(header, 1ULL << 32 | (in ? BLOCK_IN : below(n, 16)));
	write64(header + 8, below(n, 16) ? below(n, 2048) : value(n));
	d[at] = (struct descriptor){ header, 16, DESC_NEXT, (uint16_t)(at + 1) };
	d[at + 1] = (struct descriptor){ in_arena(n) & ~511ULL, SECTOR * (1 + below(n, 8)),
		                         (uint16_t)(DESC_NEXT | (in ? DESC_WRITE : 0)),
		                         (uint16_t)(at + 2) };
	d[at + 2] = (struct descriptor){ header + 32, 1, DESC_WRITE, 0 };
}

static void request(struct noise *n)
{
	struct toy *toy = any_toy(n);
	uint32_t queue = below(n, QUEUES);
	volatile struct descriptor *d = (volatile struct descriptor *)ring(toy, queue, 0);
	uint64_t avail = ring(toy, queue, 0x1000);
	uint16_t at = (uint16_t)below(n, RING_SIZE - 3);

	if (toy->type == VIRTIO_BLOCK && below(n, 4))
		block_chain(n, d, at);
	else
		describe(n, &d[at]);
	write16(avail + 4 + 2 * (toy->avail_idx[queue] & (RING_SIZE - 1)), at);
	toy->avail_idx[queue] += below(n, 32) ? 1 : (uint16_t)value(n);
	write16(avail + 2, toy->avail_idx[queue]);
	write16(toy->v.notify + queue * toy->v.notify_step, (uint16_t)queue);
}

/* Rings change under whoever reads them. */
static void scribble(struct noise *n)
{
	const struct toy *toy = any_toy(n);
	uint64_t at = ring(toy, below(n, QUEUES), below(n, RING_BYTES) & ~7u);

	if (below(n, 2))
		describe(n, (volatile struct descriptor *)(at & ~15ULL));
	else
		write64(at, harmless_address(value(n)));
}

static void reset(struct noise *n)
{
	const struct virtio *v = &any_toy(n)->v;

	if (below(n, 2)) {
		write8(v->common + COMMON_STATUS, 0);
		return;
	}
	write16(v->common + COMMON_QUEUE_SELECT, (uint16_t)below(n, 4));
	write16(v->common + COMMON_QUEUE_RESET, 1);
}

/* Half the time by an APIC that noise may have turned off or set to a priority that none has. */
static void let_interrupts_in(struct noise *n)
{
	if (below(n, 2))
		apic_enable();
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* What makes KVM wait for all its readers costs it milliseconds. */
static void move_or_route(struct noise *n)
{
	switch (below(n, 16)) {
	case 0:
		move_bar(n);
		return;
	case 1:
		table_access(n);
		return;
	default:
		bar_access(n);
	}
}

static void (*const operations[])(struct noise *) = {
	bar_access,
	bar_access,
	bar_access,
	bar_access,
	bar_access,
	doorbell,
	doorbell,
	configuration_access,
	configuration_access,
	hole_access,
	hole_access,
	port_access,
	port_access,
	msr_access,
	msr_access,
	set_up,
	request,
	request,
	request,
	request,
	request,
	request,
	scribble,
	scribble,
	reset,
	let_interrupts_in,
	let_interrupts_in,
	move_or_route,
};

static void make_noise(uint64_t index)
{
	struct noise n = { guest_numbers[0] * 0x9e3779b97f4a7c15ULL + index + 1 };

	for (uint64_t i = 0; i < guest_numbers[1]; i++)
		operations[below(&n, sizeof(operations) / sizeof(operations[0]))](&n);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

struct interrupt_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

#define RFLAGS_IF 0x200ULL

/* One at a time: hundreds can be pending, and the stack is small. */
__attribute__((interrupt)) static void on_interrupt(volatile struct interrupt_frame *frame)
{
	interrupts++;
	wrmsr(X2APIC_EOI, 0);
	frame->rflags &= ~RFLAGS_IF;
}

/* An MSR that is refused: the instruction is passed over. Anything else is the guest's own
 * fault. */
__attribute__((interrupt)) static void on_protection(volatile struct interrupt_frame *frame,
                                                     uint64_t error)
{
	uint16_t code = read16(frame->rip);

	if (code != 0x300f && code != 0x320f)
		guest_power_off(GUEST_FAIL | 13, frame->rip);
	faults++;
	frame->rip += 2;
}

__attribute__((interrupt)) static void on_page_fault(volatile struct interrupt_frame *frame,
                                                     uint64_t error)
{
	guest_power_off(GUEST_FAIL | 14, frame->rip);
}

__attribute__((interrupt)) static void on_bad_code(volatile struct interrupt_frame *frame)
{
	guest_power_off(GUEST_FAIL | 6, frame->rip);
}

static void take_vectors(void)
{
	for (unsigned i = 0; i < 256; i++)
		idt_set(i, on_interrupt);
	idt_set(6, on_bad_code);
	idt_set(13, (void *)on_protection);
	idt_set(14, (void *)on_page_fault);
}

/* ---- before and after ------------------------------------------------------------------------ */

static void find_toys(void)
{
	static const uint16_t types[] = { VIRTIO_BLOCK, VIRTIO_RNG, VIRTIO_CONSOLE, VIRTIO_NET,
		                          VIRTIO_VSOCK };

	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct pci_function unused;

		if (!pci_find((0x1040u + types[i]) << 16 | 0x1af4u, 0, &unused))
			continue;
		virtio_find(types[i], 0, &toys[toy_count].v);
		toys[toy_count++].type = types[i];
	}
	check(toy_count > 0 && toys[0].type == VIRTIO_BLOCK);
}

/* Every device is itself again: it is reset, set up by the book, and does not complain; the disk
 * works. */
static void prove_all(void)
{
	static struct queue queues[QUEUES];

	for (uint32_t i = 0; i < toy_count; i++) {
		write32(toys[i].v.pci.config + PCI_BAR0, (uint32_t)toys[i].v.pci.bar);
		write16(toys[i].v.pci.config + PCI_COMMAND,
		        PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	}
	for (uint32_t i = 0; i < toy_count; i++) {
		struct virtio *v = &toys[i].v;

		guest_pages_reset();
		virtio_begin(v, F_EVENT_IDX | F_INDIRECT | F_RING_RESET | BLOCK_F_FLUSH);
		for (uint16_t q = 0; q < v->queues && q < QUEUES; q++)
			queue_begin(&queues[q], v, q, 8);
		virtio_start(v);
		if (toys[i].type == VIRTIO_BLOCK)
			block_prove(&queues[0], 3, 3);
		check(!(virtio_status(v) & STATUS_NEEDS_RESET));
		virtio_reset(v);
	}
}

static void say_done(void)
{
	static struct queue q;
	static volatile char word[SECTOR] __attribute__((aligned(8))) = "the noise is over";

	guest_pages_reset();
	virtio_begin(&toys[0].v, BLOCK_F_FLUSH);
	queue_begin(&q, &toys[0].v, 0, 8);
	virtio_start(&toys[0].v);
	check_equal(block_do(&q, BLOCK_OUT, WORD_SECTOR, word, SECTOR), BLOCK_OK);
	check_equal(block_do(&q, BLOCK_FLUSH, 0, NULL, 0), BLOCK_OK);
	virtio_reset(&toys[0].v);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	static volatile uint32_t ready;

	if (index > 0) {
		while (!ready)
			relax();
		idt_load();
		apic_enable();
		make_noise(index);
		__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
		for (;;)
			__asm__ volatile("cli; hlt");
	}
	check_equal(ram, ARENA + ARENA_BYTES);
	take_vectors();
	apic_enable();
	find_toys();
	prove_all();
	ready = 1;
	make_noise(index);
	while (done != count - 1)
		relax();
	apic_enable();
	prove_all();
	/* What the noise has left there; before the host is told, who then presses the button: a
	 * press after it counts. */
	(void)read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS);
	say_done();
	while (!(read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS) & ACPI_EVENT_POWER_BUTTON))
		for (unsigned i = 0; i < 10000; i++)
			relax();
	guest_power_off(GUEST_PASS, interrupts + faults);
}
