/* SPDX-License-Identifier: MIT */
/* A metrics report in the making: bounded, and always small enough for an event. */
#include "shim/metrics.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "interface/event.h"

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

/* Its name is there. */
static void append_counter(struct shim_metrics *metrics, struct metrics_counter *counter,
                           uint64_t value)
{
	axvm__v1__counter__init(&counter->message);
	counter->message.name = counter->name;
	EVENT_SET(&counter->message, value, value);
	metrics->counter_list[metrics->report.n_counters++] = &counter->message;
}

/* The last place is for the count of what was omitted. */
void metrics_add(struct shim_metrics *metrics, uint64_t value, const char *format, ...)
{
	struct metrics_counter *counter = &metrics->counters[metrics->report.n_counters];
	va_list args;
	int length;

	if (!has_room(metrics, 0, metrics->report.n_counters < METRICS_COUNTERS_MAX - 1))
		return;
	va_start(args, format);
	length = vsnprintf(counter->name, sizeof(counter->name), format, args);
	va_end(args);
	if (has_room(metrics, COUNTER_BYTES + (size_t)length, true))
		append_counter(metrics, counter, value);
}

void metrics_add_latency(struct shim_metrics *metrics, const struct virtio_latency_stats *latency,
                         const char *format, ...)
{
	struct metrics_histogram *histogram = &metrics->histograms[metrics->report.n_histograms];
	Axvm__V1__Histogram *message = &histogram->message;
	va_list args;
	int length;

	if (!has_room(metrics, 0, metrics->report.n_histograms < METRICS_HISTOGRAMS_MAX))
		return;
	va_start(args, format);
	length = vsnprintf(histogram->name, sizeof(histogram->name), format, args);
	va_end(args);
	if (!has_room(metrics, HISTOGRAM_BYTES + (size_t)length, true))
		return;
	axvm__v1__histogram__init(message);
	message->name = histogram->name;
	message->bounds = metrics->latency_bounds;
	message->n_bounds = LATENCY_BOUNDS;
	message->counts = histogram->counts;
	message->n_counts = LATENCY_BOUNDS + 1;
	memcpy(histogram->counts, latency->counts, sizeof(latency->counts));
	EVENT_SET(message, sum, latency->sum_ns);
	metrics->histogram_list[metrics->report.n_histograms++] = message;
}

void metrics_begin(struct shim_metrics *metrics)
{
	axvm__v1__metrics_report__init(&metrics->report);
	metrics->report.counters = metrics->counter_list;
	metrics->report.histograms = metrics->histogram_list;
	metrics->bytes = COUNTER_BYTES + sizeof("metrics.omitted");
	metrics->omitted = 0;
	for (unsigned i = 0; i < LATENCY_BOUNDS; i++)
		metrics->latency_bounds[i] = 1ULL << (LATENCY_FIRST_BIT + i);
}

Axvm__V1__MetricsReport *metrics_end(struct shim_metrics *metrics)
{
	struct metrics_counter *last = &metrics->counters[metrics->report.n_counters];

	if (metrics->omitted > 0) {
		snprintf(last->name, sizeof(last->name), "metrics.omitted");
		append_counter(metrics, last, metrics->omitted);
	}
	return &metrics->report;
}
