/* SPDX-License-Identifier: MIT */
/* Waits for an NMI and asks, as a stock kernel does, which error of the bus it is for: for none, so
 * that it is for who is to dump. It comes by vector 2, interrupts off or not. A byte on the early
 * console says that it may come. */
#define GUEST_HAS_APIC
#include "lib/apic.h"

#define VECTOR_NMI 2u
#define BUS_ERRORS 0xc0u

static volatile uint32_t nmis;
static volatile uint8_t reason = 0xff;

__attribute__((interrupt)) static void on_nmi(volatile struct interrupt_frame *frame)
{
	reason = inb(LAYOUT_PORT_NMI_STATUS);
	nmis++;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	idt_set(VECTOR_NMI, on_nmi);
	apic_enable();
	outb(LAYOUT_PORT_DEBUG, 'R');
	while (!nmis)
		relax();
	check_equal(reason & BUS_ERRORS, 0);
	guest_power_off(GUEST_PASS, reason);
}
