/* SPDX-License-Identifier: MIT */
/* How the host schedules the VM's threads. */
#include "machine/schedule.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/inherited.h"

#ifndef PR_SCHED_CORE /* Linux 5.14 */
#define PR_SCHED_CORE 62
#define PR_SCHED_CORE_CREATE 1
#endif
#define SCOPE_THREAD_GROUP 1 /* older headers lack it */

#define TURN_NS 100000 /* the shortest slice that the kernel accepts */

/* As of sched_setattr(2), first version: not every C library has it, and the kernel's header has a
 * struct of the library's. */
struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int schedule_take_fifo(uint32_t priority, struct problems *problems)
{
	const struct sched_param param = { .sched_priority = (int)priority };
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	int error;

	/* At the soft limit the kernel sends a signal that is blocked; at the hard one, SIGKILL
	 * (getrlimit(2)). */
	(void)getrlimit(RLIMIT_RTTIME, &limit);
	if (limit.rlim_max != RLIM_INFINITY)
		return problems_add(
			problems, ERROR_CODE_HOST_LIMIT, EPERM, "cpus.fifo_priority",
			"RLIMIT_RTTIME is %llu microseconds, after which the kernel would kill the VM: "
			"launch without that limit (prlimit --rttime=unlimited)",
			(unsigned long long)limit.rlim_max);
	if (sched_setscheduler(0, SCHED_FIFO, &param) == 0)
		return 0;
	error = errno;
	(void)getrlimit(RLIMIT_RTPRIO, &limit);
	return problems_add(problems, ERROR_CODE_HOST_LIMIT, error, "cpus.fifo_priority",
	                    "this process may not have SCHED_FIFO %u: it has no CAP_SYS_NICE, and "
	                    "RLIMIT_RTPRIO is %llu; or its cgroup has no realtime budget: %s",
	                    priority, (unsigned long long)limit.rlim_cur, errno_text(error));
}

int schedule_leave_fifo(struct problems *problems)
{
	const struct sched_param none = { .sched_priority = 0 };

	if (sched_setscheduler(0, SCHED_OTHER, &none) == 0) {
		/* Set the slack that every other launch runs with: a thread that leaves a realtime
		 * class gets the slack that its process started with, which is the launcher's (seen
		 * with Linux 6.18). */
		(void)prctl(PR_SET_TIMERSLACK, SANDBOX_SLACK_NS, 0, 0, 0);
		return 0;
	}
	return problems_add(problems, ERROR_CODE_OS_FAILED, errno, "cpus.fifo_priority",
	                    "cannot go back to the ordinary scheduler: %s", errno_text(errno));
}

void schedule_short_turns(void)
{
	struct scheduling mine = { 0 };

	if (syscall(SYS_sched_getattr, 0, &mine, sizeof(mine), 0) < 0 ||
	    (mine.policy != SCHED_OTHER && mine.policy != SCHED_BATCH))
		return;
	mine.size = sizeof(mine);
	mine.runtime = TURN_NS;
	(void)syscall(SYS_sched_setattr, 0, &mine, 0);
}

int schedule_own_cores(struct problems *problems)
{
	const char *reason;
	int error;

	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, SCOPE_THREAD_GROUP, 0) == 0)
		return 0;
	error = errno;
	reason = error == ENODEV ? "this host has no SMT, or it is switched off: there is nothing "
	                           "to keep apart"
	         : error == EINVAL
	                 ? "this kernel has no core scheduling (CONFIG_SCHED_CORE, Linux 5.14)"
	                 : errno_text(error);
	return problems_add(problems, ERROR_CODE_HOST_LIMIT, error, "cpus.core_scheduling", "%s",
	                    reason);
}

int schedule_bind(const struct cpu_bitmap *cpus, struct problems *problems)
{
	char list[128];

	if (sched_setaffinity(0, sizeof(cpus->words),
	                      (const cpu_set_t *)(const void *)cpus->words) == 0)
		return 0;
	return problems_add(problems, ERROR_CODE_HOST_LIMIT, errno, "cpus",
	                    "cannot be bound to host CPUs %s: %s",
	                    cpu_bitmap_format(cpus, list, sizeof(list)), errno_text(errno));
}

int schedule_check_affinity(const struct cpu_bitmap *cpus, struct problems *problems)
{
	struct cpu_bitmap found = { 0 };
	char wanted[128], has[128], name[16] = "";

	if (sched_getaffinity(0, sizeof(found.words), (cpu_set_t *)(void *)found.words) < 0)
		return problems_add(problems, ERROR_CODE_OS_FAILED, errno, "cpus",
		                    "the kernel does not tell which CPUs a thread is bound to: %s",
		                    errno_text(errno));
	if (memcmp(&found, cpus, sizeof(found)) == 0)
		return 0;
	(void)prctl(PR_GET_NAME, name);
	return problems_add(
		problems, ERROR_CODE_PLACEMENT_FAILED, ESRCH, "cpus",
		"thread %s is bound to CPUs %s and not to %s: somebody has moved it; launch again",
		name, cpu_bitmap_format(&found, has, sizeof(has)),
		cpu_bitmap_format(cpus, wanted, sizeof(wanted)));
}
