/* SPDX-License-Identifier: MIT */
/* The registers of hardware-reduced ACPI. */
#include "machine/acpi_registers.h"

#include "guest/layout.h"

#define SLEEP_CONTROL_ENABLE 0x20u
#define SLEEP_CONTROL_TYPE(value) ((value) >> 2 & 7u)

/* The interface of the pvpanic device: the bits that a driver may write; a read returns those that
 * we know. */
#define PANIC_PANICKED 0x1u
#define PANIC_CRASH_LOADED 0x2u /* the guest makes its own crash dump: do not stop it */

static uint64_t registers_read(void *context, uint64_t offset, uint32_t width)
{
	struct acpi_registers *registers = context;

	if (offset == ACPI_REG_EVENTS && width == sizeof(uint32_t))
		return atomic_exchange(&registers->events, 0);
	return 0;
}

static void registers_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct acpi_registers *registers = context;

	(void)width;
	if (offset == ACPI_REG_SLEEP_CONTROL && value & SLEEP_CONTROL_ENABLE &&
	    SLEEP_CONTROL_TYPE(value) == ACPI_S5_TYPE)
		atomic_store(&registers->request, ACPI_REQUEST_POWER_OFF);
	else if (offset == ACPI_REG_RESET && (value & 0xff) == ACPI_RESET_VALUE)
		atomic_store(&registers->request, ACPI_REQUEST_RESET);
}

const struct bus_ops acpi_registers_bus_ops = {
	.read = registers_read,
	.write = registers_write,
};

static uint64_t panic_read(void *context, uint64_t offset, uint32_t width)
{
	(void)context;
	(void)width;
	return offset == 0 ? PANIC_PANICKED | PANIC_CRASH_LOADED : 0;
}

static void panic_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct acpi_registers *registers = context;

	(void)width;
	if (offset == 0 && value & PANIC_PANICKED)
		atomic_store(&registers->panicked, true);
}

const struct bus_ops panic_register_bus_ops = {
	.read = panic_read,
	.write = panic_write,
};

static void reset_port_write(void *context, uint64_t offset, uint32_t width, uint64_t value)
{
	struct acpi_registers *registers = context;

	(void)offset;
	(void)width;
	if ((value & 0xff) == ACPI_RESET_VALUE)
		atomic_store(&registers->request, ACPI_REQUEST_RESET);
}

const struct bus_ops reset_port_bus_ops = {
	.write = reset_port_write,
};

void acpi_press_power_button(struct acpi_registers *registers)
{
	atomic_fetch_or(&registers->events, ACPI_EVENT_POWER_BUTTON);
	ioapic_raise(registers->ioapic, LAYOUT_GED_PIN);
}
