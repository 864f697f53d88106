/* SPDX-License-Identifier: MIT */
/* What nobody answers reads as all ones and takes every write, by port and by address, in every
 * width: in the hole below 4 GiB, beyond the end of RAM, and across the end of a claimed range. */
#include "lib/guest.h"

#define RAM_END (16u << 20)

static void check_ports(uint16_t port)
{
	uint8_t string[4] = { 0 };
	uint8_t *to = string;
	uint64_t n = sizeof(string);

	check_equal(inb(port), 0xff);
	check_equal(inw(port), 0xffff);
	check_equal(inl(port), 0xffffffff);
	outb(port, 0x12);
	__asm__ volatile("outw %w0, %1; outl %0, %1" : : "a"(0x12345678), "d"(port));
	check_equal(inb(port), 0xff);
	__asm__ volatile("cld; rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	for (unsigned i = 0; i < sizeof(string); i++)
		check_equal(*(volatile uint8_t *)&string[i], 0xff);
}

static void check_reads(uint64_t address)
{
	check_equal(read8(address), 0xff);
	check_equal(read16(address), 0xffff);
	check_equal(read32(address), 0xffffffff);
	check_equal(read64(address), ~0ULL);
}

static void check_address(uint64_t address)
{
	check_reads(address);
	write8(address, 0x12);
	write16(address, 0x1234);
	write32(address, 0x12345678);
	write64(address, 0x123456789abcdef0);
	check_reads(address);
	check_reads(address + 1);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	check_equal(ram, RAM_END);
	check_ports(0x0);
	check_ports(0x1234);
	check_ports(0xfff8);
	check_address(RAM_END);
	check_address(0x7ffffff0);
	check_address(LAYOUT_BAR_WINDOW + LAYOUT_BAR_WINDOW_SIZE);
	check_address(0xf0000000);
	check_address(0xfffffff0);
	/* The last bytes of RAM are RAM, and the access that leaves it is no one's business. */
	write64(RAM_END - 8, 0x1122334455667788);
	check_equal(read64(RAM_END - 8), 0x1122334455667788);
	/* Half in the ACPI registers' window, half not: nobody's. */
	check_equal(read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS), 0);
	check_equal(read8(LAYOUT_PANIC_REGISTER + 0xf) == 0xff, 0);
	check_equal(read16(LAYOUT_PANIC_REGISTER + 0xf), 0xffff);
	guest_halt(GUEST_PASS, 0);
}
