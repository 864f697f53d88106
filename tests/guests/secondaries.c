/* SPDX-License-Identifier: MIT */
/* vCPU 0 starts the others as a PC does, by INIT and start-up IPI (SDM 3A §9.4), through real mode;
 * each checks that its x2APIC id is the one its CPUID tells and that nobody else has it. */
#define GUEST_HAS_APIC
#include "lib/apic.h"

/* A free page below 1 MiB; its number is the vector of the start-up IPI. */
#define TRAMPOLINE 0x8000u
#define ALL_BUT_SELF (3u << 18)
#define ICR_INIT 0x4500u
#define ICR_STARTUP 0x4600u

void secondary_main(uint64_t order);
extern const char trampoline[], trampoline_end[];
extern volatile uint32_t trampoline_next;
static volatile uint32_t arrived, seen[256];

/* Called on the stack of `order`, which counts from 1 in the order of arrival. */
void secondary_main(uint64_t order)
{
	uint32_t id = (uint32_t)rdmsr(X2APIC_ID);

	(void)order;
	if (id < 256 && id == cpuid(1, 0).ebx >> 24 && id == cpuid(0xb, 0).edx)
		__atomic_fetch_add(&seen[id], 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	check_equal(index, 0);
	check_equal(rdmsr(X2APIC_ID), 0);
	for (size_t i = 0; i < (size_t)(trampoline_end - trampoline); i++)
		write8(TRAMPOLINE + i, (uint8_t)trampoline[i]);
	wrmsr(X2APIC_ICR, ALL_BUT_SELF | ICR_INIT);
	wrmsr(X2APIC_ICR, ALL_BUT_SELF | ICR_STARTUP | TRAMPOLINE >> 12);
	while (arrived != count - 1)
		relax();
	for (uint64_t i = 1; i < count; i++)
		check_equal(seen[i], 1);
	guest_power_off(GUEST_PASS, count);
}
/* Real mode, CS:IP = 0x800:0, to long mode in one step: paging and protection come on together. The
 * tables and the GDT are those that vCPU 0 was started with. */
__asm__(".pushsection .rodata\n"
        ".globl trampoline, trampoline_end\n"
        ".code16\n"
        "trampoline:\n"
        "	cli\n"
        "	mov %cs, %ax\n"
        "	mov %ax, %ds\n"
        "	mov $0x20, %eax\n"
        "	mov %eax, %cr4\n"
        "	mov $0x9000, %eax\n"
        "	mov %eax, %cr3\n"
        "	mov $0xc0000080, %ecx\n"
        "	mov $0x100, %eax\n"
        "	xor %edx, %edx\n"
        "	wrmsr\n"
        "	lgdtl (gdt_pointer - trampoline)\n"
        "	mov $0x80000011, %eax\n"
        "	mov %eax, %cr0\n"
        "	ljmpl *(far_pointer - trampoline)\n"
        "gdt_pointer:\n"
        "	.word 0x1f\n"
        "	.long 0x500\n"
        "far_pointer:\n"
        "	.long secondary_start\n"
        "	.word 0x10\n"
        "trampoline_end:\n"
        ".popsection\n"
        ".code64\n"
        ".pushsection .text\n"
        "secondary_start:\n"
        "	mov $0x18, %eax\n"
        "	mov %eax, %ds\n"
        "	mov %eax, %es\n"
        "	mov %eax, %ss\n"
        "	mov $1, %edi\n"
        "	lock xadd %edi, trampoline_next\n"
        "	mov %edi, %eax\n"
        "	inc %eax\n"
        "	shl $11, %eax\n"
        "	add $0x10000, %eax\n"
        "	mov %rax, %rsp\n"
        "	call secondary_main\n"
        ".popsection\n");
volatile uint32_t trampoline_next = 1;
