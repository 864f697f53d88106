/* SPDX-License-Identifier: MIT */
/* The control loop.
 *
 * The control thread waits in one place, epoll_wait(2), for: fd 3, the wake-up of any other thread,
 * signals, and room in fd 4.
 *
 * Who wants the VM's end often says so in more than one way: a batch system signals every process of a step,
 * the launcher makes a command of its signal and then ends, which ends fd 3. All of that is one request,
 * one press of the power button. What stops the VM at once is a stop command, or a signal after one that is
 * no part of the same request. */
#include "shim/control.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "sandbox/fd_layout.h"
#include "base/uses.h"
#include "shim/commands.h"
#include "interface/event.h"
#include "shim/fds.h"
#include "shim/sealing.h"
#include "shim/shim.h"

/* How long a guest that has reported a panic may take to reset or power off by itself. */
#define PANIC_GRACE_MS 2000

/* How much of a fd 3 that always has more, a regular file, is read before all else has its turn. */
#define FILE_CHUNKS_A_TURN 16

/* The place of fd 3 among the sources. */
#define SOURCE_CONTROL 2

uint64_t control_now_ns(void)
{
	return monotonic_ns();
}

int control_timeout(uint64_t deadline_ns, int timeout_ms)
{
	uint64_t now = control_now_ns();
	uint64_t left_ms;

	if (deadline_ns == 0)
		return timeout_ms;
	left_ms = deadline_ns > now ? (deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS : 0;
	left_ms = MIN(left_ms, (uint64_t)INT_MAX);
	return timeout_ms < 0 ? (int)left_ms : MIN(timeout_ms, (int)left_ms);
}

bool control_passed(uint64_t deadline_ns)
{
	return deadline_ns != 0 && control_now_ns() >= deadline_ns;
}

void control_stop(struct shim *shim, const char *why)
{
	if (shim->shutdown.stop)
		return;
	shim->shutdown.stop = true;
	shim->shutdown.why = why;
	(void)lifecycle_happen(&shim->lifecycle, HAPPENS_STOP, why);
}

void control_settle(struct shim *shim, uint64_t looked_ns)
{
	burst_looked(&shim->shutdown.request, looked_ns);
}

/* What each request does but for the clock: 0, or -EBUSY when the VM's state forbids it. */
static int ask_the_guest(struct shim *shim, uint64_t now_ns, const char *why)
{
	if (!shim->machine.vm.has_apic) {
		struct shim_shutdown *shutdown = &shim->shutdown;

		if (!shutdown->stop)
			snprintf(shutdown->no_button, sizeof(shutdown->no_button),
			         "%s; this VM has no power button, for want of a local APIC, and is stopped", why);
		control_stop(shim, shutdown->no_button);
		return 0;
	}
	if (lifecycle_happen(&shim->lifecycle, HAPPENS_SHUTDOWN, why) < 0)
		return -EBUSY;
	commands_let_go_on(shim);
	if (burst_take(&shim->shutdown.request, now_ns)) {
		shim->shutdown.why = why;
		acpi_press_power_button(&shim->machine.acpi);
	}
	return 0;
}

int control_shutdown(struct shim *shim, uint32_t timeout_ms, uint64_t now_ns, const char *why)
{
	int r = ask_the_guest(shim, now_ns, why);

	if (r == 0)
		shim->shutdown.deadline_ns = now_ns + timeout_ms * NS_PER_MS;
	return r;
}

void control_ask_for_end(struct shim *shim, uint64_t now_ns, const char *why)
{
	struct shim_shutdown *shutdown = &shim->shutdown;

	if (ask_the_guest(shim, now_ns, why) == 0 && shutdown->deadline_ns == 0)
		shutdown->deadline_ns = now_ns + shim->spec.lifecycle.shutdown_timeout_ms * NS_PER_MS;
}

void control_signal(struct shim *shim, uint64_t now_ns)
{
	struct shim_shutdown *shutdown = &shim->shutdown;
	bool again = shutdown->signalled && shutdown->request.until_ns == 0;

	shutdown->signalled = true;
	if (again)
		control_stop(shim, "a second signal asked for the end");
	else
		control_ask_for_end(shim, now_ns, "a signal asked for the end");
}

static void on_signal(struct shim *shim)
{
	struct signalfd_siginfo info;

	SANDBOX_USES(control, read, arg0 == SIGNAL_FD);
	while (read(shim->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SANDBOX_LAUNCHER_DIED)
			control_stop(shim, "the launcher has died");
		else
			control_signal(shim, control_now_ns());
	}
}

void control_heed_panic(struct shim *shim)
{
	if (atomic_load(&shim->machine.acpi.panicked) && !shim->shutdown.panicked) {
		shim->shutdown.panicked = true;
		shim->shutdown.panic_deadline_ns = control_now_ns() + PANIC_GRACE_MS * NS_PER_MS;
		(void)event_guest_panicked(&shim->events, "the guest's kernel reported a panic");
	}
}

static void on_wake(struct shim *shim)
{
	uint64_t count;

	SANDBOX_USES(control, read, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	(void)!read(shim->wake_fd, &count, sizeof(count));
	if (sealing_death(shim)) {
		control_stop(shim, NULL);
		return;
	}
	vm_serve_calls(&shim->machine.vm);
	devices_serve_control(shim);
	commands_settle(shim);
	control_heed_panic(shim);
}

static void on_control_end(struct shim *shim)
{
	/* It was told once, and is not watched again. */
	shim->control_ended = true;
	if (shim->spec.lifecycle.on_control_eof == SPEC_EOF_SHUTDOWN)
		control_ask_for_end(shim, control_now_ns(), "fd 3 has ended, which means shut down");
	else if (shim->spec.lifecycle.on_control_eof == SPEC_EOF_STOP)
		control_stop(shim, "fd 3 has ended, which means stop");
}

/* Bytes that are no ControlStream end fd 3 like its end does, after a reply that says so: there is
 * no way to find the next message in them. */
static void after_reading(struct shim *shim, int r, const struct problems *problems)
{
	if (r < 0 && r != -EAGAIN && problems->count > 0)
		commands_refuse_stream(shim, &problems->list[0]);
	if (r == 0 || (r < 0 && r != -EAGAIN))
		on_control_end(shim);
}

static void read_commands(struct shim *shim)
{
	struct problems problems = { 0 };
	int r;

	SANDBOX_USES(control, read, arg0 == CONTROL_FD);
	r = stream_read(&shim->stream, CONTROL_FD, commands_take, shim, &problems);
	after_reading(shim, r, &problems);
}

/* Has fd 3 told of once more: each time it is, that is the last (EPOLLONESHOT). Where it is not, nothing of it wakes
 * the loop, a hang-up neither. */
static void watch_control(struct shim *shim)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u32 = SOURCE_CONTROL };

	if (shim->control_is_file || shim->control_ended || shim->stream.stopped)
		return;
	SANDBOX_USES(control, epoll_ctl,
	             arg0 == EPOLL_FD && arg1 == EPOLL_CTL_MOD && arg2 == CONTROL_FD);
	(void)epoll_ctl(shim->epoll_fd, EPOLL_CTL_MOD, CONTROL_FD, &event);
}

/* Whether fd 3 is a file of which more is to be read, and may be. */
static bool file_goes_on(const struct shim *shim)
{
	return shim->control_is_file && !shim->control_ended && !shim->stream.stopped;
}

/* Goes on with commands when there is room for a reply: those that were read, then fd 3. */
static void take_commands(struct shim *shim)
{
	struct problems problems = { 0 };
	int r;

	shim->stream.stopped = !commands_ready(shim);
	r = stream_drain(&shim->stream, commands_take, shim, &problems);
	if (r < 0)
		after_reading(shim, r, &problems);
	for (unsigned chunks = 0; chunks < FILE_CHUNKS_A_TURN && file_goes_on(shim); chunks++)
		read_commands(shim);
	watch_control(shim);
}

static void on_control(struct shim *shim)
{
	/* It was watched before the first command could be taken. */
	if (shim->control_ended || shim->stream.stopped)
		return;
	read_commands(shim);
	watch_control(shim);
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
	[SOURCE_CONTROL] = { CONTROL_FD, EPOLLIN | EPOLLONESHOT, on_control },
	/* Edge-triggered: told when room appears, not while there is room. */
	{ EVENT_FD, EPOLLOUT | EPOLLET, on_event_room },
};

/* Makes room for the fixed layout: a soft limit is only the launcher's habit. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INTERNAL_FD_LAST)
		return;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)INTERNAL_FD_LAST + 1);
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int control_open(struct shim *shim)
{
	sigset_t set;

	raise_file_limit();
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SANDBOX_LAUNCHER_DIED);
	shim->wake_fd = fd_settle(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), CONTROL_WAKE_FD);
	shim->signal_fd = fd_settle(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), SIGNAL_FD);
	shim->epoll_fd = fd_settle(epoll_create1(EPOLL_CLOEXEC), EPOLL_FD);
	if (shim->wake_fd < 0 || shim->signal_fd < 0 || shim->epoll_fd < 0) {
		int r = MIN(shim->wake_fd, shim->signal_fd);

		r = MIN(r, shim->epoll_fd);
		return problems_add(&shim->problems, PROBLEM_OS_FAILED, -r, NULL,
		                    "cannot create the control loop's descriptors (the hard limit "
		                    "on open files must be at least %d): %s",
		                    INTERNAL_FD_LAST + 1, strerror(-r));
	}
	shim->machine.wake_fd = shim->wake_fd;
	event_writer_set_wake_fd(&shim->events, shim->wake_fd);
	return 0;
}

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

void control_begin(struct shim *shim)
{
	take_commands(shim);
}

void control_turn(struct shim *shim, int timeout_ms)
{
	struct epoll_event ready[ARRAY_SIZE(sources)];
	bool more;
	int n;

	SANDBOX_USES(control, epoll_wait, arg0 == EPOLL_FD);
	more = event_flush(&shim->events) == 1;
	commands_report(shim);
	if (file_goes_on(shim) || (shim->stream.stopped && !shim->control_ended && commands_ready(shim)))
		take_commands(shim);
	more = more || file_goes_on(shim);
	n = epoll_wait(shim->epoll_fd, ready, ARRAY_SIZE(sources), more ? 0 : timeout_ms);
	for (int i = 0; i < n; i++)
		sources[ready[i].data.u32].ready(shim);
}
