/* SPDX-License-Identifier: MIT */
/* What stage arrive takes from the process, and which descriptors stay. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/fd_layout.h"
#include "sandbox/process.h"
#include "tests/unit/rig/sandbox_rig.h"

static int attributes_arrived(void)
{
	struct sigaction action;

	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	umask(0);
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0)
		return 1;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 2;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return 3;
	if (umask(0) != 0077)
		return 4;
	if (sigaction(SIGPIPE, NULL, &action) < 0 || action.sa_handler != SIG_IGN)
		return 5;
	if (sigaction(SIGXFSZ, NULL, &action) < 0 || action.sa_handler != SIG_IGN)
		return 7;
	return scene.sandbox.launcher == getppid() && scene.sandbox.proc_fd == -1 &&
	                       scene.sandbox.landlock_fd == -1
	               ? 0
	               : 6;
}

Test(sandbox_arrive, takes_the_attributes)
{
	cr_assert_eq(rig_child(attributes_arrived), 0, "%s", rig_words);
}

/* The strings too, to their last byte: /proc/PID/environ shows where they were. */
static int environment_erased(void)
{
	static char *strings[1024];
	static size_t lengths[1024];
	size_t n = 0;

	setenv("AXVM_TEST_SECRET", "to be forgotten", 1);
	for (; environ[n] && n < ARRAY_SIZE(strings); n++) {
		strings[n] = environ[n];
		lengths[n] = strlen(environ[n]);
	}
	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0)
		return 1;
	if (getenv("AXVM_TEST_SECRET") || (environ && *environ))
		return 2;
	for (size_t i = 0; i < n; i++)
		for (size_t at = 0; at < lengths[i]; at++)
			if (strings[i][at] != '\0')
				return 3;
	return n > 0 ? 0 : 4;
}

Test(sandbox_arrive, erases_the_environment)
{
	cr_assert_eq(rig_child(environment_erased), 0, "%s", rig_words);
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* From the first internal number on, and beyond the last. */
static int internal_numbers_freed(void)
{
	const struct rlimit room = { 2048, 2048 };
	static const int gone[] = { INTERNAL_FD_BASE, PROC_FD, INTERNAL_FD_LAST, 1500 };

	if (setrlimit(RLIMIT_NOFILE, &room) < 0 || dup2(0, SPEC_FD_LAST) < 0 ||
	    dup2(0, CONTROL_FD) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		if (dup2(0, gone[i]) < 0)
			return 2;
	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0)
		return 3;
	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		if (is_open(gone[i]))
			return 4;
	return is_open(SPEC_FD_LAST) && is_open(CONTROL_FD) && is_open(0) ? 0 : 5;
}

Test(sandbox_arrive, frees_the_internal_numbers)
{
	cr_assert_eq(rig_child(internal_numbers_freed), 0, "%s", rig_words);
}

/* Every number, whether kept or not: 0 to 4 and the internal ones always. */
static int only_these_stay(int *keep, size_t n, const int *kept, size_t kept_count)
{
	for (int fd = 0; fd <= INTERNAL_FD_LAST; fd++)
		if (dup2(0, fd) < 0)
			return 1;
	if (sandbox_close_foreign(keep, n, &scene.problems) < 0)
		return 2;
	for (int fd = 0; fd <= INTERNAL_FD_LAST; fd++) {
		bool stays = fd < SPEC_FD_FIRST || fd >= INTERNAL_FD_BASE;

		for (size_t i = 0; i < kept_count; i++)
			stays |= fd == kept[i];
		if (is_open(fd) != stays)
			return 3;
	}
	return 0;
}

static int keeps_some(void)
{
	static const int kept[] = { 5, 7, 8, 12, 400, 895 };
	int keep[] = { 400, 12, 7, 8, 3, 5, 7, 895 };

	return only_these_stay(keep, ARRAY_SIZE(keep), kept, ARRAY_SIZE(kept));
}

static int keeps_others(void)
{
	static const int kept[] = { 6, 894 };
	int keep[] = { 894, 0, 6, 4 };

	return only_these_stay(keep, ARRAY_SIZE(keep), kept, ARRAY_SIZE(kept));
}

static int keeps_none(void)
{
	return only_these_stay(NULL, 0, NULL, 0);
}

Test(sandbox_arrive, only_what_is_kept_stays_open)
{
	cr_expect_eq(rig_child(keeps_some), 0, "%s", rig_words);
	cr_expect_eq(rig_child(keeps_others), 0, "%s", rig_words);
	cr_expect_eq(rig_child(keeps_none), 0, "%s", rig_words);
}
