/* SPDX-License-Identifier: MIT */
/* Waits for the power button as hardware-reduced ACPI has it: the event device's pin of the I/O
 * APIC, then its register, which says which event and is cleared by being read. Then powers off,
 * after so many ticks of the TSC as the test has written into the image; a second press in that
 * time is a fault. */
#define GUEST_HAS_APIC
#include "lib/apic.h"

#define VECTOR 0x41u

static volatile uint32_t interrupts;

__attribute__((interrupt)) static void on_event(volatile struct interrupt_frame *frame)
{
	interrupts++;
	apic_eoi();
}

static void ioapic_write(uint32_t index, uint32_t value)
{
	write32(LAYOUT_IOAPIC, index);
	write32(LAYOUT_IOAPIC + 0x10, value);
}

static uint32_t ioapic_read(uint32_t index)
{
	write32(LAYOUT_IOAPIC, index);
	return read32(LAYOUT_IOAPIC + 0x10);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint32_t entry = 0x10 + 2 * LAYOUT_GED_PIN;

	if (index != 0)
		guest_halt(GUEST_PASS, index);
	check_equal(ioapic_read(1) >> 16, LAYOUT_IOAPIC_PINS - 1);
	check_equal(ioapic_read(entry) >> 16, 1); /* masked from the start */
	idt_set(VECTOR, on_event);
	apic_enable();
	ioapic_write(entry + 1, 0); /* to the vCPU with id 0 */
	ioapic_write(entry, VECTOR);
	while (!interrupts)
		wait_for_interrupt();
	check_equal(read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS), ACPI_EVENT_POWER_BUTTON);
	check_equal(read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS), 0);
	for (uint64_t until = rdtsc() + guest_numbers[0]; rdtsc() < until;)
		relax();
	check_equal(interrupts, 1);
	check_equal(read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS), 0);
	guest_power_off(GUEST_PASS, interrupts);
}
