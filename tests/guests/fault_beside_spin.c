/* SPDX-License-Identifier: MIT */
/* vCPU 0 never stops; vCPU 1 ends by a triple fault. */
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	while (index == 0)
		relax();
	__asm__ volatile("ud2");
}
