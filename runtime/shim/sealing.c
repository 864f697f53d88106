/* SPDX-License-Identifier: MIT */
/* What the shim does with the sandbox: a thread's way into its filter, and a thread's death by it.
 *
 * Every thread but the control thread leaves the shared table of descriptors and keeps those of its
 * role, then takes its filter and counts itself in at the gate; the last one wakes the control
 * thread. That one waits for descriptors rather than for the gate, so that it also learns of a
 * thread that made a denied call on the way. It reads everything back, and is the last to be
 * sealed. */
#include "shim/sealing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <string.h>

#include "base/image_pages.h"
#include "sandbox/fd_layout.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"
#include "sandbox/seccomp.h"
#include "sandbox/verify.h"
#include "shim/announce.h"
#include "shim/device/devices.h"
#include "shim/terminal.h"

/* How long the end of a control thread that made a denied call may wait for the lock of the event
 * writer, in turns. Another thread that holds the lock needs far fewer; the dying thread itself
 * would hold it for ever. */
#define LOCK_TURNS 10000000

/* The depth that start-up reaches on the stack. It is less than the gap that the kernel keeps below
 * a growing stack. */
#define CONTROL_STACK (128 * 1024)

struct span {
	unsigned first, last;
};

#define KEPT_SPANS 3

/* Leaves the shared table of descriptors for one with those of `kept` alone, which are in ascending
 * order. Descriptors above the last one that is kept are not even copied; with many vCPUs those are
 * most. */
static int own_descriptors(const struct span *kept, int vcpu_fd)
{
	unsigned last = kept[KEPT_SPANS - 1].last, next = 0;

	if (vcpu_fd >= 0)
		last = MAX(last, (unsigned)vcpu_fd);
	if (close_range(last + 1, ~0u, CLOSE_RANGE_UNSHARE) < 0)
		return -errno;
	if (vcpu_fd >= 0 && dup3(vcpu_fd, VCPU_FD, O_CLOEXEC) < 0)
		return -errno;
	for (size_t i = 0; i < KEPT_SPANS; i++) {
		if (kept[i].first > next && close_range(next, kept[i].first - 1, 0) < 0)
			return -errno;
		next = kept[i].last + 1;
	}
	return next <= last && close_range(next, last, 0) < 0 ? -errno : 0;
}

static int seal_thread(struct shim *shim, enum sandbox_role role, const struct span *kept,
                       int vcpu_fd, struct problems *problems)
{
	int r = sandbox_close_files(&shim->sandbox, problems);

	if (r < 0)
		return r;
	r = own_descriptors(kept, vcpu_fd);
	if (r < 0)
		return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, -r, NULL,
		                    "a %s thread cannot keep to its own descriptors: %s",
		                    sandbox_role_name(role), errno_text(-r));
	sandbox_death_take_seat(&shim->desk, role);
	r = sandbox_seccomp_seal(role);
	if (r < 0)
		return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, -r, NULL,
		                    "a %s thread cannot take its seccomp filter: %s",
		                    sandbox_role_name(role), errno_text(-r));
	return 0;
}

int seal_vcpu_thread(struct shim *shim, int vcpu_fd, struct problems *problems)
{
	static const struct span kept[KEPT_SPANS] = {
		{ CONTROL_WAKE_FD, CONTROL_WAKE_FD },
		{ VCPU_FD, VCPU_FD },
		{ IO_WAKE_FD_BASE, IO_WAKE_FD_LAST },
	};

	return seal_thread(shim, SANDBOX_ROLE_VCPU, kept, vcpu_fd, problems);
}

int seal_io_thread(struct shim *shim, uint32_t index, struct problems *problems)
{
	const struct span kept[KEPT_SPANS] = {
		{ CONTROL_WAKE_FD, CONTROL_WAKE_FD },
		{ IO_WAKE_FD_BASE + index, IO_WAKE_FD_BASE + index },
		{ IO_RING_FD_BASE + index, IO_RING_FD_BASE + index },
	};

	return seal_thread(shim, SANDBOX_ROLE_IO, kept, -1, problems);
}

/* The step of the gate `trial`. */
enum { TRIAL_BEGINS = 1 };

void seal_try_kvm(struct shim *shim)
{
	gate_pass(&shim->trial, TRIAL_BEGINS);
	(void)vcpu_try_run(&shim->machine.vcpus[0]); /* `problems` says it */
	(void)gate_count(&shim->trial);
	machine_wake_control(&shim->machine);
}

static int await_arrivals(struct shim *shim, struct gate *gate, uint32_t arrivals)
{
	while (!gate_reached(gate, arrivals)) {
		struct pollfd wake = { .fd = shim->wake_fd, .events = POLLIN };
		uint64_t count;

		if (sealing_death(shim))
			return -EPERM;
		if (poll(&wake, 1, -1) > 0)
			(void)!read(shim->wake_fd, &count, sizeof(count));
	}
	return 0;
}

int sealing_await(struct shim *shim)
{
	return await_arrivals(shim, &shim->gate, shim->threads);
}

/* vCPU 0, if there is one, has tried KVM_RUN. */
static int await_trial(struct shim *shim)
{
	const struct vcpu *vcpu = &shim->machine.vcpus[0];
	int r = await_arrivals(shim, &shim->trial, MIN(shim->machine.vcpu_count, 1u));

	return r < 0 ? r : problems_take_over(&shim->problems, &vcpu->problems);
}

/* Each vCPU thread has taken its vCPU into a table of its own. */
static void close_vcpus(struct shim *shim)
{
	for (uint32_t i = 0; i < shim->machine.vcpu_count; i++)
		close_ptr(&shim->machine.vcpus[i].shared_fd);
}

int sealing_finish(struct shim *shim, struct sandbox_seen *seen)
{
	int r;

	close_vcpus(shim);
	r = sandbox_verify_threads(&shim->sandbox, shim->threads, seen, &shim->problems);
	/* Threads of the kernel's from here on: they are the process's, and not to be counted among
	 * ours. */
	if (r == 0)
		gate_open(&shim->trial, TRIAL_BEGINS);
	if (r == 0)
		r = devices_seal(&shim->devices);
	if (r == 0)
		r = sandbox_close_files(&shim->sandbox, &shim->problems);
	sandbox_close_proc(&shim->sandbox);
	if (r == 0)
		r = sandbox_freeze_limits(devices_needs(&shim->devices).descriptors,
		                          seen->file_size, &shim->problems);
	if (r == 0)
		r = await_trial(shim);
	if (r < 0)
		return r;
	image_forget_variables(shim->verdict.optional, &shim->plan.digest);
	stack_forget_pages(CONTROL_STACK);
	image_forget_pages();
	sandbox_death_take_seat(&shim->desk, SANDBOX_ROLE_CONTROL);
	r = sandbox_seccomp_seal(SANDBOX_ROLE_CONTROL);
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_SANDBOX_FAILED, -r, NULL,
		                    "the control thread cannot take its seccomp filter: %s",
		                    errno_text(-r));
	/* What does not fit is dropped and counted like any event. */
	(void)announce_sealed(shim, seen);
	return 0;
}

/* The first problem gives the exit status, and this one outweighs all others. */
static void put_first(struct problems *problems, const struct problem *problem)
{
	size_t keep = MIN(problems->count, (size_t)PROBLEMS_MAX - 1);

	problems->not_listed += problems->count - keep;
	memmove(&problems->list[1], &problems->list[0], keep * sizeof(problems->list[0]));
	problems->list[0] = *problem;
	problems->count = keep + 1;
}

/* Appends the guest-physical address that one of our addresses maps to, or nothing when it is not
 * guest memory. It also runs inside a signal handler, so it formats without stdio. */
static void tell_guest_page(const struct guest_memory *memory, uint64_t address, char *text,
                            size_t size)
{
	static const char words[] = "; it is guest memory at 0x";
	size_t used = sizeof(words) - 1;

	for (size_t i = 0; i < memory->count; i++) {
		const struct guest_region *region = &memory->regions[i];
		uint64_t offset = address - (uint64_t)(uintptr_t)region->hva;

		if (offset >= region->size || size < used + 17)
			continue;
		memcpy(text, words, used);
		for (int shift = 60; shift >= 0; shift -= 4)
			text[used++] = "0123456789abcdef"[(region->base.v + offset) >> shift & 0xf];
		text[used] = '\0';
		return;
	}
}

static void note(struct shim *shim, const struct sandbox_death *death)
{
	struct problem problem = { .code = ERROR_CODE_SANDBOX_VIOLATION, .error_number = EPERM };
	size_t length = sandbox_death_format(death, problem.message, sizeof(problem.message));

	if (death->lost.what) {
		problem.code = ERROR_CODE_OS_FAILED;
		problem.error_number = EFAULT;
		tell_guest_page(&shim->machine.memory, death->lost.address,
		                problem.message + length, sizeof(problem.message) - length);
	}
	put_first(&shim->problems, &problem);
	shim->death = death;
}

bool sealing_death(struct shim *shim)
{
	const struct sandbox_death *death = sandbox_death_pending(&shim->desk);

	if (death && !shim->death)
		note(shim, death);
	return death != NULL;
}

/* The control thread's own denied call, inside its handler. The thread may hold the writer's lock:
 * then there is no event, and only the exit status reports the call. */
static void report_own(const struct sandbox_death *death, void *cookie)
{
	struct shim *shim = cookie;

	if (!event_writer_wait_idle(&shim->events, LOCK_TURNS))
		return;
	note(shim, death);
	(void)terminal_emit(shim, shim->running ? OUTCOME_RUNTIME_FAILED : OUTCOME_LAUNCH_FAILED);
	(void)event_finish(&shim->events, EVENT_FINISH_MS);
}

int sealing_prepare(struct shim *shim)
{
	int r;

	shim->desk.report = report_own;
	shim->desk.cookie = shim;
	shim->desk.exit_status = problem_class_of(ERROR_CODE_SANDBOX_VIOLATION)->exit_status;
	shim->desk.lost_page_status = problem_class_of(ERROR_CODE_OS_FAILED)->exit_status;
	r = sandbox_death_install(&shim->desk);
	if (r < 0)
		return problems_add(&shim->problems, ERROR_CODE_SANDBOX_FAILED, -r, NULL,
		                    "cannot install the handler of denied calls: %s",
		                    errno_text(-r));
	return 0;
}
