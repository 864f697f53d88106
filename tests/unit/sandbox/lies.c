/* SPDX-License-Identifier: MIT */
/* Stage confine under a kernel that says yes and does nothing, or answers as it must not: each is
 * named by the step's own trial or by the read-back, and a kernel that tells the truth passes. As
 * root: an ordinary user's shim does not take the steps. */
#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static void add_to(const uint64_t args[static 6], size_t arg)
{
	uint32_t *id = (uint32_t *)(uintptr_t)args[arg];

	*id += 1;
}

static void effective_differs(const uint64_t args[static 6])
{
	add_to(args, 1);
}

static void saved_differs(const uint64_t args[static 6])
{
	add_to(args, 2);
}

/* As with fs.suid_dumpable = 1. */
static void become_dumpable(const uint64_t args[static 6])
{
	(void)args;
	fake_kernel_call(SYS_prctl, (const uint64_t[6]){ PR_SET_DUMPABLE, 1 });
}

#define LIE 0
#define ANY UINT64_MAX
#define UNCHANGED ((uint64_t)(uint32_t)-1)
#define ROOT_AGAIN "sandbox check: the process can become uid 0 again"
#define UNEQUAL "sandbox check: the real, effective and saved ids are not the same"
#define A_NAMESPACE "sandbox check: a namespace is still the launcher's"
#define A_BOUND "sandbox check: a capability is left in the bounding set"
#define UNCERTAIN "cannot check that the process cannot become root again: "

static const struct lie {
	const char *name;
	long nr;
	unsigned arg;   /* which argument says that this call is meant ... */
	uint64_t value; /* ... and by what */
	unsigned nth;   /* of these calls, from 1; 0: all of them */
	long result;
	/* the call is made, and then this; no result */
	void (*after)(const uint64_t args[static 6]);
	const char *words; /* "": nothing is wrong */
} lies[] = {
	{ "truth", SYS_prctl, 0, ANY - 1, 0, LIE, NULL, "" },
	{ "no new privileges", SYS_prctl, 0, PR_SET_NO_NEW_PRIVS, 0, LIE, NULL,
	  "cannot restrict the process by Landlock: " },
	{ "no writable and executable memory", SYS_prctl, 0, PR_SET_MDWE, 0, LIE, NULL,
	  "sandbox check: memory may become writable and executable" },
	{ "a kernel that knows no such thing", SYS_prctl, 0, PR_SET_MDWE, 0, -EINVAL, NULL, "" },
	{ "one that refuses it", SYS_prctl, 0, PR_SET_MDWE, 0, -EPERM, NULL,
	  "cannot deny writable and executable memory: " },
	{ "parent-death signal", SYS_prctl, 0, PR_SET_PDEATHSIG, 0, LIE, NULL,
	  "sandbox check: the parent-death signal is not as asked for" },
	{ "securebits", SYS_prctl, 0, PR_SET_SECUREBITS, 0, LIE, NULL,
	  "sandbox check: the securebits are not as they were locked" },
	{ "bounding set, chroot", SYS_prctl, 1, CAP_SYS_CHROOT, 0, LIE, NULL, A_BOUND },
	{ "bounding set, setuid", SYS_prctl, 1, CAP_SETUID, 0, LIE, NULL, A_BOUND },
	{ "bounding set, admin", SYS_prctl, 1, CAP_SYS_ADMIN, 0, LIE, NULL, A_BOUND },
	{ "capabilities", SYS_capset, 0, ANY, 0, LIE, NULL,
	  "sandbox check: a capability is left after all were dropped" },
	{ "groups", SYS_setgroups, 0, 0, 1, LIE, NULL,
	  "sandbox check: a thread has supplementary groups" },
	{ "groups can be set", SYS_setgroups, 0, 0, 2, LIE, NULL,
	  "sandbox check: the process can still set its groups" },
	{ "groups, another refusal", SYS_setgroups, 0, 0, 2, -ENOMEM, NULL, UNCERTAIN },
	{ "gid", SYS_setresgid, 0, SANDBOX_DEFAULT_ID, 0, LIE, NULL,
	  "sandbox check: the process can become gid 0 again" },
	{ "gid 0 again", SYS_setresgid, 0, 0, 0, LIE, NULL,
	  "sandbox check: the process can become gid 0 again" },
	{ "gid 0, another refusal", SYS_setresgid, 0, 0, 0, -EAGAIN, NULL, UNCERTAIN },
	{ "uid", SYS_setresuid, 0, SANDBOX_DEFAULT_ID, 0, LIE, NULL, ROOT_AGAIN },
	{ "uid 0 again", SYS_setresuid, 0, 0, 0, LIE, NULL, ROOT_AGAIN },
	{ "effective uid 0 again", SYS_setresuid, 0, UNCHANGED, 0, LIE, NULL, ROOT_AGAIN },
	{ "uid 0, another refusal", SYS_setresuid, 0, 0, 0, -EAGAIN, NULL, UNCERTAIN },
	{ "uid 0, not mapped", SYS_setresuid, 0, 0, 0, -EINVAL, NULL, "" },
	{ "effective uid differs", SYS_getresuid, 0, ANY, 0, 0, effective_differs, UNEQUAL },
	{ "saved uid differs", SYS_getresuid, 0, ANY, 0, 0, saved_differs, UNEQUAL },
	{ "effective gid differs", SYS_getresgid, 0, ANY, 0, 0, effective_differs, UNEQUAL },
	{ "saved gid differs", SYS_getresgid, 0, ANY, 0, 0, saved_differs, UNEQUAL },
	{ "dumpable by a change of ids", SYS_setresuid, 0, SANDBOX_DEFAULT_ID, 0, 0,
	  become_dumpable, "" },
	{ "Landlock", SYS_landlock_restrict_self, 0, ANY, 0, LIE, NULL,
	  "sandbox check: a directory can be opened in spite of Landlock" },
	{ "cgroup namespace", SYS_unshare, 0, CLONE_NEWCGROUP, 0, LIE, NULL, A_NAMESPACE },
	{ "mount namespace", SYS_setns, 1, CLONE_NEWNS, 0, LIE, NULL, A_NAMESPACE },
	{ "network namespace", SYS_setns, 1, CLONE_NEWNET, 0, LIE, NULL, A_NAMESPACE },
	{ "IPC namespace", SYS_setns, 1, CLONE_NEWIPC, 0, LIE, NULL, A_NAMESPACE },
	{ "UTS namespace", SYS_setns, 1, CLONE_NEWUTS, 0, LIE, NULL, A_NAMESPACE },
};

static const struct lie *lie;
static unsigned calls_seen, tolerated;

static bool answer(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (lie->value != ANY && (uint32_t)args[lie->arg] != (uint32_t)lie->value)
		return false;
	/* Of prctl(2), argument 1 means a capability in one request only. */
	if (nr == SYS_prctl && lie->arg == 1 && args[0] != PR_CAPBSET_DROP)
		return false;
	if (++calls_seen != lie->nth && lie->nth != 0)
		return false;
	*ret_result = lie->result;
	if (lie->after) {
		*ret_result = fake_kernel_call(nr, args);
		lie->after(args);
	}
	return true;
}

static int lied_to(void)
{
	const struct sandbox_config config = { .stop_with_launcher = true };
	const gid_t groups[] = { 1, 2 };
	int r;

	if (setgroups(2, groups) < 0 || fake_kernel_begin(&lie->nr, 1, answer) < 0)
		return 1;
	r = rig_confine(&config, true);
	if (r == 0)
		r = rig_verify(0);
	if (calls_seen == 0 && lie != &lies[0])
		return 2;
	if (r < 0)
		return *lie->words ? 0 : 3;
	return *lie->words ? 4 : 0;
}

Test(sandbox_lies, a_step_that_did_nothing_is_noticed)
{
	if (geteuid() != 0)
		cr_skip_test("not root: the steps that are lied about are root's");
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		lie = &lies[i];
		cr_expect_eq(rig_child(lied_to), 0, "%s: %s", lie->name, rig_words);
		cr_expect_eq(strncmp(rig_words, lie->words, strlen(lie->words)), 0, "%s: \"%s\"",
		             lie->name, rig_words);
	}
}

static int without_mdwe(void)
{
	const struct sandbox_config config = { 0 };

	lie = &lies[3];
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(&lie->nr, 1, answer) < 0 || rig_confine(&config, true) < 0 ||
	    scene.sandbox.writes_refused_exec)
		return 1;
	for (size_t i = 0; i < scene.sandbox.not_available_count; i++)
		tolerated +=
			strstr(scene.sandbox.not_available[i], "memory-deny-write-execute") != NULL;
	return tolerated == 1 ? 0 : 2;
}

Test(sandbox_lies, what_an_older_kernel_lacks_is_told)
{
	cr_assert_eq(rig_child(without_mdwe), 0, "%s", rig_words);
}

/* ----------------------------------------------------------------- what holds once all was done */

static int taken_ids(uid_t uid, gid_t gid)
{
	uid_t uids[3];
	gid_t gids[3];

	if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 ||
	    getresgid(&gids[0], &gids[1], &gids[2]) < 0)
		return 1;
	for (size_t i = 0; i < 3; i++)
		if (uids[i] != uid || gids[i] != gid)
			return 2;
	if (scene.sandbox.uid != uid || scene.sandbox.gid != gid)
		return 3;
	return getgroups(0, NULL) == 0 ? 0 : 4;
}

static struct sandbox_config ids;

static int ids_of_the_spec(void)
{
	const gid_t groups[] = { 1, 2 };

	if (setgroups(2, groups) < 0 || rig_confine(&ids, true) < 0)
		return RIG_NOT_CONFINED;
	return taken_ids(ids.has_uid ? ids.uid : SANDBOX_DEFAULT_ID,
	                 ids.has_gid ? ids.gid : SANDBOX_DEFAULT_ID);
}

Test(sandbox_confine, takes_the_ids_of_the_spec_or_its_own)
{
	static const struct sandbox_config rows[] = {
		{ .has_uid = false },
		{ .has_uid = true, .uid = 4711 },
		{ .has_gid = true, .gid = 4712 },
		{ .has_uid = true, .uid = 4711, .has_gid = true, .gid = 4712 },
		{ .has_uid = true, .uid = 4711, .has_gid = true, .gid = 0 },
	};

	if (geteuid() != 0)
		cr_skip_test("not root: an ordinary user's shim keeps its ids");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ids = rows[i];
		cr_expect_eq(rig_child(ids_of_the_spec), 0, "row %zu: %s", i, rig_words);
	}
}

/* A launcher that died before its death could be asked about: told all the same. */
static int dead_launcher(void)
{
	const struct sandbox_config config = { .stop_with_launcher = true };
	sigset_t set, pending;

	sigemptyset(&set);
	sigaddset(&set, SANDBOX_LAUNCHER_DIED);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (rig_confine(&config, true) < 0 || sigpending(&pending) < 0 ||
	    sigismember(&pending, SANDBOX_LAUNCHER_DIED))
		return 1;
	return 0;
}

static bool another_parent(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	*ret_result = calls_seen++ == 0 ? 4711 : 1;
	return true;
}

static int orphan(void)
{
	const struct sandbox_config config = { .stop_with_launcher = true };
	const long calls[] = { SYS_getppid };
	sigset_t set, pending;

	sigemptyset(&set);
	sigaddset(&set, SANDBOX_LAUNCHER_DIED);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, another_parent) < 0)
		return 1;
	if (rig_confine(&config, true) < 0 || sigpending(&pending) < 0)
		return 2;
	return sigismember(&pending, SANDBOX_LAUNCHER_DIED) ? 0 : 3;
}

Test(sandbox_confine, a_launcher_that_is_dead_already_is_told)
{
	cr_expect_eq(rig_child(dead_launcher), 0, "%s", rig_words);
	cr_expect_eq(rig_child(orphan), 0, "%s", rig_words);
}

/* Another thread would keep what this one gives up. The pauses are not made: it waits for 2 s
 * else. */
static bool no_pause(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	*ret_result = 0;
	return true;
}

static int idle(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return 0;
}

static int company(void)
{
	static char stack[16384];
	/* no CLONE_FS: setns(2) */
	const int flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
	const long calls[] = { SYS_clock_nanosleep, SYS_nanosleep };
	const struct sandbox_config config = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    clone(idle, stack + sizeof(stack), flags, NULL) < 0 ||
	    fake_kernel_begin(calls, 2, no_pause) < 0)
		return 1;
	return rig_confine(&config, true) == -EBADMSG ? 0 : 2;
}

Test(sandbox_nest, another_thread_is_named)
{
	if (geteuid() != 0)
		cr_skip_test("not root: no process of two threads makes a user namespace");
	cr_assert_eq(rig_child(company), 0, "%s", rig_words);
	cr_assert_str_eq(rig_words, "sandbox check: there is more than one thread");
}

/* -------------------------------------------------------------------- how the nest finds itself */

static const char *link_text; /* NULL: there is none */

static bool answer_link(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	if (strcmp((const char *)(uintptr_t)args[0], "/proc/thread-self") != 0)
		return false;
	*ret_result = link_text ? (long)strnlen(link_text, args[2]) : -ENOENT;
	if (link_text)
		memcpy((void *)(uintptr_t)args[1], link_text, (size_t)*ret_result);
	return true;
}

static int lost_nest(void)
{
	const struct sandbox_config config = { 0 };
	const long calls[] = { SYS_readlink };

	return fake_kernel_begin(calls, 1, answer_link) < 0 ? 1
	       : rig_confine(&config, true) < 0             ? 0
	                                                    : 2;
}

Test(sandbox_nest, finds_itself_in_proc_or_the_launch_fails)
{
	static const struct {
		const char *link, *words;
	} rows[] = {
		{ NULL, "cannot find a thread in /proc: " },
		{ "4711", "sandbox check: /proc names a thread in an unknown way" },
		{ "", "sandbox check: /proc names a thread in an unknown way" },
		{ "4711/task/00000000000000000000000000000000004712",
		  "sandbox check: /proc names a thread in an unknown" },
		{ "4711/task/4712", "cannot open the new root: " },
	};

	if (geteuid() != 0)
		cr_skip_test("not root: there is no nest");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		link_text = rows[i].link;
		cr_expect_eq(rig_child(lost_nest), 0, "row %zu", i);
		cr_expect_eq(strncmp(rig_words, rows[i].words, strlen(rows[i].words)), 0,
		             "row %zu: \"%s\"", i, rig_words);
	}
}
