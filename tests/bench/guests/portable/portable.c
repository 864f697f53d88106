/* SPDX-License-Identifier: MIT */
/* See portable.h. */
#include "portable.h"

#define START_INFO_CMDLINE 24 /* hvm_start_info.cmdline_paddr */
#define PIC_FIRST_MASK 0x21
#define PIC_SECOND_MASK 0xa1
#define UART 0x3f8
#define APIC_BASE 0x1b
#define APIC_BASE_X2APIC 0xc00 /* enabled, in x2APIC mode */
#define CPUID_X2APIC (1u << 21)
#define SPARE_TABLES 8u
#define PRESENT_WRITABLE 3u
#define LARGE 0x80u

extern uint64_t portable_pml4[512];

static const char *command_line;
static uint64_t spare[SPARE_TABLES][512] __attribute__((aligned(4096)));
static unsigned spare_used;

void portable_begin(uint64_t start_info)
{
	command_line = (const char *)read64(start_info + START_INFO_CMDLINE);
	outb(PIC_FIRST_MASK, 0xff);
	outb(PIC_SECOND_MASK, 0xff);
	if (!(cpuid(1, 0).ecx & CPUID_X2APIC))
		portable_end(GUEST_FAIL | __LINE__, 0);
	wrmsr(APIC_BASE, rdmsr(APIC_BASE) | APIC_BASE_X2APIC);
}

/* Where the text goes on after "name=", at the start of a word; NULL: not this word. */
static const char *after_name(const char *word, const char *name)
{
	while (*name && *word == *name) {
		word++;
		name++;
	}
	return *name == '\0' && *word == '=' ? word + 1 : NULL;
}

uint64_t portable_option(const char *name, uint64_t otherwise)
{
	const char *at = command_line, *value;
	uint64_t number = 0;

	while (at && *at) {
		value = after_name(at, name);
		for (; value && *value >= '0' && *value <= '9'; value++)
			number = number * 10 + (uint64_t)(*value - '0');
		if (value)
			return number;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return otherwise;
}

void portable_say(const char *name, uint64_t value)
{
	char digits[20];
	unsigned count = 0;

	while (*name)
		outb(UART, (uint8_t)*name++);
	outb(UART, ' ');
	do
		digits[count++] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	while (count > 0)
		outb(UART, (uint8_t)digits[--count]);
	outb(UART, '\n');
}

/* One after the other, until one of them ends it. The order matters: Cloud Hypervisor takes the
 * keyboard controller's reset for a reboot, and stops the vCPU at the write before it. */
_Noreturn void portable_end(uint64_t rax, uint64_t rbx)
{
	__asm__ volatile("movb %[off], (%[window])\n" /* AxVM: power off, in the ACPI window */
	                 :
	                 : "a"(rax), "b"(rbx), [off] "c"((uint8_t)(ACPI_S5_TYPE << 2 | 0x20)),
	                   [window] "S"((uint64_t)LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_CONTROL)
	                 : "memory");
	outb(0x600, 0x34); /* Cloud Hypervisor: ACPI's S5 */
	outb(0xf4, 0);     /* QEMU: isa-debug-exit, status 1 */
	outb(0x64, 0xfe);  /* Firecracker: the keyboard controller's reset */
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* The table that an entry leads to; a new one where it leads nowhere. */
static uint64_t *table_of(uint64_t *entry)
{
	if (!*entry) {
		if (spare_used == SPARE_TABLES)
			portable_end(GUEST_FAIL | __LINE__, (uint64_t)entry);
		*entry = (uint64_t)spare[spare_used++] | PRESENT_WRITABLE;
	}
	return (uint64_t *)(*entry & ~0xfffULL);
}

void portable_map(uint64_t address)
{
	uint64_t *pdpt = table_of(&portable_pml4[address >> 39 & 511]);
	uint64_t *directory = table_of(&pdpt[address >> 30 & 511]);

	directory[address >> 21 & 511] = (address & ~0x1fffffULL) | PRESENT_WRITABLE | LARGE;
}
