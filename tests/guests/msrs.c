/* SPDX-License-Identifier: MIT */
/* The model-specific registers that each vCPU starts with (SDM 4), whatever the host had in its
 * own. */
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	check_equal(rdmsr(0x277), 0x0007040600070406); /* PAT, as after a reset */
	check_equal(rdmsr(0x2ff), 0x806);              /* MTRRs on, write-back by default */
	check_equal(rdmsr(0x1a0), 0x1801);             /* fast strings; no BTS, no PEBS */
	for (uint32_t i = 0x174; i <= 0x176; i++)      /* SYSENTER */
		check_equal(rdmsr(i), 0);
	for (uint32_t i = 0xc0000081; i <= 0xc0000084; i++) /* SYSCALL */
		check_equal(rdmsr(i), 0);
	check_equal(rdmsr(0xc0000102), 0); /* KERNEL_GS_BASE */
	guest_halt(GUEST_PASS, 0);
}
