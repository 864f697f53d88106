/* SPDX-License-Identifier: MIT */
/* A report has a bound, says what it left out, and always has room in an event. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>

#include "interface/event.h"
#include "shim/metrics.h"

static struct shim_metrics metrics;
static struct event_writer writer;

static void put(Axvm__V1__MetricsReport *report)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	cr_assert_eq(event_writer_init(&writer, fd), 0);
	cr_assert_eq(event_writer_put(&writer, EVENT(METRICS, metrics, report)), 0);
	event_writer_done(&writer);
	close(fd);
}

static const Axvm__V1__Counter *last_of(const Axvm__V1__MetricsReport *report)
{
	return report->counters[report->n_counters - 1];
}

Test(metrics, a_report_says_what_it_holds)
{
	Axvm__V1__MetricsReport *report;

	metrics_begin(&metrics);
	metrics_add(&metrics, 7, "vcpu.%u.exits", 3u);
	report = metrics_end(&metrics);
	cr_assert_eq(report->n_counters, 1);
	cr_assert_str_eq(report->counters[0]->name, "vcpu.3.exits");
	cr_assert_eq(report->counters[0]->value, 7);
	put(report);
}

Test(metrics, more_counters_than_there_are_places)
{
	Axvm__V1__MetricsReport *report;

	metrics_begin(&metrics);
	for (unsigned i = 0; i < METRICS_COUNTERS_MAX + 100; i++)
		metrics_add(&metrics, UINT64_MAX, "c.%u", i);
	report = metrics_end(&metrics);
	cr_assert_eq(report->n_counters, METRICS_COUNTERS_MAX);
	cr_assert_str_eq(last_of(report)->name, "metrics.omitted");
	cr_assert_eq(last_of(report)->value, 101);
	put(report);
	/* The next one begins anew. */
	metrics_begin(&metrics);
	cr_assert_eq(metrics_end(&metrics)->n_counters, 0);
}

Test(metrics, more_bytes_than_an_event_has)
{
	char name[METRICS_NAME_MAX];
	Axvm__V1__MetricsReport *report;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	metrics_begin(&metrics);
	for (unsigned i = 0; i < METRICS_COUNTERS_MAX; i++)
		metrics_add(&metrics, UINT64_MAX, "%s", name);
	report = metrics_end(&metrics);
	cr_assert_lt(report->n_counters, METRICS_COUNTERS_MAX);
	cr_assert_str_eq(last_of(report)->name, "metrics.omitted");
	cr_assert_eq(last_of(report)->value, METRICS_COUNTERS_MAX - (report->n_counters - 1));
	put(report);
}
