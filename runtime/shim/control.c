/* SPDX-License-Identifier: MIT */
/* The control loop.
 *
 * The control thread waits in one place, epoll_wait(2), for: fd 3, the wake-up of any other thread,
 * signals, and room in fd 4. */
#include "shim/control.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/uses.h"
#include "interface/event.h"
#include "sandbox/fd_layout.h"
#include "shim/commands.h"
#include "shim/deadline.h"
#include "shim/device/devices.h"
#include "shim/fds.h"
#include "shim/pause.h"
#include "shim/sealing.h"
#include "shim/shim.h"
#include "shim/shutdown.h"

/* How much is read from a regular file on fd 3, which is always readable, before other sources are
 * served. */
#define FILE_CHUNKS_A_TURN 16

/* The place of fd 3 among the sources. */
#define SOURCE_CONTROL 2

static void on_signal(struct shim *shim)
{
	struct signalfd_siginfo info;

	SANDBOX_USES(control, read, arg0 == SIGNAL_FD);
	while (read(shim->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SANDBOX_LAUNCHER_DIED)
			shutdown_stop(shim, "the launcher has died");
		else
			shutdown_signal(shim, deadline_now_ns());
	}
}

static void on_wake(struct shim *shim)
{
	uint64_t count;

	SANDBOX_USES(control, read, arg0 == CONTROL_WAKE_FD && arg2 == EVENTFD_SIZE);
	(void)!read(shim->wake_fd, &count, sizeof(count));
	if (sealing_death(shim)) {
		shutdown_stop(shim, NULL);
		return;
	}
	vm_serve_calls(&shim->machine.vm);
	devices_serve_control(&shim->devices);
	pause_settle(shim);
	shutdown_heed_panic(shim);
}

static void on_control_end(struct shim *shim)
{
	/* It was told once, and is not watched again. */
	shim->control_ended = true;
	if (shim->spec.lifecycle.on_control_eof == ON_CONTROL_EOF_SHUTDOWN)
		shutdown_ask(shim, deadline_now_ns(), "fd 3 has ended, which means shut down");
	else if (shim->spec.lifecycle.on_control_eof == ON_CONTROL_EOF_STOP)
		shutdown_stop(shim, "fd 3 has ended, which means stop");
}

/* Bytes that are no ControlStream have the effect of the end of fd 3, after an error reply: the
 * next message cannot be found in them. */
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

/* Makes epoll report fd 3 once more; each report disarms it (EPOLLONESHOT). While it is disarmed,
 * nothing on fd 3 wakes the loop, not even a hang-up. */
static void watch_control(struct shim *shim)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT, .data.u32 = SOURCE_CONTROL };

	if (shim->control_is_file || shim->control_ended || shim->stream.stopped)
		return;
	SANDBOX_USES(control, epoll_ctl,
	             arg0 == EPOLL_FD && arg1 == EPOLL_CTL_MOD && arg2 == CONTROL_FD);
	(void)epoll_ctl(shim->epoll_fd, EPOLL_CTL_MOD, CONTROL_FD, &event);
}

/* Whether fd 3 is a file with more bytes to read, and the shim may read them. */
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
	/* Edge-triggered: epoll reports when room appears, not while there is room. */
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
		return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, -r, NULL,
		                    "cannot create the control loop's descriptors (the hard limit "
		                    "on open files must be at least %d): %s",
		                    INTERNAL_FD_LAST + 1, errno_text(-r));
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
			return problems_add(&shim->problems, ERROR_CODE_OS_FAILED, errno, NULL,
			                    "cannot watch fd %d: %s", sources[i].fd,
			                    errno_text(errno));
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
	if (file_goes_on(shim) ||
	    (shim->stream.stopped && !shim->control_ended && commands_ready(shim)))
		take_commands(shim);
	more = more || file_goes_on(shim);
	n = epoll_wait(shim->epoll_fd, ready, ARRAY_SIZE(sources), more ? 0 : timeout_ms);
	for (int i = 0; i < n; i++)
		sources[ready[i].data.u32].ready(shim);
}
