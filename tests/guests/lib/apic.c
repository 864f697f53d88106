/* SPDX-License-Identifier: MIT */
/* Interrupts of a bare-metal guest. */
#include "apic.h"

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};

static struct gate idt[256];

void apic_enable(void)
{
	wrmsr(X2APIC_SPURIOUS, 0x1ff);
	wrmsr(X2APIC_TPR, 0);
}

void idt_load(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(idt) - 1, (uint64_t)idt };

	__asm__ volatile("lidt %0" : : "m"(pointer));
}

void idt_set(unsigned vector, interrupt_handler *handler)
{
	uint64_t to = (uint64_t)handler;
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	/* 0x8e: present, DPL 0, interrupt gate. */
	idt[vector] = (struct gate){ (uint16_t)to,         cs, 0, 0x8e, (uint16_t)(to >> 16),
		                     (uint32_t)(to >> 32), 0 };
	idt_load();
}
