/* SPDX-License-Identifier: MIT */
/* A thread that makes namespaces ahead of time.
 *
 * Theory of operation. The slowest steps of stage confine are waits in the kernel that do not
 * depend on the spec: making the network namespace, and the grace period after the mounts of the
 * old root are detached. A thread, the nest, takes these steps from stage arrive on, while the
 * process reads its spec, looks at the host and builds the machine. In stage confine the control
 * thread enters the namespaces and the root of the nest, and the nest ends. Namespaces belong to a
 * thread: until then the other threads stay in the launcher's namespaces, and open there the files
 * that the spec names.
 *
 * The nest has an empty descriptor table of its own: if the spec names a descriptor that the
 * launcher did not hand over, that number must not turn out to be one of the nest's. The nest opens
 * nothing unless a step fails (then the files in /proc that tell the cause). It reads one link of
 * /proc, to learn the number under which the control thread finds it there; in another PID
 * namespace that is not gettid(2).
 *
 * The nest does not make the cgroup namespace: its root is the cgroups that its maker is in, and
 * the spec names those. Nor does it make the user namespace of an ordinary user, because a process
 * with threads can neither make nor enter one (unshare(2), setns(2)): such a process has no nest,
 * and the control thread takes all steps in stage confine, with the same functions.
 *
 * The control thread enters the mount namespace last, and then its root by a descriptor: setns(2)
 * goes to the topmost mount of the namespace, which for a launcher in a chroot is not the nest's
 * root. */
#include "sandbox/nest.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/futex.h"
#include "sandbox/capabilities.h"
#include "sandbox/namespaces.h"
#include "sandbox/step.h"

#define NEST_STACK (64 * 1024) /* the size of later threads' stacks, which reuse it */

enum { NEST_BUILDING, NEST_READY, NEST_LEFT };

static const uint32_t nest_set =
	SANDBOX_BIT(SANDBOX_NET_NAMESPACE) | SANDBOX_BIT(SANDBOX_IPC_NAMESPACE) |
	SANDBOX_BIT(SANDBOX_UTS_NAMESPACE) | SANDBOX_BIT(SANDBOX_MOUNT_NAMESPACE);

/* "PID/task/TID", with the numbers of this /proc; the part from "task" on is kept. */
static int find_oneself(struct sandbox_nest *nest)
{
	char link[64];
	ssize_t n = readlink("/proc/thread-self", link, sizeof(link) - 1);
	const char *task;

	if (n < 0)
		return step_failed(&nest->problems, "cannot find a thread in /proc");
	link[n] = '\0';
	task = strstr(link, "task/");
	if (!task || strlen(task) >= sizeof(nest->task))
		return step_differs(&nest->problems, "/proc names a thread in an unknown way");
	memcpy(nest->task, task, strlen(task) + 1);
	return 0;
}

static int make(struct sandbox_nest *nest)
{
	int r;

	prctl(PR_SET_NAME, "nest", 0, 0, 0);
	if (close_range(0, ~0u, CLOSE_RANGE_UNSHARE) < 0)
		return step_failed(&nest->problems, "cannot unshare the table of descriptors");
	r = find_oneself(nest);
	if (r == 0)
		r = namespaces_unshare(nest_set, &nest->problems);
	return r < 0 ? r : namespaces_empty_root(&nest->problems);
}

static void *nest_main(void *argument)
{
	struct sandbox_nest *nest = argument;

	nest->result = make(nest);
	futex_advance(&nest->state, NEST_READY);
	futex_wait_until(&nest->state, NEST_LEFT);
	return NULL;
}

void nest_begin(struct sandbox *sandbox)
{
	struct sandbox_nest *nest = &sandbox->nest;
	pthread_attr_t attributes;

	if (!capabilities_suffice())
		return;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, NEST_STACK);
	nest->begun = pthread_create(&nest->thread, &attributes, nest_main, nest) == 0;
	pthread_attr_destroy(&attributes);
}

/* Enters the nest's namespaces and root. */
static int follow(const struct sandbox *sandbox, struct problems *problems)
{
	const struct sandbox_nest *nest = &sandbox->nest;
	_cleanup_close_ int root = -1;
	char path[48];
	int r;

	if (nest->result < 0) {
		const struct problem *why = &nest->problems.list[0];

		return problems_add(problems, why->code, why->error_number, NULL, "%s",
		                    why->message);
	}
	snprintf(path, sizeof(path), "%s/root", nest->task);
	root = openat(sandbox->proc_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return step_failed(problems, "cannot open the new root");
	r = namespaces_join(sandbox, nest->task, nest_set, problems);
	if (r < 0)
		return r;
	if (fchdir(root) < 0 || chroot(".") < 0)
		return step_failed(problems, "cannot enter the new root");
	return namespaces_unshare(SANDBOX_BIT(SANDBOX_CGROUP_NAMESPACE), problems);
}

/* Requires: the launcher's namespaces noted; CAP_SYS_ADMIN, or a way to a user namespace.
 * Does: leave all of the launcher's namespaces, for those of the nest or for new ones.
 * Must not: keep any of them, unless the host denies user namespaces to ordinary users. */
int nest_leave_launcher(struct sandbox *sandbox, struct problems *problems)
{
	const uint32_t all = SANDBOX_BIT(SANDBOX_NAMESPACES_COUNT) - 1;
	struct sandbox_nest *nest = &sandbox->nest;
	size_t before = problems->count;
	int r;

	if (nest->begun) {
		futex_wait_until(&nest->state, NEST_READY);
		r = follow(sandbox, problems);
		futex_advance(&nest->state, NEST_LEFT);
	} else {
		r = namespaces_unshare(sandbox->privileged
		                               ? all & ~SANDBOX_BIT(SANDBOX_USER_NAMESPACE)
		                               : all,
		                       problems);
	}
	if (r < 0 && problems->count == before) {
		sandbox_not_available(sandbox, "namespaces");
		sandbox_not_available(sandbox, "empty root");
		return 0;
	}
	sandbox->namespaced = r == 0;
	return r;
}

/* Waits until there is one thread: a thread that has been joined may not have left the kernel yet.
 * The link count of /proc/self/task is 2 plus the number of threads. */
static int await_solitude(const struct sandbox *sandbox, struct problems *problems)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 };
	struct stat st;

	for (int turns = 40000 /* 2 s */; turns > 0; turns--) {
		if (fstatat(sandbox->proc_fd, "task", &st, 0) < 0)
			return step_failed(problems, "cannot count the threads");
		if (st.st_nlink == 3)
			return 0;
		nanosleep(&pause, NULL);
	}
	return step_differs(problems, "there is more than one thread");
}

/* Requires: namespaces of the process's own.
 * Does: make the empty root if the nest has not, check it, and wait until this is the only thread.
 * Must not: leave another thread running, which would keep what this one gives up in the next
 * steps. */
int nest_empty_root(struct sandbox *sandbox, struct problems *problems)
{
	struct sandbox_nest *nest = &sandbox->nest;
	int r = 0;

	if (nest->begun)
		(void)pthread_join(nest->thread, NULL);
	else if (sandbox->namespaced)
		r = namespaces_empty_root(problems);
	if (r == 0)
		r = await_solitude(sandbox, problems);
	return r < 0 ? r : sandbox_check_root(sandbox, problems);
}

struct foreseen {
	int result;
	struct problem problem;
};

/* Takes both steps in a child, as the control thread would. */
static struct foreseen try_steps(void)
{
	const uint32_t all = SANDBOX_BIT(SANDBOX_NAMESPACES_COUNT) - 1;
	struct foreseen seen = { 0 };
	struct problems problems = { 0 };

	seen.result = namespaces_unshare(capabilities_suffice()
	                                         ? all & ~SANDBOX_BIT(SANDBOX_USER_NAMESPACE)
	                                         : all,
	                                 &problems);
	if (seen.result == 0)
		seen.result = namespaces_empty_root(&problems);
	seen.problem = problems.list[0];
	return seen;
}

static int foresee_by_child(struct foreseen *ret)
{
	struct foreseen seen;
	_cleanup_close_ int out = -1, in = -1;
	int pipe_fds[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -errno;
	out = pipe_fds[0];
	in = pipe_fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		seen = try_steps();
		_exit(write(in, &seen, sizeof(seen)) == (ssize_t)sizeof(seen) ? 0 : 1);
	}
	close_ptr(&in);
	n = read(out, &seen, sizeof(seen));
	(void)waitpid(pid, NULL, 0);
	if (n != (ssize_t)sizeof(seen))
		return -EIO;
	*ret = seen;
	return 0;
}

int nest_foresee(struct sandbox *sandbox, struct problems *problems)
{
	struct sandbox_nest *nest = &sandbox->nest;
	struct foreseen seen = { 0 };
	int r;

	if (nest->begun) {
		futex_wait_until(&nest->state, NEST_READY);
		seen.result = nest->result;
		seen.problem = nest->problems.list[0];
	} else {
		r = foresee_by_child(&seen);
		if (r < 0)
			return 0; /* nothing is known: the step itself will report it */
	}
	if (seen.result < 0 && seen.problem.code != ERROR_CODE_UNSPECIFIED)
		return problems_add(problems, seen.problem.code, seen.problem.error_number, NULL,
		                    "%s", seen.problem.message);
	return seen.result;
}
