/* SPDX-License-Identifier: MIT */
/* A guest as an orchestrator wants it, for the examples (runtime/launch/examples): its balloon
 * gives up memory and takes it back as the host asks, and it powers off when its power button is
 * pressed, at any time from its first instruction on. Sleeps in between. */
#define GUEST_HAS_APIC
#include "lib/apic.h"
#include "lib/virtio.h"

#define BUTTON_VECTOR 0x60u /* above those of virtio.h */
#define PAGE 4096u
#define FIRST 0x800000u /* what is given up, from here on; above what guest_pages gives */
#define BATCH 256u      /* as many as Linux has in a request */
#define CONFIG_WANTED 0 /* pages: num_pages and actual, VIRTIO 1.2 §5.5.4 */
#define CONFIG_ACTUAL 4

enum { INFLATE, DEFLATE, QUEUES };

static struct virtio balloon;
static struct queue queues[QUEUES];
static volatile uint32_t list[BATCH];
static uint32_t given;

__attribute__((interrupt)) static void on_button(volatile struct interrupt_frame *frame)
{
	apic_eoi();
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	write32(LAYOUT_IOAPIC, index);
	write32(LAYOUT_IOAPIC + 0x10, value);
}

static void button_begin(void)
{
	uint32_t entry = 0x10 + 2 * LAYOUT_GED_PIN;

	idt_set(BUTTON_VECTOR, on_button);
	ioapic_write(entry + 1, 0); /* to the vCPU with id 0 */
	ioapic_write(entry, BUTTON_VECTOR);
}

static void balloon_begin(void)
{
	virtio_find(VIRTIO_BALLOON, 0, &balloon);
	virtio_begin(&balloon, F_EVENT_IDX);
	for (uint16_t i = 0; i < QUEUES; i++)
		queue_begin(&queues[i], &balloon, i, 128);
	virtio_start(&balloon);
}

static void move(uint16_t queue, uint32_t first, uint32_t count)
{
	const struct part part = { list, 4 * count, false };
	uint32_t written;

	for (uint32_t i = 0; i < count; i++)
		list[i] = FIRST / PAGE + first + i;
	(void)queue_add(&queues[queue], &part, 1);
	queue_kick(&queues[queue]);
	(void)queue_wait(&queues[queue], &written);
}

/* One batch towards what the host wants; false: it has that already. */
static bool balloon_step(uint32_t most)
{
	uint32_t wanted = read32(balloon.specific + CONFIG_WANTED), count;

	wanted = wanted < most ? wanted : most;
	if (wanted == given)
		return false;
	count = wanted > given ? wanted - given : given - wanted;
	count = count < BATCH ? count : BATCH;
	if (wanted > given) {
		move(INFLATE, given, count);
		given += count;
	} else {
		given -= count;
		move(DEFLATE, given, count);
	}
	write32(balloon.specific + CONFIG_ACTUAL, given);
	return true;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	if (index != 0)
		guest_halt(GUEST_PASS, index);
	check(ram > FIRST);
	irq_begin();
	button_begin();
	balloon_begin();
	for (;;) {
		/* Off: an interrupt that comes after the looks below is still there to wake. */
		__asm__ volatile("cli" : : : "memory");
		if (read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS) & ACPI_EVENT_POWER_BUTTON)
			guest_power_off(GUEST_PASS, given);
		if (balloon_step((uint32_t)((ram - FIRST) / PAGE)))
			continue;
		wait_for_interrupt();
	}
}
