/* SPDX-License-Identifier: MIT */
/* Process attributes that the launcher set and that survive exec.
 *
 * Theory of operation. execve(2) gives a program new memory and resets handlers, but keeps other
 * attributes of the process: personality, timers, scheduling and a dozen flags of prctl(2) come
 * from the launcher, or from whoever started the launcher. There are two kinds:
 *   - an attribute that contradicts the spec or weakens the sandbox is cleared in stage arrive. Its
 *     value is read again in stage confine, unless there was nothing to clear and only the process
 *     itself could have set it since;
 *   - an attribute that an operator sets on purpose to run VMs beside other work (nice, I/O
 *     priority, the OOM score, a memory policy) stays, because no field of the spec contradicts it.
 *     It is reported.
 * An attribute that could not be cleared is reported too, with its remaining value. Attributes that
 * the kernel does not know, or that an ordinary user cannot read, are not reported (README.md). A
 * realtime class is of the first kind: the spec has a field for it, and a guest that spins in a
 * class that nobody asked for takes its CPU from the host; SCHED_BATCH and SCHED_IDLE only yield
 * CPU time to others.
 *
 * Not here: the environment, the umask, descriptors and dumpability (process.c), signals
 * (shim/stage_start.c), limits but those on time (limits.c), ids, capabilities and securebits
 * (capabilities.c). prctl(2), execve(2), personality(2), sched(7). */
#include "sandbox/inherited.h"

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "sandbox/step.h"

/* Linux 6.4, 5.14 and 6.12 brought these; older systems' headers have no names for them. */
#define GET_MEMORY_MERGE 68
#define SET_MEMORY_MERGE 67
#define SCHED_CORE 62
#define SCHED_CORE_GET_COOKIE 0
#define CLASS_EXT 7

#define OOM_SCORE_LEAST (-1000)
#define NICE_OF_SYSCALL 20 /* getpriority(2) as a system call answers 20 - nice */
#define RESET_ON_FORK 0x40000000
/* These flags decide the address space layout when an image is loaded, so their effect stays
 * although the flag is cleared. */
#define LAYOUT_FLAGS                                                                               \
	(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO | ADDR_LIMIT_3GB |                \
	 ADDR_LIMIT_32BIT)

static long result_of(long r)
{
	return r < 0 ? -errno : r;
}

/* ------------------------------------------------------------------------------------ questions */

static long ask_merging(const struct sandbox *sandbox)
{
	(void)sandbox;
	return result_of(prctl(GET_MEMORY_MERGE, 0, 0, 0, 0));
}

static long ask_layout(const struct sandbox *sandbox)
{
	return sandbox->inherited_layout;
}

static long ask_personality(const struct sandbox *sandbox)
{
	(void)sandbox;
	return result_of(personality(0xffffffff));
}

static long ask_timers(const struct sandbox *sandbox)
{
	static const __itimer_which_t kinds[] = { ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF };
	long armed = 0;

	(void)sandbox;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct itimerval timer = { 0 };

		if (getitimer(kinds[i], &timer) < 0)
			return -errno;
		armed += timer.it_value.tv_sec || timer.it_value.tv_usec;
	}
	return armed;
}

static long ask_class(const struct sandbox *sandbox)
{
	long class = result_of(sched_getscheduler(0));

	/* The shim has set this class itself for cpus.fifo_priority: it is not inherited. */
	return sandbox->config.realtime && class == SCHED_FIFO ? SCHED_OTHER : class;
}

/* A thread of a realtime class has no timer slack. */
static long ask_slack(const struct sandbox *sandbox)
{
	long slack = result_of(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));

	(void)sandbox;
	return slack == 0 ? SANDBOX_SLACK_NS : slack;
}

/* At the hard limit the kernel sends SIGKILL; the signals that it sends at the soft limit are
 * blocked. */
static long hard_limit(__rlimit_resource_t resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0)
		return -errno;
	return limit.rlim_max == RLIM_INFINITY ? LONG_MAX
	                                       : (long)MIN(limit.rlim_max, (rlim_t)LONG_MAX);
}

static long ask_cpu_limit(const struct sandbox *sandbox)
{
	(void)sandbox;
	return hard_limit(RLIMIT_CPU);
}

static long ask_realtime_limit(const struct sandbox *sandbox)
{
	(void)sandbox;
	return hard_limit(RLIMIT_RTTIME);
}

static long ask_nice(const struct sandbox *sandbox)
{
	(void)sandbox;
	return result_of(syscall(SYS_getpriority, PRIO_PROCESS, 0));
}

static long ask_io_priority(const struct sandbox *sandbox)
{
	long priority = result_of(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0));

	(void)sandbox;
	/* Without a class the priority follows from nice, and the level has no effect. */
	return priority >= 0 && IOPRIO_PRIO_CLASS(priority) == IOPRIO_CLASS_NONE ? 0 : priority;
}

static long ask_death_signal(const struct sandbox *sandbox)
{
	int number = 0;

	(void)sandbox;
	return prctl(PR_GET_PDEATHSIG, &number, 0, 0, 0) < 0 ? -errno : number;
}

static long ask_oom_score(const struct sandbox *sandbox)
{
	_cleanup_close_ int fd = openat(sandbox->proc_fd, "oom_score_adj", O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return -errno;
	return strtol(text, NULL, 10) - OOM_SCORE_LEAST;
}

static long ask_memory_policy(const struct sandbox *sandbox)
{
	int mode = 0;

	(void)sandbox;
	return syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0) < 0 ? -errno : mode & 0xff;
}

static long ask_huge_pages(const struct sandbox *sandbox)
{
	(void)sandbox;
	return result_of(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

static long ask_memory_failure(const struct sandbox *sandbox)
{
	(void)sandbox;
	return result_of(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
}

/* Bit n: control n is stricter than the host's own. */
static long ask_speculation(const struct sandbox *sandbox)
{
	static const struct {
		unsigned long control, strict;
	} controls[] = {
		{ PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE },
		{ PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE | PR_SPEC_FORCE_DISABLE },
		{ PR_SPEC_L1D_FLUSH, PR_SPEC_ENABLE },
	};
	long changed = 0;

	(void)sandbox;
	for (size_t i = 0; i < ARRAY_SIZE(controls); i++) {
		int state = prctl(PR_GET_SPECULATION_CTRL, controls[i].control, 0, 0, 0);

		/* A control that a process cannot choose is set by the host. */
		if (state > 0 && state & PR_SPEC_PRCTL && (unsigned long)state & controls[i].strict)
			changed |= 1L << i;
	}
	return changed;
}

static long ask_io_flusher(const struct sandbox *sandbox)
{
	(void)sandbox;
	return result_of(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0));
}

static long ask_subreaper(const struct sandbox *sandbox)
{
	int is = 0;

	(void)sandbox;
	return prctl(PR_GET_CHILD_SUBREAPER, &is, 0, 0, 0) < 0 ? -errno : is != 0;
}

static long ask_cookie(const struct sandbox *sandbox)
{
	unsigned long cookie = 0;

	if (sandbox->config.own_cores)
		return 0;
	return prctl(SCHED_CORE, SCHED_CORE_GET_COOKIE, 0, 0, &cookie) < 0 ? -errno : cookie != 0;
}

/* ------------------------------------------------------------------------------------- clearing */

static void clear_merging(void)
{
	(void)prctl(SET_MEMORY_MERGE, 0, 0, 0, 0);
}

static void clear_personality(void)
{
	(void)personality(PER_LINUX);
}

static void clear_timers(void)
{
	const struct itimerval none = { 0 };

	(void)setitimer(ITIMER_REAL, &none, NULL);
	(void)setitimer(ITIMER_VIRTUAL, &none, NULL);
	(void)setitimer(ITIMER_PROF, &none, NULL);
}

/* The flag stays: only a privileged process may clear it. */
static void clear_class(void)
{
	const struct sched_param none = { .sched_priority = 0 };
	int class = sched_getscheduler(0), flag = class & RESET_ON_FORK;

	class &= ~RESET_ON_FORK;
	if (class == SCHED_FIFO || class == SCHED_RR || class == SCHED_DEADLINE)
		(void)sched_setscheduler(0, SCHED_OTHER | flag, &none);
}

/* Not 0, which would restore the slack that the process started with: the launcher's. */
static void clear_slack(void)
{
	(void)prctl(PR_SET_TIMERSLACK, SANDBOX_SLACK_NS, 0, 0, 0);
}

static void clear_death_signal(void)
{
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

static void clear_huge_pages(void)
{
	(void)prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
}

static void clear_memory_failure(void)
{
	(void)prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0);
}

static void clear_io_flusher(void)
{
	(void)prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
}

static void clear_subreaper(void)
{
	(void)prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

/* ---------------------------------------------------------------------------------------- words */

static void say_hexadecimal(long value, char *to, size_t size)
{
	snprintf(to, size, "0x%lx", value);
}

static void say_class(long value, char *to, size_t size)
{
	static const char *const names[] = {
		[SCHED_OTHER] = "SCHED_OTHER", [SCHED_FIFO] = "SCHED_FIFO",
		[SCHED_RR] = "SCHED_RR",       [SCHED_BATCH] = "SCHED_BATCH",
		[SCHED_IDLE] = "SCHED_IDLE",   [SCHED_DEADLINE] = "SCHED_DEADLINE",
		[CLASS_EXT] = "SCHED_EXT",
	};
	size_t class = (size_t)(value & ~RESET_ON_FORK);

	snprintf(to, size, "%s%s",
	         class < ARRAY_SIZE(names) && names[class] ? names[class] : "unknown",
	         value & RESET_ON_FORK ? ", SCHED_RESET_ON_FORK" : "");
}

static void say_nice(long value, char *to, size_t size)
{
	snprintf(to, size, "%ld", NICE_OF_SYSCALL - value);
}

static void say_io_priority(long value, char *to, size_t size)
{
	static const char *const names[] = { [IOPRIO_CLASS_RT] = "realtime",
		                             [IOPRIO_CLASS_BE] = "best effort",
		                             [IOPRIO_CLASS_IDLE] = "idle" };
	size_t class = (size_t)IOPRIO_PRIO_CLASS(value);

	snprintf(to, size, "%s, level %ld",
	         class < ARRAY_SIZE(names) && names[class] ? names[class] : "unknown", value & 7);
}

static void say_oom_score(long value, char *to, size_t size)
{
	snprintf(to, size, "%ld", value + OOM_SCORE_LEAST);
}

static void say_memory_policy(long value, char *to, size_t size)
{
	static const char *const names[] = { [MPOL_PREFERRED] = "preferred",
		                             [MPOL_BIND] = "bind",
		                             [MPOL_INTERLEAVE] = "interleave",
		                             [MPOL_LOCAL] = "local" };

	if ((size_t)value < ARRAY_SIZE(names) && names[value])
		snprintf(to, size, "%s", names[value]);
	else
		snprintf(to, size, "mode %ld", value);
}

static void say_speculation(long value, char *to, size_t size)
{
	snprintf(to, size, "%s%s%s%s%s", value & 1 ? "no store bypass" : "",
	         value & 1 && value & 6 ? ", " : "", value & 2 ? "no indirect branches" : "",
	         value & 2 && value & 4 ? ", " : "", value & 4 ? "L1D flush" : "");
}

/* ---------------------------------------------------------------------------------------- table */

/* Who can have set the attribute: the process itself, also before exec; only root, so that an
 * ordinary user may not even read it; or another process, at any time. */
enum setter { ITSELF, ROOT, OTHERS };

/* The order matters: a realtime class has no timer slack. */
static const struct row {
	const char *name;
	long (*ask)(const struct sandbox *sandbox); /* a value >= 0, or -errno */
	long usual;
	void (*clear)(void);                            /* NULL: stays, is reported */
	void (*say)(long value, char *to, size_t size); /* NULL: as a number */
	enum setter set_by;
} rows[] = {
	{ "address space layout by personality", ask_layout, 0, NULL, say_hexadecimal, ITSELF },
	{ "personality", ask_personality, PER_LINUX, clear_personality, say_hexadecimal, ITSELF },
	{ "memory merging (KSM)", ask_merging, 0, clear_merging, NULL, ITSELF },
	{ "armed interval timers", ask_timers, 0, clear_timers, NULL, ITSELF },
	{ "scheduling class", ask_class, SCHED_OTHER, clear_class, say_class, OTHERS },
	{ "timer slack in ns", ask_slack, SANDBOX_SLACK_NS, clear_slack, NULL, OTHERS },
	{ "parent-death signal", ask_death_signal, 0, clear_death_signal, NULL, ITSELF },
	{ "transparent huge pages disabled", ask_huge_pages, 0, clear_huge_pages, NULL, ITSELF },
	{ "memory failure policy", ask_memory_failure, PR_MCE_KILL_DEFAULT, clear_memory_failure,
	  NULL, ITSELF },
	{ "I/O flusher", ask_io_flusher, 0, clear_io_flusher, NULL, ROOT },
	{ "child subreaper", ask_subreaper, 0, clear_subreaper, NULL, ITSELF },
	{ "nice", ask_nice, NICE_OF_SYSCALL, NULL, say_nice, ITSELF },
	{ "I/O priority", ask_io_priority, 0, NULL, say_io_priority, ITSELF },
	{ "OOM score adjustment", ask_oom_score, -OOM_SCORE_LEAST, NULL, say_oom_score, ITSELF },
	{ "memory policy", ask_memory_policy, MPOL_DEFAULT, NULL, say_memory_policy, ITSELF },
	{ "speculation control", ask_speculation, 0, NULL, say_speculation, ITSELF },
	{ "core-scheduling cookie", ask_cookie, 0, NULL, NULL, ITSELF },
	{ "CPU time limit in s", ask_cpu_limit, LONG_MAX, NULL, NULL, ITSELF },
	{ "realtime limit in us", ask_realtime_limit, LONG_MAX, NULL, NULL, ITSELF },
};
static_assert(ARRAY_SIZE(rows) <= SANDBOX_INHERITED_MAX, "a place for each that is told");

const char *inherited_name(size_t i, bool *ret_cleared)
{
	if (i >= ARRAY_SIZE(rows))
		return NULL;
	*ret_cleared = rows[i].clear != NULL;
	return rows[i].name;
}

/* The value is that of a plain process, or the attribute cannot have been set: the kernel does not
 * know it, or only a privileged process may read and set it. */
static bool is_nothing(const struct row *row, long value)
{
	return value == row->usual || value == -EINVAL || value == -ENODEV || value == -ENOSYS ||
	       (value == -EPERM && row->set_by == ROOT);
}

void inherited_clear(struct sandbox *sandbox)
{
	int flags = personality(0xffffffff);

	sandbox->inherited_layout = flags > 0 ? (uint32_t)flags & LAYOUT_FLAGS : 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!rows[i].clear)
			continue;
		if (!is_nothing(&rows[i], rows[i].ask(sandbox)))
			rows[i].clear();
		else if (rows[i].set_by != OTHERS)
			sandbox->inherited_nothing |= 1u << i;
	}
}

int inherited_tell(struct sandbox *sandbox, struct problems *problems)
{
	(void)problems;
	sandbox->inherited_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		char text[SANDBOX_INHERITED_SIZE / 2];
		char *to = sandbox->inherited[sandbox->inherited_count];
		long value;

		if (sandbox->inherited_nothing & 1u << i)
			continue;
		value = row->ask(sandbox);
		if (is_nothing(row, value))
			continue;
		if (value < 0)
			snprintf(text, sizeof(text), "cannot be read: %s", errno_text((int)-value));
		else if (row->say)
			row->say(value, text, sizeof(text));
		else
			snprintf(text, sizeof(text), "%ld", value);
		snprintf(to, SANDBOX_INHERITED_SIZE, "%s: %s", row->name, text);
		sandbox->inherited_count++;
	}
	return 0;
}
