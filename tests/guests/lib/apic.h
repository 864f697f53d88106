/* SPDX-License-Identifier: MIT */
/* Interrupts: x2APIC by MSR (SDM 3A §11.12), and an IDT with a handler a vector. */
#ifndef AXVM_GUESTS_LIB_APIC_H
#define AXVM_GUESTS_LIB_APIC_H

#include "guest.h"

enum {
	X2APIC_ID = 0x802,
	X2APIC_TPR = 0x808,
	X2APIC_EOI = 0x80b,
	X2APIC_SPURIOUS = 0x80f,
	X2APIC_ICR = 0x830,
	X2APIC_LVT_TIMER = 0x832,
	X2APIC_TIMER_INITIAL = 0x838,
	X2APIC_TIMER_CURRENT = 0x839,
	X2APIC_TIMER_DIVIDE = 0x83e,
	TSC_DEADLINE = 0x6e0,
};

/* Volatile, since only IRET reads what a handler writes there: gcc 14 takes such a store for
 * dead. */
struct interrupt_frame;
typedef void interrupt_handler(volatile struct interrupt_frame *frame);

/* Software-enables the APIC of this vCPU, for interrupts of every priority; spurious ones go to
 * vector 0xff. */
void apic_enable(void);
FROM_HANDLER static inline void apic_eoi(void)
{
	wrmsr(X2APIC_EOI, 0);
}

/* Sets the handler of a vector and loads the IDT, which all vCPUs share; the others load it. */
void idt_load(void);
void idt_set(unsigned vector, interrupt_handler *handler);

/* Waits for one interrupt, whichever, and leaves interrupts off. There is no window between the two
 * instructions: STI takes effect after the next one. */
static inline void wait_for_interrupt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

#endif
