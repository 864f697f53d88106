/* SPDX-License-Identifier: MIT */
/* When and where each thread came into being. */
#include "interface/thread_record.h"

#include <sched.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/clock.h"

void thread_record_start(struct thread_record *record, const char *name)
{
	snprintf(record->name, sizeof(record->name), "%s", name);
	prctl(PR_SET_NAME, record->name, 0, 0, 0);
	record->started_ns = monotonic_ns();
}

void thread_record_staffed(struct thread_record *record)
{
	unsigned cpu = 0, node = 0;

	(void)getcpu(&cpu, &node);
	record->host_cpu = cpu;
	record->host_node = node;
	record->staffed_ns = monotonic_ns();
}

void thread_record_sealing(struct thread_record *record)
{
	record->sealing_ns = monotonic_ns();
}
