/* SPDX-License-Identifier: MIT */
/* Ports of the PC on the paths of a stock kernel: what has a row in machine/legacy_ports.c, and,
 * beside it, what is to read as all ones. Nothing here is a reset. */
#include "lib/guest.h"

/* Where all ones says "no such device" to who looks, or nobody looks: runtime/machine/README.md. */
static const uint16_t absent[] = {
	0x20,  0x21,  0xa0,  0xa1, /* interrupt controllers */
	0x22,  0x23,               /* IMCR */
	0x60,  0x62,  0x65,        /* beside the keyboard controller's */
	0x70,  0x71,               /* CMOS */
	0x80,  0x92,  0xb2,        /* delay, fast reset, SMI */
	0x2f8, 0x3d4, 0x4d0, 0x4d1, 0xcf8, 0xcfa, 0xcfb, 0xcfc, 0xcff,
};

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "d"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "d"(port));
}

static void nmi_status(void)
{
	check_equal(inb(LAYOUT_PORT_NMI_STATUS), 0);
	/* As Linux disables and enables an error's line. */
	outb(LAYOUT_PORT_NMI_STATUS, 0x0c);
	check_equal(inb(LAYOUT_PORT_NMI_STATUS), 0);
	/* The gate of channel 2 opened: its output is there, and no error. */
	outb(LAYOUT_PORT_NMI_STATUS, (uint8_t)((inb(LAYOUT_PORT_NMI_STATUS) & ~0x02) | 0x01));
	check_equal(inb(LAYOUT_PORT_NMI_STATUS), 0x20);
	outb(LAYOUT_PORT_NMI_STATUS, 0xfe);
	check_equal(inb(LAYOUT_PORT_NMI_STATUS), 0);
}

static void timer(void)
{
	for (uint16_t port = LAYOUT_PORT_TIMER; port < LAYOUT_PORT_TIMER + 4; port++) {
		outb(port, 0xb0);
		check_equal(inb(port), 0);
	}
	check_equal(inl(LAYOUT_PORT_TIMER), 0);
}

static void keyboard(void)
{
	check_equal(inb(LAYOUT_PORT_KEYBOARD), 0);
	for (unsigned command = 0; command < 256; command++)
		if (command != 0xfe)
			outb(LAYOUT_PORT_KEYBOARD, (uint8_t)command);
	outb(0x60, 0xfe);
	outw(0x63, 0xfefe);
	check_equal(inb(LAYOUT_PORT_KEYBOARD), 0);
}

static void reset_control(void)
{
	check_equal(inb(LAYOUT_PORT_RESET_CONTROL), 0);
	for (unsigned value = 0; value < 256; value++)
		if (!(value & 4)) {
			outb(LAYOUT_PORT_RESET_CONTROL, (uint8_t)value);
			check_equal(inb(LAYOUT_PORT_RESET_CONTROL), value & 0x0a);
		}
	/* As Linux looks for the PCI mechanism by these ports, and uses it. */
	outb(0xcfb, 0x01);
	outl(0xcf8, 0x80000000);
	check_equal(inl(0xcf8), 0xffffffff);
	outl(0xcf8, 0xffffffff);
	outw(0xcf8, 0xffff);
	outw(0xcf9, 0xffff);
	check_equal(inb(LAYOUT_PORT_RESET_CONTROL), 0x0a);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	nmi_status();
	timer();
	keyboard();
	reset_control();
	for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		check_equal(inb(absent[i]), 0xff);
	guest_halt(GUEST_PASS, 0);
}
