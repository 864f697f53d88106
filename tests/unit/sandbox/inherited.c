/* SPDX-License-Identifier: MIT */
/* What exec brings along from the launcher: set in a child as a launcher would, then cleared or
 * told; and a kernel that says it has cleared something, or does not answer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "sandbox/inherited.h"
#include "sandbox/proc.h"
#include "sandbox/process.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"

#define SET_MEMORY_MERGE 67
#define GET_MEMORY_MERGE 68
#define RESET_ON_FORK 0x40000000

enum { NOT_HERE = 90 };

/* To have it taken back, the kernel goes over all of the address space: a sanitizer's has
 * terabytes. */
static int set_merging(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file || fscanf(file, "%lu", &pages) != 1)
		return -1;
	fclose(file);
	return pages >> 28 ? -1 : prctl(SET_MEMORY_MERGE, 1, 0, 0, 0);
}

static int set_personality(void)
{
	return personality(ADDR_NO_RANDOMIZE | UNAME26) < 0 ? -1 : 0;
}
static int set_real_timer(void)
{
	return setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { 9000, 0 } }, NULL);
}
static int set_virtual_timer(void)
{
	return setitimer(ITIMER_VIRTUAL, &(struct itimerval){ .it_value = { 0, 1 } }, NULL);
}
static int set_profiling_timer(void)
{
	return setitimer(ITIMER_PROF, &(struct itimerval){ .it_value = { 9000, 0 } }, NULL);
}
static int set_slack(void)
{
	return prctl(PR_SET_TIMERSLACK, 1000000000, 0, 0, 0);
}
static int set_death_signal(void)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}
static int set_huge_pages(void)
{
	return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}
static int set_memory_failure(void)
{
	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}
static int set_io_flusher(void)
{
	return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}
static int set_subreaper(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}
static int set_nice(void)
{
	return setpriority(PRIO_PROCESS, 0, 17);
}
static int set_io_priority(void)
{
	return (int)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
	                    IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
}
static int set_cookie(void)
{
	return prctl(62, 1, 0, 1, 0);
}

static int set_limit(__rlimit_resource_t resource, rlim_t most)
{
	return setrlimit(resource, &(struct rlimit){ .rlim_cur = most - 1, .rlim_max = most });
}
static int set_cpu_limit(void)
{
	return set_limit(RLIMIT_CPU, 86400);
}
static int set_realtime_limit(void)
{
	return set_limit(RLIMIT_RTTIME, 200000);
}
static int set_soft_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CPU, &limit) < 0 || limit.rlim_max != RLIM_INFINITY)
		return -1;
	limit.rlim_cur = 86400;
	return setrlimit(RLIMIT_CPU, &limit);
}

static int set_class(int class, int priority)
{
	return sched_setscheduler(0, class, &(struct sched_param){ .sched_priority = priority });
}
static int set_fifo(void)
{
	return set_class(SCHED_FIFO, 3);
}
static int set_round_robin(void)
{
	return set_class(SCHED_RR | RESET_ON_FORK, 3);
}
static int set_batch(void)
{
	return set_class(SCHED_BATCH, 0);
}
static int set_batch_reset(void)
{
	return set_class(SCHED_BATCH | RESET_ON_FORK, 0);
}

static int set_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	return write(fd, "917", 3) == 3 ? close(fd) : -1;
}

static int set_memory_policy(void)
{
	unsigned long mask = 1;

	return (int)syscall(SYS_set_mempolicy, MPOL_PREFERRED, &mask, 64);
}

/* Not everywhere may a process choose. */
static int set_speculation(void)
{
	int state = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);

	if (state < 0 || !(state & PR_SPEC_PRCTL))
		return -1;
	return prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, 0, 0);
}

static const struct heirloom {
	const char *name;
	int (*set)(void);
	const char *told; /* NULL: cleared */
	const char *left; /* what is told where clearing does nothing */
} heirlooms[] = {
	{ "memory merging (KSM)", set_merging, NULL, "1" },
	{ "personality", set_personality, NULL, "0x60000" },
	{ "address space layout by personality", set_personality, "0x40000", "0x40000" },
	{ "armed interval timers", set_real_timer, NULL, "1" },
	{ "armed interval timers", set_virtual_timer, NULL, NULL },
	{ "armed interval timers", set_profiling_timer, NULL, "1" },
	{ "timer slack in ns", set_slack, NULL, "1000000000" },
	{ "scheduling class", set_fifo, NULL, "SCHED_FIFO" },
	{ "scheduling class", set_round_robin, "SCHED_OTHER, SCHED_RESET_ON_FORK",
	  "SCHED_RR, SCHED_RESET_ON_FORK" },
	{ "scheduling class", set_batch, "SCHED_BATCH", "SCHED_BATCH" },
	{ "scheduling class", set_batch_reset, "SCHED_BATCH, SCHED_RESET_ON_FORK",
	  "SCHED_BATCH, SCHED_RESET_ON_FORK" },
	{ "parent-death signal", set_death_signal, NULL, "9" },
	{ "transparent huge pages disabled", set_huge_pages, NULL, "1" },
	{ "memory failure policy", set_memory_failure, NULL, "1" },
	{ "I/O flusher", set_io_flusher, NULL, "1" },
	{ "child subreaper", set_subreaper, NULL, "1" },
	{ "nice", set_nice, "17", "17" },
	{ "I/O priority", set_io_priority, "best effort, level 6", "best effort, level 6" },
	{ "OOM score adjustment", set_oom_score, "917", "917" },
	{ "memory policy", set_memory_policy, "preferred", "preferred" },
	{ "speculation control", set_speculation, "no store bypass", "no store bypass" },
	{ "core-scheduling cookie", set_cookie, "1", "1" },
	{ "CPU time limit in s", set_cpu_limit, "86400", "86400" },
	{ "CPU time limit in s", set_soft_limit, NULL, NULL },
	{ "realtime limit in us", set_realtime_limit, "200000", "200000" },
};

static const struct heirloom *heirloom;
static bool lies;

/* The value that is told under a name; NULL: nothing is. */
static const char *told(const char *name)
{
	const struct sandbox *sandbox = &scene.sandbox;

	for (size_t i = 0; i < sandbox->inherited_count; i++)
		if (strncmp(sandbox->inherited[i], name, strlen(name)) == 0 &&
		    strncmp(sandbox->inherited[i] + strlen(name), ": ", 2) == 0)
			return sandbox->inherited[i] + strlen(name) + 2;
	return NULL;
}

/* For the parent's message. */
static void say(const char *what)
{
	(void)problems_add(&scene.problems, ERROR_CODE_INTERNAL, EINVAL, NULL, "told: %s",
	                   what ? what : "nothing");
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* What clears: yes, and nothing happens. */
static bool clears_nothing(long nr, const uint64_t args[static 6], long *ret_result)
{
	static const int setting[] = { SET_MEMORY_MERGE,      PR_SET_TIMERSLACK, PR_SET_PDEATHSIG,
		                       PR_SET_THP_DISABLE,    PR_MCE_KILL,       PR_SET_IO_FLUSHER,
		                       PR_SET_CHILD_SUBREAPER };

	*ret_result = 0;
	if (nr == SYS_personality)
		return args[0] != 0xffffffff;
	if (nr != SYS_prctl)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(setting); i++)
		if ((int)args[0] == setting[i])
			return true;
	return false;
}

static int through_arrive(void)
{
	static const long calls[] = { SYS_prctl, SYS_setitimer, SYS_personality,
		                      SYS_sched_setscheduler };

	if (heirloom->set() != 0)
		return NOT_HERE;
	if (lies && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	             fake_kernel_begin(calls, ARRAY_SIZE(calls), clears_nothing) < 0))
		return 1;
	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    inherited_tell(&scene.sandbox, &scene.problems) < 0)
		return 2;
	if (same(told(heirloom->name), lies ? heirloom->left : heirloom->told))
		return 0;
	say(told(heirloom->name));
	return 3;
}

static void each_heirloom(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(heirlooms); i++) {
		int status;

		heirloom = &heirlooms[i];
		/* A virtual timer that is not stopped goes off. */
		if (lies && !heirloom->left)
			continue;
		status = rig_child(through_arrive);
		if (status == NOT_HERE)
			printf("inherited: %s cannot be set here\n", heirloom->name);
		else
			cr_expect_eq(status, 0, "%s, row %zu: %d: %s", heirloom->name, i, status,
			             rig_words);
	}
}

Test(sandbox_inherited, what_a_launcher_left_is_cleared_or_told)
{
	each_heirloom();
}

Test(sandbox_inherited, what_could_not_be_cleared_is_told)
{
	lies = true;
	each_heirloom();
}

Test(sandbox_inherited, no_row_is_left_untried)
{
	bool cleared;

	for (size_t i = 0; inherited_name(i, &cleared); i++) {
		bool tried = false, as_told = false;

		for (size_t k = 0; k < ARRAY_SIZE(heirlooms); k++)
			if (strcmp(heirlooms[k].name, inherited_name(i, &cleared)) == 0) {
				tried = true;
				as_told |= cleared ? !heirlooms[k].told : heirlooms[k].told != NULL;
			}
		cr_expect(tried && as_told, "%s", inherited_name(i, &cleared));
	}
}

/* Of a process that nobody has prepared nothing is told; of the test's own, what was told before
 * arrive. */
static int prepared_by_nobody(void)
{
	static const char *const mine[] = { "nice",
		                            "I/O priority",
		                            "OOM score adjustment",
		                            "memory policy",
		                            "scheduling class",
		                            "speculation control",
		                            "core-scheduling cookie",
		                            "CPU time limit in s",
		                            "realtime limit in us",
		                            "address space layout by personality" };

	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    inherited_tell(&scene.sandbox, &scene.problems) < 0)
		return 1;
	for (size_t i = 0; i < scene.sandbox.inherited_count; i++) {
		bool of_the_tests = false;

		for (size_t k = 0; k < ARRAY_SIZE(mine); k++)
			of_the_tests |=
				strncmp(scene.sandbox.inherited[i], mine[k], strlen(mine[k])) == 0;
		if (!of_the_tests) {
			say(scene.sandbox.inherited[i]);
			return 2;
		}
	}
	/* Twice is not twice as much. */
	size_t count = scene.sandbox.inherited_count;

	(void)inherited_tell(&scene.sandbox, &scene.problems);
	return scene.sandbox.inherited_count == count ? 0 : 3;
}

Test(sandbox_inherited, nothing_is_told_of_nothing)
{
	cr_assert_eq(rig_child(prepared_by_nobody), 0, "%s", rig_words);
}

static long answer_with;

static bool does_not_answer(long nr, const uint64_t args[static 6], long *ret_result)
{
	*ret_result = answer_with;
	return nr != SYS_prctl || args[0] == PR_GET_IO_FLUSHER || args[0] == GET_MEMORY_MERGE;
}

/* One row says that it may not be asked, or that there is no such thing. */
static int without_answers(void)
{
	static const long calls[] = { SYS_prctl, SYS_get_mempolicy };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, ARRAY_SIZE(calls), does_not_answer) < 0)
		return 1;
	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    inherited_tell(&scene.sandbox, &scene.problems) < 0)
		return 2;
	if (told("I/O flusher"))
		return 3; /* who is not privileged cannot have one */
	if (answer_with != -EPERM)
		return told("memory policy") || told("memory merging (KSM)") ? 4 : 0;
	return same(told("memory policy"), "cannot be read: Operation not permitted") &&
	                       same(told("memory merging (KSM)"),
	                            "cannot be read: Operation not permitted")
	               ? 0
	               : 5;
}

Test(sandbox_inherited, what_cannot_be_read_is_told_as_that)
{
	static const long answers[] = { -EPERM, -EINVAL, -ENOSYS, -ENODEV };

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		answer_with = answers[i];
		cr_expect_eq(rig_child(without_answers), 0, "%ld: %s", answers[i], rig_words);
	}
}

/* What the spec has asked for is not the launcher's. */
static int as_the_spec_says(void)
{
	if (sandbox_arrive(&scene.sandbox, &scene.problems) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0)
		return 1;
	if (set_class(SCHED_FIFO, 1) < 0)
		return NOT_HERE;
	scene.sandbox.config.realtime = true;
	(void)inherited_tell(&scene.sandbox, &scene.problems);
	if (told("scheduling class") || told("timer slack in ns"))
		return 2;
	scene.sandbox.config.realtime = false;
	(void)inherited_tell(&scene.sandbox, &scene.problems);
	return same(told("scheduling class"), "SCHED_FIFO") ? 0 : 3;
}

Test(sandbox_inherited, a_class_of_the_specs_is_not_told)
{
	int status = rig_child(as_the_spec_says);

	if (status == NOT_HERE)
		cr_skip_test("SCHED_FIFO is not to be had here");
	cr_assert_eq(status, 0, "%s", rig_words);
}
