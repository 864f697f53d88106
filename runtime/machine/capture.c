/* SPDX-License-Identifier: MIT */
/* Captures the state in which a vCPU ended, for the terminal event.
 *
 * A sealed vCPU thread may make no ioctl but KVM_RUN, so the registers come from KVM_RUN: with
 * immediate_exit set it enters no guest but still fills in the synchronised registers. */
#include <string.h>
#include <sys/ioctl.h>

#include "machine/machine.h"

#define CR0_PG (1ULL << 31)
#define CR4_PAE (1ULL << 5)
#define EFER_LMA (1ULL << 10)
#define PTE_PRESENT 1ULL
#define PTE_LARGE (1ULL << 7)
#define PTE_ADDRESS 0x000ffffffffff000ULL

/* Guest-virtual to guest-physical for 4-level paging, or without paging (SDM 3A §4.5). Other modes
 * are too rare in a terminal event to be worth code. */
static bool translate(const struct guest_memory *memory, const struct kvm_sregs *sregs,
                      uint64_t virtual_address, gpa_t *ret_gpa)
{
	uint64_t entry = sregs->cr3;

	if (!(sregs->cr0 & CR0_PG)) {
		*ret_gpa = GPA(virtual_address & 0xffffffff);
		return true;
	}
	if (!(sregs->efer & EFER_LMA) || !(sregs->cr4 & CR4_PAE))
		return false;
	for (unsigned level = 4; level > 0; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t index = virtual_address >> shift & 0x1ff;
		uint64_t offset_mask = (1ULL << shift) - 1;

		if (guest_memory_read(memory, GPA((entry & PTE_ADDRESS) + index * 8), &entry, 8) <
		            0 ||
		    !(entry & PTE_PRESENT))
			return false;
		if (level == 1 || (level <= 3 && entry & PTE_LARGE)) {
			*ret_gpa = GPA((entry & PTE_ADDRESS & ~offset_mask) |
			               (virtual_address & offset_mask));
			return true;
		}
	}
	return false;
}

static void read_code(struct vcpu *vcpu)
{
	const struct guest_memory *memory = &vcpu->machine->memory;
	uint64_t rip = vcpu->regs.rip + vcpu->sregs.cs.base;
	gpa_t gpa = { 0 };
	/* Up to the end of the page: the next one may be mapped elsewhere. */
	size_t length = MIN(sizeof(vcpu->code), (size_t)(4096 - (rip & 4095)));

	if (translate(memory, &vcpu->sregs, rip, &gpa) &&
	    guest_memory_read(memory, gpa, vcpu->code, length) == 0)
		vcpu->code_length = length;
}

void vcpu_capture(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (vcpu->captured)
		return;
	run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	run->immediate_exit = 1;
	(void)ioctl(vcpu->fd, KVM_RUN, 0); /* it returns EINTR, because immediate_exit is set */
	vcpu->regs = run->s.regs.regs;
	vcpu->sregs = run->s.regs.sregs;
	read_code(vcpu);
	vcpu->captured = true;
}
