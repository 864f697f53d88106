/* SPDX-License-Identifier: MIT */
/* Switches itself off through the sleep control register, after everything that is not that: sleep
 * types other than S5, S5 without the enable bit, values that are no reset. */
#define GUEST_HAS_APIC
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	for (uint8_t type = 0; type < 8; type++)
		if (type != ACPI_S5_TYPE)
			write8(LAYOUT_ACPI_REGISTERS, (uint8_t)(type << 2 | 0x20));
	write8(LAYOUT_ACPI_REGISTERS, ACPI_S5_TYPE << 2);
	write8(LAYOUT_ACPI_REGISTERS + ACPI_REG_RESET, 0xfe);
	write8(LAYOUT_ACPI_REGISTERS + ACPI_REG_SLEEP_STATUS, 0xff);
	check_equal(read32(LAYOUT_ACPI_REGISTERS + ACPI_REG_EVENTS), 0);
	guest_power_off(GUEST_PASS, 0);
}
