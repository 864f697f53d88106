/* SPDX-License-Identifier: MIT */
/* `axvm top`: the VMs on this host, side by side.
 *
 * A VM is a control socket that answers. The process at the other end is `axvm run`; the shim is
 * its child. CPU time and memory come from /proc, exits, I/O and the memory's nodes from the VM's
 * own counters (axvm-events(5)). KVM counts all exits, the VM those that reach it, by kind; of
 * KVM's kinds only those are shown that never reach the VM. Rates are differences of two
 * samples. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>

#include "base/clock.h"
#include "launch/cli/claims_here.h"
#include "launch/cli/event_text.h"
#include "launch/cli/terminal.h"
#include "launch/cli/verb.h"
#include "launch/cli/vms.h"

#define KINDS_MAX 32
#define KIND_LENGTH 24
#define ASK_TIMEOUT_MS 500
#define NODES_MAX 8
#define DEFAULT_INTERVAL_S 2
#define ONE_SHOT_MS 1000
#define NAME_WIDTH 20 /* at least */

struct kind {
	char name[KIND_LENGTH];
	uint64_t count;
};

struct sample {
	char id[VM_ID_MAX];
	int64_t taken_ms;
	pid_t pid;
	int state; /* -1: does not answer */
	bool has_metrics;
	uint64_t cpu_ticks, resident, bytes;
	uint64_t kvm_exits; /* 0: this KVM does not say */
	/* By guest node: its pages in bytes, 0 when they were not populated, and where they are. */
	uint64_t placed[NODES_MAX], host_node[NODES_MAX];
	struct kind kinds[KINDS_MAX];
	size_t kinds_count;
};

struct samples {
	struct sample *list;
	size_t count, room;
};

struct top {
	bool once;
	uint64_t interval_s;
	struct samples before, now;
	struct vms_beside beside;
};

static int set_once(void *context, const char *value)
{
	(void)value;
	((struct top *)context)->once = true;
	return 0;
}

static int set_interval(void *context, const char *value)
{
	if (flags_number(value, 1, 3600, &((struct top *)context)->interval_s) == 0)
		return 0;
	fprintf(stderr, "axvm top: --interval %s: must be a number of seconds from 1 to 3600\n",
	        value);
	return EX_USAGE;
}

static const struct flag rows[] = {
	{ "once", FLAG_NONE, set_once },
	{ "interval", FLAG_TEXT, set_interval },
};
const struct flags top_flags = { "top", rows, ARRAY_SIZE(rows) };

static void read_process(struct sample *sample)
{
	unsigned long long user, system, pages;
	char line[1024];
	const char *after;

	if (sample->pid <= 0 || !vms_read_line(sample->pid, "stat", line, sizeof(line)))
		return;
	/* The name in parentheses may contain anything; fields 14 and 15 are counted from after
	 * it. */
	after = strrchr(line, ')');
	if (after && sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
	                    &user, &system) == 2)
		sample->cpu_ticks = user + system;
	if (vms_read_line(sample->pid, "statm", line, sizeof(line)) &&
	    sscanf(line, "%*u %llu", &pages) == 1)
		sample->resident = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void count_exit(struct sample *sample, const char *kind, uint64_t value)
{
	size_t i = 0;

	while (i < sample->kinds_count &&
	       strncmp(sample->kinds[i].name, kind, KIND_LENGTH - 1) != 0)
		i++;
	if (i == KINDS_MAX)
		return;
	if (i == sample->kinds_count) {
		snprintf(sample->kinds[i].name, KIND_LENGTH, "%.*s", KIND_LENGTH - 1, kind);
		sample->kinds_count++;
	}
	sample->kinds[i].count += value;
}

/* Exits that KVM handles itself. */
static const char *kvm_kind(const char *name)
{
	static const struct {
		const char *name, *kind;
	} known[] = {
		{ "kvm.vcpus.halt_exits", "halt" },
		{ "kvm.vcpus.irq_exits", "irq" },
		{ "kvm.vcpus.irq_window_exits", "irq_window" },
		{ "kvm.vcpus.nmi_window_exits", "nmi_window" },
		{ "kvm.vcpus.signal_exits", "signal" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(name, known[i].name) == 0)
			return known[i].kind;
	return NULL;
}

static bool is_io(const char *name)
{
	static const char *const names[] = { ".bytes_read", ".bytes_written", ".rx_bytes",
		                             ".tx_bytes" };
	const char *last = strrchr(name, '.');

	if (strncmp(name, "disk.", 5) != 0 && strncmp(name, "net.", 4) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(last, names[i]) == 0)
			return true;
	return false;
}

static void read_placement(struct sample *sample, const char *name, uint64_t value)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} pages[] = {
		{ "placed.pages_4k", 4 * KIB },
		{ "placed.pages_2m", 2 * MIB },
		{ "placed.pages_1g", GIB },
	};
	unsigned node;
	int length = 0;

	if (sscanf(name, "memory.node.%u.%n", &node, &length) != 1 || length == 0 ||
	    node >= NODES_MAX)
		return;
	if (strcmp(name + length, "host_node") == 0)
		sample->host_node[node] = value;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		if (strcmp(name + length, pages[i].name) == 0)
			sample->placed[node] += value * pages[i].bytes;
}

static void read_counter(struct sample *sample, const char *name, uint64_t value)
{
	const char *exits = strstr(name, ".exits."), *kind = kvm_kind(name);

	if (exits)
		count_exit(sample, exits + strlen(".exits."), value);
	else if (kind)
		count_exit(sample, kind, value);
	else if (strcmp(name, "kvm.vcpus.exits") == 0)
		sample->kvm_exits = value;
	else if (is_io(name))
		sample->bytes += value;
	else
		read_placement(sample, name, value);
}

static void read_counters(struct sample *sample, const Axvm__V1__MetricsReport *metrics)
{
	sample->has_metrics = true;
	for (size_t i = 0; i < metrics->n_counters; i++)
		if (metrics->counters[i]->name)
			read_counter(sample, metrics->counters[i]->name,
			             metrics->counters[i]->value);
}

static void ask(struct sample *sample, struct client *client)
{
	const Axvm__V1__Reply *reply;

	if (client_ask_metrics(client, 1, ASK_TIMEOUT_MS, &reply) < 0)
		return;
	sample->state = reply->has_state ? (int)reply->state : -1;
	if (reply->metrics)
		read_counters(sample, reply->metrics);
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct sample *)a)->id, ((const struct sample *)b)->id);
}

static int make_room(struct samples *samples)
{
	size_t room = MAX(2 * samples->room, (size_t)64);
	struct sample *bigger;

	if (samples->count < samples->room)
		return 0;
	bigger = reallocarray(samples->list, room, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	samples->list = bigger;
	samples->room = room;
	return 0;
}

static int take_sample(void *context, const char *id, struct client *client)
{
	struct top *top = context;
	struct sample *sample;
	int r = make_room(&top->now);

	if (r < 0)
		return r;
	sample = &top->now.list[top->now.count++];
	*sample = (struct sample){ .state = -1, .taken_ms = monotonic_ms() };
	snprintf(sample->id, sizeof(sample->id), "%s", id);
	if (!client)
		return 0;
	sample->pid = vms_shim(client);
	ask(sample, client);
	sample->taken_ms = monotonic_ms();
	read_process(sample);
	return 0;
}

/* Takes new samples; the former ones become `before`. */
static void take_all(struct top *top, const struct sockets_places *places)
{
	struct samples old = top->before;

	top->before = top->now;
	top->now = old;
	top->now.count = 0;
	vms_each(places, take_sample, top, &top->beside);
	if (top->now.count > 0)
		qsort(top->now.list, top->now.count, sizeof(*top->now.list), compare);
}

static const struct sample *earlier(const struct top *top, const struct sample *sample)
{
	for (size_t i = 0; i < top->before.count; i++)
		if (strcmp(top->before.list[i].id, sample->id) == 0 &&
		    top->before.list[i].pid == sample->pid)
			return &top->before.list[i];
	return NULL;
}

static uint64_t kind_before(const struct sample *sample, const char *name)
{
	for (size_t i = 0; i < sample->kinds_count; i++)
		if (strcmp(sample->kinds[i].name, name) == 0)
			return sample->kinds[i].count;
	return 0;
}

static int by_count(const void *a, const void *b)
{
	const struct kind *one = a, *other = b;

	return (one->count < other->count) - (one->count > other->count);
}

static void print_exits(FILE *out, const struct sample *sample, const struct sample *before,
                        double seconds)
{
	struct kind kinds[KINDS_MAX];
	uint64_t sum = 0;

	for (size_t i = 0; i < sample->kinds_count; i++) {
		uint64_t was = kind_before(before, sample->kinds[i].name);

		kinds[i] = sample->kinds[i];
		kinds[i].count = kinds[i].count > was ? kinds[i].count - was : 0;
		sum += kinds[i].count;
	}
	if (sample->kvm_exits > before->kvm_exits)
		sum = sample->kvm_exits - before->kvm_exits;
	qsort(kinds, sample->kinds_count, sizeof(kinds[0]), by_count);
	fprintf(out, " %8.0f ", (double)sum / seconds);
	for (size_t i = 0; i < MIN(sample->kinds_count, (size_t)3) && kinds[i].count > 0; i++)
		fprintf(out, " %s %.0f", kinds[i].name, (double)kinds[i].count / seconds);
}

/* "0:2.0G 1:2.0G": what was placed on each host node, or a dash. */
static const char *format_nodes(const struct sample *sample, char *to, size_t size)
{
	size_t used = 0;

	snprintf(to, size, "-");
	for (size_t i = 0; i < NODES_MAX && used < size; i++) {
		char bytes[32];

		if (sample->placed[i] > 0)
			used += (size_t)snprintf(to + used, size - used, "%s%u:%s", used ? " " : "",
			                         (unsigned)sample->host_node[i],
			                         format_bytes(sample->placed[i], bytes,
			                                      sizeof(bytes)));
	}
	return to;
}

static void print_vm(FILE *out, const struct top *top, const struct sample *sample, int name_width)
{
	const struct sample *before = earlier(top, sample);
	double ticks = (double)sysconf(_SC_CLK_TCK), seconds;
	char memory[32], nodes[NODES_MAX * 20], io[32];

	fprintf(out, "%-*s %-9s %7d", name_width, sample->id,
	        sample->state < 0 ? "?" : state_name(sample->state), (int)sample->pid);
	if (!before || sample->taken_ms <= before->taken_ms) {
		fprintf(out, " %6s %9s  %s\n", "",
		        format_bytes(sample->resident, memory, sizeof(memory)),
		        format_nodes(sample, nodes, sizeof(nodes)));
		return;
	}
	seconds = (double)(sample->taken_ms - before->taken_ms) / 1000;
	fprintf(out, " %6.1f %9s  %-16s",
	        100 * (double)(sample->cpu_ticks - before->cpu_ticks) / ticks / seconds,
	        format_bytes(sample->resident, memory, sizeof(memory)),
	        format_nodes(sample, nodes, sizeof(nodes)));
	if (sample->has_metrics) {
		uint64_t bytes = sample->bytes > before->bytes ? sample->bytes - before->bytes : 0;

		fprintf(out, " %8s/s",
		        format_bytes((uint64_t)((double)bytes / seconds), io, sizeof(io)));
		print_exits(out, sample, before, seconds);
	}
	fputc('\n', out);
}

/* Prints the claims of this host's VMs; nothing if they cannot be read (`axvm host` says why). */
static size_t print_claims(FILE *out)
{
	struct claims_sum sum;
	char text[96];

	if (claims_here_sum(&sum) < 0)
		return 0;
	return fprintf(out, "host CPUs: %s\n", claims_sum_text(&sum, text, sizeof(text))) > 0;
}

/* Prints the notes below the table. Returns the number of lines. */
static size_t print_notes(FILE *out, const struct top *top)
{
	size_t lines = 0;

	if (top->now.count == 0)
		lines +=
			fputs("no VM has a control socket here (`axvm run` makes one)\n", out) >= 0;
	return lines + vms_print_beside(out, &top->beside) + print_claims(out);
}

static int name_width(const struct top *top)
{
	size_t width = NAME_WIDTH;

	for (size_t i = 0; i < top->now.count; i++)
		width = MAX(width, strlen(top->now.list[i].id));
	return (int)width;
}

/* The lines of a terminal that `characters` take, with a newline; without a terminal there is room
 * for all. */
static size_t lines_of(long characters, uint32_t columns)
{
	return columns == 0 ? 0 : MAX(((size_t)characters - 1 + columns - 1) / columns, (size_t)1);
}

/* Prints the table; on a terminal (columns and height are not 0) as much as fits, and the number of
 * further VMs. */
static void print_all(FILE *out, const struct top *top, uint32_t columns, uint32_t height)
{
	_cleanup_free_ char *notes = NULL, *text = NULL;
	size_t size, text_size, i, used;
	FILE *aside = open_memstream(&notes, &size);
	int width = name_width(top);

	/* The notes, a line for VMs that do not fit, and the cursor's line. */
	used = columns == 0 ? 0 : 2;
	used += aside ? print_notes(aside, top) : 0;
	if (aside)
		(void)fclose(aside);
	used += lines_of(fprintf(out, "%-*s %-9s %7s %6s %9s  %-16s %10s %8s  %s\n", width, "VM",
	                         "STATE", "PID", "CPU%", "MEMORY", "BY NODE", "I/O", "EXITS/S",
	                         "MOST"),
	                 columns);
	for (i = 0; i < top->now.count; i++) {
		free_ptr(&text);
		aside = open_memstream(&text, &text_size);
		if (!aside)
			break;
		print_vm(aside, top, &top->now.list[i], width);
		(void)fclose(aside);
		if (!text)
			break;
		used += lines_of((long)text_size, columns);
		if (height > 0 && used > height && i > 0)
			break;
		fputs(text, out);
	}
	if (i < top->now.count)
		fprintf(out, "and %zu more: `axvm top --once` has all\n", top->now.count - i);
	fputs(notes ? notes : "", out);
}

/* Refreshes the table until q, Ctrl-C or the end of the input. */
static int refresh(struct top *top, const struct sockets_places *places, FILE *out)
{
	struct terminal terminal = { 0 };
	struct pollfd keys = { .fd = STDIN_FILENO, .events = POLLIN };
	uint32_t columns, height;
	bool quit = false;

	(void)terminal_enter(&terminal, STDIN_FILENO);
	while (!quit) {
		char key = 0;

		take_all(top, places);
		if (!terminal_size(STDOUT_FILENO, &columns, &height))
			columns = height = 0;
		fputs("\033[H\033[2J", out);
		print_all(out, top, columns, height);
		if (fflush(out) != 0)
			break;
		if (poll(&keys, 1, top->before.count ? (int)top->interval_s * 1000 : ONE_SHOT_MS) >
		    0)
			quit = read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == 3;
	}
	terminal_leave(&terminal);
	return EX_OK;
}

int axvm_cmd_top(int argc, char **argv, FILE *out)
{
	struct top top = { .interval_s = DEFAULT_INTERVAL_S };
	struct sockets_places places;
	int words, r;

	r = flags_parse(&top_flags, argc, argv, &top, &words);
	if (r)
		return r;
	if (words > 0) {
		fputs(verb_find("top")->help, stderr);
		return EX_USAGE;
	}
	sockets_places(&places);
	if (!top.once && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO)) {
		r = refresh(&top, &places, out);
	} else {
		take_all(&top, &places);
		if (top.now.count > 0) {
			(void)poll(NULL, 0, ONE_SHOT_MS);
			take_all(&top, &places);
		}
		print_all(out, &top, 0, 0);
		r = fflush(out) == 0 ? EX_OK : EX_IOERR;
	}
	free(top.before.list);
	free(top.now.list);
	return r;
}
