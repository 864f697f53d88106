/* SPDX-License-Identifier: MIT */
/* A report of the VM's counters, as it is put together. */
#ifndef AXVM_SHIM_METRICS_STATE_H
#define AXVM_SHIM_METRICS_STATE_H

#include "base/base.h"
#include "proto/axvm.pb-c.h"
#include "virtio/stats.h"

#define METRICS_COUNTERS_MAX 1024
#define METRICS_HISTOGRAMS_MAX 40
#define METRICS_NAME_MAX 112

/* The messages of a report, each with what it points to beside it. */
struct metrics_counter {
	Axvm__V1__Counter message;
	char name[METRICS_NAME_MAX]; /* "disk.root.reads" */
};

struct metrics_histogram {
	Axvm__V1__Histogram message;
	char name[METRICS_NAME_MAX]; /* "disk.root.latency_ns" */
	uint64_t counts[LATENCY_BOUNDS + 1];
};

struct shim_metrics {
	Axvm__V1__MetricsReport report;
	Axvm__V1__Counter *counter_list[METRICS_COUNTERS_MAX];
	Axvm__V1__Histogram *histogram_list[METRICS_HISTOGRAMS_MAX];
	struct metrics_counter counters[METRICS_COUNTERS_MAX];
	struct metrics_histogram histograms[METRICS_HISTOGRAMS_MAX];
	size_t bytes;   /* what they take encoded, at most */
	size_t omitted; /* that had no place; the last counter says so */
	uint64_t latency_bounds[LATENCY_BOUNDS];
	uint64_t next_ns; /* when the interval is over; 0: not begun */
	bool reply_due;   /* to a command, when there is room for a whole report */
	uint64_t request_id;
};

#endif
