/* SPDX-License-Identifier: MIT */
/* Joins the control groups that the spec names by descriptor.
 *
 * The only name looked up is "cgroup.procs" in the given directory, which must be on a cgroup file
 * system: there the kernel makes that name, and no user can. Both versions have the file, and take
 * "0" for the writing process. A launcher that wants to save time uses clone3(2) with
 * CLONE_INTO_CGROUP instead, because a move waits for a grace period. */
#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "sandbox/step.h"

static int join(int directory, struct problems *problems)
{
	struct open_how how = {
		.flags = O_WRONLY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	_cleanup_close_ int procs = -1;
	struct statfs fs;

	if (fstatfs(directory, &fs) < 0)
		return step_failed(problems, "cannot examine a cgroup descriptor");
	if (fs.f_type != CGROUP2_SUPER_MAGIC && fs.f_type != CGROUP_SUPER_MAGIC) {
		errno = EINVAL;
		return step_failed(problems, "sandbox.cgroup_fds names a descriptor that is not on "
		                             "a cgroup file system");
	}
	procs = (int)syscall(SYS_openat2, directory, "cgroup.procs", &how, sizeof(how));
	if (procs < 0)
		return step_failed(problems, "cannot open cgroup.procs of a cgroup of the spec");
	if (write(procs, "0", 1) != 1)
		return step_failed(problems, "cannot join a cgroup of the spec");
	return 0;
}

int sandbox_join_cgroups(const int *fds, size_t n, struct problems *problems)
{
	for (size_t i = 0; i < n; i++) {
		int r = join(fds[i], problems);

		if (r < 0)
			return r;
		(void)close(fds[i]);
	}
	return 0;
}
