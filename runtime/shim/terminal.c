/* SPDX-License-Identifier: MIT */
/* The terminal event, put together from all that is known at the end. */
#include "shim/terminal.h"

#include <stdio.h>
#include <string.h>

#include "shim/event.h"

#define EFER_LMA (1ULL << 10)

static struct event_vcpu describe(const struct machine *machine)
{
	const struct vcpu *vcpu = &machine->vcpus[atomic_load(&machine->end_vcpu)];
	const struct kvm_regs *regs = &vcpu->regs;
	const struct kvm_sregs *sregs = &vcpu->sregs;
	struct event_vcpu event = {
		.index = vcpu->index,
		.exit_reason = vcpu_exit_name(machine->end_exit),
		.exit_detail = machine->end_detail,
		.rax = regs->rax, .rbx = regs->rbx, .rcx = regs->rcx, .rdx = regs->rdx,
		.rsi = regs->rsi, .rdi = regs->rdi, .rsp = regs->rsp, .rbp = regs->rbp,
		.r8 = regs->r8, .r9 = regs->r9, .r10 = regs->r10, .r11 = regs->r11,
		.r12 = regs->r12, .r13 = regs->r13, .r14 = regs->r14, .r15 = regs->r15,
		.rip = regs->rip, .rflags = regs->rflags,
		.cr0 = sregs->cr0, .cr2 = sregs->cr2, .cr3 = sregs->cr3, .cr4 = sregs->cr4,
		.efer = sregs->efer,
		.cs_selector = sregs->cs.selector,
		.cpl = sregs->ss.dpl,
		.cs_is_64bit = sregs->cs.l && sregs->efer & EFER_LMA,
		.code_length = vcpu->code_length,
	};

	memcpy(event.code, vcpu->code, vcpu->code_length);
	return event;
}

int terminal_emit(struct shim *shim, enum vm_outcome outcome)
{
	bool ended_itself = atomic_load(&shim->machine.end) != MACHINE_END_NONE;
	struct event_vcpu vcpu = { 0 };
	struct event_terminal terminal = {
		.outcome = outcome,
		.stage = shim->stage,
		.problems = &shim->problems,
		.console_bytes_dropped = devices_console_dropped(shim),
		.message = ended_itself ? NULL : shim->shutdown.why,
	};
	int status;

	if (ended_itself) {
		vcpu = describe(&shim->machine);
		terminal.vcpu = &vcpu;
	}
	memcpy(terminal.stage_ns, shim->stage_ns, sizeof(terminal.stage_ns));
	(void)event_terminal(&shim->events, &terminal, &status);
	return status;
}
