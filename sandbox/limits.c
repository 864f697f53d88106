/* SPDX-License-Identifier: MIT */
/* Resource limits, in two tables: one for stage confine, one for stage seal.
 *
 * The second has the limits on resources that later stages still need: threads are started after
 * confine, and a vCPU is a descriptor. Seccomp forbids the same calls, but does not see what
 * io_uring does; the limits hold there too.
 *
 * RLIMIT_NPROC is not set. The kernel starts threads of its own in the process after the threads
 * were counted: workers of an io_uring, and since Linux 6.13 KVM's recovery of huge pages, on the
 * first KVM_RUN (vcpu_try_run), which fails with EAGAIN at a limit of 0. Any other number would
 * count all processes of the uid, which VMs may share. Seccomp denies new threads.
 *
 * RLIMIT_NOFILE is at least 1, not 0: ppoll(2) refuses more descriptors than the limit, and the
 * shim polls fd 4. The limit bounds descriptor numbers, not their count: a thread with a table of
 * its own that receives descriptors (vsock) gets them from 0 on. */
#include "sandbox/limits.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sandbox/fd_layout.h"
#include "sandbox/step.h"

struct limit {
	int resource;
	rlim_t value;
	const char *set, *name, *then;
};

static const struct limit confine_limits[] = {
	{ RLIMIT_CORE, 0, "cannot lower RLIMIT_CORE", "RLIMIT_CORE", "core dumps" },
	{ RLIMIT_MSGQUEUE, 0, "cannot lower RLIMIT_MSGQUEUE", "RLIMIT_MSGQUEUE", "message queues" },
};

static int set_limits(const struct limit *limits, size_t count, struct problems *problems)
{
	for (size_t i = 0; i < count; i++) {
		const struct rlimit value = { limits[i].value, limits[i].value };

		if (setrlimit((__rlimit_resource_t)limits[i].resource, &value) < 0)
			return step_failed(problems, limits[i].set);
	}
	return 0;
}

/* Describes a limit that is not as low as it was set: what it allows, and by how much. */
static int still_allows(const struct limit *limit, rlim_t found, struct problems *problems)
{
	return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, EBADMSG, NULL,
	                    "sandbox check: %s still allows %s: it is %llu, not %llu", limit->name,
	                    limit->then, (unsigned long long)found,
	                    (unsigned long long)limit->value);
}

static int check_limits(const struct limit *limits, size_t count, struct problems *problems)
{
	for (size_t i = 0; i < count; i++) {
		struct rlimit found;

		if (getrlimit((__rlimit_resource_t)limits[i].resource, &found) < 0)
			return step_failed(problems, "cannot read a resource limit");
		if (found.rlim_cur > limits[i].value || found.rlim_max > limits[i].value)
			return still_allows(&limits[i], MAX(found.rlim_cur, found.rlim_max),
			                    problems);
	}
	return 0;
}

/* The limit is one number for the process: of several files it bounds only the largest. */
int limits_consider(int fd, const struct stat *st, uint64_t *most, struct problems *problems)
{
	int flags;

	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return step_failed(problems, "cannot examine a descriptor");
	if ((flags & O_ACCMODE) == O_RDONLY || flags & O_PATH)
		return 0;
	if (S_ISBLK(st->st_mode))
		*most = RLIM_INFINITY;
	else if (flags & O_APPEND || fd <= STDERR_FD || fd == EVENT_FD)
		*most = RLIM_INFINITY;
	else
		*most = MAX(*most, (uint64_t)st->st_size);
	return 0;
}

static int limit_file_size(rlim_t most, struct problems *problems)
{
	struct rlimit limit, found;

	if (most == RLIM_INFINITY)
		return 0; /* the launcher's limit, if there is one, stays */
	if (getrlimit(RLIMIT_FSIZE, &limit) < 0)
		return step_failed(problems, "cannot read RLIMIT_FSIZE");
	limit.rlim_max = MIN(limit.rlim_max, most);
	limit.rlim_cur = MIN(limit.rlim_cur, most);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		return step_failed(problems, "cannot lower RLIMIT_FSIZE");
	if (getrlimit(RLIMIT_FSIZE, &found) < 0)
		return step_failed(problems, "cannot read RLIMIT_FSIZE");
	if (found.rlim_cur > limit.rlim_cur || found.rlim_max > limit.rlim_max)
		return step_differs(problems, "RLIMIT_FSIZE still allows files to grow");
	return 0;
}

int limits_before_threads(struct sandbox *sandbox, struct problems *problems)
{
	(void)sandbox;
	return set_limits(confine_limits, ARRAY_SIZE(confine_limits), problems);
}

int sandbox_freeze_limits(uint32_t received, uint64_t file_size, struct problems *problems)
{
	const struct limit seal_limits[] = {
		{ RLIMIT_NOFILE, MAX(received, 1u), "cannot lower RLIMIT_NOFILE", "RLIMIT_NOFILE",
		  "new descriptors" },
		{ RLIMIT_MEMLOCK, 0, "cannot lower RLIMIT_MEMLOCK", "RLIMIT_MEMLOCK",
		  "locked memory" },
		{ RLIMIT_RTPRIO, 0, "cannot lower RLIMIT_RTPRIO", "RLIMIT_RTPRIO",
		  "realtime priorities" },
	};
	int r = set_limits(seal_limits, ARRAY_SIZE(seal_limits), problems);

	if (r == 0)
		r = check_limits(confine_limits, ARRAY_SIZE(confine_limits), problems);
	if (r == 0)
		r = check_limits(seal_limits, ARRAY_SIZE(seal_limits), problems);
	return r < 0 ? r : limit_file_size(file_size, problems);
}
