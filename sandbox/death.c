/* SPDX-License-Identifier: MIT */
/* The death record: who made which denied system call from where.
 *
 * Theory of operation. The filter answers a denied call with SECCOMP_RET_TRAP: the call is not
 * made, and the kernel forces SIGSYS on the thread (were the signal blocked or ignored, the kernel
 * would kill the process). The handler never returns to the code that made the call:
 *
 *   vcpu, io   The first one fills the desk's record, wakes the control loop through
 *              CONTROL_WAKE_FD and parks on a futex for ever. The control loop, the only writer of
 *              EVENT_FD, writes the terminal event in its order and ends the process. When the
 *              loop cannot be woken, the thread ends the process.
 *   control    Cannot wait for itself: it calls the desk's report function and ends the process.
 *
 * SIGBUS is handled in the same way: the pool no longer has a huge page, a mapped file was
 * truncated, or memory has failed. Its default action would end the process without an event. The
 * kernel also sends it to a vCPU's thread inside KVM_RUN, for guest memory. A SIGBUS that a process
 * sent is ignored.
 *
 * All signals are blocked while the handler runs, SIGSYS too: a denied call inside the handler is
 * death by SIGSYS. The handler makes only the calls declared below, and reads only the desk and
 * this thread's seat.
 *
 * The seat is the only mutable object here that is not passed as an argument, because a signal
 * handler gets none of ours: it is thread-local and written once, before the seal. */
#include "sandbox/death.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/base.h"
#include "base/uses.h"
#include "base/wake.h"
#include "sandbox/fd_layout.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code, siginfo(5) */
#endif

enum desk_state { DESK_EMPTY, DESK_FILLING, DESK_FULL };

static _Thread_local struct {
	struct sandbox_death_desk *desk;
	enum sandbox_role role;
	pid_t tid;
} seat;

SANDBOX_USES(control, rt_sigreturn, any); /* returns from a signal that a process sent */
SANDBOX_USES(vcpu, rt_sigreturn, any);
SANDBOX_USES(io, rt_sigreturn, any);

__attribute__((noreturn)) static void end_process(int status)
{
	SANDBOX_USES(control, exit_group, any);
	SANDBOX_USES(vcpu, exit_group, any);
	SANDBOX_USES(io, exit_group, any);
	for (;;)
		syscall(SYS_exit_group, status);
}

static int wake_control(void)
{
	SANDBOX_USES(vcpu, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	SANDBOX_USES(io, write, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	return wake_eventfd(CONTROL_WAKE_FD);
}

__attribute__((noreturn)) static void park(struct sandbox_death_desk *desk)
{
	SANDBOX_USES(vcpu, futex, arg1 == FUTEX_WAIT_PRIVATE && arg3 == 0);
	SANDBOX_USES(io, futex, arg1 == FUTEX_WAIT_PRIVATE && arg3 == 0);
	for (;;)
		syscall(SYS_futex, &desk->parked, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

static int status_of(const struct sandbox_death_desk *desk, const struct sandbox_death *death)
{
	return death->lost.what ? desk->lost_page_status : desk->exit_status;
}

__attribute__((noreturn)) static void leave_to_control(struct sandbox_death_desk *desk,
                                                       const struct sandbox_death *death)
{
	uint32_t empty = DESK_EMPTY;

	if (atomic_compare_exchange_strong_explicit(&desk->state, &empty, DESK_FILLING,
	                                            memory_order_relaxed, memory_order_relaxed)) {
		desk->record = *death;
		/* Pairs with the acquire in sandbox_death_pending(). */
		atomic_store_explicit(&desk->state, DESK_FULL, memory_order_release);
		if (wake_control() < 0)
			end_process(status_of(desk, death));
	}
	park(desk);
}

/* Ends the process or parks the thread. `number` is the signal's: it gives the exit status if the
 * thread has no seat. */
__attribute__((noreturn)) static void die(const struct sandbox_death *death, int number)
{
	struct sandbox_death_desk *desk = seat.desk;

	if (!desk)
		end_process(128 + number);
	if (death->role != SANDBOX_ROLE_CONTROL)
		leave_to_control(desk, death);
	if (desk->report)
		desk->report(death, desk->cookie);
	end_process(status_of(desk, death));
}

static void on_sigsys(int number, siginfo_t *info, void *context)
{
	const ucontext_t *user = context;
	struct sandbox_death death;

	if (info->si_code != SYS_SECCOMP)
		return;
	death = (struct sandbox_death){
		.role = seat.role,
		.tid = seat.tid,
		.nr = info->si_syscall,
		.arch = info->si_arch,
		.instruction_pointer = (uint64_t)user->uc_mcontext.gregs[REG_RIP],
	};
	die(&death, number);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	const ucontext_t *user = context;
	struct sandbox_death death = {
		.role = seat.role,
		.tid = seat.tid,
		.instruction_pointer = (uint64_t)user->uc_mcontext.gregs[REG_RIP],
		.lost = { (uint64_t)(uintptr_t)info->si_addr, "no page could be had" },
	};

	/* Sent by a process, or an early report of failed memory that nobody has touched yet. */
	if (info->si_code <= 0 || info->si_code == BUS_MCEERR_AO)
		return;
	if (info->si_code == BUS_MCEERR_AR)
		death.lost.what = "the memory has failed (machine check)";
	die(&death, number);
}

void sandbox_death_by_ring(const struct sandbox_ring_breach *breach)
{
	const struct sandbox_death death = {
		.role = seat.role,
		.tid = seat.tid,
		.ring = *breach,
	};

	if (!seat.desk)
		end_process(128 + SIGSYS);
	leave_to_control(seat.desk, &death);
}

int sandbox_death_install(struct sandbox_death_desk *desk)
{
	struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK };

	atomic_store_explicit(&desk->state, DESK_EMPTY, memory_order_relaxed);
	desk->parked = 0;
	sigfillset(&action.sa_mask);
	action.sa_sigaction = on_sigsys;
	if (sigaction(SIGSYS, &action, NULL) < 0)
		return -errno;
	action.sa_sigaction = on_sigbus;
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

void sandbox_death_take_seat(struct sandbox_death_desk *desk, enum sandbox_role role)
{
	seat.desk = desk;
	seat.role = role;
	seat.tid = gettid();
}

const struct sandbox_death *sandbox_death_pending(struct sandbox_death_desk *desk)
{
	/* Pairs with the release in leave_to_control(). */
	if (atomic_load_explicit(&desk->state, memory_order_acquire) != DESK_FULL)
		return NULL;
	return &desk->record;
}

struct line {
	char *text;
	size_t size;
	size_t length;
};

static void add_text(struct line *line, const char *text)
{
	for (; *text && line->length + 1 < line->size; text++)
		line->text[line->length++] = *text;
}

static void add_number(struct line *line, uint64_t value, unsigned int base)
{
	char digits[sizeof(value) * CHAR_BIT + 1];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	add_text(line, digits + at);
}

static void add_call(struct line *line, const struct sandbox_death *death)
{
	const char *name = sandbox_syscall_name(death->nr);

	add_text(line, ": system call ");
	add_text(line, name ? name : "without a name");
	add_text(line, " (");
	if (death->nr < 0)
		add_text(line, "-");
	add_number(line, death->nr < 0 ? -(uint64_t)death->nr : (uint64_t)death->nr, 10);
	add_text(line, ") denied at 0x");
	add_number(line, death->instruction_pointer, 16);
}

static void add_breach(struct line *line, const struct sandbox_ring_breach *breach)
{
	add_text(line, ": io_uring operation ");
	add_text(line, breach->name ? breach->name : "without a name");
	add_text(line, " (");
	add_number(line, breach->opcode, 10);
	add_text(line, ") refused, ");
	add_text(line, breach->what);
}

static void add_lost_page(struct line *line, const struct sandbox_lost_page *lost)
{
	add_text(line, ": SIGBUS at 0x");
	add_number(line, lost->address, 16);
	add_text(line, ": ");
	add_text(line, lost->what);
}

size_t sandbox_death_format(const struct sandbox_death *death, char *text, size_t size)
{
	struct line line = { .text = text, .size = size };

	add_text(&line, sandbox_role_name(death->role));
	add_text(&line, " thread ");
	add_number(&line, (uint64_t)death->tid, 10);
	if (death->ring.what)
		add_breach(&line, &death->ring);
	else if (death->lost.what)
		add_lost_page(&line, &death->lost);
	else
		add_call(&line, death);
	add_text(&line, ", policy ");
	add_text(&line, sandbox_policies_digest_hex);
	line.text[line.length] = '\0';
	return line.length;
}
