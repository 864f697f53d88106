/* SPDX-License-Identifier: MIT */
/* The steps of the sandbox that belong to the process as a whole. */
#include "sandbox/process.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "sandbox/fd_layout.h"
#include "sandbox/inherited.h"

static int failed(struct problems *problems, const char *what)
{
	return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, errno, NULL, "%s: %s", what,
	                    errno_text(errno));
}

/* Overwrites the strings too: clearenv(3) only drops the pointers, and /proc/PID/environ would
 * still show the strings. */
static void erase_environment(void)
{
	for (char **variable = environ; variable && *variable; variable++)
		memset(*variable, 0, strlen(*variable));
}

int sandbox_arrive(struct sandbox *sandbox, struct problems *problems)
{
	sandbox->proc_fd = sandbox->landlock_fd = -1;
	sandbox->launcher = getppid();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return failed(problems, "cannot set no_new_privs");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return failed(problems, "cannot make the process undumpable");
	inherited_clear(sandbox);
	erase_environment();
	if (clearenv() != 0)
		return failed(problems, "cannot clear the environment");
	umask(0077);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return failed(problems, "cannot ignore SIGPIPE");
	/* A write beyond the limit on file sizes is an error of that file (a disk, the console's
	 * output, events), not the end of the VM. */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return failed(problems, "cannot ignore SIGXFSZ");
	/* Closes descriptors that the launcher left among the internal numbers: no spec can name
	 * them. */
	if (close_range(INTERNAL_FD_BASE, UINT_MAX, 0) < 0)
		return failed(problems, "cannot make room for the internal descriptors");
	return 0;
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int sandbox_close_foreign(int *keep, size_t n, struct problems *problems)
{
	unsigned next = SPEC_FD_FIRST;

	if (n > 0) /* an empty list may be NULL, which qsort(3) does not take */
		qsort(keep, n, sizeof(*keep), compare_fds);
	for (size_t i = 0; i <= n; i++) {
		unsigned end = i < n ? (unsigned)keep[i] : INTERNAL_FD_BASE;

		if (i < n && keep[i] < SPEC_FD_FIRST)
			continue;
		if (next < end && close_range(next, end - 1, 0) < 0)
			return failed(problems,
			              "cannot close the descriptors that were not handed over");
		if (i < n)
			next = end + 1;
	}
	return 0;
}
