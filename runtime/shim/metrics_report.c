/* SPDX-License-Identifier: MIT */
/* A metrics report in the making: bounded, and always small enough for an event. */
#include "shim/metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Of a counter beside its name: tags, lengths, the value. */
#define COUNTER_BYTES 18
#define HISTOGRAM_BYTES (20 + LATENCY_BOUNDS * (1 + 5) + (LATENCY_BOUNDS + 1) * (1 + 10))

static bool has_room(struct shim_metrics *metrics, size_t bytes, bool place)
{
	if (!place || metrics->bytes + bytes > EVENT_REPORT_BYTES_MAX) {
		metrics->omitted++;
		return false;
	}
	metrics->bytes += bytes;
	return true;
}

/* The last place is for the count of what was omitted. */
void metrics_add(struct shim_metrics *metrics, uint64_t value, const char *format, ...)
{
	struct event_counter *counter = &metrics->counters[metrics->counters_count];
	va_list args;
	int length;

	if (!has_room(metrics, 0, metrics->counters_count < EVENT_COUNTERS_MAX - 1))
		return;
	va_start(args, format);
	length = vsnprintf(counter->name, sizeof(counter->name), format, args);
	va_end(args);
	if (!has_room(metrics, COUNTER_BYTES + (size_t)length, true))
		return;
	counter->value = value;
	metrics->counters_count++;
}

void metrics_add_latency(struct shim_metrics *metrics, const struct virtio_latency_stats *latency,
                         const char *format, ...)
{
	struct event_histogram *histogram = &metrics->histograms[metrics->histograms_count];
	va_list args;
	int length;

	if (!has_room(metrics, 0, metrics->histograms_count < EVENT_HISTOGRAMS_MAX))
		return;
	va_start(args, format);
	length = vsnprintf(histogram->name, sizeof(histogram->name), format, args);
	va_end(args);
	if (!has_room(metrics, HISTOGRAM_BYTES + (size_t)length, true))
		return;
	metrics->histograms_count++;
	histogram->bounds = metrics->latency_bounds;
	histogram->bounds_count = LATENCY_BOUNDS;
	memcpy(histogram->counts, latency->counts, sizeof(latency->counts));
	histogram->sum = latency->sum_ns;
}

void metrics_begin(struct shim_metrics *metrics)
{
	metrics->counters_count = 0;
	metrics->histograms_count = 0;
	metrics->bytes = COUNTER_BYTES + sizeof("metrics.omitted");
	metrics->omitted = 0;
	for (unsigned i = 0; i < LATENCY_BOUNDS; i++)
		metrics->latency_bounds[i] = 1ULL << (LATENCY_FIRST_BIT + i);
}

struct event_report metrics_end(struct shim_metrics *metrics)
{
	if (metrics->omitted > 0) {
		struct event_counter *last = &metrics->counters[metrics->counters_count++];

		*last = (struct event_counter){ "metrics.omitted", metrics->omitted };
	}
	return (struct event_report){
		.counters = metrics->counters,
		.counters_count = metrics->counters_count,
		.histograms = metrics->histograms,
		.histograms_count = metrics->histograms_count,
	};
}
