/* SPDX-License-Identifier: MIT */
/* Shows its hypervisor leaves: RAX has EAX of 0x40000001 (the features), RBX the highest leaf. */
#include "lib/guest.h"

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	struct cpuid name = cpuid(0x40000000, 0);

	check_equal(name.ebx, 0x4b4d564b); /* "KVMKVMKVM" */
	check_equal(name.ecx, 0x564b4d56);
	check_equal(name.edx, 0x4d);
	guest_halt(cpuid(0x40000001, 0).eax, name.eax);
}
