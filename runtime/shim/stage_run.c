/* SPDX-License-Identifier: MIT */
/* Stages run and account: the control loop, and the end.
 *
 * The control thread waits in one place, epoll_wait(2), for: fd 3, the wake-up of any other thread,
 * signals, and room in fd 4. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>

#include "sandbox/fd_layout.h"
#include "shim/event.h"
#include "shim/shim.h"
#include "shim/terminal.h"

enum { GATE_RUN = 2 };

/* How long vCPUs and devices may take to stop once they are asked to. */
#define STOP_GRACE_MS 2000
/* How long a guest that has reported a panic may take to reset or power off by itself. */
#define PANIC_GRACE_MS 2000

#define NS_PER_MS 1000000ULL

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void stop_now(struct shim *shim, const char *why)
{
	shim->shutdown.stop = true;
	shim->shutdown.why = why;
}

/* Presses the power button once; the deadline runs from there. A machine without local APICs has no
 * interrupt to tell it by: it is stopped. */
static void begin_shutdown(struct shim *shim, uint32_t timeout_ms, const char *why)
{
	struct shim_shutdown *shutdown = &shim->shutdown;

	if (!shim->machine.vm.has_apic) {
		stop_now(shim, why);
		return;
	}
	if (shutdown->button_pressed)
		return;
	shutdown->button_pressed = true;
	shutdown->why = why;
	shutdown->deadline_ns = now_ns() + timeout_ms * NS_PER_MS;
	acpi_press_power_button(&shim->machine.acpi);
}

static void on_signal(struct shim *shim)
{
	struct signalfd_siginfo info;

	while (read(shim->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (shim->shutdown.button_pressed)
			stop_now(shim, "a second signal asked for the end");
		else
			begin_shutdown(shim, shim->spec.lifecycle.shutdown_timeout_ms,
			               "a signal asked for the end");
	}
}

static void on_wake(struct shim *shim)
{
	uint64_t count;

	(void)!read(shim->wake_fd, &count, sizeof(count));
	vm_serve_calls(&shim->machine.vm);
	if (atomic_load(&shim->machine.acpi.panicked) && !shim->shutdown.panicked) {
		shim->shutdown.panicked = true;
		shim->shutdown.panic_deadline_ns = now_ns() + PANIC_GRACE_MS * NS_PER_MS;
		event_guest_panicked(&shim->events, "the guest's kernel reported a panic");
	}
}

static void on_command(const struct stream_command *command, void *context)
{
	struct shim *shim = context;

	(void)command;
	(void)shim;
}

static void on_control_end(struct shim *shim)
{
	shim->control_ended = true;
	(void)epoll_ctl(shim->epoll_fd, EPOLL_CTL_DEL, CONTROL_FD, NULL);
	if (shim->spec.lifecycle.on_control_eof == SPEC_EOF_SHUTDOWN)
		begin_shutdown(shim, shim->spec.lifecycle.shutdown_timeout_ms,
		               "fd 3 has ended, which means shut down");
	else if (shim->spec.lifecycle.on_control_eof == SPEC_EOF_STOP)
		stop_now(shim, "fd 3 has ended, which means stop");
}

static void on_control(struct shim *shim)
{
	int r = stream_read(&shim->stream, CONTROL_FD, on_command, shim, &shim->problems);

	if (r == 0 || (r < 0 && r != -EAGAIN))
		on_control_end(shim);
}

static void on_event_room(struct shim *shim)
{
	(void)event_flush(&shim->events);
}

/* What epoll_wait(2) reports, by the number in its data. */
static const struct source {
	int fd;
	uint32_t events;
	void (*ready)(struct shim *);
} sources[] = {
	{ CONTROL_WAKE_FD, EPOLLIN, on_wake },
	{ SIGNAL_FD, EPOLLIN, on_signal },
	{ CONTROL_FD, EPOLLIN, on_control },
	/* Edge-triggered: told when room appears, not while there is room. */
	{ EVENT_FD, EPOLLOUT | EPOLLET, on_event_room },
};

int control_watch(struct shim *shim)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct epoll_event event = { .events = sources[i].events, .data.u32 = i };

		if (epoll_ctl(shim->epoll_fd, EPOLL_CTL_ADD, sources[i].fd, &event) == 0)
			continue;
		/* A regular file is never waited for: fd 3 is read to its end, fd 4 takes all. */
		if (errno != EPERM)
			return problems_add(&shim->problems, PROBLEM_OS_FAILED, errno, NULL,
			                    "cannot watch fd %d: %s", sources[i].fd,
			                    strerror(errno));
		if (sources[i].fd == CONTROL_FD)
			shim->control_is_file = true;
	}
	return 0;
}

/* Waits up to timeout_ms (-1: for good) and handles what is ready. */
static void control_turn(struct shim *shim, int timeout_ms)
{
	struct epoll_event ready[ARRAY_SIZE(sources)];
	int n;

	(void)event_flush(&shim->events);
	n = epoll_wait(shim->epoll_fd, ready, ARRAY_SIZE(sources), timeout_ms);
	for (int i = 0; i < n; i++)
		sources[ready[i].data.u32].ready(shim);
}

static int timeout_until(uint64_t deadline_ns, int timeout_ms)
{
	uint64_t now = now_ns();
	uint64_t left_ms;

	if (deadline_ns == 0)
		return timeout_ms;
	left_ms = deadline_ns > now ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
	left_ms = MIN(left_ms, (uint64_t)INT_MAX);
	return timeout_ms < 0 ? (int)left_ms : MIN(timeout_ms, (int)left_ms);
}

static bool passed(uint64_t deadline_ns)
{
	return deadline_ns != 0 && now_ns() >= deadline_ns;
}

/* Requires: every thread is sealed.
 * Does: announce Running, open the gate, serve until the guest ends or is ended.
 * Must not: open, map, allocate, or do a device's work. */
int stage_run(struct shim *shim)
{
	struct shim_shutdown *shutdown = &shim->shutdown;
	struct machine *machine = &shim->machine;

	shim->running = true;
	gate_open(&shim->gate, GATE_RUN);
	(void)stream_drain(&shim->stream, on_command, shim, &shim->problems);
	while (shim->control_is_file && !shim->control_ended)
		on_control(shim);
	while (!shutdown->stop && atomic_load(&machine->end) == MACHINE_END_NONE) {
		int timeout_ms = timeout_until(shutdown->deadline_ns, -1);

		control_turn(shim, timeout_until(shutdown->panic_deadline_ns, timeout_ms));
		if (passed(shutdown->deadline_ns))
			stop_now(shim, "the guest did not power off in time");
		else if (passed(shutdown->panic_deadline_ns))
			stop_now(shim, "the guest panicked and did not go on");
	}
	return 0;
}

/* Takes every vCPU out of the guest, then has the devices finish. Calls that vCPUs wait for are served
 * meanwhile. */
static void stop_machine(struct shim *shim)
{
	uint64_t deadline = now_ns() + STOP_GRACE_MS * NS_PER_MS;

	machine_ask(&shim->machine, MACHINE_STOP);
	while (!machine_all_parked(&shim->machine) && !passed(deadline))
		control_turn(shim, timeout_until(deadline, -1));
	devices_stop(shim);
	while (!devices_finished(shim) && !passed(deadline))
		control_turn(shim, timeout_until(deadline, -1));
}

static enum vm_outcome outcome_of(const struct shim *shim)
{
	enum machine_end end = atomic_load(&shim->machine.end);

	if (!shim->running)
		return shim->shutdown.stop ? OUTCOME_STOPPED_BY_HOST : OUTCOME_LAUNCH_FAILED;
	if (shim->problems.count > 0)
		return OUTCOME_RUNTIME_FAILED;
	if (shim->shutdown.panicked && end != MACHINE_END_POWER_OFF)
		return OUTCOME_GUEST_PANIC;
	if (end != MACHINE_END_NONE)
		return (enum vm_outcome)end;
	return OUTCOME_STOPPED_BY_HOST;
}

/* Requires: nothing; every stage may have failed.
 * Does: stop vCPUs, quiesce devices, write the one terminal event, give the exit status.
 * Must not: fail, or wait without a limit. */
int stage_account(struct shim *shim)
{
	enum vm_outcome outcome = outcome_of(shim);
	int status;

	if (shim->running)
		stop_machine(shim);
	status = terminal_emit(shim, outcome);
	(void)event_finish(&shim->events, EVENT_FINISH_MS);
	return status;
}
