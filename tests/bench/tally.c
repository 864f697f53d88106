/* SPDX-License-Identifier: MIT */
/* Runs a command and counts what it, its threads and all that they start do to a host.
 *
 *   tally FILE COMMAND...
 *
 * Writes lines NAME VALUE to FILE when the command has ended, and ends with its status:
 *   exits        of KVM's guests (tracepoint kvm:kvm_exit)
 *   user_exits   of them, those that the monitor answers (kvm:kvm_userspace_exit)
 *   switches     context switches of its threads
 *   migrations   of its threads from a CPU to another
 *
 * The counters are the kernel's (perf_event_open(2)), inherited by every thread that is created
 * later, and need tracefs and the right to look at tracepoints (root). They cost nothing but for
 * their increments, on all sides the same. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

#define TRACEPOINTS "/sys/kernel/tracing/events/kvm/"

static struct counter {
	const char *name;
	const char *tracepoint; /* or NULL: config of PERF_TYPE_SOFTWARE */
	uint64_t config;
	int fd;
} counters[] = {
	{ .name = "exits", .tracepoint = TRACEPOINTS "kvm_exit/id" },
	{ .name = "user_exits", .tracepoint = TRACEPOINTS "kvm_userspace_exit/id" },
	{ .name = "switches", .config = PERF_COUNT_SW_CONTEXT_SWITCHES },
	{ .name = "migrations", .config = PERF_COUNT_SW_CPU_MIGRATIONS },
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tally: %s: %s\n", what, errno_text(errno));
	exit(125);
}

static uint64_t number_of(const char *tracepoint)
{
	uint64_t id;
	FILE *file = fopen(tracepoint, "re");

	if (!file || fscanf(file, "%" SCNu64, &id) != 1)
		die(tracepoint);
	fclose(file);
	return id;
}

/* Of this process, off until it starts a program. */
static void open_counter(struct counter *counter, pid_t pid)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = counter->tracepoint ? PERF_TYPE_TRACEPOINT : PERF_TYPE_SOFTWARE,
		.config = counter->tracepoint ? number_of(counter->tracepoint) : counter->config,
		.disabled = 1,
		.inherit = 1,
		.enable_on_exec = 1,
	};

	counter->fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (counter->fd < 0)
		die(counter->name);
}

static _Noreturn void run(char **argv, int start)
{
	char word;

	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || read(start, &word, 1) != 1)
		_exit(125);
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

int main(int argc, char **argv)
{
	FILE *file = argc > 2 ? fopen(argv[1], "we") : NULL;
	int start[2], status;
	uint64_t value;
	pid_t pid;

	if (!file || pipe2(start, O_CLOEXEC) < 0)
		die(argc > 2 ? argv[1] : "usage: tally FILE COMMAND...");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		run(argv + 2, start[0]);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		open_counter(&counters[i], pid);
	if (write(start[1], "", 1) != 1 || waitpid(pid, &status, 0) != pid)
		die("waiting");
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		if (read(counters[i].fd, &value, sizeof(value)) != sizeof(value))
			die(counters[i].name);
		fprintf(file, "%s %" PRIu64 "\n", counters[i].name, value);
	}
	if (fclose(file) != 0)
		die(argv[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
