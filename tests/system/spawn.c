/* SPDX-License-Identifier: MIT */
/* Launches shims and judges how they ended: what the shell cannot do, or not fast enough.
 *
 *   spawn run [-t MS] [-e] [-r] [-s SIGNAL@[EVENT+]MS]... PROGRAM [ARGUMENT]...
 *       Runs it with the caller's fds, sends the signals, and exits as it did; 128 plus the signal
 *       when one ended it; 124 when the time ran out (it is then killed); 125 when it left a
 *       process behind; 126 when it changed the flags of a file description that it shares with the
 *       caller (O_NONBLOCK on somebody's terminal). The signals' times are counted from EVENT (see
 *       `await`) in fd 4, without one from the first of all, if that is a file, else from the
 *       start. With -e (early) they are always counted from the start, and the program begins with
 *       those signals blocked. With -r the last one is repeated every 100 ms: two that are pending
 *       at once are one.
 *   spawn judge STATUS <EVENTS
 *       Whether the stream is what goes with that exit status: see judge.h.
 *   spawn await EVENT FILE       until the stream in that file has told it (stream_tells in
 *                                judge.h)
 *   spawn storm SIGNAL TIMES PID...
 *       So many times that signal, to each of them. 75 when it took longer than STORM_MS: on this
 *       host, just now, that was no storm, and whoever wants one tries again.
 *   spawn truncate SHIM SPEC     a launch cut off after each of its bytes
 *   spawn mutate SHIM SPEC N     N launches with a few bytes changed, from a fixed seed
 *   spawn drip SHIM SPEC         the launch byte by byte, through a pipe and through a socket
 *   spawn signal SHIM SPEC N     SIGTERM at N moments, spread over the length of a launch
 *   spawn waiting SHIM SPEC      SIGTERM while fd 3 is silent, and in the middle of a launch
 *   spawn gone SHIM SPEC         nobody reads fd 4 any more, or nobody ever takes anything out
 *
 * Leftovers are found by being a subreaper: whatever descends from a shim and outlives it becomes a
 * child of this process. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/base.h"
#include "tests/system/judge.h"

enum {
	STATUS_AGAIN = 75,
	STATUS_TIMEOUT = 124,
	STATUS_LEFTOVER = 125,
	STATUS_FLAGS = 126,
	SIGNAL_BASE = 128
};

/* For what never ends. Nothing takes a tenth of it, on the slowest host. */
#define PATIENCE_MS 90000
#define STREAM_MAX (64 * MIB)
#define SIGNALS_MAX 8
/* Four fifths of the time within which signals are one request (runtime/base/burst.h). */
#define STORM_MS 400

struct planned {
	int signal_number;
	char after[24]; /* an event; "": the first */
	uint64_t at_ms;
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static _Noreturn void usage(void)
{
	fprintf(stderr, "spawn: see the head of tests/system/spawn.c\n");
	exit(64);
}

/* ---- one child ------------------------------------------------------------------------------- */

/* Starts it with `control` as fd 3 and `events` as fd 4; -1 leaves that number as it is. */
static pid_t start(char *const argv[], int control, int events)
{
	pid_t pid = fork();

	if (pid < 0) {
		perror("spawn: fork");
		exit(1);
	}
	if (pid > 0)
		return pid;
	/* Out of each other's way first. */
	if (control >= 0)
		control = fcntl(control, F_DUPFD_CLOEXEC, 10);
	if (events >= 0)
		events = fcntl(events, F_DUPFD_CLOEXEC, 10);
	if ((control >= 0 && dup2(control, 3) < 0) || (events >= 0 && dup2(events, 4) < 0))
		_exit(127);
	execv(argv[0], argv);
	_exit(127);
}

/* Waits up to `until_us`; true when it has ended. Nothing is reaped. */
static bool ended_by(pid_t pid, uint64_t until_us)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	uint64_t now = now_us();
	struct timespec left = { 0 };
	int n;

	if (fd < 0)
		return errno == ESRCH;
	if (until_us > now)
		left = (struct timespec){ (time_t)((until_us - now) / 1000000),
			                  (long)((until_us - now) % 1000000) * 1000 };
	n = ppoll(&poll_fd, 1, &left, NULL);
	close(fd);
	return n > 0;
}

/* The child's status as a shell has it, or one of ours. Kills what does not end in time. */
static int reap(pid_t pid, uint64_t until_us)
{
	bool in_time = ended_by(pid, until_us);
	int wait_status = 0, rest;

	if (!in_time)
		kill(pid, SIGKILL);
	while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	if (!in_time)
		return STATUS_TIMEOUT;
	/* Any other child is one that the shim left. */
	if (waitpid(-1, &rest, WNOHANG) >= 0) {
		fprintf(stderr, "spawn: a process was left behind\n");
		return STATUS_LEFTOVER;
	}
	return WIFSIGNALED(wait_status) ? SIGNAL_BASE + WTERMSIG(wait_status)
	                                : WEXITSTATUS(wait_status);
}

static int launch(char *shim, int control, int events)
{
	char *argv[] = { shim, NULL };

	return reap(start(argv, control, events), now_us() + PATIENCE_MS * 1000);
}

/* ---- spawn run ------------------------------------------------------------------------------- */

static uint8_t *buffer(void)
{
	static uint8_t bytes[STREAM_MAX];

	return bytes;
}

/* What the stream in a file tells so far; "" is told by anything. */
static enum told file_tells(int fd, const char *what)
{
	ssize_t length = pread(fd, buffer(), STREAM_MAX, 0);

	if (length <= 0)
		return TOLD_NOT_YET;
	return *what ? stream_tells(buffer(), (size_t)length, what) : TOLD_IT;
}

/* Until the stream in fd 4, if that is a file, has told it: a shim that has written an event has
 * long since taken charge of its signals. */
static void await_event(pid_t pid, const char *what, uint64_t until_us)
{
	/* The launcher's fd 4 is for writing. */
	int fd = open("/proc/self/fd/4", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		while (now_us() < until_us && file_tells(fd, what) == TOLD_NOT_YET &&
		       !ended_by(pid, now_us() + 1000))
			;
	close(fd);
}

static void send_signals(pid_t pid, const struct planned *plan, size_t signals, bool early,
                         bool again, uint64_t until_us)
{
	uint64_t from_us = now_us();

	for (size_t i = 0; i < signals; i++) {
		if (!early && (i == 0 || strcmp(plan[i].after, plan[i - 1].after) != 0)) {
			await_event(pid, plan[i].after, until_us);
			from_us = now_us();
		}
		if (!ended_by(pid, from_us + plan[i].at_ms * 1000))
			kill(pid, plan[i].signal_number);
	}
	while (again && !ended_by(pid, now_us() + 100000) && now_us() < until_us)
		kill(pid, plan[signals - 1].signal_number);
}

static int run_with(char *const argv[], const struct planned *plan, size_t signals,
                    uint64_t limit_ms, bool early, bool again)
{
	int before[5];
	uint64_t limit_us = now_us() + limit_ms * 1000;
	sigset_t blocked;
	pid_t pid;
	int status;

	for (int fd = 0; fd < 5; fd++)
		before[fd] = fcntl(fd, F_GETFL);
	sigemptyset(&blocked);
	for (size_t i = 0; i < signals && early; i++)
		sigaddset(&blocked, plan[i].signal_number);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	pid = start(argv, -1, -1);
	send_signals(pid, plan, signals, early, again, limit_us);
	status = reap(pid, limit_us);
	for (int fd = 0; fd < 5; fd++)
		if (fcntl(fd, F_GETFL) != before[fd]) {
			fprintf(stderr, "spawn: the flags of fd %d have changed\n", fd);
			return STATUS_FLAGS;
		}
	return status;
}

/* SIGNAL@MS or SIGNAL@EVENT+MS */
static bool read_plan(const char *text, struct planned *ret)
{
	ret->after[0] = '\0';
	return sscanf(text, "%d@%" SCNu64, &ret->signal_number, &ret->at_ms) == 2 ||
	       sscanf(text, "%d@%23[^+]+%" SCNu64, &ret->signal_number, ret->after, &ret->at_ms) ==
	               3;
}

static int command_run(int argc, char **argv)
{
	struct planned plan[SIGNALS_MAX];
	size_t signals = 0;
	uint64_t limit_ms = PATIENCE_MS;
	bool early = false, again = false;
	int option;

	while ((option = getopt(argc, argv, "+t:s:er")) != -1) {
		if (option == 't')
			limit_ms = strtoull(optarg, NULL, 10);
		else if (option == 'e')
			early = true;
		else if (option == 'r')
			again = true;
		else if (option != 's' || signals == SIGNALS_MAX ||
		         !read_plan(optarg, &plan[signals]))
			usage();
		else
			signals++;
	}
	if (optind >= argc || (again && signals == 0))
		usage();
	return run_with(argv + optind, plan, signals, limit_ms, early, again);
}

/* ---- judging a stream ------------------------------------------------------------------------ */

static size_t read_all(int fd, uint8_t *to, size_t size)
{
	size_t have = 0;
	ssize_t n;

	while (have < size && (n = read(fd, to + have, size - have)) > 0)
		have += (size_t)n;
	return have;
}

static int command_judge(int argc, char **argv)
{
	size_t length = read_all(STDIN_FILENO, buffer(), STREAM_MAX);

	if (argc != 2)
		usage();
	return judge(buffer(), length, atoi(argv[1]), NULL) ? 0 : 1;
}

/* The file need not be there yet. */
static int command_await(int argc, char **argv)
{
	uint64_t until_us = now_us() + PATIENCE_MS * 1000;
	enum told told = TOLD_NOT_YET;

	if (argc != 3)
		usage();
	while (told == TOLD_NOT_YET && now_us() < until_us) {
		int fd = open(argv[2], O_RDONLY | O_CLOEXEC);

		if (fd >= 0) {
			told = file_tells(fd, argv[1]);
			close(fd);
		}
		if (told == TOLD_NOT_YET)
			usleep(2000);
	}
	if (told != TOLD_IT)
		fprintf(stderr, "spawn: %s has %s \"%s\"\n", argv[2],
		        told == TOLD_THE_END ? "its end without" : "not told in time of", argv[1]);
	return told != TOLD_IT;
}

static int command_storm(int argc, char **argv)
{
	uint64_t from_us = now_us();

	if (argc < 4)
		usage();
	/* Signals that are pending together are one: now and then they are given time to be
	 * taken. */
	for (long i = strtol(argv[2], NULL, 10); i > 0; i--) {
		for (int p = 3; p < argc; p++)
			(void)kill((pid_t)strtol(argv[p], NULL, 10), atoi(argv[1]));
		if (i % 10 == 0)
			usleep(100);
	}
	return now_us() - from_us < STORM_MS * 1000 ? 0 : STATUS_AGAIN;
}

/* ---- many launches --------------------------------------------------------------------------- */

struct spec {
	uint8_t bytes[64 * KIB];
	size_t length;
};

static void load_spec(const char *path, struct spec *spec)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	spec->length = fd < 0 ? 0 : read_all(fd, spec->bytes, sizeof(spec->bytes));
	if (spec->length == 0) {
		fprintf(stderr, "spawn: cannot read %s\n", path);
		exit(1);
	}
	close(fd);
}

static int file_of(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);

	if (fd < 0 || (length > 0 && write(fd, bytes, length) != (ssize_t)length)) {
		perror("spawn: memfd");
		exit(1);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static bool judge_file(int events, int status, struct verdict *ret)
{
	lseek(events, 0, SEEK_SET);
	return judge(buffer(), read_all(events, buffer(), STREAM_MAX), status, ret);
}

/* A launch from files; false and a line when the stream does not fit the status. */
static bool launch_bytes(char *shim, const uint8_t *bytes, size_t length, struct verdict *ret)
{
	int control = file_of(bytes, length), events = file_of(NULL, 0);
	int status = launch(shim, control, events);
	bool good = judge_file(events, status, ret);

	close(control);
	close(events);
	return good;
}

static int command_truncate(char *shim, const struct spec *spec, unsigned count)
{
	(void)count;
	for (size_t n = 0; n < spec->length; n++) {
		Axvm__V1__ErrorCode wanted =
			n == 0 ? AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_EMPTY
			       : AXVM__V1__ERROR_CODE__ERROR_CODE_SPEC_TRUNCATED;
		struct verdict verdict = { 0 };

		if (!launch_bytes(shim, spec->bytes, n, &verdict) || verdict.code != wanted) {
			fprintf(stderr, "cut after %zu of %zu bytes: error %d\n", n, spec->length,
			        verdict.code);
			return 1;
		}
	}
	printf("%zu launches\n", spec->length);
	return 0;
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static int command_mutate(char *shim, const struct spec *spec, unsigned count)
{
	uint32_t random = 0x2545f491;
	unsigned refused = 0;

	for (unsigned i = 0; i < count; i++) {
		struct spec changed = *spec;
		struct verdict verdict = { 0 };
		unsigned changes = 1 + next_random(&random) % 3;

		while (changes-- > 0)
			changed.bytes[next_random(&random) % changed.length] =
				(uint8_t)next_random(&random);
		if (!launch_bytes(shim, changed.bytes, changed.length, &verdict)) {
			fprintf(stderr, "launch %u of %u:", i, count);
			for (size_t b = 0; b < changed.length; b++)
				fprintf(stderr, " %02x", changed.bytes[b]);
			fputc('\n', stderr);
			return 1;
		}
		refused += verdict.outcome == AXVM__V1__OUTCOME__OUTCOME_LAUNCH_FAILED;
	}
	printf("%u launches, %u refused\n", count, refused);
	return refused > count / 2 ? 0 : 1;
}

static int command_drip(char *shim, const struct spec *spec, unsigned count)
{
	(void)count;
	for (int kind = 0; kind < 2; kind++) {
		char *argv[] = { shim, NULL };
		int ends[2], events = file_of(NULL, 0), status;
		struct verdict verdict = { 0 };
		pid_t pid;

		if (kind == 0 ? pipe2(ends, O_CLOEXEC)
		              : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
			return 1;
		pid = start(argv, ends[0], events);
		close(ends[0]);
		for (size_t i = 0; i < spec->length; i++) {
			if (write(ends[1], spec->bytes + i, 1) != 1)
				return 1;
			usleep(200);
		}
		/* The other end stays open: the guest starts without waiting for it to close. */
		status = reap(pid, now_us() + PATIENCE_MS * 1000);
		close(ends[1]);
		if (!judge_file(events, status, &verdict) || status != 32)
			return 1;
		close(events);
	}
	return 0;
}

/* How long a launch takes here, until the VM runs; it is then killed. 0: it never ran. */
static uint64_t launch_us(char *shim, const struct spec *spec)
{
	char *argv[] = { shim, NULL };
	int control = file_of(spec->bytes, spec->length), events = file_of(NULL, 0);
	uint64_t from = now_us(), took = 0;
	pid_t pid = start(argv, control, events);

	while (took == 0 && !ended_by(pid, now_us() + 200) && now_us() < from + PATIENCE_MS * 1000)
		if (file_tells(events, "running") == TOLD_IT)
			took = now_us() - from;
	kill(pid, SIGKILL);
	(void)reap(pid, now_us() + PATIENCE_MS * 1000);
	close(control);
	close(events);
	return took;
}

/* Before its first stage is done SIGTERM has its usual effect; after that there is an event. */
static int command_signal(char *shim, const struct spec *spec, unsigned count)
{
	uint64_t length_us = launch_us(shim, spec);
	unsigned killed = 0;

	if (length_us == 0)
		return !FAULT("no launch gets to run");
	for (unsigned i = 0; i < count; i++) {
		char *argv[] = { shim, NULL };
		int control = file_of(spec->bytes, spec->length), events = file_of(NULL, 0), status;
		uint64_t from = now_us();
		struct verdict verdict = { 0 };
		pid_t pid = start(argv, control, events);

		(void)ended_by(pid, from + i * length_us * 5 / 4 / count);
		kill(pid, SIGTERM);
		status = reap(pid, now_us() + PATIENCE_MS * 1000);
		if (status == SIGNAL_BASE + SIGTERM) {
			killed++;
		} else if (!judge_file(events, status, &verdict) || status != 36) {
			fprintf(stderr, "SIGTERM after %" PRIu64 " us: status %d\n",
			        i * length_us * 5 / 4 / count, status);
			return 1;
		}
		close(control);
		close(events);
	}
	printf("%u launches of %" PRIu64 " us, %u ended before their first stage\n", count,
	       length_us, killed);
	return killed < count ? 0 : 1;
}

/* Until it has a handler for SIGTERM, or blocks it. */
static bool takes_charge(pid_t pid)
{
	uint64_t until_us = now_us() + PATIENCE_MS * 1000, caught, blocked = 0;
	char path[32], line[128];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	do {
		FILE *status = fopen(path, "re");

		if (!status)
			return false;
		caught = blocked = 0;
		while (fgets(line, sizeof(line), status)) {
			(void)sscanf(line, "SigCgt: %" SCNx64, &caught);
			(void)sscanf(line, "SigBlk: %" SCNx64, &blocked);
		}
		fclose(status);
		if ((caught | blocked) & 1ULL << (SIGTERM - 1))
			return true;
	} while (!ended_by(pid, now_us() + 1000) && now_us() < until_us);
	return false;
}

/* fd 3 is an open pipe with `bytes` of a launch in it; SIGTERM has to end the wait. */
static bool ends_while_waiting(char *shim, const struct spec *spec, size_t bytes)
{
	char *argv[] = { shim, NULL };
	int ends[2], events = file_of(NULL, 0), status;
	bool good;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], spec->bytes, bytes) != (ssize_t)bytes)
		return false;
	pid = start(argv, ends[0], events);
	close(ends[0]);
	if (!takes_charge(pid) || ended_by(pid, now_us() + 100000))
		return FAULT("it did not wait for the rest of fd 3");
	kill(pid, SIGTERM);
	status = reap(pid, now_us() + PATIENCE_MS * 1000);
	good = status != STATUS_TIMEOUT && judge_file(events, status, NULL);
	if (!good)
		fprintf(stderr, "SIGTERM with %zu bytes of a launch on fd 3: status %d\n", bytes,
		        status);
	close(ends[1]);
	close(events);
	return good;
}

static int command_waiting(char *shim, const struct spec *spec, unsigned count)
{
	bool nothing = ends_while_waiting(shim, spec, 0);
	bool half = ends_while_waiting(shim, spec, spec->length / 2);

	(void)count;
	return !nothing || !half;
}

/* fd 4 is a pipe of one page: full from the start, or without a reader. */
static bool ends_unread(char *shim, const struct spec *spec, bool full, bool control_closed)
{
	static const uint8_t filling[4096];
	int ends[2], control = file_of(spec->bytes, control_closed ? 0 : spec->length), status;

	if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[1], F_SETPIPE_SZ, sizeof(filling)) < 0)
		return false;
	if (full && write(ends[1], filling, sizeof(filling)) != (ssize_t)sizeof(filling))
		return false;
	if (!full)
		close(ends[0]);
	status = launch(shim, control, ends[1]);
	if (full)
		close(ends[0]);
	close(ends[1]);
	close(control);
	if (status == (control_closed ? 65 : 32))
		return true;
	fprintf(stderr, "fd 4 %s: status %d\n", full ? "full" : "without a reader", status);
	return false;
}

static int command_gone(char *shim, const struct spec *spec, unsigned count)
{
	bool good = true;

	(void)count;
	for (int i = 0; i < 4; i++)
		good &= ends_unread(shim, spec, i & 1, i & 2);
	return !good;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char *shim, const struct spec *spec, unsigned count);
		bool counted;
	} commands[] = {
		{ "truncate", command_truncate, false }, { "mutate", command_mutate, true },
		{ "drip", command_drip, false },         { "signal", command_signal, true },
		{ "waiting", command_waiting, false },   { "gone", command_gone, false },
	};
	static struct spec spec;

	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (argc >= 2 && strcmp(argv[1], "run") == 0)
		return command_run(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "judge") == 0)
		return command_judge(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "await") == 0)
		return command_await(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "storm") == 0)
		return command_storm(argc - 1, argv + 1);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (argc != 4 + commands[i].counted || strcmp(argv[1], commands[i].name) != 0)
			continue;
		load_spec(argv[3], &spec);
		return commands[i].run(argv[2], &spec,
		                       commands[i].counted ? (unsigned)atoi(argv[4]) : 0);
	}
	usage();
}
