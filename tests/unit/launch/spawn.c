/* SPDX-License-Identifier: MIT */
/* axvm_spawn() and what follows, with scripts in the place of the shim. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/cli/messages.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/wait.h"

static char script_path[] = "/tmp/axvm-unit-XXXXXX";

/* A test's one script, with these words. */
static char *script(const char *text)
{
	int fd = mkostemp(script_path, O_CLOEXEC);
	FILE *out = fdopen(fd, "w");

	fprintf(out, "#!/bin/sh\n%s\n", text);
	fchmod(fd, 0700);
	fclose(out);
	return script_path;
}

/* At the end of the test: a shell that has only just been started has yet to open it. */
static void remove_script(void)
{
	unlink(script_path);
}

TestSuite(launch_spawn, .fini = remove_script);

static struct axvm_vm *spawn(const char *text, const struct axvm_fd *fds, size_t fds_count)
{
	struct axvm_launch launch = { .shim = script(text),
		                      .spec = "\x0a\x04unit",
		                      .spec_size = 6,
		                      .fds = fds,
		                      .fds_count = fds_count };
	struct axvm_error error = { "" };
	struct axvm_vm *vm = NULL;
	int r;

	r = axvm_spawn(&launch, &vm, &error);
	cr_assert_eq(r, 0, "%s", error.text);
	return vm;
}

static int end_of(struct axvm_vm *vm)
{
	int status = -1, again = -2;

	wait_readable(axvm_vm_pidfd(vm));
	cr_assert_eq(axvm_vm_reap(vm, &status), 0);
	cr_assert_eq(axvm_vm_reap(vm, &again), 0, "and again");
	cr_assert_eq(status, again);
	return status;
}

static size_t read_all(int fd, char *to, size_t size)
{
	size_t n = 0;
	ssize_t r;

	while (n + 1 < size && (r = wait_read(fd, to + n, size - 1 - n)) > 0)
		n += (size_t)r;
	to[n] = '\0';
	return n;
}

/* The launch comes on fd 3, and is what was given. */
Test(launch_spawn, the_launch_arrives)
{
	int ends[2];
	char got[64];
	struct axvm_fd fds[1];
	struct axvm_vm *vm;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = (struct axvm_fd){ ends[1], 1 };
	vm = spawn("exec cat <&3", fds, 1);
	axvm_vm_end_commands(vm);
	close(ends[1]);
	cr_assert_eq(read_all(ends[0], got, sizeof(got)), 8);
	cr_assert_eq(memcmp(got, "\x0a\x06\x0a\x04unit", 8), 0);
	cr_assert_eq(end_of(vm), 0);
	axvm_vm_free(vm);
	close(ends[0]);
}

Test(launch_spawn, a_command_follows_with_a_request_id)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__StopCommand stop = AXVM__V1__STOP_COMMAND__INIT;
	Axvm__V1__ControlStream *stream;
	uint64_t first = 0, second = 0;
	struct axvm_fd fds[1];
	struct axvm_vm *vm;
	char got[128];
	int ends[2];
	size_t n;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = (struct axvm_fd){ ends[1], 1 };
	vm = spawn("exec cat <&3", fds, 1);
	close(ends[1]);
	command.what_case = AXVM__V1__COMMAND__WHAT_STOP;
	command.stop = &stop;
	cr_assert_eq(vm_send_command(vm, &command, &first), 0);
	command.has_request_id = 1;
	command.request_id = 7;
	cr_assert_eq(vm_send_command(vm, &command, &second), 0);
	axvm_vm_end_commands(vm);
	cr_assert_eq(vm_send_command(vm, &command, NULL), -EPIPE);
	n = read_all(ends[0], got, sizeof(got));
	stream = axvm__v1__control_stream__unpack(NULL, n, (const uint8_t *)got);
	cr_assert_not_null(stream);
	cr_assert_eq(stream->n_commands, 2);
	cr_assert_eq(stream->commands[0]->request_id, first);
	cr_assert_eq(first, 1ULL << 32);
	cr_assert_eq(stream->commands[1]->request_id, 7);
	cr_assert_eq(second, 7);
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	cr_assert_eq(end_of(vm), 0);
	axvm_vm_free(vm);
	close(ends[0]);
}

/* More than a socket takes at once: the rest waits, and nothing is lost. */
Test(launch_spawn, much_is_queued)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ResizeCommand resize = AXVM__V1__RESIZE_COMMAND__INIT;
	enum { COMMANDS = 400 };
	static char id[4000], got[2 * MIB];
	int file = memfd_create("stdout", MFD_CLOEXEC), go[2], r;
	struct axvm_fd fds[2] = { { file, 1 } };
	Axvm__V1__ControlStream *stream;
	struct axvm_vm *vm;
	size_t n;

	memset(id, 'x', sizeof(id) - 1);
	/* It reads nothing until it is let go. */
	cr_assert_eq(pipe2(go, O_CLOEXEC), 0);
	fds[1] = (struct axvm_fd){ go[0], 5 };
	vm = spawn("read go <&5; exec cat <&3", fds, 2);
	command.what_case = AXVM__V1__COMMAND__WHAT_RESIZE;
	command.resize = &resize;
	resize.disk_id = id;
	for (int i = 0; i < COMMANDS; i++)
		cr_assert_eq(vm_send_command(vm, &command, NULL), 0);
	cr_assert_eq(axvm_vm_flush(vm), -EAGAIN);
	close(go[0]);
	close(go[1]);
	while ((r = axvm_vm_flush(vm)) == -EAGAIN) {
		struct pollfd room = { axvm_vm_control_fd(vm), POLLOUT, 0 };

		cr_assert_eq(poll(&room, 1, WAIT_LIMIT_S * 1000), 1);
	}
	cr_assert_eq(r, 0);
	axvm_vm_end_commands(vm);
	cr_assert_eq(end_of(vm), 0);
	lseek(file, 0, SEEK_SET);
	n = read_all(file, got, sizeof(got));
	stream = axvm__v1__control_stream__unpack(NULL, n, (const uint8_t *)got);
	cr_assert_not_null(stream);
	cr_assert_eq(stream->n_commands, COMMANDS);
	for (size_t i = 0; i < stream->n_commands; i++)
		cr_assert_str_eq(stream->commands[i]->resize->disk_id, id);
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	axvm_vm_free(vm);
	close(file);
}

/* A shim that never reads costs so much memory and no more; what is refused has left nothing in the
 * queue. */
Test(launch_spawn, the_queue_is_bounded)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ResizeCommand resize = AXVM__V1__RESIZE_COMMAND__INIT;
	static char id[4000], got[4 * MIB];
	int file = memfd_create("stdout", MFD_CLOEXEC), go[2], r = 0;
	struct axvm_fd fds[2] = { { file, 1 } };
	Axvm__V1__ControlStream *stream;
	size_t sent = 0, n;
	struct axvm_vm *vm;

	memset(id, 'x', sizeof(id) - 1);
	cr_assert_eq(pipe2(go, O_CLOEXEC), 0);
	fds[1] = (struct axvm_fd){ go[0], 5 };
	vm = spawn("read go <&5; exec cat <&3", fds, 2);
	command.what_case = AXVM__V1__COMMAND__WHAT_RESIZE;
	command.resize = &resize;
	resize.disk_id = id;
	while (sent < 1000 && (r = vm_send_command(vm, &command, NULL)) == 0)
		sent++;
	cr_assert_eq(r, -ENOBUFS, "%zu were taken", sent);
	cr_assert_gt(sent, (AXVM_QUEUE_MAX - AXVM_COMMAND_MAX) / sizeof(id));
	cr_assert_eq(vm_send_command(vm, &command, NULL), -ENOBUFS);
	close(go[0]);
	close(go[1]);
	/* Once something was taken there is room again, and the next call finds it by itself. */
	while ((r = vm_send_command(vm, &command, NULL)) == -ENOBUFS) {
		struct pollfd room = { axvm_vm_control_fd(vm), POLLOUT, 0 };

		cr_assert_eq(poll(&room, 1, WAIT_LIMIT_S * 1000), 1);
	}
	cr_assert_eq(r, 0);
	while ((r = axvm_vm_flush(vm)) == -EAGAIN) {
		struct pollfd room = { axvm_vm_control_fd(vm), POLLOUT, 0 };

		cr_assert_eq(poll(&room, 1, WAIT_LIMIT_S * 1000), 1);
	}
	cr_assert_eq(r, 0);
	axvm_vm_end_commands(vm);
	cr_assert_eq(end_of(vm), 0);
	lseek(file, 0, SEEK_SET);
	n = read_all(file, got, sizeof(got));
	stream = axvm__v1__control_stream__unpack(NULL, n, (const uint8_t *)got);
	cr_assert_not_null(stream);
	cr_assert_eq(stream->n_commands, sent + 1);
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	axvm_vm_free(vm);
	close(file);
}

/* The longest that a shim takes, and a byte more, which is told here and not by the shim's
 * reply. */
Test(launch_spawn, a_command_that_is_too_large)
{
	static char id[AXVM_COMMAND_MAX];
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ResizeCommand resize = AXVM__V1__RESIZE_COMMAND__INIT;
	struct axvm_vm *vm = spawn("exec sleep 100", NULL, 0);
	size_t over;
	int status;

	memset(id, 'x', sizeof(id) - 1);
	command.what_case = AXVM__V1__COMMAND__WHAT_RESIZE;
	command.resize = &resize;
	resize.disk_id = id;
	command.has_request_id = 1;
	command.request_id = 7;
	over = axvm__v1__command__get_packed_size(&command) - AXVM_COMMAND_MAX;
	cr_assert_eq(vm_send_command(vm, &command, NULL), -EMSGSIZE);
	id[sizeof(id) - 1 - over] = '\0';
	cr_assert_eq(axvm__v1__command__get_packed_size(&command), AXVM_COMMAND_MAX);
	cr_assert_eq(vm_send_command(vm, &command, NULL), 0);
	cr_assert_eq(axvm_vm_signal(vm, SIGKILL), 0);
	status = end_of(vm);
	cr_assert(WIFSIGNALED(status));
	axvm_vm_free(vm);
}

/* fds swapped, doubled, and above: each where it belongs, and none besides. */
Test(launch_spawn, fds_are_placed)
{
	int a[2], b[2], leak;
	struct axvm_fd fds[4];
	struct axvm_vm *vm;
	char got[512];

	cr_assert_eq(pipe2(a, O_CLOEXEC), 0);
	cr_assert_eq(pipe2(b, O_CLOEXEC), 0);
	/* Inheritable, as a launcher may have it by accident. */
	leak = fcntl(a[0], F_DUPFD, 40);
	fds[0] = (struct axvm_fd){ a[1], b[1] };
	fds[1] = (struct axvm_fd){ b[1], a[1] };
	fds[2] = (struct axvm_fd){ a[1], 77 };
	fds[3] = (struct axvm_fd){ b[1], 1 };
	if (a[1] < 5 || b[1] < 5)
		cr_skip_test("the lowest fds are free in this process");
	vm = spawn("cd /proc/$$/fd; echo *; readlink 77 >&2; test -e /proc/self/fd/40 && echo leak",
	           fds, 4);
	close(a[1]);
	close(b[1]);
	read_all(b[0], got, sizeof(got));
	cr_assert_null(strstr(got, "leak"));
	cr_assert_not_null(strstr(got, "77"), "%s", got);
	cr_assert_null(strstr(got, " 40"), "%s", got);
	(void)end_of(vm);
	axvm_vm_free(vm);
	close(leak);
	close(a[0]);
	close(b[0]);
}

/* Numbers that are free now, and so where a careless duplicate would land. */
Test(launch_spawn, targets_do_not_overwrite_sources)
{
	enum { COUNT = 16 };
	int sources[2][2], output[2], first;
	struct axvm_fd fds[COUNT + 1];
	char got[1024], wanted[1024] = "", text[128];
	struct axvm_vm *vm;
	struct stat st;

	cr_assert_eq(pipe2(sources[0], O_CLOEXEC), 0);
	cr_assert_eq(pipe2(sources[1], O_CLOEXEC), 0);
	cr_assert_eq(pipe2(output, O_CLOEXEC), 0);
	first = MAX(fcntl(0, F_DUPFD_CLOEXEC, output[1]), 5);
	close(first);
	for (int i = 0; i < COUNT; i++)
		fds[i] = (struct axvm_fd){ sources[i % 2][1], first + COUNT - 1 - i };
	fds[COUNT] = (struct axvm_fd){ output[1], 1 };
	snprintf(text, sizeof(text), "for i in `seq %d %d`; do readlink /proc/$$/fd/$i; done",
	         first, first + COUNT - 1);
	vm = spawn(text, fds, COUNT + 1);
	close(output[1]);
	for (int i = 0; i < COUNT; i++) {
		cr_assert_eq(fstat(sources[(COUNT - 1 - i) % 2][1], &st), 0);
		snprintf(wanted + strlen(wanted), sizeof(wanted) - strlen(wanted), "pipe:[%lu]\n",
		         st.st_ino);
	}
	read_all(output[0], got, sizeof(got));
	cr_assert_str_eq(got, wanted);
	cr_assert_eq(end_of(vm), 0);
	axvm_vm_free(vm);
}

Test(launch_spawn, events_and_status)
{
	struct axvm_vm *vm = spawn("printf '\\012\\002\\010\\005' >&4;"
	                           "printf '\\012\\002\\010\\006' >&4; exit 33",
	                           NULL, 0);
	const void *event;
	size_t size;
	int status = end_of(vm);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 33);
	cr_assert_eq(axvm_vm_next_event(vm, &event, &size), 1);
	cr_assert(size == 2 && memcmp(event, "\x08\x05", size) == 0);
	cr_assert_eq(axvm_vm_next_event(vm, &event, &size), 1);
	cr_assert(size == 2 && memcmp(event, "\x08\x06", size) == 0);
	cr_assert_eq(axvm_vm_next_event(vm, &event, &size), 0);
	cr_assert_eq(axvm_vm_next_event(vm, &event, &size), 0);
	axvm_vm_free(vm);
}

/* An EventStream of one terminal event with status 5, as printf(1) takes it. */
#define STATES_5 "printf '\\012\\005\\262\\001\\002\\020\\005' >&4; "

/* What a launcher tells of the end: a status of the VM's only where the shim kept its contract. */
Test(launch_spawn, the_exit_status_is_the_terminal_events)
{
	static const struct {
		const char *script;
		int status;
	} rows[] = {
		{ STATES_5 "exit 5", 5 },
		{ "exit 0", 70 },
		{ "exit 33", 70 },
		{ "exit 70", 70 },
		{ STATES_5 "exit 0", 70 },
		{ STATES_5 "kill -9 $$", 137 },
		{ "kill -6 $$", 134 },
		/* An event that is none of the end, and what is no event. */
		{ "printf '\\012\\002\\010\\007' >&4; exit 0", 70 },
		{ "printf '\\377\\377\\377' >&4; exit 0", 70 },
		{ STATES_5 "printf '\\377' >&4; exit 5", 5 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct axvm_vm *vm = spawn(rows[i].script, NULL, 0);
		bool is_signal = rows[i].status > 128;
		const void *event;
		size_t size;
		int status = -1, again = -1;

		(void)end_of(vm);
		if (!is_signal)
			cr_expect_eq(axvm_vm_exit_status(vm, &status), -EAGAIN,
			             "row %zu: its events are not read", i);
		while (axvm_vm_next_event(vm, &event, &size) == 1)
			;
		cr_expect_eq(axvm_vm_exit_status(vm, &status), 0, "row %zu", i);
		cr_expect_eq(status, rows[i].status, "row %zu: %d", i, status);
		cr_expect(axvm_vm_exit_status(vm, &again) == 0 && again == status,
		          "row %zu: and again", i);
		axvm_vm_free(vm);
		remove_script();
		strcpy(script_path + strlen(script_path) - 6, "XXXXXX");
	}
}

/* fd 4 in the hands of somebody who lives on is at no end; a terminal event is one all the same. */
Test(launch_spawn, the_exit_status_with_fd_4_held_by_another)
{
	static const char *const scripts[] = { "sleep 100 >/dev/null & echo $! >&1; exit 5",
		                               STATES_5
		                               "sleep 100 >/dev/null & echo $! >&1; exit 5" };

	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		const void *event;
		size_t size;
		struct axvm_fd fds[1];
		struct axvm_vm *vm;
		char pid[32];
		int ends[2], status = -1;

		cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
		fds[0] = (struct axvm_fd){ ends[1], 1 };
		vm = spawn(scripts[i], fds, 1);
		close(ends[1]);
		cr_assert_gt(read_all(ends[0], pid, sizeof(pid)), 0);
		close(ends[0]);
		(void)end_of(vm);
		while (axvm_vm_next_event(vm, &event, &size) == 1)
			;
		cr_expect_eq(axvm_vm_exit_status(vm, &status), i ? 0 : -EAGAIN);
		cr_expect_eq(status, i ? 5 : -1);
		cr_assert_eq(kill(atoi(pid), SIGKILL), 0);
		if (i == 0) {
			wait_readable(axvm_vm_event_fd(vm));
			cr_expect_eq(axvm_vm_next_event(vm, &event, &size), 0);
			cr_expect_eq(axvm_vm_exit_status(vm, &status), 0);
			cr_expect_eq(status, 70);
		}
		axvm_vm_free(vm);
		remove_script();
		strcpy(script_path + strlen(script_path) - 6, "XXXXXX");
	}
}

/* Not before the end, and not when somebody else has waited for it. */
Test(launch_spawn, no_exit_status_of_a_shim_that_runs)
{
	struct axvm_vm *vm = spawn("exec cat <&3 >/dev/null", NULL, 0);
	int status = -1;

	cr_expect_eq(axvm_vm_exit_status(vm, &status), -EAGAIN);
	cr_assert_eq(axvm_vm_signal(vm, SIGKILL), 0);
	(void)wait_child(axvm_vm_pid(vm));
	cr_expect_eq(axvm_vm_exit_status(vm, &status), -ECHILD);
	cr_expect_eq(status, -1);
	axvm_vm_free(vm);
}

Test(launch_spawn, an_event_cut_off_is_no_end)
{
	struct axvm_vm *vm = spawn("printf '\\012\\005\\010' >&4", NULL, 0);
	const void *event;
	size_t size;

	(void)end_of(vm);
	cr_assert_eq(axvm_vm_next_event(vm, &event, &size), -EBADMSG);
	axvm_vm_free(vm);
}

/* Neither SIGPIPE nor an error that tells nothing. */
Test(launch_spawn, a_command_to_a_dead_shim)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__StopCommand stop = AXVM__V1__STOP_COMMAND__INIT;
	struct axvm_vm *vm = spawn("exit 0", NULL, 0);

	command.what_case = AXVM__V1__COMMAND__WHAT_STOP;
	command.stop = &stop;
	(void)end_of(vm);
	cr_assert_eq(vm_send_command(vm, &command, NULL), -EPIPE);
	cr_assert_eq(axvm_vm_signal(vm, SIGTERM), -ESRCH);
	axvm_vm_free(vm);
}

Test(launch_spawn, ended_by_a_signal)
{
	struct axvm_vm *vm = spawn("exec sleep 100", NULL, 0);
	int status;

	cr_assert_eq(axvm_vm_reap(vm, &status), -EAGAIN);
	cr_assert_eq(axvm_vm_signal(vm, SIGKILL), 0);
	status = end_of(vm);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	axvm_vm_free(vm);
}

/* What the launcher ignores or blocks is its own business. */
Test(launch_spawn, signals_are_at_their_defaults)
{
	struct axvm_vm *vm;
	sigset_t set;
	int status;

	signal(SIGTERM, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	vm = spawn("exec sleep 100", NULL, 0);
	cr_assert_eq(axvm_vm_signal(vm, SIGTERM), 0);
	status = end_of(vm);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	axvm_vm_free(vm);
}

Test(launch_spawn, a_shim_in_a_pid_namespace_is_process_1)
{
	char got[16];
	struct axvm_error error = { "" };
	struct axvm_fd fds[1];
	struct axvm_launch launch = { .shim = script("exec echo $$"),
		                      .spec = "",
		                      .fds = fds,
		                      .fds_count = 1,
		                      .flags = AXVM_NEW_PID_NAMESPACE };
	struct axvm_vm *vm;
	int ends[2], r;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = (struct axvm_fd){ ends[1], 1 };
	r = axvm_spawn(&launch, &vm, &error);
	close(ends[1]);
	if (r == -EPERM)
		cr_skip_test("not allowed to make a pid namespace: %s", error.text);
	cr_assert_eq(r, 0, "%s", error.text);
	read_all(ends[0], got, sizeof(got));
	cr_assert_str_eq(got, "1\n");
	cr_assert_eq(end_of(vm), 0);
	axvm_vm_free(vm);
	close(ends[0]);
}

static int refused(const struct axvm_launch *launch, char *text, size_t size)
{
	struct axvm_error error = { "" };
	struct axvm_vm *vm = NULL;
	int r = axvm_spawn(launch, &vm, &error);

	cr_assert_null(vm);
	snprintf(text, size, "%s", error.text);
	return r;
}

Test(launch_spawn, launches_that_cannot_be_are_refused)
{
	static const int never[] = { -1, 3, 4, 896, INT_MAX };
	const struct axvm_fd closed = { 999, 5 }, twice[] = { { 0, 5 }, { 0, 5 } };
	struct axvm_launch launch = { .shim = "/bin/true" };
	char text[256];

	cr_assert_eq(refused(&launch, text, sizeof(text)), -EINVAL);
	launch.spec = "";
	launch.fds_count = 1;
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		const struct axvm_fd one = { 0, never[i] };

		launch.fds = &one;
		cr_assert_eq(refused(&launch, text, sizeof(text)), -EINVAL, "number %d", never[i]);
		cr_assert_not_null(strstr(text, "is no number"), "%s", text);
	}
	launch.fds = &closed;
	cr_assert_eq(refused(&launch, text, sizeof(text)), -EBADF);
	cr_assert_not_null(strstr(text, "999"));
	launch.fds = twice;
	launch.fds_count = 2;
	cr_assert_eq(refused(&launch, text, sizeof(text)), -EINVAL);
	launch.fds_count = 0;
	launch.shim = "/nonexistent/shim";
	cr_assert_eq(refused(&launch, text, sizeof(text)), -ENOENT);
	cr_assert_not_null(strstr(text, "/nonexistent/shim"));
	launch.shim = "axvm-no-such-shim";
	cr_assert_eq(refused(&launch, text, sizeof(text)), -ENOENT);
	launch.shim = "/dev/null";
	cr_assert_eq(refused(&launch, text, sizeof(text)), -EACCES);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_assert_eq(errno, ECHILD, "no child is left");
}

/* Numbers from 2^32 up, each once; one that the caller gave is the caller's. */
Test(launch_spawn, request_ids_are_given_once)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__StopCommand stop = AXVM__V1__STOP_COMMAND__INIT;
	struct axvm_vm *vm = spawn("exec cat <&3 >/dev/null", NULL, 0);
	uint64_t given = 0;

	command.what_case = AXVM__V1__COMMAND__WHAT_STOP;
	command.stop = &stop;
	for (uint64_t i = 0; i < 3; i++) {
		cr_assert_eq(vm_send_command(vm, &command, &given), 0);
		cr_assert_eq(given, (1ULL << 32) + i);
	}
	command.has_request_id = 1;
	cr_assert_eq(vm_send_command(vm, &command, &given), 0);
	cr_assert_eq(given, (1ULL << 32) + 3, "0 is none");
	command.request_id = (1ULL << 32) + 4;
	cr_assert_eq(vm_send_command(vm, &command, &given), 0);
	command.has_request_id = 0;
	cr_assert_eq(vm_send_command(vm, &command, &given), 0);
	cr_assert_eq(given, (1ULL << 32) + 5, "one that the caller has used is used");
	cr_assert_eq(axvm_vm_signal(vm, SIGKILL), 0);
	(void)end_of(vm);
	axvm_vm_free(vm);
}

/* A session and group of its own: what is typed at the launcher's terminal does not reach it. */
Test(launch_spawn, a_session_of_its_own)
{
	int ends[2];
	char got[64], wanted[64];
	struct axvm_fd fds[1];
	struct axvm_vm *vm;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = (struct axvm_fd){ ends[1], 1 };
	vm = spawn("read -r line </proc/$$/stat; set -- ${line##*) }; echo $3 $4", fds, 1);
	close(ends[1]);
	read_all(ends[0], got, sizeof(got));
	snprintf(wanted, sizeof(wanted), "%d %d\n", (int)axvm_vm_pid(vm), (int)axvm_vm_pid(vm));
	cr_assert_str_eq(got, wanted);
	(void)end_of(vm);
	axvm_vm_free(vm);
	close(ends[0]);
}

/* The wait status is what waitpid(2) would have told, a core dump too where this host makes one. */
Test(launch_spawn, a_wait_status_is_as_of_waitpid)
{
	char folder[] = "/tmp/axvm-core-XXXXXX", dies[128], cleans[64];
	struct axvm_vm *vm;
	int status, wanted;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(dies, sizeof(dies), "cd %s; ulimit -c unlimited 2>/dev/null; kill -ABRT $$",
	         folder);
	snprintf(cleans, sizeof(cleans), "rm -r %s", folder);
	vm = spawn(dies, NULL, 0);
	status = end_of(vm);
	wanted = system(dies);
	cr_assert_eq(system(cleans), 0);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	cr_assert(WIFSIGNALED(wanted) && WTERMSIG(wanted) == SIGABRT);
	cr_assert_eq(status, wanted, "%#x, by waitpid %#x", status, wanted);
	axvm_vm_free(vm);
}

/* A name without a slash: the first in PATH that may be run, over those that may not; what is wrong
 * is told as what it is. */
Test(launch_spawn, the_shim_is_looked_up)
{
	struct axvm_launch launch = { .shim = "the-shim", .spec = "" };
	char folder[] = "/tmp/axvm-path-XXXXXX", a[64], b[64], shim[96], other[96], text[256],
	     list[512];
	char *runs = script("exit 7");
	struct axvm_vm *vm;
	struct axvm_error error;
	int status;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(a, sizeof(a), "%s/a", folder);
	snprintf(b, sizeof(b), "%s/b", folder);
	cr_assert(mkdir(a, 0700) == 0 && mkdir(b, 0700) == 0);
	snprintf(shim, sizeof(shim), "%s/the-shim", a);
	snprintf(other, sizeof(other), "%s/the-shim", b);
	snprintf(list, sizeof(list), ":%s/none::%s:%s:", folder, a, b);
	setenv("PATH", list, 1);
	cr_assert_eq(refused(&launch, text, sizeof(text)), -ENOENT);
	cr_assert_not_null(strstr(text, "the-shim"), "%s", text);
	cr_assert_eq(close(open(shim, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	cr_assert_eq(refused(&launch, text, sizeof(text)), -EACCES, "there, but not to be run");
	cr_assert_eq(rename(runs, other), 0);
	cr_assert_eq(axvm_spawn(&launch, &vm, &error), 0, "%s", error.text);
	setenv("PATH", "/usr/bin:/bin", 1);
	status = end_of(vm);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	axvm_vm_free(vm);
	unlink(shim);
	unlink(other);
	rmdir(a);
	rmdir(b);
	rmdir(folder);
}

/* The stream of commands goes one way: what the shim writes to it is refused, and is not taken for
 * events. */
Test(launch_spawn, commands_go_one_way)
{
	struct axvm_vm *vm =
		spawn("trap '' PIPE; echo x >&3 2>/dev/null && exit 1; exit 7", NULL, 0);
	int status = end_of(vm);

	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7, "status %#x", status);
	axvm_vm_free(vm);
}

static int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* What a VM holds is closed on exec, and with it; a launch that fails leaves nothing. The caller's
 * signals are as they were. */
Test(launch_spawn, nothing_is_left)
{
	struct axvm_launch launch = { .shim = "/nonexistent/shim", .spec = "" };
	int before = open_fds(), fds[3];
	struct axvm_vm *vm = spawn("exit 0", NULL, 0);
	sigset_t was, is;
	char text[256];

	fds[0] = axvm_vm_control_fd(vm);
	fds[1] = axvm_vm_event_fd(vm);
	fds[2] = axvm_vm_pidfd(vm);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cr_expect_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC, "fd %zu", i);
	for (size_t i = 0; i < 2; i++)
		cr_expect(fcntl(fds[i], F_GETFL) & O_NONBLOCK, "fd %zu", i);
	cr_expect_eq(open_fds(), before + 3, "the shim's ends are the shim's");
	(void)end_of(vm);
	axvm_vm_free(vm);
	cr_expect_eq(open_fds(), before);
	cr_expect_eq(refused(&launch, text, sizeof(text)), -ENOENT);
	cr_expect_eq(open_fds(), before);
	/* A child that is told why has been waited for. */
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1);
	sigemptyset(&was);
	sigaddset(&was, SIGUSR1);
	sigprocmask(SIG_SETMASK, &was, NULL);
	launch.shim = script_path;
	cr_assert_eq(axvm_spawn(&launch, &vm, NULL), 0);
	sigprocmask(SIG_SETMASK, NULL, &is);
	for (int i = 1; i < 32; i++)
		cr_expect_eq(sigismember(&is, i), i == SIGUSR1, "signal %d", i);
	(void)end_of(vm);
	axvm_vm_free(vm);
	axvm_vm_free(NULL);
}

/* ---- descriptors after a launch that failed, by name */

#define NUMBERS 256

static char names[2][NUMBERS][64];

static void note_names(char to[static NUMBERS][64])
{
	for (int fd = 0; fd < NUMBERS; fd++) {
		char path[32];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to[fd], sizeof(to[fd]) - 1);
		to[fd][MAX(n, (ssize_t)0)] = '\0';
	}
}

/* Each way in which a launch can fail: by a call that fails in the launcher, or, where there is
 * none, by its shim. */
static const struct failure {
	const char *shim;
	long call;
	uint64_t argument, wanted; /* the call, where this argument has that value (or bit) */
	int error;
} failures[] = {
	{ "/bin/true", SYS_socketpair, 0, 0, EMFILE },
	{ "/bin/true", SYS_pipe2, 0, 0, ENFILE },
	{ "/bin/true", SYS_fcntl, 1, F_SETFL, EBADF },
	{ "/bin/true", SYS_openat, 0, 0, EMFILE },
	{ "/bin/true", SYS_mmap, 3, MAP_STACK, ENOMEM },
	/* No namespaces for an ordinary user: clone fails. A made-up kernel cannot, with all
	 * signals blocked. */
	{ "/bin/true", 0, 0, 0, EPERM },
	{ "/nonexistent/shim", 0, 0, 0, ENOENT },
	{ "/dev/null", 0, 0, 0, EACCES },
	{ "/", 0, 0, 0, EACCES },
};

static const struct failure *failure;

static bool fail_call(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (nr != failure->call ||
	    (failure->wanted && !(args[failure->argument] & failure->wanted)))
		return false;
	*ret_result = -failure->error;
	return true;
}

static int spawn_fails(void)
{
	struct axvm_launch launch = { .shim = failure->shim, .spec = "" };
	struct axvm_vm *vm = NULL;

	if (failure->error == EPERM) {
		launch.flags = AXVM_NEW_PID_NAMESPACE;
		/* Its own /proc/self stays readable. */
		if (geteuid() == 0 && (setuid(65534) < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0))
			return 5;
	}
	note_names(names[0]);
	if (failure->call && fake_kernel_begin(&failure->call, 1, fail_call) < 0)
		return 1;
	if (axvm_spawn(&launch, &vm, NULL) != -failure->error || vm)
		return 2;
	note_names(names[1]);
	if (names[1][0][0] == '\0')
		return 6; /* nothing could be seen */
	if (waitpid(-1, NULL, WNOHANG) != -1)
		return 3;
	return memcmp(names[0], names[1], sizeof(names[0])) == 0 ? 0 : 4;
}

Test(launch_spawn, a_launch_that_failed_leaves_no_descriptor)
{
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		pid_t child = fork();

		failure = &failures[i];
		cr_assert_geq(child, 0);
		if (child == 0)
			_exit(spawn_fails());
		cr_expect_eq(wait_child(child), 0, "failure %zu", i);
	}
}

/* The step that failed is told, and for which shim. */
Test(launch_spawn, each_step_is_told)
{
	const struct axvm_fd high = { 0, 895 };
	struct axvm_launch launch = {
		.shim = script("exit 0"), .spec = "", .fds = &high, .fds_count = 1
	};
	struct rlimit limit, low;
	char text[256], wanted[256];

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 512;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	cr_expect_eq(refused(&launch, text, sizeof(text)), -EINVAL);
	snprintf(wanted, sizeof(wanted), "cannot duplicate an fd for %s: Invalid argument",
	         script_path);
	cr_expect_str_eq(text, wanted);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	launch.fds_count = 0;
	launch.flags = AXVM_NEW_PID_NAMESPACE;
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	cr_expect_eq(refused(&launch, text, sizeof(text)), -EPERM);
	snprintf(wanted, sizeof(wanted), "cannot clone for %s: Operation not permitted",
	         script_path);
	cr_expect_str_eq(text, wanted);
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
	launch.flags = 0;
	launch.shim = "/dev/null";
	cr_expect_eq(refused(&launch, text, sizeof(text)), -EACCES);
	cr_expect_str_eq(text, "cannot run /dev/null: Permission denied");
	launch.shim = "no-such-shim";
	cr_expect_eq(refused(&launch, text, sizeof(text)), -ENOENT);
	cr_expect_str_eq(text, "cannot find no-such-shim: No such file or directory");
	/* Without a place for words, by number all the same. */
	cr_expect_eq(axvm_spawn(&launch, NULL, NULL), -ENOENT);
}

/* PATH ends where it ends, and a folder of it that is too long is passed over; a path that is too
 * long is told. */
Test(launch_spawn, the_end_of_the_path)
{
	static char variable[2 * PATH_MAX], longest[PATH_MAX + 1];
	struct axvm_launch launch = { .shim = strrchr(script("exit 7"), '/') + 1, .spec = "" };
	struct axvm_error error;
	struct axvm_vm *vm;
	char text[256];
	int status, n;

	/* Behind its end is what would be found. */
	n = snprintf(variable, sizeof(variable), "PATH=/nonexistent");
	strcpy(variable + n + 1, "/tmp");
	putenv(variable);
	cr_expect_eq(refused(&launch, text, sizeof(text)), -ENOENT, "%s", text);
	n = snprintf(variable, sizeof(variable), "PATH=");
	memset(variable + n, 'x', PATH_MAX);
	strcpy(variable + n + PATH_MAX, ":/tmp");
	cr_assert_eq(axvm_spawn(&launch, &vm, &error), 0, "%s", error.text);
	status = end_of(vm);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	axvm_vm_free(vm);
	setenv("PATH", "/usr/bin:/bin", 1);
	memset(longest, '/', PATH_MAX);
	launch.shim = longest;
	cr_expect_eq(refused(&launch, text, sizeof(text)), -ENAMETOOLONG);
	/* The longest that is none too long is looked for. */
	longest[PATH_MAX - 1] = '\0';
	cr_expect_eq(refused(&launch, text, sizeof(text)), -EACCES, "%s", text);
}

/* What is missing of 0 to 2 is /dev/null there, to read and to write; the streams are where they
 * belong; nothing else. */
Test(launch_spawn, standard_streams_are_there)
{
	char folder[] = "/tmp/axvm-streams-XXXXXX", text[256], got[256] = "", out[64];
	struct axvm_vm *vm;
	int fd;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(out, sizeof(out), "%s/out", folder);
	snprintf(text, sizeof(text),
	         "for i in 0 1 2; do x=$x`readlink /proc/$$/fd/$i`; done; echo $x >%s; "
	         "head -c 1; echo x || exit 1; echo x >&2 || exit 2; env >>%s",
	         out, out);
	vm = spawn(text, NULL, 0);
	cr_expect_eq(end_of(vm), 0);
	axvm_vm_free(vm);
	fd = open(out, O_RDONLY | O_CLOEXEC);
	read_all(fd, got, sizeof(got));
	close(fd);
	cr_expect_eq(strncmp(got, "/dev/null/dev/null/dev/null\n", 28), 0, "%s", got);
	cr_expect_null(strstr(got, "HOME="), "an environment: %s", got);
	unlink(out);
	rmdir(folder);
}

/* The launch is whatever bytes the caller has: what is wrong with them is for the shim to tell.
 * None is none. */
Test(launch_spawn, a_launch_of_any_bytes)
{
	struct axvm_launch launch = { .shim = script("exec cat <&3"),
		                      .spec = "abcdef",
		                      .spec_size = 6 };
	struct axvm_error error = { "" };
	struct axvm_fd fds[1];
	struct axvm_vm *vm;
	char got[64];
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = (struct axvm_fd){ ends[1], 1 };
	launch.fds = fds;
	launch.fds_count = 1;
	cr_assert_eq(axvm_spawn(&launch, &vm, &error), 0, "%s", error.text);
	axvm_vm_end_commands(vm);
	cr_expect_eq(axvm_vm_control_fd(vm), -1);
	cr_expect_eq(axvm_vm_flush(vm), 0);
	close(ends[1]);
	cr_expect_eq(read_all(ends[0], got, sizeof(got)), 8);
	cr_expect_eq(memcmp(got,
	                    "\x0a\x06"
	                    "abcdef",
	                    8),
	             0);
	cr_expect_eq(end_of(vm), 0);
	axvm_vm_free(vm);
	close(ends[0]);
	launch.spec = NULL;
	launch.fds_count = 0;
	cr_expect_eq(refused(&launch, got, sizeof(got)), -EINVAL);
	cr_expect_str_eq(got, "no spec is given");
}
