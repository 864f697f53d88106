/* SPDX-License-Identifier: MIT */
/* `axvm timeline`: the stages and threads of a launch as a picture.
 *
 * A stage_completed event comes at the end of its stage and says how long it took, so its bar is
 * [monotonic_ns - duration_ns, monotonic_ns]. A thread's bar is from its start until it is ready (a
 * vCPU's thread creates its vCPU in that time), with a mark where it takes its filter; a label
 * names the node, or the CPU if it is bound to one. Other events are marks on the same axis. RUN
 * and ACCOUNT are left out: they are the guest's time, and would leave no room for the launch. The
 * SVG uses nothing from outside itself. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "launch/cli/event_text.h"
#include "launch/cli/messages.h"
#include "launch/cli/verb.h"

#define ROWS_MAX 320
#define LABEL_MAX 96
#define WIDTH 960
#define LEFT 150
#define RIGHT 190
#define ROW_HEIGHT 22
#define TOP 64
#define GRID_LINES 10

struct row {
	char label[LABEL_MAX];
	char detail[LABEL_MAX];
	uint64_t start_ns, end_ns;
	uint64_t mark_ns; /* 0: none */
	enum { ROW_STAGE, ROW_THREAD, ROW_EVENT } kind;
};

struct timeline {
	const char *output;
	char vm_id[65];
	struct row rows[ROWS_MAX];
	size_t count, left_out;
	uint64_t first_ns, last_ns;
	bool launched;
};

static int set_output(void *context, const char *value)
{
	((struct timeline *)context)->output = value;
	return 0;
}

static const struct flag rows_[] = { { "output", FLAG_FILE, set_output } };
const struct flags timeline_flags = { "timeline", rows_, ARRAY_SIZE(rows_) };

static struct row *add_row(struct timeline *timeline, uint64_t start_ns, uint64_t end_ns)
{
	struct row *row;

	if (timeline->count == ROWS_MAX) {
		timeline->left_out++;
		return NULL;
	}
	row = &timeline->rows[timeline->count++];
	*row = (struct row){ .start_ns = start_ns, .end_ns = end_ns };
	if (timeline->count == 1 || start_ns < timeline->first_ns)
		timeline->first_ns = start_ns;
	timeline->last_ns = MAX(timeline->last_ns, end_ns);
	return row;
}

static void add_stage(struct timeline *timeline, const Axvm__V1__Event *event)
{
	const Axvm__V1__StageCompleted *stage = event->stage_completed;
	uint64_t took = MIN(stage->duration_ns, event->monotonic_ns);
	struct row *row;

	if (stage->stage >= AXVM__V1__STAGE__STAGE_RUN)
		return;
	row = add_row(timeline, event->monotonic_ns - took, event->monotonic_ns);
	if (!row)
		return;
	snprintf(row->label, sizeof(row->label), "%s", event_stage_name((int)stage->stage));
	format_ns(took, row->detail, sizeof(row->detail));
}

static void add_threads(struct timeline *timeline, const Axvm__V1__Running *running)
{
	for (size_t i = 0; i < running->n_threads; i++) {
		const Axvm__V1__ThreadRecord *thread = running->threads[i];
		uint64_t ready_ns = MAX(thread->staffed_ns, thread->started_ns);
		struct row *row;

		if (thread->started_ns == 0)
			continue;
		row = add_row(timeline, thread->started_ns, ready_ns);
		if (!row)
			continue;
		row->kind = ROW_THREAD;
		row->mark_ns = MAX(thread->sealing_ns, ready_ns);
		timeline->last_ns = MAX(timeline->last_ns, row->mark_ns);
		snprintf(row->label, sizeof(row->label), "%s", thread->name ? thread->name : "?");
		if (thread->has_host_cpu)
			snprintf(row->detail, sizeof(row->detail), "CPU %u, node %u",
			         thread->host_cpu, thread->host_node);
		else if (thread->has_host_node)
			snprintf(row->detail, sizeof(row->detail), "not pinned, node %u",
			         thread->host_node);
		else
			snprintf(row->detail, sizeof(row->detail), "not pinned");
	}
}

static void take(struct timeline *timeline, const Axvm__V1__Event *event)
{
	const char *kind = event_kind(event);
	struct row *row;

	if (event->vm_id && !timeline->vm_id[0])
		snprintf(timeline->vm_id, sizeof(timeline->vm_id), "%s", event->vm_id);
	if (event->body_case == AXVM__V1__EVENT__BODY_STAGE_COMPLETED) {
		add_stage(timeline, event);
		return;
	}
	/* Events after the guest has started are no part of the launch. */
	if (timeline->launched || !kind || event->body_case == AXVM__V1__EVENT__BODY_TERMINAL)
		return;
	row = add_row(timeline, event->monotonic_ns, event->monotonic_ns);
	if (row) {
		row->kind = ROW_EVENT;
		row->mark_ns = event->monotonic_ns;
		snprintf(row->label, sizeof(row->label), "%s", kind);
	}
	if (event->body_case == AXVM__V1__EVENT__BODY_RUNNING) {
		timeline->launched = true;
		add_threads(timeline, event->running);
	}
}

static void text(FILE *out, const char *string)
{
	for (; *string; string++)
		switch (*string) {
		case '<':
			fputs("&lt;", out);
			break;
		case '&':
			fputs("&amp;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		default:
			fputc((unsigned char)*string < 0x20 ? ' ' : *string, out);
		}
}

static double x_of(const struct timeline *timeline, uint64_t ns)
{
	uint64_t span = MAX(timeline->last_ns - timeline->first_ns, (uint64_t)1);

	return LEFT + (double)(ns - timeline->first_ns) * (WIDTH - LEFT - RIGHT) / (double)span;
}

static void draw_grid(FILE *out, const struct timeline *timeline, int height)
{
	uint64_t span = timeline->last_ns - timeline->first_ns;

	for (unsigned i = 0; i <= GRID_LINES; i += 2) {
		uint64_t at = timeline->first_ns + span * i / GRID_LINES;
		char when[32];

		fprintf(out,
		        "<line class=\"g\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n"
		        "<text class=\"t\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
		        x_of(timeline, at), TOP - 6, x_of(timeline, at), height - 34,
		        x_of(timeline, at), TOP - 12,
		        format_ns(at - timeline->first_ns, when, sizeof(when)));
	}
}

static void draw_row(FILE *out, const struct timeline *timeline, size_t i)
{
	const struct row *row = &timeline->rows[i];
	double from = x_of(timeline, row->start_ns), to = x_of(timeline, row->end_ns);
	double mark = x_of(timeline, MAX(row->mark_ns, row->end_ns));
	int y = TOP + (int)i * ROW_HEIGHT;

	fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT - 10, y + 14);
	text(out, row->label);
	fputs("</text>\n", out);
	if (row->kind != ROW_EVENT)
		fprintf(out,
		        "<rect class=\"%c\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"14\" "
		        "rx=\"2\"/>\n",
		        row->kind == ROW_STAGE ? 'b' : 'p', from, y + 3, MAX(to - from, 1.0));
	if (row->mark_ns)
		fprintf(out, "<path class=\"m\" d=\"M%.1f %d l5 6 l-5 6 l-5 -6 z\"/>\n", mark,
		        y + 4);
	fprintf(out, "<text class=\"t\" x=\"%.1f\" y=\"%d\">%s</text>\n",
	        mark + (row->mark_ns ? 9 : 6), y + 14, row->detail);
}

static void draw(FILE *out, const struct timeline *timeline)
{
	int height = TOP + (int)timeline->count * ROW_HEIGHT + 44;
	char total[32];

	fprintf(out,
	        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
	        "height=\"%d\">\n"
	        "<style>text{font:13px sans-serif;fill:#222}.t{font-size:11px;fill:#666}"
	        ".h{font-size:16px;font-weight:bold}.g{stroke:#ddd}.b{fill:#3b76b0}.p{fill:#5b9a68}"
	        ".m{fill:#c2571a}</style>\n"
	        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
	        "<text class=\"h\" x=\"16\" y=\"26\">Launch of ",
	        WIDTH, height, WIDTH, height);
	text(out, timeline->vm_id[0] ? timeline->vm_id : "a VM");
	fprintf(out, ": %s</text>\n",
	        format_ns(timeline->last_ns - timeline->first_ns, total, sizeof(total)));
	draw_grid(out, timeline, height);
	for (size_t i = 0; i < timeline->count; i++)
		draw_row(out, timeline, i);
	fprintf(out,
	        "<text class=\"t\" x=\"16\" y=\"%d\">blue: stages, on the control thread; green: threads "
	        "until they are ready; marks: a thread takes its filter, or an event</text>\n</svg>\n",
	        height - 14);
}

static int read_events(struct timeline *timeline, int fd)
{
	_cleanup_(axvm_decoder_freep) struct axvm_decoder *decoder = axvm_decoder_new();
	_cleanup_(held_event_release) struct held_event held = { 0 };
	const Axvm__V1__Event *event;
	uint8_t bytes[16384];
	ssize_t n;
	int r;

	if (!decoder)
		return -ENOMEM;
	while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		r = axvm_decoder_feed(decoder, bytes, n > 0 ? (size_t)n : 0);
		while (r == 0 && (r = decoder_next_event(decoder, &held, &event)) > 0) {
			take(timeline, event);
			r = 0;
		}
		if (r < 0 && r != -EAGAIN)
			return r;
	}
	return timeline->count > 0 ? 0 : -EBADMSG;
}

/* Whether the picture would overwrite the events that it is made from. */
static bool is_input(const char *path, int fd)
{
	struct stat output, input;

	return path && stat(path, &output) == 0 && S_ISREG(output.st_mode) &&
	       fstat(fd, &input) == 0 && output.st_dev == input.st_dev &&
	       output.st_ino == input.st_ino;
}

static int write_picture(const struct timeline *timeline, int input_fd, FILE *out)
{
	FILE *file;
	int r;

	if (is_input(timeline->output, input_fd)) {
		fprintf(stderr,
		        "axvm timeline: --output %s: it is the event stream itself; name "
		        "another file\n",
		        timeline->output);
		return EX_CANTCREAT;
	}
	file = timeline->output ? fopen(timeline->output, "we") : out;
	if (!file) {
		fprintf(stderr, "axvm timeline: %s: %s\n", timeline->output, errno_text(errno));
		return EX_CANTCREAT;
	}
	draw(file, timeline);
	if (timeline->left_out > 0)
		fprintf(stderr,
		        "axvm timeline: %zu more are not in the picture, which has room for %d rows\n",
		        timeline->left_out, ROWS_MAX);
	if (file == out)
		return fflush(file) == 0 ? EX_OK : EX_IOERR;
	r = ferror(file) ? EX_IOERR : EX_OK;
	if (fclose(file) != 0 || r != EX_OK) {
		fprintf(stderr,
		        "axvm timeline: --output %s: the picture cannot be written: %s; name "
		        "another file\n",
		        timeline->output, errno_text(errno));
		return EX_IOERR;
	}
	return EX_OK;
}

int axvm_cmd_timeline(int argc, char **argv, FILE *out)
{
	_cleanup_free_ struct timeline *timeline = calloc(1, sizeof(*timeline));
	char output[] = "--output";
	_cleanup_close_ int owned = -1;
	bool is_stdin;
	int words, r;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "-o") == 0)
			argv[i] = output;
	if (!timeline)
		return EX_OSERR;
	r = flags_parse(&timeline_flags, argc, argv, timeline, &words);
	if (r)
		return r;
	if (words != 1) {
		fputs(verb_find("timeline")->help, stderr);
		return EX_USAGE;
	}
	is_stdin = strcmp(argv[1], "-") == 0;
	owned = is_stdin ? -1 : open(argv[1], O_RDONLY | O_CLOEXEC);
	r = !is_stdin && owned < 0 ? -errno : read_events(timeline, is_stdin ? 0 : owned);
	if (r < 0) {
		fprintf(stderr, "axvm timeline: %s: %s\n", argv[1],
		        r == -EBADMSG ? "no event stream with a stage in it; is it what a shim "
		                        "wrote to fd 4?"
		                      : errno_text(-r));
		return r == -EBADMSG ? EX_DATAERR : EX_NOINPUT;
	}
	return write_picture(timeline, is_stdin ? 0 : owned, out);
}
