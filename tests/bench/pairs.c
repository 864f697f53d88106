/* SPDX-License-Identifier: MIT */
/* Times two programs against each other, in turn, whole process, and prints medians and ratios.
 *
 *   pairs [-n ROUNDS] NAME SPEC SHIM -- BASELINE [ARGUMENT]...
 *
 * SHIM is started with SPEC (an encoded ControlStream) on fd 3 and /dev/null on fd 4, BASELINE as it
 * stands. One round is one of each; the first is not counted. Wall time from before the process is
 * created until it is reaped, and CPU time of the whole process. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 1000

struct sample {
	double wall_us, cpu_us;
};

extern char **environ;

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

static struct sample run(char **argv, const char *spec)
{
	posix_spawn_file_actions_t actions;
	struct sample sample;
	struct rusage usage;
	double start;
	pid_t pid;
	int status, r;

	posix_spawn_file_actions_init(&actions);
	if (spec) {
		posix_spawn_file_actions_addopen(&actions, 3, spec, O_RDONLY, 0);
		posix_spawn_file_actions_addopen(&actions, 4, "/dev/null", O_WRONLY, 0);
	}
	start = now_us();
	r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
	if (r != 0 || wait4(pid, &status, 0, &usage) != pid) {
		fprintf(stderr, "pairs: %s: %s\n", argv[0], strerror(r ? r : errno));
		exit(1);
	}
	sample.wall_us = now_us() - start;
	sample.cpu_us = of_timeval(usage.ru_utime) + of_timeval(usage.ru_stime);
	posix_spawn_file_actions_destroy(&actions);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "pairs: %s did not succeed (wait status %#x)\n", argv[0], status);
		exit(1);
	}
	return sample;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The q-quantile; sorts. */
static double quantile(double *values, int n, double q)
{
	qsort(values, (size_t)n, sizeof(*values), compare);
	return values[(int)(q * (n - 1) + 0.5)];
}

int main(int argc, char **argv)
{
	static double wall[2][ROUNDS_MAX], cpu[2][ROUNDS_MAX], ratio[ROUNDS_MAX];
	char *shim[2] = { NULL, NULL };
	int rounds = 40, at = 1;

	if (argc > 3 && strcmp(argv[1], "-n") == 0) {
		rounds = atoi(argv[2]);
		at = 3;
	}
	if (argc < at + 5 || strcmp(argv[at + 3], "--") != 0 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: pairs [-n ROUNDS] NAME SPEC SHIM -- BASELINE [ARGUMENT]...\n");
		return 64;
	}
	shim[0] = argv[at + 2];
	for (int i = -1; i < rounds; i++) {
		struct sample ours = run(shim, argv[at + 1]);
		struct sample base = run(argv + at + 4, NULL);

		if (i < 0)
			continue;
		wall[0][i] = ours.wall_us;
		wall[1][i] = base.wall_us;
		cpu[0][i] = ours.cpu_us;
		cpu[1][i] = base.cpu_us;
		ratio[i] = ours.wall_us / base.wall_us;
	}
	printf("%-28s %9.0f %9.0f %9.0f %9.0f %7.2f %9.0f %9.0f\n", argv[at],
	       quantile(wall[0], rounds, 0.5), quantile(wall[0], rounds, 0.95),
	       quantile(wall[1], rounds, 0.5), quantile(wall[1], rounds, 0.95),
	       quantile(ratio, rounds, 0.5), quantile(cpu[0], rounds, 0.5),
	       quantile(cpu[1], rounds, 0.5));
	return 0;
}
