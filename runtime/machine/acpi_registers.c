/* SPDX-License-Identifier: MIT */
/* The registers of hardware-reduced ACPI. */
#include "machine/acpi_registers.h"

#include <string.h>

#include "machine/layout.h"

#define SLEEP_CONTROL_ENABLE 0x20u
#define SLEEP_CONTROL_TYPE(value) ((value) >> 2 & 7u)

/* The interface of the pvpanic device: bits a driver may write, and reads back as what we know. */
#define PANIC_PANICKED 0x1u
#define PANIC_CRASH_LOADED 0x2u /* the guest dumps itself: leave it alone */

static void registers_read(void *ctx, uint64_t offset, unsigned length, void *data)
{
	struct acpi_registers *registers = ctx;
	uint32_t value = 0;

	if (offset == ACPI_REG_EVENTS && length == sizeof(uint32_t))
		value = atomic_exchange(&registers->events, 0);
	memset(data, 0, length);
	memcpy(data, &value, MIN(length, (unsigned)sizeof(value)));
}

static void registers_write(void *ctx, uint64_t offset, unsigned length, const void *data)
{
	struct acpi_registers *registers = ctx;
	uint8_t value = *(const uint8_t *)data;

	(void)length;
	if (offset == ACPI_REG_SLEEP_CONTROL && value & SLEEP_CONTROL_ENABLE &&
	    SLEEP_CONTROL_TYPE(value) == ACPI_S5_TYPE)
		atomic_store(&registers->request, ACPI_REQUEST_POWER_OFF);
	else if (offset == ACPI_REG_RESET && value == ACPI_RESET_VALUE)
		atomic_store(&registers->request, ACPI_REQUEST_RESET);
}

const struct bus_ops acpi_registers_bus_ops = {
	.read = registers_read,
	.write = registers_write,
};

static void panic_read(void *ctx, uint64_t offset, unsigned length, void *data)
{
	(void)ctx;
	memset(data, 0, length);
	if (offset == 0)
		*(uint8_t *)data = PANIC_PANICKED | PANIC_CRASH_LOADED;
}

static void panic_write(void *ctx, uint64_t offset, unsigned length, const void *data)
{
	struct acpi_registers *registers = ctx;
	uint8_t value = *(const uint8_t *)data;

	(void)length;
	if (offset == 0 && value & PANIC_PANICKED)
		atomic_store(&registers->panicked, true);
}

const struct bus_ops panic_register_bus_ops = {
	.read = panic_read,
	.write = panic_write,
};

void acpi_press_power_button(struct acpi_registers *registers)
{
	atomic_fetch_or(&registers->events, ACPI_EVENT_POWER_BUTTON);
	ioapic_raise(registers->ioapic, LAYOUT_GED_GSI);
}
