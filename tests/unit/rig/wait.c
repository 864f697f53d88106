/* SPDX-License-Identifier: MIT */
/* Waits with a limit; see wait.h. */
#include "tests/unit/rig/wait.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ULL

#ifndef AXVM_STAND_IN_CRITERION_H
#include <criterion/hooks.h>

/* A test that hangs in the product itself ends too. Criterion 2.4 heeds a test's own limit and no
 * other: neither criterion_options.timeout nor --timeout. (The stand-in's runner has a limit for
 * all.) */
#define TEST_LIMIT_S (4 * WAIT_LIMIT_S)

ReportHook(PRE_ALL)(struct criterion_test_set *tests)
{
	FOREACH_SET(struct criterion_suite_set * suite, tests->suites)
	FOREACH_SET(struct criterion_test * test, suite->tests)
	if (test->data->timeout <= 0)
		test->data->timeout = TEST_LIMIT_S;
}
#endif

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void pause_a_little(void)
{
	const struct timespec time = { .tv_nsec = 200000 };

	nanosleep(&time, NULL);
}

uint64_t wait_begin(void)
{
	return now_ns() + WAIT_LIMIT_S * SECOND_NS;
}

void wait_turn(uint64_t end, const char *what, const char *file, int line)
{
	cr_assert(now_ns() < end, "%s:%d: in %d s it did not come: %s", file, line, WAIT_LIMIT_S,
	          what);
	pause_a_little();
}

void wait_join(pthread_t thread, void **ret_result)
{
	struct timespec end;

	/* Not pthread_clockjoin_np, of which TSan does not know that the thread's writes come
	 * before it. */
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_LIMIT_S;
	cr_assert_eq(pthread_timedjoin_np(thread, ret_result, &end), 0, "a thread does not end");
}

static bool is_ready(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, WAIT_LIMIT_S * 1000) == 1;
}

int wait_child(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	bool ended;

	cr_assert_geq(fd, 0, "there is no process %d", pid);
	ended = is_ready(fd);
	if (!ended)
		kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(ended, "a child does not end");
	close(fd);
	return status;
}

void wait_readable(int fd)
{
	cr_assert(is_ready(fd), "nothing comes from fd %d", fd);
}

ssize_t wait_read(int fd, void *to, size_t size)
{
	wait_readable(fd);
	return read(fd, to, size);
}
