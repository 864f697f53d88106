/* SPDX-License-Identifier: MIT */
/* Counters of the whole VM, gathered when they are asked for.
 *
 * Every counter is kept by the thread whose work it counts and read here without a lock: taking
 * them costs the vCPUs nothing. */
#ifndef AXVM_SHIM_METRICS_H
#define AXVM_SHIM_METRICS_H

#include "shim/metrics_state.h"

struct shim;

/* Begins a report; then come the counters, then the end. Counters that do not fit into an event are
 * left out and counted in the last one, "metrics.omitted". The result lives in `metrics`. */
void metrics_begin(struct shim_metrics *metrics);
void metrics_add(struct shim_metrics *metrics, uint64_t value, const char *format, ...)
	_printf_(3, 4);
void metrics_add_latency(struct shim_metrics *metrics, const struct virtio_latency_stats *latency,
                         const char *format, ...) _printf_(3, 4);
Axvm__V1__MetricsReport *metrics_end(struct shim_metrics *metrics);

/* Puts the reply to a metrics command. -ENOBUFS: there is no room for it yet. Control thread;
 * allocates nothing. */
int metrics_reply(struct shim *shim, uint64_t request_id);

/* Puts the last metrics event, with the VM's totals, if the spec has an interval. Control thread,
 * when vCPUs and devices are at rest. */
void metrics_last(struct shim *shim);

/* Puts a metrics event, when shim->spec.metrics_interval_ms has passed since the last. Returns the
 * next deadline (CLOCK_MONOTONIC ns), or 0 when there is no interval. */
uint64_t metrics_tick(struct shim *shim);

#endif
