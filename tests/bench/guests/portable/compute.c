/* SPDX-License-Identifier: MIT */
/* Computes for work= turns and switches itself off. RBX: the TSC's rate in kHz, by the hypervisor's
 * leaf. */
#include "portable.h"

#define LEAF_TIMING 0x40000010

void guest_main(uint64_t start_info, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t x = 1, turns;

	portable_begin(start_info);
	turns = portable_option("work", 1);
	for (uint64_t n = turns; n > 0; n--) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		/* Not to be worked out by the compiler. */
		__asm__ volatile("" : "+r"(x));
	}
	portable_say("done", turns);
	portable_end(GUEST_PASS,
	             cpuid(0x40000000, 0).eax >= LEAF_TIMING ? cpuid(LEAF_TIMING, 0).eax : 0);
}
