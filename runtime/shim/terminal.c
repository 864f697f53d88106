/* SPDX-License-Identifier: MIT */
/* The terminal event, put together from all that is known at the end. */
#include "shim/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "interface/event.h"
#include "sandbox/policy.h"
#include "shim/announce.h"
#include "shim/device/console.h"

#define EFER_LMA (1ULL << 10)
#define SENTENCE_MAX 512

/* The registers in the schema are text, so that a reader of its text form sees what a debugger
 * shows. */
/* clang-format off */
#define REGISTER(of_, name_)                                                                       \
	{ offsetof(struct vcpu, of_.name_), offsetof(Axvm__V1__VcpuState, name_) }
/* clang-format on */
#define GENERAL(name_) REGISTER(regs, name_)
#define SYSTEM(name_) REGISTER(sregs, name_)
static const struct {
	size_t from, to;
} registers[] = {
	GENERAL(rax), GENERAL(rbx), GENERAL(rcx), GENERAL(rdx), GENERAL(rsi), GENERAL(rdi),
	GENERAL(rsp), GENERAL(rbp), GENERAL(r8),  GENERAL(r9),  GENERAL(r10), GENERAL(r11),
	GENERAL(r12), GENERAL(r13), GENERAL(r14), GENERAL(r15), GENERAL(rip), GENERAL(rflags),
	SYSTEM(cr0),  SYSTEM(cr2),  SYSTEM(cr3),  SYSTEM(cr4),  SYSTEM(efer),
};

/* What a terminal event points to. */
struct terminal_parts {
	Axvm__V1__Error errors[PROBLEMS_MAX], *error_list[PROBLEMS_MAX];
	Axvm__V1__StageCompleted stages[STAGES_COUNT], *stage_list[STAGES_COUNT];
	Axvm__V1__VcpuState vcpu;
	char registers[ARRAY_SIZE(registers)][sizeof("0x0123456789abcdef")];
	char code[2 * sizeof(((struct vcpu *)NULL)->code) + 1];
	Axvm__V1__DeathRecord death;
	char message[SENTENCE_MAX];
};

static void fill_vcpu(const struct machine *machine, struct terminal_parts *parts)
{
	const struct vcpu *from = &machine->vcpus[atomic_load(&machine->end_vcpu)];
	Axvm__V1__VcpuState *to = &parts->vcpu;

	axvm__v1__vcpu_state__init(to);
	EVENT_SET(to, index, from->index);
	to->exit_reason = EVENT_TEXT(vcpu_exit_name(machine->end_exit));
	EVENT_SET(to, exit_detail, machine->end_detail);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		const __u64 *value = (const void *)((const char *)from + registers[i].from);
		char **slot = (void *)((char *)to + registers[i].to);

		snprintf(parts->registers[i], sizeof(parts->registers[i]), "0x%016llx", *value);
		*slot = parts->registers[i];
	}
	EVENT_SET(to, cs_selector, from->sregs.cs.selector);
	EVENT_SET(to, cs_is_64bit, from->sregs.cs.l && from->sregs.efer & EFER_LMA);
	EVENT_SET(to, cpl, from->sregs.ss.dpl);
	for (size_t i = 0; i < from->code_length; i++)
		snprintf(parts->code + 2 * i, 3, "%02x", from->code[i]);
	to->code_bytes = from->code_length > 0 ? parts->code : NULL;
}

/* One of three causes: a system call, a submission to a ring, a page that the kernel could not
 * provide. */
static void fill_death(const struct sandbox_death *from, Axvm__V1__DeathRecord *to)
{
	axvm__v1__death_record__init(to);
	to->role = EVENT_TEXT(sandbox_role_name(from->role));
	EVENT_SET(to, thread_id, from->tid);
	to->policy_sha256 = EVENT_TEXT(sandbox_policies_digest_hex);
	if (from->ring.what) {
		EVENT_SET(to, ring_opcode, from->ring.opcode);
		to->ring_opcode_name = EVENT_TEXT(from->ring.name);
		to->ring_refusal = EVENT_TEXT(from->ring.what);
		return;
	}
	EVENT_SET(to, instruction_pointer, from->instruction_pointer);
	if (from->lost.what) {
		to->lost_page = EVENT_TEXT(from->lost.what);
		EVENT_SET(to, lost_address, from->lost.address);
		return;
	}
	EVENT_SET(to, syscall_number, from->nr);
	to->syscall_name = EVENT_TEXT(sandbox_syscall_name(from->nr));
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

/* A sentence where the outcome's own does not say enough. KVM_RUN fails with EFAULT where it cannot
 * have a page behind the guest's memory: a huge page that the pool no longer has, memory that
 * failed. */
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

/* KVM gave up on an instruction that the processor did not run by itself. */
static bool is_emulation_failure(const struct machine *machine)
{
	return atomic_load(&machine->end) == MACHINE_END_VCPU_FAILED &&
	       machine->end_exit == KVM_EXIT_INTERNAL_ERROR &&
	       machine->end_detail == KVM_INTERNAL_ERROR_EMULATION;
}

static void describe_emulation(const Axvm__V1__VcpuState *vcpu, char to[SENTENCE_MAX])
{
	snprintf(
		to, SENTENCE_MAX,
		"vCPU failed: vCPU %u: KVM could not emulate the instruction at rip %s%s%s; look "
		"whether the guest should be there, and try a host whose processor runs it without "
		"KVM's help",
		vcpu->index, vcpu->rip, vcpu->code_bytes ? ", bytes " : "",
		vcpu->code_bytes ? vcpu->code_bytes : "");
}

/* A sentence for a person, out of what is known. `vcpu`: of the one that ended the VM, or NULL. */
static void describe(const struct problems *problems, const struct outcome_class *class,
                     const Axvm__V1__VcpuState *vcpu, const char *given, char to[SENTENCE_MAX])
{
	size_t more = problems->count > 0 ? problems->count + problems->not_listed - 1 : 0;
	bool of_problems = problems->count > 0 && (class->of_errors || !vcpu);
	const char *cs = vcpu && vcpu->cs_is_64bit ? "64-bit" : "not 64-bit";

	if (given)
		snprintf(to, SENTENCE_MAX, "%s", given);
	else if (of_problems && more > 0)
		snprintf(to, SENTENCE_MAX, "%s: %s (and %zu more)", class->phrase,
		         problems->list[0].message, more);
	else if (of_problems)
		snprintf(to, SENTENCE_MAX, "%s: %s", class->phrase, problems->list[0].message);
	else if (vcpu && class->outcome == OUTCOME_HALTED)
		snprintf(to, SENTENCE_MAX, "%s: rax: %s, cs %s", class->phrase, vcpu->rax, cs);
	else if (vcpu)
		snprintf(to, SENTENCE_MAX, "%s: vCPU %u, rip: %s, rax: %s, cs %s", class->phrase,
		         vcpu->index, vcpu->rip, vcpu->rax, cs);
	else
		snprintf(to, SENTENCE_MAX, "%s: %s", class->phrase, class->meaning);
}

static void fill_lists(const struct shim *shim, Axvm__V1__Terminal *body,
                       struct terminal_parts *parts)
{
	for (size_t i = 0; i < shim->problems.count; i++) {
		event_fill_error(&parts->errors[i], &shim->problems.list[i], shim->stage);
		parts->error_list[body->n_errors++] = &parts->errors[i];
	}
	for (enum axvm_stage stage = STAGE_ARRIVE; stage < STAGES_COUNT; stage++)
		if (shim->stage_ns[stage] > 0) {
			announce_fill_stage(&parts->stages[stage], stage, shim->stage_ns[stage]);
			parts->stage_list[body->n_stages++] = &parts->stages[stage];
		}
	body->errors = parts->error_list;
	body->stages = parts->stage_list;
}

int terminal_emit(struct shim *shim, enum axvm_outcome outcome)
{
	int status = outcome_exit_status(outcome, &shim->problems);
	Axvm__V1__Terminal body = AXVM__V1__TERMINAL__INIT;
	struct terminal_parts parts;

	EVENT_SET(&body, outcome, (Axvm__V1__Outcome)outcome);
	EVENT_SET(&body, exit_status, (uint32_t)status);
	EVENT_SET(&body, stage, (Axvm__V1__Stage)shim->stage);
	EVENT_SET(&body, console_bytes_dropped, devices_console_dropped(&shim->devices));
	fill_lists(shim, &body, &parts);
	if (atomic_load(&shim->machine.end) != MACHINE_END_NONE) {
		fill_vcpu(&shim->machine, &parts);
		body.vcpu = &parts.vcpu;
	}
	if (shim->death) {
		fill_death(shim->death, &parts.death);
		body.death = &parts.death;
	}
	if (outcome == OUTCOME_VCPU_FAILED && is_emulation_failure(&shim->machine))
		describe_emulation(body.vcpu, parts.message);
	else
		describe(&shim->problems, outcome_class_of(outcome), body.vcpu, why(shim),
		         parts.message);
	body.message = parts.message;
	(void)event_writer_put_terminal(&shim->events, EVENT(TERMINAL, terminal, &body));
	if (outcome == OUTCOME_LAUNCH_FAILED && shim->stage < STAGE_SEAL)
		tell_people(&shim->problems);
	return status;
}
