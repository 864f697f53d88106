/* SPDX-License-Identifier: MIT */
/* Starts virtual machines that stay, one after the other, and looks at them while they are idle.
 *
 *   crowd [-n COUNT] [-i SECONDS] [-m MIB] [-k NAME] SIDE SPEC SHIM
 *   crowd ... SIDE - COMMAND...
 *
 * SHIM gets SPEC on fd 3 and counts as launched when its `running` event has been read; COMMAND
 * when it has written anything to stdout. Prints lines ROW <tab> SIDE <tab> NUMBER <tab> VALUE,
 * rows being
 *   NAME.launch:N   microseconds from before the process is created until it is launched
 *   NAME.cpu:N      of CPU that it has used by then, microseconds
 *   NAME.uss        KiB private to the process (smaps), without the mapping of MIB, which is guest
 *                   RAM
 *   NAME.vcpu       KiB of that in the mappings that KVM makes for vCPUs
 *   NAME.dirty      KiB of NAME.uss that are written pages, which no second VM would share
 *   NAME.host       KiB by which the host's MemAvailable fell, a VM
 *   NAME.wakeups    context switches a second of all threads of all of them, while SECONDS pass,
 *                   but for
 *   NAME.workers    those of the kernel's workers among them, which run nothing of user space
 *
 * It fails when one of them does, or is not there any more at the end, which is a SIGTERM each:
 * specs should stop a guest that does not listen soon (lifecycle.shutdown_timeout_ms). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/axvm.h"
#include "proto/axvm.pb-c.h"

#define COUNT_MAX 1000
#define STATUS_STOPPED 36
#define SETTLE_US 300000

struct member {
	pid_t pid;
	int said; /* its events, or its stdout */
};

struct memory {
	long uss, vcpu, dirty;
};

static struct member members[COUNT_MAX];
static const char *name = "crowd", *side, *spec;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "crowd: %s: %s\n", what, errno_text(errno));
	exit(1);
}

static void put(const char *row, int number, double value)
{
	printf("%s.%s\t%s\t%d\t%.3f\n", name, row, side, number, value);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- launch ---------------------------------------------------------------------------------- */

static struct member start(char **argv)
{
	posix_spawn_file_actions_t actions;
	struct member member;
	int ends[2];
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (spec)
		posix_spawn_file_actions_addopen(&actions, 3, spec, O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], spec ? 4 : 1);
	r = posix_spawn(&member.pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0) {
		errno = r;
		die(argv[0]);
	}
	close(ends[1]);
	member.said = ends[0];
	return member;
}

/* Blocks until the events say that it runs. */
static bool await_running(int events)
{
	struct axvm_decoder *decoder = axvm_decoder_new();
	Axvm__V1__Event *event;
	bool running = false;
	const void *encoded;
	size_t size;
	char bytes[4096];
	ssize_t n;

	while (!running && (n = read(events, bytes, sizeof(bytes))) > 0) {
		if (!decoder || axvm_decoder_feed(decoder, bytes, (size_t)n) < 0)
			die("events");
		while (axvm_decoder_next(decoder, &encoded, &size) == 1) {
			event = axvm__v1__event__unpack(NULL, size, encoded);
			if (!event)
				die("events");
			running |= event->body_case == AXVM__V1__EVENT__BODY_RUNNING;
			axvm__v1__event__free_unpacked(event, NULL);
		}
	}
	axvm_decoder_free(decoder);
	return running;
}

static double cpu_us_of(pid_t pid)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		die("the CPU clock of a process");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void launch(int count, char **argv)
{
	for (int i = 0; i < count; i++) {
		double begin = now_us();
		char row[32], byte;
		bool up;

		members[i] = start(argv);
		up = spec ? await_running(members[i].said) : read(members[i].said, &byte, 1) == 1;
		if (!up) {
			fprintf(stderr, "crowd: number %d did not come up\n", i + 1);
			exit(1);
		}
		snprintf(row, sizeof(row), "launch:%d", i + 1);
		put(row, 1, now_us() - begin);
		snprintf(row, sizeof(row), "cpu:%d", i + 1);
		put(row, 1, cpu_us_of(members[i].pid));
	}
}

/* ---- at rest --------------------------------------------------------------------------------- */

static struct memory memory_of(pid_t pid, long ram_kib)
{
	struct memory sum = { 0 };
	long size = 0, kib;
	bool vcpu = false;
	char line[512];
	FILE *file;

	snprintf(line, sizeof(line), "/proc/%d/smaps", pid);
	file = fopen(line, "re");
	if (!file)
		die(line);
	while (fgets(line, sizeof(line), file)) {
		if (strchr(line, '-') && strchr("0123456789abcdef", line[0]))
			vcpu = strstr(line, "kvm-vcpu") != NULL;
		else if (sscanf(line, "Size: %ld kB", &kib) == 1)
			size = kib;
		if (size == ram_kib || sscanf(line, "Private_%*[CDa-z_]: %ld kB", &kib) != 1)
			continue;
		sum.uss += kib;
		sum.vcpu += vcpu ? kib : 0;
		sum.dirty += strncmp(line, "Private_Dirty", 13) == 0 ? kib : 0;
	}
	fclose(file);
	return sum;
}

static long read_number(const char *path, const char *key)
{
	long total = 0, value;
	char line[256];
	FILE *file = fopen(path, "re");

	if (!file)
		die(path);
	while (fgets(line, sizeof(line), file)) {
		char *at = strstr(line, key);

		if (at && sscanf(at + strlen(key), "%ld", &value) == 1)
			total += value;
	}
	fclose(file);
	return total;
}

struct switches {
	long own, workers;
};

/* io_uring's and KVM's: they are threads of the process that never leave the kernel. */
static bool is_worker(const char *status)
{
	static const char *const names[] = { "Name:\tiou-", "Name:\tkvm-" };
	char line[64] = "";
	FILE *file = fopen(status, "re");

	if (file && !fgets(line, sizeof(line), file))
		line[0] = '\0';
	if (file)
		fclose(file);
	return strncmp(line, names[0], strlen(names[0])) == 0 ||
	       strncmp(line, names[1], strlen(names[1])) == 0;
}

static void add_switches(pid_t pid, struct switches *sum)
{
	char path[300];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	if (!tasks)
		die(path);
	while ((entry = readdir(tasks)))
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid, entry->d_name);
			*(is_worker(path) ? &sum->workers : &sum->own) +=
				read_number(path, "ctxt_switches:");
		}
	closedir(tasks);
}

static struct switches all_switches(int count)
{
	struct switches sum = { 0 };

	for (int i = 0; i < count; i++)
		add_switches(members[i].pid, &sum);
	return sum;
}

static void look(int count, int seconds, long ram_kib, long before_kib)
{
	struct switches before, after;

	usleep(SETTLE_US); /* the last one has begun to be idle */
	put("host", 1,
	    (double)(before_kib - read_number("/proc/meminfo", "MemAvailable:")) / count);
	for (int i = 0; i < count; i++) {
		struct memory memory = memory_of(members[i].pid, ram_kib);

		put("uss", i + 1, (double)memory.uss);
		put("vcpu", i + 1, (double)memory.vcpu);
		put("dirty", i + 1, (double)memory.dirty);
	}
	if (seconds == 0)
		return;
	sleep(2); /* on a busy machine the start has an end of its own */
	before = all_switches(count);
	sleep((unsigned)seconds);
	after = all_switches(count);
	put("wakeups", 1, (double)(after.own - before.own) / seconds);
	put("workers", 1, (double)(after.workers - before.workers) / seconds);
}

static void end(int count)
{
	int status;

	for (int i = 0; i < count; i++) {
		if (waitpid(members[i].pid, &status, WNOHANG) != 0) {
			fprintf(stderr, "crowd: number %d ended by itself\n", i + 1);
			exit(1);
		}
		kill(members[i].pid, SIGTERM);
	}
	for (int i = 0; i < count; i++) {
		close(members[i].said);
		if (waitpid(members[i].pid, &status, 0) != members[i].pid)
			die("waitpid");
		if (spec && (!WIFEXITED(status) || WEXITSTATUS(status) != STATUS_STOPPED)) {
			fprintf(stderr, "crowd: number %d: wait status %#x\n", i + 1,
			        (unsigned)status);
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	int count = 1, seconds = 0, option;
	long ram_mib = 128, before;

	while ((option = getopt(argc, argv, "+n:i:m:k:")) != -1) {
		if (option == 'n')
			count = atoi(optarg);
		else if (option == 'i')
			seconds = atoi(optarg);
		else if (option == 'm')
			ram_mib = atol(optarg);
		else
			name = option == 'k' ? optarg : name;
	}
	if (argc - optind < 3 || count < 1 || count > COUNT_MAX) {
		fprintf(stderr, "crowd: see the head of tests/bench/crowd.c\n");
		return 64;
	}
	side = argv[optind];
	spec = strcmp(argv[optind + 1], "-") == 0 ? NULL : argv[optind + 1];
	before = read_number("/proc/meminfo", "MemAvailable:");
	launch(count, argv + optind + 2);
	look(count, seconds, ram_mib * 1024, before);
	end(count);
	return 0;
}
