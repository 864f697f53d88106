/* SPDX-License-Identifier: MIT */
/* Reports a panic through pvpanic and does not go on. */
#define GUEST_HAS_APIC
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	check_equal(read8(LAYOUT_PANIC_REGISTER) & 1, 1);
	write8(LAYOUT_PANIC_REGISTER, 1);
}
