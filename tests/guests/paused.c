/* SPDX-License-Identifier: MIT */
/* Ends when it is told that it was stopped for a while: kvmclock's flag for it (Linux
 * Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW), which makes Linux's watchdogs
 * forgive the time. The host sets it when a pause is over; nothing else does. */
#define GUEST_HAS_APIC
#include "lib/guest.h"

#define MSR_KVM_SYSTEM_TIME_NEW 0x4b564d01u
#define PVCLOCK_GUEST_STOPPED 2u

static volatile struct {
	uint32_t version, pad;
	uint64_t tsc, system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, more[2];
} clock __attribute__((aligned(64)));

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uint64_t)&clock | 1);
	await(clock.version != 0);
	check_equal(clock.flags & PVCLOCK_GUEST_STOPPED, 0);
	while (!(clock.flags & PVCLOCK_GUEST_STOPPED))
		relax();
	guest_end(GUEST_PASS, clock.flags);
}
