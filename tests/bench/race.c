/* SPDX-License-Identifier: MIT */
/* Runs programs in turn, whole process, and prints what was measured of each.
 *
 *   race [-n ROUNDS] [-w] [-r AGAIN] [-v] -m METRIC=ROW... -- SIDE COMMAND...
 *   [, SIDE COMMAND...]...
 *
 * SIDE is NAME[:status=N][:spec=FILE][:parked][:requests=N]. With spec= the command is an
 * axvm-shim: the file (an encoded ControlStream) is its fd 3, and its events are read when it has
 * ended. With parked the shim is started, waits for its fd 3 in peace, and the clock starts when
 * the launch is written. Each round runs every side once, beginning with another one each time; the
 * first round warms up and is not counted, but with -w (warm already). -v says on stderr what has
 * been run.
 *
 * For each METRIC that a side has, a line ROW <tab> SIDE <tab> ROUND <tab> VALUE goes to stdout:
 *   wall, cpu       microseconds from before the process is created until it is reaped, and of CPU
 *   seconds         the same as wall
 *   faults, waits   page faults without I/O; voluntary context switches
 *   running         from the same start until a shim announces so, or a command prints "running_at
 *                   N", nanoseconds of CLOCK_MONOTONIC
 *   stage.NAME      a shim's stage, in microseconds
 *   rax, rbx        a shim's: registers of the terminal event
 *   io, elapsed     a shim's, with requests=: of CPU of its I/O threads, and of time, for one of N
 *                   requests between a B and an E that the guest says on the console, which is fd
 *                   5; after the E the shim is ended
 *   anything else   a line "METRIC VALUE" that the command has printed
 *
 * A command that ends with another status ends the race, or is run again, AGAIN times in all, with
 * a word on stderr: an emulated host makes a guest fault now and then. Two programs with the same
 * work thus see the same machine, and the ratio of a round is worth more than either figure. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "guests/block.h"
#include "launch/axvm.h"
#include "proto/axvm.pb-c.h"

#define SIDES_MAX 8
#define METRICS_MAX 32
#define OUTPUT_MAX (1 << 20)
#define PEACE_US 10000

struct metric {
	const char *name, *row;
};

struct side {
	const char *name;
	const char *spec;
	int status;
	int requests;
	bool parked;
	char **argv;
};

struct result {
	int output, events; /* memfds */
	double start_us, wall_us;
	double io_us, elapsed_us; /* between the marks */
	struct rusage usage;
	bool good;
};

static struct metric metrics[METRICS_MAX];
static size_t metrics_count;
static struct side sides[SIDES_MAX];
static int sides_count;
static int again; /* failures that are still forgiven */
static bool verbose;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "race: %s: %s\n", what, errno_text(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double of_timeval(struct timeval t)
{
	return (double)t.tv_sec * 1e6 + (double)t.tv_usec;
}

/* ---- one run --------------------------------------------------------------------------------- */

static bool read_at(DIR *tasks, const char *task, const char *file, char *text, size_t size)
{
	char path[300];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", task, file);
	fd = openat(dirfd(tasks), path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* CPU time of the threads that are named io*, in microseconds. */
static double io_cpu_us(pid_t pid)
{
	char path[64], name[32], times[64];
	double total = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
		if (read_at(tasks, entry->d_name, "comm", name, sizeof(name)) &&
		    strncmp(name, "io", 2) == 0 &&
		    read_at(tasks, entry->d_name, "schedstat", times, sizeof(times)))
			total += strtod(times, NULL) / 1e3;
	}
	if (tasks)
		closedir(tasks);
	return total;
}

/* Waits for both marks, and ends the shim. */
static void watch_marks(pid_t pid, int console, struct result *result)
{
	char mark = 0;

	while (mark != BLOCK_MARK_BEGIN)
		if (read(console, &mark, 1) != 1)
			return;
	result->io_us = -io_cpu_us(pid);
	result->elapsed_us = -now_us();
	while (mark != BLOCK_MARK_END)
		if (read(console, &mark, 1) != 1)
			return;
	result->elapsed_us += now_us();
	result->io_us += io_cpu_us(pid);
	kill(pid, SIGTERM);
}

/* Until its main thread has not run between looks. */
static void await_peace(pid_t pid)
{
	char path[64], before[64] = "", now[64] = "";
	DIR *process;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	process = opendir(path);
	for (int looks = 0; process && looks < 2; looks++) {
		usleep(PEACE_US);
		if (!read_at(process, ".", "schedstat", now, sizeof(now)))
			break;
		if (strcmp(before, now) != 0)
			looks = 0;
		memcpy(before, now, sizeof(before));
	}
	if (process)
		closedir(process);
}

/* The launch, in one piece, and the end of the stream of commands. */
static void write_spec(const char *path, int control)
{
	char bytes[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

	if (n <= 0 || write(control, bytes, (size_t)n) != n)
		die(path);
	close(fd);
	close(control);
}

static struct result run(const struct side *side)
{
	struct result result = { .output = memfd_create("output", MFD_CLOEXEC),
		                 .events = memfd_create("events", MFD_CLOEXEC) };
	posix_spawn_file_actions_t actions;
	int console[2] = { -1, -1 }, control[2] = { -1, -1 };
	int status = 0, r;
	pid_t pid;

	if ((side->requests && pipe2(console, O_CLOEXEC) < 0) ||
	    (side->parked && pipe2(control, O_CLOEXEC) < 0))
		die("pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, result.output, 1);
	if (side->spec) {
		if (side->parked)
			posix_spawn_file_actions_adddup2(&actions, control[0], 3);
		else
			posix_spawn_file_actions_addopen(&actions, 3, side->spec, O_RDONLY, 0);
		posix_spawn_file_actions_adddup2(&actions, result.events, 4);
	}
	if (side->requests)
		posix_spawn_file_actions_adddup2(&actions, console[1], 5);
	result.start_us = now_us();
	r = posix_spawnp(&pid, side->argv[0], &actions, NULL, side->argv, environ);
	close(console[1]);
	close(control[0]);
	if (r == 0 && side->parked) {
		await_peace(pid);
		result.start_us = now_us();
		write_spec(side->spec, control[1]);
	}
	if (r == 0 && side->requests)
		watch_marks(pid, console[0], &result);
	close(console[0]);
	if (r == 0 && wait4(pid, &status, 0, &result.usage) != pid)
		r = errno;
	result.wall_us = now_us() - result.start_us;
	posix_spawn_file_actions_destroy(&actions);
	if (r != 0) {
		errno = r;
		die(side->argv[0]);
	}
	result.good = WIFEXITED(status) && WEXITSTATUS(status) == side->status;
	if (!result.good)
		fprintf(stderr, "race: %s (%s) ended with wait status %#x\n", side->name,
		        side->argv[0], (unsigned)status);
	else if (verbose)
		fprintf(stderr, "race: %s: %.3f s\n", side->name, result.wall_us / 1e6);
	return result;
}

static void result_done(struct result *result)
{
	close(result->output);
	close(result->events);
}

/* Until it ends as it should. */
static struct result run_well(const struct side *side)
{
	struct result result = run(side);

	while (!result.good) {
		if (again-- <= 0)
			exit(1);
		result_done(&result);
		result = run(side);
	}
	return result;
}

/* ---- what it gave ---------------------------------------------------------------------------- */

static void put(const struct side *side, int round, const char *metric, double value)
{
	for (size_t i = 0; i < metrics_count; i++)
		if (strcmp(metrics[i].name, metric) == 0)
			printf("%s\t%s\t%d\t%.3f\n", metrics[i].row, side->name, round, value);
}

static void put_event(const struct side *side, int round, const struct result *result,
                      const Axvm__V1__Event *event)
{
	const Axvm__V1__Terminal *end = event->terminal;

	if (event->body_case == AXVM__V1__EVENT__BODY_RUNNING)
		put(side, round, "running", (double)event->monotonic_ns / 1e3 - result->start_us);
	if (event->body_case != AXVM__V1__EVENT__BODY_TERMINAL)
		return;
	for (size_t i = 0; i < end->n_stages; i++) {
		const ProtobufCEnumValue *stage =
			protobuf_c_enum_descriptor_get_value(&axvm__v1__stage__descriptor,
		                                             (int)end->stages[i]->stage);
		char name[32];

		snprintf(name, sizeof(name), "stage.%s", stage ? stage->name : "?");
		put(side, round, name, (double)end->stages[i]->duration_ns / 1e3);
	}
	if (end->vcpu && end->vcpu->rax)
		put(side, round, "rax", (double)strtoull(end->vcpu->rax, NULL, 16));
	if (end->vcpu && end->vcpu->rbx)
		put(side, round, "rbx", (double)strtoull(end->vcpu->rbx, NULL, 16));
}

static void put_events(const struct side *side, int round, const struct result *result)
{
	struct axvm_decoder *decoder = axvm_decoder_new();
	Axvm__V1__Event *event;
	const void *encoded;
	char bytes[4096];
	size_t size;
	off_t at = 0;
	ssize_t n;

	while ((n = pread(result->events, bytes, sizeof(bytes), at)) > 0) {
		at += n;
		if (!decoder || axvm_decoder_feed(decoder, bytes, (size_t)n) < 0)
			die("events");
		while (axvm_decoder_next(decoder, &encoded, &size) == 1) {
			event = axvm__v1__event__unpack(NULL, size, encoded);
			if (!event)
				die("events");
			put_event(side, round, result, event);
			axvm__v1__event__free_unpacked(event, NULL);
		}
	}
	axvm_decoder_free(decoder);
}

static void put_output(const struct side *side, int round, const struct result *result)
{
	static char text[OUTPUT_MAX];
	ssize_t n = pread(result->output, text, sizeof(text) - 1, 0);
	char *rest = text, *line;

	text[n > 0 ? n : 0] = '\0';
	while ((line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');

		if (!value)
			continue;
		*value++ = '\0';
		if (strcmp(line, "running_at") == 0)
			put(side, round, "running", strtod(value, NULL) / 1e3 - result->start_us);
		else
			put(side, round, line, strtod(value, NULL));
	}
}

static void put_result(const struct side *side, int round, const struct result *result)
{
	put(side, round, "wall", result->wall_us);
	put(side, round, "seconds", result->wall_us / 1e6);
	put(side, round, "cpu",
	    of_timeval(result->usage.ru_utime) + of_timeval(result->usage.ru_stime));
	put(side, round, "faults", (double)result->usage.ru_minflt);
	put(side, round, "waits", (double)result->usage.ru_nvcsw);
	if (side->requests) {
		put(side, round, "io", result->io_us / side->requests);
		put(side, round, "elapsed", result->elapsed_us / side->requests);
	}
	put_output(side, round, result);
	if (side->spec)
		put_events(side, round, result);
}

/* ---- the command line ------------------------------------------------------------------------ */

static _Noreturn void usage(void)
{
	fprintf(stderr, "race: see the head of tests/bench/race.c\n");
	exit(64);
}

static void add_metric(char *text)
{
	char *row = strchr(text, '=');

	if (!row || metrics_count == METRICS_MAX)
		usage();
	*row++ = '\0';
	metrics[metrics_count++] = (struct metric){ text, row };
}

static struct side side_parse(char *text)
{
	struct side side = { .name = strsep(&text, ":") };

	for (char *option; (option = strsep(&text, ":"));) {
		if (strncmp(option, "status=", 7) == 0)
			side.status = atoi(option + 7);
		else if (strncmp(option, "spec=", 5) == 0)
			side.spec = option + 5;
		else if (strcmp(option, "parked") == 0)
			side.parked = true;
		else if (strncmp(option, "requests=", 9) == 0)
			side.requests = atoi(option + 9);
		else
			usage();
	}
	return side;
}

static void sides_parse(char **argv)
{
	while (*argv) {
		if (sides_count == SIDES_MAX || !argv[1])
			usage();
		sides[sides_count] = side_parse(*argv++);
		sides[sides_count++].argv = argv;
		while (*argv && strcmp(*argv, ",") != 0)
			argv++;
		if (*argv)
			*argv++ = NULL;
	}
}

int main(int argc, char **argv)
{
	int rounds = 20, first = 0, option;

	while ((option = getopt(argc, argv, "+n:m:r:vw")) != -1) {
		if (option == 'n')
			rounds = atoi(optarg);
		else if (option == 'r')
			again = atoi(optarg);
		else if (option == 'v')
			verbose = true;
		else if (option == 'w')
			first = 1;
		else if (option == 'm')
			add_metric(optarg);
		else
			usage();
	}
	sides_parse(argv + optind);
	if (sides_count == 0 || rounds < 1)
		usage();
	for (int round = first; round <= rounds; round++)
		for (int i = 0; i < sides_count; i++) {
			const struct side *side = &sides[(round + i) % sides_count];
			struct result result = run_well(side);

			if (round > 0)
				put_result(side, round, &result);
			result_done(&result);
		}
	return 0;
}
