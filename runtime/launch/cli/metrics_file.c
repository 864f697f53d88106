/* SPDX-License-Identifier: MIT */
/* A metrics report in Prometheus' text exposition format 0.0.4: the samples of a metric stand
 * together, after a line with the metric's type. */
#include "launch/cli/metrics_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/base.h"

#define NAME_MAX_ 128
#define LABELS_MAX 256
#define DRAFTS_MAX 16 /* names to try, since a killed run may have left a file */

struct sample {
	char metric[NAME_MAX_];
	char labels[LABELS_MAX];
	size_t index; /* in the report, for a stable order */
	uint64_t value;
	const Axvm__V1__Histogram *histogram; /* NULL: a counter */
};

/* Whether a part of a name is followed by the name of one of several items. */
static bool has_items(const char *part, size_t n)
{
	static const char *const parts[] = { "disk", "net", "stage" };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strlen(parts[i]) == n && strncmp(parts[i], part, n) == 0)
			return true;
	return false;
}

static bool is_number(const char *part, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)part[i]))
			return false;
	return n > 0;
}

/* Appends the characters that a metric's name may have; others become underscores. */
static void append_name(char *to, size_t size, const char *part, size_t n)
{
	size_t at = strlen(to);

	for (size_t i = 0; i < n && at + 1 < size; i++)
		to[at++] = isalnum((unsigned char)part[i]) ? part[i] : '_';
	to[at] = '\0';
}

static void name_sample(struct sample *sample, const char *vm_id, const char *name)
{
	const char *before = "item";
	size_t before_length = 4;

	snprintf(sample->metric, sizeof(sample->metric), "axvm");
	snprintf(sample->labels, sizeof(sample->labels), "vm=\"%s\"", vm_id);
	for (const char *part = name; *part;) {
		size_t n = strcspn(part, ".");
		size_t used = strlen(sample->labels);

		if (is_number(part, n) || (part != name && has_items(before, before_length))) {
			snprintf(sample->labels + used, sizeof(sample->labels) - used,
			         ",%.*s=\"%.*s\"", (int)before_length, before, (int)n, part);
			before_length = 0;
		} else {
			append_name(sample->metric, sizeof(sample->metric), "_", 1);
			append_name(sample->metric, sizeof(sample->metric), part, n);
			before = part;
			before_length = n;
		}
		part += n + (part[n] == '.');
	}
}

static int compare(const void *a, const void *b)
{
	const struct sample *one = a, *other = b;
	int r = strcmp(one->metric, other->metric);

	return r ? r : (one->index > other->index) - (one->index < other->index);
}

static void print_histogram(FILE *out, const struct sample *sample)
{
	const Axvm__V1__Histogram *histogram = sample->histogram;
	uint64_t sum = 0;

	for (size_t i = 0; i < histogram->n_counts; i++) {
		sum += histogram->counts[i];
		fprintf(out, "%s_bucket{%s,le=\"", sample->metric, sample->labels);
		if (i < histogram->n_bounds)
			fprintf(out, "%" PRIu64, histogram->bounds[i]);
		else
			fputs("+Inf", out);
		fprintf(out, "\"} %" PRIu64 "\n", sum);
	}
	fprintf(out, "%s_sum{%s} %" PRIu64 "\n", sample->metric, sample->labels, histogram->sum);
	fprintf(out, "%s_count{%s} %" PRIu64 "\n", sample->metric, sample->labels, sum);
}

int metrics_print(FILE *out, const char *vm_id, const Axvm__V1__MetricsReport *report)
{
	size_t count = report->n_counters + report->n_histograms;
	_cleanup_free_ struct sample *samples = calloc(count + 1, sizeof(*samples));

	if (!samples)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		bool histogram = i >= report->n_counters;
		const Axvm__V1__Histogram *one =
			histogram ? report->histograms[i - report->n_counters] : NULL;
		const char *name = histogram ? one->name : report->counters[i]->name;

		name_sample(&samples[i], vm_id, name ? name : "unnamed");
		samples[i].index = i;
		samples[i].histogram = one;
		samples[i].value = histogram ? 0 : report->counters[i]->value;
	}
	qsort(samples, count, sizeof(*samples), compare);
	for (size_t i = 0; i < count; i++) {
		const struct sample *sample = &samples[i];

		if (i == 0 || strcmp(sample->metric, samples[i - 1].metric) != 0)
			fprintf(out, "# TYPE %s %s\n", sample->metric,
			        sample->histogram ? "histogram" : "untyped");
		if (sample->histogram)
			print_histogram(out, sample);
		else
			fprintf(out, "%s{%s} %" PRIu64 "\n", sample->metric, sample->labels,
			        sample->value);
	}
	return 0;
}

/* Opens a new file beside the target, so that the rename stays within one file system. An existing
 * file of that name, above all a link that somebody has planted, is neither followed nor written
 * to. */
static int open_draft(const char *path, char draft[PATH_MAX], FILE **ret)
{
	int fd = -1, r = -EEXIST;

	for (unsigned i = 0; r == -EEXIST && i < DRAFTS_MAX; i++) {
		if (snprintf(draft, PATH_MAX, "%s.%d.%u.tmp", path, (int)getpid(), i) >= PATH_MAX)
			return -ENAMETOOLONG;
		fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
		r = fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return r;
	*ret = fdopen(fd, "w");
	if (*ret)
		return 0;
	r = -errno;
	(void)unlink(draft);
	close_ptr(&fd);
	return r;
}

int metrics_file_check(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(st.st_mode) ? 0 : -EEXIST;
}

const char *metrics_file_error(int error)
{
	return error == EEXIST
	               ? "something is there that is no regular file, and is left alone; name "
	                 "another path, or remove it"
	       : error == EBUSY ? "somebody else writes this file too; give each VM one of its own"
	                        : errno_text(error);
}

int metrics_file_write(const char *path, const char *vm_id, const Axvm__V1__MetricsReport *report)
{
	char draft[PATH_MAX];
	FILE *out;
	int r = open_draft(path, draft, &out);

	if (r < 0)
		return r;
	r = metrics_print(out, vm_id, report);
	if (fclose(out) != 0 && r == 0)
		r = -errno;
	r = r ? r : metrics_file_check(path);
	if (r == 0 && rename(draft, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(draft);
	return r;
}

int metrics_file_write_again(struct metrics_file *file, const char *path, const char *vm_id,
                             const Axvm__V1__MetricsReport *report)
{
	struct stat st;
	bool replaced = file->ino != 0 && lstat(path, &st) == 0 &&
	                (st.st_ino != file->ino || st.st_dev != file->dev);
	int r = metrics_file_write(path, vm_id, report);

	if (r < 0)
		return r;
	if (lstat(path, &st) == 0)
		*file = (struct metrics_file){ st.st_dev, st.st_ino };
	return replaced ? -EBUSY : 0;
}
