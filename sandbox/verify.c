/* SPDX-License-Identifier: MIT */
/* The read-back: checks every thread by what the kernel reports, once all but the control thread
 * are sealed.
 *
 * It trusts no step's return value: it reads proc(5) for each thread and compares. The control
 * thread does the reading, so it cannot be sealed yet: for its own filter it relies on the return
 * value of seccomp(2); everything else it reads from its status, as for the other threads. */
#include "sandbox/verify.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/capabilities.h"
#include "sandbox/fd_layout.h"
#include "sandbox/limits.h"
#include "sandbox/namespaces.h"
#include "sandbox/proc.h"
#include "sandbox/step.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#define SECCOMP_FILTER 2 /* proc_pid_status(5) */

struct walk {
	const struct sandbox *sandbox;
	uint32_t uid, gid; /* as seen from the process's own user namespace */
	uint32_t process;  /* the control thread, by its number in /proc */
	uint32_t sealed;   /* seen so far */
	uint32_t pid_levels;
	struct sandbox_seen *seen;
};

static bool all_are(const uint32_t ids[static 4], uint32_t id)
{
	return ids[0] == id && ids[1] == id && ids[2] == id && ids[3] == id;
}

/* Checks the rules for every thread: returns what is wrong, or NULL. */
static const char *wrong_with(const struct walk *walk, const struct sandbox_status *status)
{
	const struct sandbox *sandbox = walk->sandbox;
	const struct {
		bool wrong;
		const char *what;
	} rules[] = {
		{ status->effective || status->permitted || status->inheritable || status->ambient,
		  "a thread has a capability" },
		{ status->bounding && (sandbox->privileged || sandbox->namespaced),
		  "a thread has a capability in its bounding set" },
		{ status->no_new_privs != 1, "a thread may gain privileges" },
		{ !all_are(status->uid, walk->uid), "a thread has another uid" },
		{ !all_are(status->gid, walk->gid), "a thread has another gid" },
		{ status->has_groups && sandbox->privileged, "a thread has supplementary groups" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].wrong)
			return rules[i].what;
	return NULL;
}

static const char *wrong_with_filter(const struct walk *walk, const struct sandbox_status *status)
{
	uint32_t inherited = walk->sandbox->inherited_filters;

	if (status->thread == status->process)
		return status->seccomp_filters == inherited
		               ? NULL
		               : "the control thread is under a filter already";
	if (status->seccomp != SECCOMP_FILTER || status->seccomp_filters != inherited + 1)
		return "a thread is not under one filter of its own";
	return NULL;
}

/* A sealed thread has a descriptor table of its own, with none of the spec's or the launcher's
 * descriptors. */
static int check_own_fd(uint32_t number, void *context, struct problems *problems)
{
	(void)context;
	if (number < INTERNAL_FD_BASE || number > INTERNAL_FD_LAST || number == VM_FD)
		return step_differs(problems, "a thread has a descriptor that is not its own");
	return 0;
}

static int check_thread(uint32_t thread, void *context, struct problems *problems)
{
	struct walk *walk = context;
	struct sandbox_status status;
	const char *wrong;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "task/%u/status", thread);
	r = proc_read_status(walk->sandbox->proc_fd, path, &status, problems);
	if (r < 0)
		return r;
	wrong = wrong_with(walk, &status);
	if (!wrong)
		wrong = wrong_with_filter(walk, &status);
	if (wrong)
		return step_differs(problems, wrong);
	walk->seen->threads++;
	if (status.thread == status.process) {
		walk->pid_levels = status.pid_levels;
		return 0;
	}
	walk->sealed++;
	snprintf(path, sizeof(path), "task/%u/fd", thread);
	return proc_each(walk->sandbox->proc_fd, path, check_own_fd, NULL, problems);
}

static int check_fd(uint32_t number, void *context, struct problems *problems)
{
	struct walk *walk = context;
	struct sandbox_seen *seen = walk->seen;
	struct stat st;
	int fd = (int)number;

	if (fd == walk->sandbox->proc_fd || fd == walk->sandbox->landlock_fd)
		return 0;
	if (number > INTERNAL_FD_LAST || seen->fds_count == SANDBOX_FDS_MAX)
		return step_differs(problems, "a descriptor is open beyond the fixed layout");
	if (fstat(fd, &st) < 0)
		return step_failed(problems, "cannot examine a descriptor");
	if (S_ISDIR(st.st_mode))
		return step_differs(problems, "a directory is open, and is a way out of the root");
	seen->fds[seen->fds_count++] = number;
	return limits_consider(fd, &st, &seen->file_size, problems);
}

static int check_attributes(const struct sandbox *sandbox, struct problems *problems)
{
	int launcher_signal = 0;

	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return step_differs(problems, "the process is dumpable");
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return step_differs(problems, "the process may gain privileges");
	if (sandbox->writes_refused_exec &&
	    prctl(PR_GET_MDWE, 0, 0, 0, 0) != PR_MDWE_REFUSE_EXEC_GAIN)
		return step_differs(problems, "memory may become writable and executable");
	if (prctl(PR_GET_PDEATHSIG, &launcher_signal, 0, 0, 0) < 0)
		return step_failed(problems, "cannot read the parent-death signal");
	if (launcher_signal != (sandbox->config.stop_with_launcher ? SANDBOX_LAUNCHER_DIED : 0))
		return step_differs(problems, "the parent-death signal is not as asked for");
	return sandbox_check_securebits(sandbox, problems);
}

/* Compares the ids as seen from the process's own user namespace. If no id is mapped there, the
 * kernel shows its overflow id, which a host can set, so there is nothing to compare. */
static int check_ids(const struct sandbox *sandbox, struct problems *problems)
{
	bool mapped = sandbox->privileged || !sandbox->namespaced;

	if (mapped && (getuid() != sandbox->uid || getgid() != sandbox->gid))
		return step_differs(problems, "the process has other ids than it took");
	return 0;
}

/* The shim does not make this namespace: the launcher made it, or there is none. */
static int note_pid_namespace(struct walk *walk, struct problems *problems)
{
	struct sandbox_seen *seen = walk->seen;
	struct stat st;

	if (fstatat(walk->sandbox->proc_fd, "ns/pid", &st, 0) < 0)
		return step_failed(problems, "cannot tell which PID namespace the process is in");
	seen->namespaces[seen->namespaces_count] = "pid";
	seen->namespace_inodes[seen->namespaces_count++] = st.st_ino;
	return 0;
}

int sandbox_verify_process(const struct sandbox *sandbox, struct sandbox_seen *ret_seen,
                           struct problems *problems)
{
	int r = check_ids(sandbox, problems);

	if (r == 0)
		r = sandbox_check_namespaces(sandbox, ret_seen->namespaces,
		                             ret_seen->namespace_inodes,
		                             &ret_seen->namespaces_count, problems);
	if (r == 0)
		r = sandbox_check_root(sandbox, problems);
	return r < 0 ? r : check_attributes(sandbox, problems);
}

int sandbox_verify_descriptors(const struct sandbox *sandbox, struct sandbox_seen *seen,
                               struct problems *problems)
{
	struct walk walk = { .sandbox = sandbox, .seen = seen };

	seen->fds_count = 0;
	seen->file_size = sandbox->config.file_size;
	return proc_each(sandbox->proc_fd, "fd", check_fd, &walk, problems);
}

int sandbox_verify_threads(const struct sandbox *sandbox, uint32_t sealed,
                           struct sandbox_seen *seen, struct problems *problems)
{
	struct walk walk = { .sandbox = sandbox, .seen = seen, .uid = getuid(), .gid = getgid() };
	int r;

	seen->threads = 0;
	r = proc_each(sandbox->proc_fd, "task", check_thread, &walk, problems);
	if (r == 0 && (walk.sealed != sealed || seen->threads != sealed + 1))
		r = step_differs(problems, "there are more or fewer threads than were started");
	if (r == 0 && walk.pid_levels > 1)
		r = note_pid_namespace(&walk, problems);
	return r < 0 ? r : sandbox_verify_descriptors(sandbox, seen, problems);
}

void sandbox_close_proc(struct sandbox *sandbox)
{
	close_ptr(&sandbox->proc_fd);
	close_ptr(&sandbox->landlock_fd);
}
