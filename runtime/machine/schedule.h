/* SPDX-License-Identifier: MIT */
/* How the host schedules the VM's threads: their slices, SCHED_FIFO for vCPUs, a core-scheduling
 * cookie for all. */
#ifndef AXVM_MACHINE_SCHEDULE_H
#define AXVM_MACHINE_SCHEDULE_H

#include "base/problem.h"
#include "host/cpulist.h"

/* Puts the calling thread under SCHED_FIFO `priority` (1 to 99). Threads that it starts inherit the
 * policy, so they need no privilege of their own, which the sandbox has dropped by then. An
 * ERROR_CODE_HOST_LIMIT about cpus.fifo_priority and -errno if RLIMIT_RTTIME is finite, or if
 * neither RLIMIT_RTPRIO nor CAP_SYS_NICE allows it. sched(7). */
int schedule_take_fifo(uint32_t priority, struct problems *problems);

/* Puts the calling thread back under the ordinary scheduler, with its timer slack of 50 us. Threads
 * that it has started stay as they are. */
int schedule_leave_fifo(struct problems *problems);

/* Asks the scheduler for short turns (slices) for the calling thread and those that it starts,
 * where others share its CPUs: a thread that wakes then waits a tenth of a millisecond and not a
 * whole slice. The share of CPU time, the policy and the nice value stay. A kernel that cannot
 * (before Linux 6.12) or refuses goes on as before. sched_setattr(2), sched_runtime of
 * SCHED_OTHER. */
void schedule_short_turns(void);

/* Gives this process a core-scheduling cookie of its own, which threads started later inherit: no
 * thread with another cookie runs on the sibling of such a thread at the same time. An
 * ERROR_CODE_HOST_LIMIT about cpus.core_scheduling and -errno if the host has no SMT or the kernel
 * cannot do it. Linux Documentation/admin-guide/hw-vuln/core-scheduling.rst. */
int schedule_own_cores(struct problems *problems);

/* Binds the calling thread, and threads that it starts later, to these CPUs. An
 * ERROR_CODE_HOST_LIMIT and -errno if that is not allowed. sched_setaffinity(2). */
int schedule_bind(const struct cpu_bitmap *cpus, struct problems *problems);

/* Checks that the kernel has bound the calling thread to exactly these CPUs. An
 * ERROR_CODE_PLACEMENT_FAILED and -errno if not. sched_getaffinity(2). */
int schedule_check_affinity(const struct cpu_bitmap *cpus, struct problems *problems);

#endif
