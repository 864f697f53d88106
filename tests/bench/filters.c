/* SPDX-License-Identifier: MIT */
/* What a thread's seccomp filter alone costs to install: "vcpu MICROSECONDS" and so on, a line a
 * role, each in a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/seccomp.h"

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The child times its own call, before which it must have asked for no new privileges; what it may
 * do afterwards is little, so the result is left in shared memory. */
static void child(enum sandbox_role role, volatile double *result)
{
	double start;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(1);
	start = now_us();
	if (sandbox_seccomp_seal(role) < 0)
		_exit(1);
	*result = now_us() - start;
	_exit(0);
}

int main(void)
{
	volatile double *result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
	                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (result == MAP_FAILED)
		return 1;
	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		pid_t pid;

		*result = 0;
		pid = fork();
		if (pid == 0)
			child(role, result);
		/* How it ends is its filter's business: exit_group is allowed to one role only. */
		if (pid < 0 || waitpid(pid, NULL, 0) != pid || *result <= 0)
			return 1;
		printf("%s %.3f\n", sandbox_role_name(role), *result);
	}
	return 0;
}
