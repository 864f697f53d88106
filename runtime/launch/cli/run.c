/* SPDX-License-Identifier: MIT */
/* `axvm run`: one VM from its launch to its end.
 *
 * One thread, one poll(2): signals (a signalfd), the shim's events, its end, the keyboard, the
 * control socket, and the host's side of vsock. When the guest's console input is our terminal, the
 * terminal goes into raw mode and its keys go through a pipe, so that the escape key can be taken
 * out; output goes from the shim straight to the terminal. The shim is in a session of its own: a
 * Ctrl-C typed here reaches us alone, and we decide. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/clock.h"
#include "launch/cli/event_text.h"
#include "launch/cli/metrics_file.h"
#include "launch/cli/run_outputs.h"
#include "launch/cli/run_parts.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"

#define METRICS_INTERVAL_MS 5000
#define PROGRESS_INTERVAL_MS 200
/* Handled before signals, keys and clients have their turn. */
#define EVENTS_A_TURN 64
/* Bytes that may wait for the reader of our output. Beyond that, events stay with the shim, which
 * drops and counts them when its buffer is full too. */
#define WAITING_MAX (64 * KIB)
/* The time that a stalled reader gets at the end, once a signal has asked for it: as long as the
 * shim gives its own reader. */
#define FINISH_MS 2000

enum {
	POLL_SIGNALS,
	POLL_EVENTS,
	POLL_END,
	POLL_CONTROL,
	POLL_KEYS,
	POLL_WORDS,
	POLL_ERRORS,
	POLL_EVENTS_FILE,
	POLL_SERVER,
	POLL_VSOCK = POLL_SERVER + SERVER_POLLFDS,
	POLL_COUNT = POLL_VSOCK + VSOCK_HOST_POLLFDS,
};

static void note(const struct run *run, const char *text)
{
	if (!run->options.quiet)
		fprintf(stderr, "axvm run: %s\n", text);
}

/* Sends a command without fields. Returns its request id, 0 if the shim takes no more. All such
 * commands encode alike, so one empty body serves for each. */
static uint64_t send_command(struct run *run, Axvm__V1__Command__WhatCase what)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__StopCommand empty = AXVM__V1__STOP_COMMAND__INIT;
	uint64_t request_id = 0;

	command.what_case = what;
	command.stop = &empty;
	(void)vm_send_command(run->vm, &command, &request_id);
	run_remember_own(run, request_id);
	return request_id;
}

/* Presses the power button the first time, stops the VM the second, ends its process the third. A
 * batch system that signals every process of a step may do so several times at once, and signals
 * the shim too. That counts once (base/burst.h), and the shim treats its own signal and our command
 * as one request. */
static void ask_for_end(struct run *run)
{
	switch (run->ends_asked++) {
	case 0:
		note(run,
		     run_has_button(run)
		             ? "power button pressed; once more stops the VM"
		             : "stopping the VM, which has no power button; twice more kills its process");
		send_command(run, AXVM__V1__COMMAND__WHAT_SHUTDOWN);
		break;
	case 1:
		note(run, "stopping the VM; once more kills its process");
		send_command(run, AXVM__V1__COMMAND__WHAT_STOP);
		break;
	default:
		(void)axvm_vm_signal(run->vm, SIGKILL);
	}
}

void run_heed_signal(struct run *run, uint64_t now_ns)
{
	if (burst_take(&run->signals, now_ns))
		ask_for_end(run);
}

/* Sends the command of a key; its reply is printed when it comes. */
static void send_key(struct run *run, enum escape_action action, Axvm__V1__Command__WhatCase what)
{
	run->key_action = action;
	run->key_request = send_command(run, what);
	if (run->key_request == 0)
		fprintf(stderr, "\naxvm run: the shim takes no command any more\n");
}

static void on_escape(struct run *run, enum escape_action action)
{
	switch (action) {
	case ESCAPE_STOP:
		run->ends_asked = MAX(run->ends_asked, 1u);
		ask_for_end(run);
		break;
	case ESCAPE_BUTTON:
		send_key(run, action, AXVM__V1__COMMAND__WHAT_SHUTDOWN);
		break;
	case ESCAPE_PAUSE:
		send_key(run, action,
		         run->state == AXVM__V1__STATE__STATE_PAUSED
		                 ? AXVM__V1__COMMAND__WHAT_RESUME
		                 : AXVM__V1__COMMAND__WHAT_PAUSE);
		break;
	case ESCAPE_STATUS:
		fprintf(stderr, "\naxvm run: %s is %s, process %d\n", run->options.spec->vm_id,
		        state_name((int)run->state), (int)axvm_vm_pid(run->vm));
		break;
	case ESCAPE_HELP:
		fprintf(stderr, "\n%s", escape_help);
		break;
	case ESCAPE_NOTHING:
		break;
	}
}

static void on_keys(struct run *run)
{
	uint8_t typed[512], keys[sizeof(typed)];
	enum escape_action action;
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	size_t count = 0;

	if (n <= 0) {
		run->keys_ended = n == 0 || (errno != EINTR && errno != EAGAIN);
		if (run->keys_ended)
			close_ptr(&run->keys_fd);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		if (escape_take(&run->escape, typed[i], &keys[count], &action))
			count++;
		else
			on_escape(run, action);
	/* A guest that does not read loses keys, so that the escape key goes on working. */
	if (count > 0 && run->keys_fd >= 0)
		(void)!write(run->keys_fd, keys, count);
}

static void on_signals(struct run *run)
{
	struct signalfd_siginfo info;

	while (read(run->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH)
			run_send_console_size(run);
		else if (info.ssi_signo != SIGCHLD)
			run_heed_signal(run, monotonic_ns());
	}
}

static void write_metrics(struct run *run, const Axvm__V1__MetricsReport *metrics)
{
	const char *path = run->options.metrics_file;
	int r = metrics_file_write_again(&run->metrics_file, path, run->options.spec->vm_id,
	                                 metrics);

	if (r < 0 && !run->metrics_failed)
		fprintf(stderr, "axvm run: cannot write %s: %s\n", path, metrics_file_error(-r));
	run->metrics_failed |= r < 0;
}

static void on_event(struct run *run, const Axvm__V1__Event *event)
{
	const Axvm__V1__MetricsReport *metrics = NULL;

	if (run->start_ns == 0)
		run->start_ns = event->monotonic_ns;
	if (event->body_case == AXVM__V1__EVENT__BODY_RUNNING) {
		run->state = AXVM__V1__STATE__STATE_RUNNING;
		run->started = true;
	} else if (event->body_case == AXVM__V1__EVENT__BODY_STATE_CHANGED) {
		run->state = event->state_changed->to;
		run->started |= run->state == AXVM__V1__STATE__STATE_RUNNING;
	} else if (event->body_case == AXVM__V1__EVENT__BODY_METRICS) {
		metrics = event->metrics;
	} else if (event->body_case == AXVM__V1__EVENT__BODY_REPLY) {
		metrics = event->reply->metrics;
		if (!server_reply(&run->server, event))
			run_answer(run, event->reply);
	} else if (event->body_case == AXVM__V1__EVENT__BODY_TERMINAL) {
		run_end_remember(&run->end, event->terminal, run_events_are_on_stderr(run));
	} else if (event->body_case == AXVM__V1__EVENT__BODY_STAGE_COMPLETED) {
		run->stage = event->stage_completed->stage;
	}
	if (metrics && run->options.metrics_file)
		write_metrics(run, metrics);
	run_clear_progress(run);
	run_write_event(run, event);
}

static bool reader_keeps_up(const struct run *run)
{
	return nowait_waiting(&run->errors) < WAITING_MAX &&
	       nowait_waiting(&run->events_file) < WAITING_MAX;
}

/* Handles events. True if there may be more that were read already, which poll(2) does not
 * report. */
static bool on_events(struct run *run)
{
	const Axvm__V1__Event *event;
	int r = 0;

	for (unsigned i = 0; i < EVENTS_A_TURN && (i == 0 || reader_keeps_up(run)); i++) {
		r = vm_next_event(run->vm, &run->held, &event);
		if (r <= 0)
			break;
		on_event(run, event);
	}
	if (r > 0)
		return true;
	run->events_ended = r != -EAGAIN;
	if (r < 0 && r != -EAGAIN)
		fprintf(stderr,
		        "axvm run: what the shim wrote to fd 4 is not an EventStream; is --shim, or AXVM_SHIM, an axvm-shim?\n");
	return false;
}

static void on_words(struct run *run)
{
	run_clear_progress(run);
	if (!run_words_take(&run->words))
		close_ptr(&run->words.fd);
}

/* Milliseconds until the next thing is due. */
static int timeout(struct run *run)
{
	int64_t now = monotonic_ms(), due = INT64_MAX;

	if (run->options.metrics_file && run->started) {
		if (run->metrics_due == 0 || now >= run->metrics_due) {
			send_command(run, AXVM__V1__COMMAND__WHAT_METRICS);
			run->metrics_due = now + METRICS_INTERVAL_MS;
		}
		due = run->metrics_due;
	}
	if (run->progress_wanted && !run->started) {
		run_show_progress(run, now);
		due = MIN(due, now + PROGRESS_INTERVAL_MS);
	}
	if (run->signals.until_ns != 0)
		due = MIN(due, MAX(now, (int64_t)(run->signals.until_ns / NS_PER_MS) + 1));
	return due == INT64_MAX ? -1 : (int)(due - now);
}

/* Fills in an fd of -1 for a stream without waiting bytes. */
static void watch_outputs(const struct run *run, struct pollfd *errors, struct pollfd *events)
{
	*errors = (struct pollfd){ nowait_waiting(&run->errors) ? run->errors.fd : -1, POLLOUT, 0 };
	*events = (struct pollfd){ nowait_waiting(&run->events_file) ? run->events_file.fd : -1,
		                   POLLOUT, 0 };
}

static void watch(struct run *run, struct pollfd *fds)
{
	bool control_full = axvm_vm_flush(run->vm) == -EAGAIN;

	fds[POLL_SIGNALS] = (struct pollfd){ run->signal_fd, POLLIN, 0 };
	fds[POLL_EVENTS] = (struct pollfd){ axvm_vm_event_fd(run->vm), POLLIN, 0 };
	fds[POLL_END] = (struct pollfd){ axvm_vm_pidfd(run->vm), POLLIN, 0 };
	fds[POLL_CONTROL] = (struct pollfd){ axvm_vm_control_fd(run->vm), POLLOUT, 0 };
	fds[POLL_KEYS] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
	fds[POLL_WORDS] = (struct pollfd){ run->words.fd, POLLIN, 0 };
	if (run->events_ended || !reader_keeps_up(run))
		fds[POLL_EVENTS].fd = -1;
	if (!control_full)
		fds[POLL_CONTROL].fd = -1;
	if (run->keys_fd < 0 || run->keys_ended)
		fds[POLL_KEYS].fd = -1;
	watch_outputs(run, fds + POLL_ERRORS, fds + POLL_EVENTS_FILE);
	server_watch(&run->server, fds + POLL_SERVER);
	vsock_host_watch(&run->vsock, fds + POLL_VSOCK);
}

/* Serves the VM until the shim has ended. Returns its wait status. */
static int serve(struct run *run)
{
	struct pollfd fds[POLL_COUNT];
	bool more = false;
	int status = 0;

	for (;;) {
		uint64_t looked_ns = monotonic_ns();
		int wait_ms = timeout(run);

		watch(run, fds);
		if (poll(fds, ARRAY_SIZE(fds), more && reader_keeps_up(run) ? 0 : wait_ms) < 0 &&
		    errno != EINTR)
			return EX_OSERR << 8;
		(void)nowait_flush(&run->errors);
		(void)nowait_flush(&run->events_file);
		run_tell_lost_events(run);
		if (fds[POLL_SIGNALS].revents)
			on_signals(run);
		burst_looked(&run->signals, looked_ns);
		if (reader_keeps_up(run) && (fds[POLL_EVENTS].revents || more))
			more = on_events(run);
		if (fds[POLL_KEYS].revents)
			on_keys(run);
		if (fds[POLL_WORDS].revents)
			on_words(run);
		server_serve(&run->server, fds + POLL_SERVER);
		vsock_host_serve(&run->vsock, fds + POLL_VSOCK);
		if (fds[POLL_END].revents && axvm_vm_reap(run->vm, &status) != -EAGAIN)
			break;
	}
	/* Nothing comes after the terminal event, even if another process has fd 4 and writes
	 * there. */
	while (!run->events_ended && !run->end.known && on_events(run))
		;
	if (run->words.fd >= 0)
		on_words(run);
	return status;
}

/* Waits for the reader of our output until a signal comes, or at most FINISH_MS if one has asked
 * for the end already. */
static void finish_output(struct run *run)
{
	uint64_t until_ns = monotonic_ns() + FINISH_MS * NS_PER_MS;

	for (;;) {
		struct pollfd fds[3] = { { run->signal_fd, POLLIN, 0 } };
		bool errors_done = nowait_flush(&run->errors);
		bool done = nowait_flush(&run->events_file) && errors_done;
		unsigned asked = run->ends_asked;
		uint64_t now_ns = monotonic_ns();

		if (done || (run->ends_asked > 0 && now_ns >= until_ns))
			return;
		watch_outputs(run, &fds[1], &fds[2]);
		if (poll(fds, ARRAY_SIZE(fds),
		         run->ends_asked > 0 ? (int)((until_ns - now_ns) / NS_PER_MS) + 1 : -1) <
		            0 &&
		    errno != EINTR)
			return;
		if (fds[0].revents)
			on_signals(run);
		if (run->ends_asked > asked)
			return;
		burst_looked(&run->signals, now_ns);
	}
}

static int dry_run(const struct run *run, FILE *out)
{
	Axvm__V1__ControlStream stream = AXVM__V1__CONTROL_STREAM__INIT;

	stream.launch = run->options.spec;
	text_print(out, &stream.base);
	return fflush(out) == 0 ? EX_OK : EX_IOERR;
}

static int launch_and_serve(struct run *run)
{
	int r = run_prepare(run);

	if (r)
		return r;
	r = run_launch(run);
	return r ? r : run_conclude(run, serve(run));
}

/* A reader of stderr that stalls must delay neither signals nor the VM. So stderr is a
 * nowait_stream meanwhile; glibc allows to assign it ("Standard Streams" in its manual). */
static int run_vm(struct run *run)
{
	FILE *before = stderr;
	int r;

	if (nowait_open(&run->errors, STDERR_FILENO) == 0)
		stderr = run->errors.file;
	r = launch_and_serve(run);
	if (run->signal_fd >= 0)
		finish_output(run);
	run_tell_lost_events(run);
	stderr = before;
	return r;
}

int axvm_cmd_run(int argc, char **argv, FILE *out)
{
	static struct run run;
	int r;

	run = (struct run){
		.keys_fd = -1,
		.guest_input_fd = -1,
		.vsock_fd = -1,
		.signal_fd = -1,
		.events_fd = -1,
		.words = { .fd = -1, .shims_fd = -1 },
	};
	r = run_options_parse(&run.options, argc, argv);
	if (r == 0)
		r = run.options.dry_run ? dry_run(&run, out) : run_vm(&run);
	run_done(&run);
	return r;
}
