/* SPDX-License-Identifier: MIT */
/* Reports a panic through pvpanic and asks for a reset, as Linux does with panic=1. */
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	write8(LAYOUT_PANIC_REGISTER, 1);
	guest_leave(ACPI_REG_RESET, ACPI_RESET_VALUE, GUEST_PASS, 0);
}
