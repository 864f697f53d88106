/* SPDX-License-Identifier: MIT */
/* What an exit to user space and back takes: RAX for a write to a port that nobody answers, RBX for
 * a read of the ACPI event register, in cycles of the TSC. */
#include "lib/guest.h"

#ifndef TURNS
#define TURNS 1024u
#endif
#define EXITS (8 * TURNS)
#define PORT 0x1234

/* Eight in a row, so that the loop around them counts little where CPL 0 is emulated. */
static uint64_t ports(void)
{
	uint64_t start = rdtsc();

	for (unsigned i = 0; i < TURNS; i++)
		__asm__ volatile("out %%al, %%dx; out %%al, %%dx; out %%al, %%dx; out %%al, %%dx;"
		                 "out %%al, %%dx; out %%al, %%dx; out %%al, %%dx; out %%al, %%dx"
		                 :
		                 : "a"(0), "d"(PORT));
	return (rdtsc() - start) / EXITS;
}

static uint64_t mmio(void)
{
	uint64_t address = LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS;
	uint64_t start = rdtsc();

	for (unsigned i = 0; i < TURNS; i++)
		__asm__ volatile(
			"mov (%0), %%eax; mov (%0), %%eax; mov (%0), %%eax; mov (%0), %%eax;"
			"mov (%0), %%eax; mov (%0), %%eax; mov (%0), %%eax; mov (%0), %%eax"
			:
			: "r"(address)
			: "eax", "memory");
	return (rdtsc() - start) / EXITS;
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	(void)index;
	(void)count;
	(void)ram;
	(void)stack;
	guest_halt(ports(), mmio());
}
