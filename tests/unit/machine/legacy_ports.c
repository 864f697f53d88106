/* SPDX-License-Identifier: MIT */
/* Ports of the PC: what each reads, and which bytes are a reset. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "guest/layout.h"
#include "machine/legacy_ports.h"

static struct bus ports;
static struct acpi_registers acpi;
static struct legacy_ports legacy;

static void new_ports(void)
{
	memset(&ports, 0, sizeof(ports));
	memset(&acpi, 0, sizeof(acpi));
	cr_assert_eq(legacy_ports_add(&legacy, &acpi, &ports), 0);
}

TestSuite(legacy_ports, .init = new_ports, .timeout = 60);

static uint64_t in(uint16_t port, uint32_t width)
{
	uint64_t value = 0;

	bus_read(&ports, port, &value, width);
	return value;
}

/* Whether the bytes ask for a reset. */
static bool out(uint16_t port, uint32_t width, uint32_t value)
{
	bus_write(&ports, port, &value, width);
	return atomic_exchange(&acpi.request, ACPI_REQUEST_NONE) == ACPI_REQUEST_RESET;
}

/* An NMI is for none of the bus's errors, whatever was written; who waits for channel 2 of the
 * timer does not wait for good. */
Test(legacy_ports, the_nmi_status_port)
{
	cr_assert_eq(in(LAYOUT_PORT_NMI_STATUS, 1), 0);
	for (uint32_t value = 0; value < 256; value++) {
		cr_assert_not(out(LAYOUT_PORT_NMI_STATUS, 1, value));
		cr_assert_eq(in(LAYOUT_PORT_NMI_STATUS, 1), value & 1 ? 0x20 : 0, "after %#x",
		             value);
	}
}

/* Linux's quick calibration takes a counter for started whose upper byte is 0xff, and looks on. */
Test(legacy_ports, the_timer_stands_still)
{
	for (uint16_t port = 0x40; port < 0x44; port++) {
		cr_assert_not(out(port, 1, 0xff));
		cr_assert_eq(in(port, 1), 0);
	}
	cr_assert_eq(in(0x42, 2), 0);
	cr_assert_eq(in(0x3f, 1), 0xff);
	cr_assert_eq(in(0x44, 1), 0xff);
}

Test(legacy_ports, the_keyboard_controllers_reset)
{
	for (uint32_t value = 0; value < 256; value++) {
		cr_assert_eq(in(LAYOUT_PORT_KEYBOARD, 1), 0,
		             "nothing to read, ready for a command");
		cr_assert_eq(out(LAYOUT_PORT_KEYBOARD, 1, value), value == 0xfe, "%#x", value);
	}
	cr_assert_not(out(LAYOUT_PORT_KEYBOARD, 2, 0xfefe), "a word is nobody's");
	cr_assert_not(out(0x63, 2, 0xfefe));
	cr_assert_not(out(0x60, 1, 0xfe));
}

/* Bit 2 resets, bits 1 and 3 are kept; only by a byte, since the PCI mechanism's address begins a
 * port before. */
Test(legacy_ports, the_reset_control_port)
{
	static const struct {
		uint8_t bytes[2];
	} sequences[] = { { { 0x02, 0x06 } }, { { 0x02, 0x0e } }, { { 0x00, 0x04 } } };

	for (uint32_t value = 0; value < 256; value++) {
		cr_assert_eq(out(LAYOUT_PORT_RESET_CONTROL, 1, value), (value & 4) != 0, "%#x",
		             value);
		cr_assert_eq(in(LAYOUT_PORT_RESET_CONTROL, 1), value & 0x0a);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sequences); i++) {
		cr_assert_not(out(LAYOUT_PORT_RESET_CONTROL, 1, sequences[i].bytes[0]));
		cr_assert(out(LAYOUT_PORT_RESET_CONTROL, 1, sequences[i].bytes[1]));
	}
	new_ports();
	cr_assert_not(out(0xcf8, 4, 0xffffffff));
	cr_assert_not(out(0xcf8, 2, 0xffff));
	cr_assert_not(out(0xcf9, 2, 0xffff));
	cr_assert_not(out(0xcfb, 1, 0xff));
	cr_assert_eq(in(0xcf8, 4), 0xffffffff);
	cr_assert_eq(in(LAYOUT_PORT_RESET_CONTROL, 1), 0);
}

/* A bus without room says so. */
Test(legacy_ports, each_range_needs_room)
{
	cr_assert_eq(legacy_ports_add(&legacy, &acpi, &ports), -EEXIST);
	memset(&ports, 0, sizeof(ports));
	ports.count = BUS_RANGES_MAX;
	cr_assert_eq(legacy_ports_add(&legacy, &acpi, &ports), -ENOSPC);
}
