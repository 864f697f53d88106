/* SPDX-License-Identifier: MIT */
/* Asks for a reset by a port of the PC: writes the bytes of guest_numbers[1], the lowest first and
 * until one is 0, to port guest_numbers[0]. The last one is in AL of the terminal event, 0x5e5e7 in
 * RBX. */
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint16_t port = (uint16_t)guest_numbers[0];

	for (uint64_t bytes = guest_numbers[1]; bytes & 0xff; bytes >>= 8)
		__asm__ volatile("outb %%al, %%dx"
		                 :
		                 : "a"(bytes & 0xff), "b"(0x5e5e7ULL), "d"(port)
		                 : "memory");
	guest_halt(GUEST_FAIL | __LINE__, inb(port));
}
