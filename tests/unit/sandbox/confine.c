/* SPDX-License-Identifier: MIT */
/* The steps of stage confine in a child, and the read-back held against what was spoiled after
 * them. Root or not: an ordinary user goes the way through a user namespace. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/cgroup.h"
#include "sandbox/confine.h"
#include "sandbox/landlock.h"
#include "sandbox/limits.h"
#include "sandbox/nest.h"
#include "sandbox/verify.h"
#include "tests/unit/rig/sandbox_rig.h"

static bool without_nest; /* as where its thread cannot be started */
static const struct sandbox_config *chosen;
static int (*body)(void);

static int confine_and_go_on(void)
{
	return rig_confine(chosen, !without_nest) < 0 ? RIG_NOT_CONFINED : body();
}

/* Runs fn in a confined child; its answer, or RIG_NOT_CONFINED. */
static int confined(const struct sandbox_config *config, int (*fn)(void))
{
	chosen = config;
	body = fn;
	return rig_child(confine_and_go_on);
}

static int verify(void)
{
	return rig_verify(0);
}

/* 0 when the read-back names what was spoiled. */
static int names(const char *what)
{
	int r = verify();

	return r < 0 && scene.problems.count == 1 &&
	                       scene.problems.list[0].code == ERROR_CODE_SANDBOX_FAILED &&
	                       strstr(scene.problems.list[0].message, what)
	               ? 0
	               : 1;
}

static const struct sandbox_config plain;

static int untouched(void)
{
	return verify() == 0 && scene.seen.threads == 1 && scene.seen.namespaces_count >= 5 &&
	                       scene.seen.fds_count >= 3 && scene.sandbox.landlock_abi >= 1
	               ? 0
	               : 1;
}

Test(sandbox_confine, what_was_done_is_found_again)
{
	cr_assert_eq(confined(&plain, untouched), 0);
	without_nest = true;
	cr_assert_eq(confined(&plain, untouched), 0);
}

static int nest_taken(void)
{
	char name[8] = "";

	return scene.sandbox.nest.begun == scene.sandbox.privileged &&
	                       gethostname(name, sizeof(name)) == 0 && strcmp(name, "axvm") == 0
	               ? 0
	               : 1;
}

Test(sandbox_nest, whoever_is_privileged_has_one)
{
	cr_assert_eq(confined(&plain, nest_taken), 0);
}

/* What went wrong in the nest is the launch's failure, in the nest's words. */
Test(sandbox_nest, its_failure_is_the_launchs)
{
	struct sandbox sandbox = { .proc_fd = -1, .nest = { .begun = true, .result = -EPERM } };
	struct problems problems = { 0 };

	problems_add(&sandbox.nest.problems, ERROR_CODE_SANDBOX_FAILED, EPERM, NULL, "no room");
	atomic_store(&sandbox.nest.state, 1);
	cr_assert_eq(nest_leave_launcher(&sandbox, &problems), -EPERM);
	cr_assert_eq(problems.count, 1);
	cr_assert_str_eq(problems.list[0].message, "no room");
	cr_assert_not(sandbox.namespaced);
}

static int no_file(void)
{
	int through_proc = openat(scene.sandbox.proc_fd, "status", O_RDONLY);

	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != ENOENT)
		return 1;
	if (open("/", O_RDONLY | O_DIRECTORY) >= 0 || errno != EACCES)
		return 2;
	if (mkdir("/x", 0700) == 0 || (errno != EROFS && errno != EACCES))
		return 3;
	if (through_proc < 0)
		return 4;
	if (sandbox_close_files(&scene.sandbox, &scene.problems) < 0)
		return 5;
	return openat(scene.sandbox.proc_fd, "status", O_RDONLY) < 0 && errno == EACCES ? 0 : 6;
}

Test(sandbox_confine, there_is_no_file)
{
	cr_assert_eq(confined(&plain, no_file), 0);
}

static int no_way_back(void)
{
	if (unshare(CLONE_NEWNS) == 0 || setuid(0) == 0 || setgid(0) == 0)
		return 1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0) == 0)
		return 2;
	if (prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0)
		return 3;
	if (scene.sandbox.writes_refused_exec &&
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	         0) != MAP_FAILED)
		return 4;
	return 0;
}

Test(sandbox_confine, there_is_no_way_back)
{
	cr_assert_eq(confined(&plain, no_way_back), 0);
}

static int dumpable(void)
{
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return names("dumpable");
}

static int launcher_signal(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	return names("parent-death");
}

static int same_namespace(void)
{
	struct stat st;

	if (fstatat(scene.sandbox.proc_fd, "ns/net", &st, 0) < 0)
		return 2;
	scene.sandbox.launcher_namespaces[SANDBOX_NET_NAMESPACE] = st.st_ino;
	return names("namespace");
}

static int other_ids(void)
{
	scene.sandbox.privileged = true;
	scene.sandbox.uid++;
	return names("other ids");
}

static int missing_thread(void)
{
	return sandbox_verify_threads(&scene.sandbox, 1, &scene.seen, &scene.problems) == -EBADMSG
	               ? 0
	               : 1;
}

static int early_filter(void)
{
	scene.sandbox.inherited_filters++;
	return names("filter");
}

static int far_descriptor(void)
{
	return dup2(0, 1024) == 1024 ? names("layout") : 2;
}

static int idle_thread(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return 0;
}

/* One thread more than was started, and under no filter. */
static int unsealed_thread(void)
{
	static char stack[16384];
	const int flags =
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	if (clone(idle_thread, stack + sizeof(stack), flags, NULL) < 0)
		return 2;
	return names("not under one filter");
}

Test(sandbox_verify, what_was_spoiled_is_named)
{
	static const struct {
		const char *name;
		int (*spoil)(void);
	} rows[] = {
		{ "dumpable", dumpable },
		{ "launcher_signal", launcher_signal },
		{ "same_namespace", same_namespace },
		{ "other_ids", other_ids },
		{ "missing_thread", missing_thread },
		{ "early_filter", early_filter },
		{ "far_descriptor", far_descriptor },
		{ "unsealed_thread", unsealed_thread },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_expect_eq(confined(&plain, rows[i].spoil), 0, "%s", rows[i].name);
}

/* The call itself: a sanitizer has an mlock() of its own, which does nothing. */
static int frozen(void)
{
	if (sandbox_freeze_limits(0, 0, &scene.problems) < 0)
		return 1;
	return dup(0) < 0 && errno == EMFILE && syscall(SYS_mlock, &scene, 4096) < 0 ? 0 : 2;
}

Test(sandbox_limits, nothing_new_once_frozen)
{
	cr_assert_eq(confined(&plain, frozen), 0);
}

static int signalled(void)
{
	int signal_number = 0;

	return prctl(PR_GET_PDEATHSIG, &signal_number) == 0 &&
	                       signal_number == SANDBOX_LAUNCHER_DIED && verify() == 0
	               ? 0
	               : 1;
}

Test(sandbox_confine, the_launchers_death_is_told)
{
	const struct sandbox_config config = { .stop_with_launcher = true };

	cr_assert_eq(confined(&config, signalled), 0);
}

Test(sandbox_cgroup, only_a_cgroup_is_joined)
{
	struct problems problems = { 0 };
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	cr_assert_eq(sandbox_join_cgroups(&fd, 1, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1);
	cr_assert(strstr(problems.list[0].message, "sandbox.cgroup_fds"));
	close(fd);
}

Test(sandbox_confine, every_step_has_a_name)
{
	size_t n = 0;

	while (sandbox_confine_step(n))
		n++;
	cr_assert_geq(n, 10);
	cr_assert_leq(n, SANDBOX_STEPS_MAX);
}
