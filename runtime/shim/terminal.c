/* SPDX-License-Identifier: MIT */
/* The terminal event, put together from all that is known at the end. */
#include "shim/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/policy.h"
#include "interface/event.h"
#include "shim/devices.h"

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

static struct event_death describe_death(const struct sandbox_death *death)
{
	return (struct event_death){
		.role = sandbox_role_name(death->role),
		.thread_id = death->tid,
		.syscall_number = death->nr,
		.syscall_name = sandbox_syscall_name(death->nr),
		.instruction_pointer = death->instruction_pointer,
		.ring_refusal = death->ring.what,
		.lost_page = death->lost.what,
		.lost_address = death->lost.address,
		.ring_opcode = death->ring.opcode,
		.ring_opcode_name = death->ring.name,
		.policy_sha256 = sandbox_policies_digest_hex,
	};
}

/* A launch that failed is told on fd 2 as well, a line a reason: fd 4 may be what is wrong. It
 * never waits for a reader: what a pipe has no page for is left out. Before the seal only, after
 * which there is no poll(2). */
static void tell_people(const struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
		char line[PROBLEM_LINE_MAX + 16], text[PROBLEM_LINE_MAX];
		int length = snprintf(line, sizeof(line), "axvm-shim: %s\n",
		                      problem_line(problems->list[i].field,
		                                   problems->list[i].message, text));

		if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT))
			return;
		if (write(STDERR_FILENO, line, MIN((size_t)length, sizeof(line) - 1)) < 0)
			return;
	}
}

/* A sentence where the outcome's own does not say enough. KVM_RUN fails with EFAULT where it cannot have a page
 * behind the guest's memory: a huge page that the pool no longer has, memory that failed. */
static const char *why(const struct shim *shim)
{
	const struct machine *machine = &shim->machine;
	enum machine_end end = atomic_load(&machine->end);

	if (end == MACHINE_END_NONE)
		return shim->shutdown.why;
	if (end != MACHINE_END_VCPU_FAILED || machine->end_exit != KVM_EXIT_UNKNOWN)
		return NULL;
	if (machine->end_detail == EFAULT)
		return "KVM could not run the guest: a page behind its memory could not be had";
	if (machine->end_detail == EAGAIN)
		return "KVM could not run the guest: it lacks a thread: " PROBLEM_RAISE_THREADS;
	return NULL;
}

int terminal_emit(struct shim *shim, enum axvm_outcome outcome)
{
	bool ended_itself = atomic_load(&shim->machine.end) != MACHINE_END_NONE;
	struct event_vcpu vcpu = { 0 };
	struct event_death death;
	struct event_terminal terminal = {
		.outcome = outcome,
		.stage = shim->stage,
		.problems = &shim->problems,
		.console_bytes_dropped = devices_console_dropped(shim),
		.message = why(shim),
	};
	int status;

	if (ended_itself) {
		vcpu = describe(&shim->machine);
		terminal.vcpu = &vcpu;
	}
	if (shim->death) {
		death = describe_death(shim->death);
		terminal.death = &death;
	}
	memcpy(terminal.stage_ns, shim->stage_ns, sizeof(terminal.stage_ns));
	(void)event_terminal(&shim->events, &terminal, &status);
	if (outcome == OUTCOME_LAUNCH_FAILED && shim->stage < STAGE_SEAL)
		tell_people(&shim->problems);
	return status;
}
