/* SPDX-License-Identifier: MIT */
/* How the host schedules the VM's threads: their slices, SCHED_FIFO for vCPUs, a core-scheduling
 * cookie for all. */
#ifndef AXVM_MACHINE_SCHEDULE_H
#define AXVM_MACHINE_SCHEDULE_H

#include "base/problem.h"
#include "host/cpulist.h"

/* Puts the calling thread under SCHED_FIFO `priority` (1 to 99), and with it the threads that it
 * starts: they inherit the policy, and need no right of their own to it, which is gone when they
 * start. A ERROR_CODE_HOST_LIMIT about cpus.fifo_priority and -errno when RLIMIT_RTTIME is finite,
 * or neither RLIMIT_RTPRIO nor CAP_SYS_NICE lets it. sched(7). */
int schedule_take_fifo(uint32_t priority, struct problems *problems);

/* Back to the ordinary scheduler, and to its timer slack of 50 us: the calling thread, not those
 * that it has started. */
int schedule_leave_fifo(struct problems *problems);

/* Asks for short turns of the calling thread and those that it starts, where others share its CPUs:
 * whoever wakes then waits for a tenth of a millisecond and not for the end of a turn. As much CPU
 * time in all. The policy and the nice value stay. A kernel that does not know of it (before Linux
 * 6.12) or does not want to goes on as before. sched_setattr(2), sched_runtime of SCHED_OTHER. */
void schedule_short_turns(void);

/* Gives this process a core-scheduling cookie of its own, which threads started later inherit: no
 * thread of another cookie runs on a sibling of theirs at the same time. A ERROR_CODE_HOST_LIMIT
 * about cpus.core_scheduling and -errno where there is no SMT, or the kernel cannot do it. Linux
 * Documentation/admin-guide/hw-vuln/core-scheduling.rst. */
int schedule_own_cores(struct problems *problems);

/* Binds the calling thread to these CPUs, and what it starts later. A ERROR_CODE_HOST_LIMIT and
 * -errno where that is not allowed. sched_setaffinity(2). */
int schedule_bind(const struct cpu_bitmap *cpus, struct problems *problems);

/* Whether the calling thread is bound to just these CPUs, as the kernel has it. A
 * ERROR_CODE_PLACEMENT_FAILED and -errno when it is not. sched_getaffinity(2). */
int schedule_check_affinity(const struct cpu_bitmap *cpus, struct problems *problems);

#endif
