/* SPDX-License-Identifier: MIT */
/* Every vCPU finds the entry state that FlatBoot promises and an APIC id of its own in CPUID,
 * leaves its mark, and halts; vCPU 0 waits for all the marks and halts with their count in RBX. */
#include "lib/guest.h"

static volatile uint32_t marks[256];

static void check_entry(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t cr0, cr4, flags;

	__asm__ volatile("mov %%cr0, %0; mov %%cr4, %1; pushf; pop %2"
	                 : "=r"(cr0), "=r"(cr4), "=r"(flags));
	check(index < count);
	check_equal(ram, 16 << 20);
	check_equal(stack, LAYOUT_FLAT_STACKS + (index + 1) * LAYOUT_FLAT_STACK_SIZE);
	check_equal(cr0 & 0x80000001, 0x80000001); /* PG, PE */
	check_equal(cr4 & 0x20, 0x20);             /* PAE */
	check_equal(flags & 0x200, 0);             /* IF */
}

static void check_cpuid(uint64_t index, uint64_t count)
{
	struct cpuid one = cpuid(1, 0);
	struct cpuid thread = cpuid(0xb, 0), core = cpuid(0xb, 1);

	check_equal(one.ebx >> 24, index);
	check(one.ecx & 1u << 31); /* a hypervisor is there */
	check_equal(thread.edx, index);
	check_equal(thread.ecx, 0x100);
	check_equal(core.edx, index);
	check_equal(core.ecx, 0x201);
	check_equal(core.ebx, count);
	check(1u << core.eax >= count);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	check_entry(index, count, ram, stack);
	check_cpuid(index, count);
	marks[index] = (uint32_t)index + 1;
	if (index != 0)
		guest_halt(GUEST_PASS, index);
	for (uint64_t i = 0; i < count; i++)
		while (marks[i] != i + 1)
			relax();
	guest_halt(GUEST_PASS, count);
}
