/* SPDX-License-Identifier: MIT */
/* Stage confine: gives up privileges and access while the process has only one thread.
 *
 * Theory of operation. Credentials, securebits, Landlock and namespaces belong to a thread, and the
 * threads it creates inherit them. While the process has one thread, one call is enough for all; so
 * the steps come after the last open and before the first pthread_create().
 *
 * The order follows from what a step needs:
 *   - /proc is opened first, because the new root has none, and every read-back needs it;
 *   - the attributes that the launcher left in the process are read next, while the process still
 *     has the privilege to read them;
 *   - limits that only a process with capabilities may raise are raised while it has them;
 *   - an ordinary user's process makes a user namespace and the others in a single unshare(2); the
 *     user namespace gives it the capabilities that the next steps need, over those namespaces
 *     alone. A privileged process enters the namespaces that the nest has made (nest.c);
 *   - the bounding set and the securebits need CAP_SETPCAP, the root needs CAP_SYS_ADMIN, the ids
 *     need CAP_SETUID and CAP_SETGID; so capabilities go after these;
 *   - a change of ids undoes "not dumpable" and the parent-death signal: attributes come after it;
 *   - Landlock is last, as it forbids what the others do.
 *
 * No step walks a path below a directory that another user can write (the class of CVE-2026-1386):
 * the only paths are "/proc/self", "/proc/thread-self", "/" and ".".
 *
 * If a step fails, the launch fails. The one exception: for an ordinary user, steps that only root
 * can take are left out and named in the Sealed event. capabilities(7), credentials(7),
 * landlock(7), namespaces(7), prctl(2). */
#include "sandbox/confine.h"

#include <assert.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "sandbox/capabilities.h"
#include "sandbox/inherited.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"
#include "sandbox/namespaces.h"
#include "sandbox/nest.h"
#include "sandbox/proc.h"
#include "sandbox/step.h"

#ifndef PR_SET_MDWE /* Linux 6.3 */
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

/* Requires: /proc is proc(5), and readable.
 * Does: keep /proc/self open, note the launcher's namespaces and filters and this process's own
 * capabilities.
 * Must not: trust a /proc that is not proc(5). */
static int look(struct sandbox *sandbox, struct problems *problems)
{
	struct sandbox_status status;
	int r = proc_open(&sandbox->proc_fd, problems);

	if (r < 0)
		return r;
	r = proc_read_status(sandbox->proc_fd, "status", &status, problems);
	if (r < 0)
		return r;
	sandbox->inherited_filters = status.seccomp_filters;
	sandbox->privileged = sandbox_has_capabilities(&status);
	sandbox->uid = getuid();
	sandbox->gid = getgid();
	return namespaces_note(sandbox, problems);
}

/* Requires: CAP_SETUID, CAP_SETGID.
 * Does: drop the supplementary groups, take the ids of the spec: real, effective, saved, of files.
 * Must not: leave a way back to the old ids: stay_down tries that once the capabilities are
 * gone. */
static int take_ids(struct sandbox *sandbox, struct problems *problems)
{
	const struct sandbox_config *config = &sandbox->config;
	gid_t gid = config->has_gid ? config->gid : SANDBOX_DEFAULT_ID;
	uid_t uid = config->has_uid ? config->uid : SANDBOX_DEFAULT_ID;

	if (!sandbox->privileged) {
		sandbox_not_available(sandbox, "uid and gid of its own");
		if (getgroups(0, NULL) > 0)
			sandbox_not_available(sandbox, "dropping supplementary groups");
		return 0;
	}
	if (setgroups(0, NULL) < 0)
		return step_failed(problems, "cannot drop the supplementary groups");
	if (setresgid(gid, gid, gid) < 0)
		return step_failed(problems, "cannot take the gid");
	if (setresuid(uid, uid, uid) < 0)
		return step_failed(problems, "cannot take the uid");
	sandbox->uid = uid;
	sandbox->gid = gid;
	return 0;
}

/* Checks that a trial was refused as not permitted or because there is no such id; adds the problem
 * `differs` if it was not. */
static int must_be_refused(int result, const char *differs, struct problems *problems)
{
	if (result == 0)
		return step_differs(problems, differs);
	if (errno != EPERM && errno != EINVAL)
		return step_failed(problems,
		                   "cannot check that the process cannot become root again");
	return 0;
}

/* Requires: no capabilities, the final ids.
 * Does: try to go back to root, which must fail, in each of the ways there are.
 * Must not: accept another refusal than "not permitted" or "no such id". */
static int stay_down(struct sandbox *sandbox, struct problems *problems)
{
	static const char again[] = "the process can become uid 0 again";
	uid_t real, effective, saved;
	gid_t real_gid, effective_gid, saved_gid;
	int r = 0;

	if (sandbox->privileged || sandbox->namespaced || sandbox->uid != 0) {
		r = must_be_refused(setresuid(0, 0, 0), again, problems);
		if (r == 0)
			r = must_be_refused(setresuid((uid_t)-1, 0, (uid_t)-1), again, problems);
		if (r == 0 && sandbox->gid != 0)
			r = must_be_refused(setresgid(0, 0, 0),
			                    "the process can become gid 0 again", problems);
	}
	if (r == 0)
		r = must_be_refused(setgroups(0, NULL), "the process can still set its groups",
		                    problems);
	if (r < 0)
		return r;
	if (getresuid(&real, &effective, &saved) < 0 ||
	    getresgid(&real_gid, &effective_gid, &saved_gid) < 0)
		return step_failed(problems, "cannot read the ids");
	if (real != effective || real != saved || real_gid != effective_gid ||
	    real_gid != saved_gid)
		return step_differs(problems, "the real, effective and saved ids are not the same");
	return 0;
}

/* Requires: the final ids, since a change of ids makes the process dumpable as far as
 * fs.suid_dumpable says, and forgets the parent-death signal.
 * Does: make the process not dumpable; forbid mappings that are or become both writable and
 * executable; ask for a signal when the launcher dies.
 * Must not: miss a launcher that died before the signal was asked for. */
static int set_attributes(struct sandbox *sandbox, struct problems *problems)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return step_failed(problems, "cannot make the process undumpable");
	if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0)
		sandbox->writes_refused_exec = true;
	else if (errno == EINVAL)
		sandbox_not_available(sandbox, "memory-deny-write-execute (Linux 6.3)");
	else
		return step_failed(problems, "cannot deny writable and executable memory");
	if (!sandbox->config.stop_with_launcher)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SANDBOX_LAUNCHER_DIED, 0, 0, 0) < 0)
		return step_failed(problems, "cannot set the parent-death signal");
	if (getppid() != sandbox->launcher && raise(SANDBOX_LAUNCHER_DIED) != 0)
		return step_failed(problems, "cannot signal that the launcher has died");
	return 0;
}

static const struct step {
	const char *name;
	int (*take)(struct sandbox *sandbox, struct problems *problems);
	bool needs_no_spec;
} steps[] = {
	{ "look", look, true },
	{ "inherited", inherited_tell, false },
	{ "limits", limits_before_threads, false },
	{ "namespaces", nest_leave_launcher, false },
	{ "bounds", capabilities_bound, true },
	{ "root", nest_empty_root, false },
	{ "ids", take_ids, false },
	{ "capabilities", capabilities_drop, false },
	{ "stay-down", stay_down, false },
	{ "attributes", set_attributes, false },
	{ "landlock", landlock_restrict, false },
};
static_assert(ARRAY_SIZE(steps) <= SANDBOX_STEPS_MAX, "a place for the time of each step");

const char *sandbox_confine_step(size_t index)
{
	return index < ARRAY_SIZE(steps) ? steps[index].name : NULL;
}

static int take(struct sandbox *sandbox, size_t i, struct problems *problems)
{
	uint64_t start = monotonic_ns();
	int r = steps[i].take(sandbox, problems);

	sandbox->step_ns[i] = monotonic_ns() - start;
	return r;
}

void sandbox_prepare(struct sandbox *sandbox)
{
	struct problems problems = { 0 };

	if (!capabilities_suffice())
		return;
	for (size_t i = 0; i < ARRAY_SIZE(steps) && sandbox->result_ahead == 0; i++) {
		if (!steps[i].needs_no_spec)
			continue;
		sandbox->result_ahead = take(sandbox, i, &problems);
		sandbox->taken |= 1u << i;
	}
	sandbox->problem_ahead = problems.list[0];
}

int sandbox_confine(struct sandbox *sandbox, const struct sandbox_config *config,
                    struct problems *problems)
{
	const struct problem *ahead = &sandbox->problem_ahead;

	sandbox->config = *config;
	sandbox->landlock_fd = -1;
	if (sandbox->result_ahead < 0)
		return problems_add(problems, ahead->code, ahead->error_number, NULL, "%s",
		                    ahead->message);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		int r = sandbox->taken & 1u << i ? 0 : take(sandbox, i, problems);

		if (r < 0)
			return r;
	}
	return 0;
}
