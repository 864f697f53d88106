/* SPDX-License-Identifier: MIT */
/* Legacy ports: the few without which a stock kernel would misbehave.
 *
 * To a driver that probes, all ones from an unanswered port means "no such device". A few places of
 * a kernel do not probe but assume that a PC has the port. There all ones means something else (an
 * error is pending, the controller is busy), and a feature that we offer (the nmi command, a
 * guest's reset) would fail. Each row is such a place. */
#include "machine/legacy_ports.h"

#include <assert.h>

#include "guest/layout.h"

/* Bits of the NMI status port as the PC has them: 7 and 6 are errors of the bus, 5 is the output of
 * the timer's channel 2, 0 its gate. */
#define NMI_STATUS_GATE 0x01u
#define NMI_STATUS_TIMER_OUTPUT 0x20u

/* The keyboard controller's command that pulses the processor's reset line. */
#define KEYBOARD_PULSE_RESET 0xfeu

/* Of the reset control port: bits 1 and 3 select the kind of reset, setting bit 2 carries it
 * out. */
#define RESET_CONTROL_NOW 0x04u
#define RESET_CONTROL_KIND 0x0au

static void ask_for_reset(struct legacy_ports *legacy)
{
	atomic_store(&legacy->acpi->request, ACPI_REQUEST_RESET);
}

static uint64_t read_zero(void *context, uint64_t offset, uint32_t width)
{
	(void)context;
	(void)offset;
	(void)width;
	return 0;
}

static uint64_t nmi_status_read(void *context, uint64_t offset, uint32_t width)
{
	struct legacy_ports *legacy = context;

	(void)offset;
	(void)width;
	return atomic_load(&legacy->gate) ? NMI_STATUS_TIMER_OUTPUT : 0;
}

static void nmi_status_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct legacy_ports *legacy = context;

	(void)offset;
	(void)width;
	atomic_store(&legacy->gate, (uint8_t)(value & NMI_STATUS_GATE));
}

static void keyboard_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	(void)offset;
	(void)width;
	if (value == KEYBOARD_PULSE_RESET)
		ask_for_reset(context);
}

static uint64_t reset_control_read(void *context, uint64_t offset, uint32_t width)
{
	struct legacy_ports *legacy = context;

	(void)offset;
	(void)width;
	return atomic_load(&legacy->reset_kind);
}

static void reset_control_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct legacy_ports *legacy = context;

	(void)offset;
	(void)width;
	atomic_store(&legacy->reset_kind, (uint8_t)(value & RESET_CONTROL_KIND));
	if (value & RESET_CONTROL_NOW)
		ask_for_reset(legacy);
}

/* README.md has the full reasons, and the ports without a row. */
static const struct legacy_port {
	uint16_t base, count;
	struct bus_ops ops;
} rows[] = {
	/* The counter stands at 0: Linux without kvmclock gives up its calibration at the first
	 * read. All ones would look like a counter that has just started, and Linux would read it
	 * 100,000 times. */
	{ LAYOUT_PORT_TIMER, 4, { .read = read_zero } },
	/* No error of the bus is pending, so an NMI has no known source, which is what the nmi
	 * command means. A guest that opens the gate of channel 2 waits for its output without a
	 * limit; here the output is set at once. */
	{ LAYOUT_PORT_NMI_STATUS, 1, { .read = nmi_status_read, .write = nmi_status_write } },
	/* Nothing to read and ready for a command: reboot=k waits for that before it pulses the
	 * reset line. */
	{ LAYOUT_PORT_KEYBOARD, 1, { .read = read_zero, .write = keyboard_write } },
	/* reboot=p. A byte alone: a dword here is the address register of a PCI mechanism that we
	 * do not have. */
	{ LAYOUT_PORT_RESET_CONTROL,
	  1,
	  { .read = reset_control_read, .write = reset_control_write } },
};
static_assert(ARRAY_SIZE(rows) < BUS_RANGES_MAX / 2, "and room for the others");

int legacy_ports_add(struct legacy_ports *legacy, struct acpi_registers *acpi, struct bus *ports)
{
	int r = 0;

	*legacy = (struct legacy_ports){ .acpi = acpi };
	for (size_t i = 0; i < ARRAY_SIZE(rows) && r == 0; i++)
		r = bus_add(ports, rows[i].base, rows[i].count, &rows[i].ops, legacy);
	return r;
}
