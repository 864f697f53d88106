/* SPDX-License-Identifier: MIT */
/* RAM above 4 GiB: the guest maps the fifth gibibyte itself. Started with 3584 MiB, of which 512
 * lie there. */
#include "lib/guest.h"

#define GIB (1ULL << 30)
#define ABOVE (512ULL << 20)
#define PRESENT_WRITABLE 3u
#define LARGE 0x80u

static uint64_t directory[512] __attribute__((aligned(4096)));

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	uint64_t *pointers = (uint64_t *)(uint64_t)(LAYOUT_PAGE_TABLES + 4096);

	check_equal(ram, 3 * GIB);
	for (uint64_t i = 0; i < 512; i++)
		directory[i] = (4 * GIB + (i << 21)) | PRESENT_WRITABLE | LARGE;
	*(volatile uint64_t *)&pointers[4] = (uint64_t)directory | PRESENT_WRITABLE;
	for (uint64_t at = 4 * GIB; at < 4 * GIB + ABOVE; at += 64 << 20)
		write64(at, ~at);
	write64(4 * GIB + ABOVE - 8, 0xabcdef);
	write64(3 * GIB - 8, 0x333333);
	for (uint64_t at = 4 * GIB; at < 4 * GIB + ABOVE; at += 64 << 20)
		check_equal(read64(at), ~at);
	check_equal(read64(4 * GIB + ABOVE - 8), 0xabcdef);
	check_equal(read64(3 * GIB - 8), 0x333333);
	check_equal(read64(4 * GIB + ABOVE), ~0ULL);
	check_equal(read64(3 * GIB), ~0ULL);
	guest_halt(GUEST_PASS, 0);
}
