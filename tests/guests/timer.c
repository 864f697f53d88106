/* SPDX-License-Identifier: MIT */
/* HLT waits for an interrupt: three one-shots of the APIC timer, then one TSC deadline. */
#define GUEST_HAS_APIC
#include "lib/apic.h"

#define VECTOR 0x40u
#define LVT_TSC_DEADLINE (2u << 17)

static volatile uint32_t ticks;

__attribute__((interrupt)) static void on_timer(volatile struct interrupt_frame *frame)
{
	ticks++;
	apic_eoi();
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	idt_set(VECTOR, on_timer);
	apic_enable();
	wrmsr(X2APIC_TIMER_DIVIDE, 0xb);
	wrmsr(X2APIC_LVT_TIMER, VECTOR);
	for (uint32_t i = 1; i <= 3; i++) {
		wrmsr(X2APIC_TIMER_INITIAL, 100000);
		wait_for_interrupt();
		check_equal(ticks, i);
		check_equal(rdmsr(X2APIC_TIMER_CURRENT), 0);
	}
	check(cpuid(1, 0).ecx & 1u << 24); /* TSC deadline */
	wrmsr(X2APIC_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR);
	wrmsr(TSC_DEADLINE, rdtsc() + 1000000);
	wait_for_interrupt();
	check_equal(ticks, 4);
	check_equal(rdmsr(TSC_DEADLINE), 0);
	guest_power_off(GUEST_PASS, ticks);
}
