/* SPDX-License-Identifier: MIT */
/* Asks for a reset through the reset register. */
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	guest_leave(ACPI_REG_RESET, ACPI_RESET_VALUE, GUEST_PASS, 0x5e5e7);
}
