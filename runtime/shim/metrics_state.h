/* SPDX-License-Identifier: MIT */
/* A report of the VM's counters, as it is put together. */
#ifndef AXVM_SHIM_METRICS_STATE_H
#define AXVM_SHIM_METRICS_STATE_H

#include "interface/event.h"
#include "virtio/stats.h"

struct shim_metrics {
	struct event_counter counters[EVENT_COUNTERS_MAX];
	struct event_histogram histograms[EVENT_HISTOGRAMS_MAX];
	size_t counters_count, histograms_count;
	size_t bytes;    /* what they take encoded, at most */
	size_t omitted;  /* that had no place; the last counter says so */
	uint64_t latency_bounds[LATENCY_BOUNDS];
	uint64_t next_ns; /* when the interval is over; 0: not begun */
	bool reply_due;   /* to a command, when there is room for a whole report */
	uint64_t request_id;
};

#endif
