/* SPDX-License-Identifier: MIT */
/* `axvm ctl`: sends one command to a running VM, and prints its reply. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sysexits.h>

#include "base/problem.h"
#include "launch/cli/event_text.h"
#include "launch/cli/sockets.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"

#define DEFAULT_TIMEOUT_S 10
#define ARGS_MAX 8

struct ctl {
	bool json;
	uint64_t timeout_s;
};

/* A command with every body it may need; `command` points into it. */
struct request {
	Axvm__V1__Command command;
	Axvm__V1__StopCommand empty;
	Axvm__V1__ShutdownCommand shutdown;
	Axvm__V1__BalloonCommand balloon;
	Axvm__V1__LimitCommand limit;
	Axvm__V1__RateLimit rate;
	Axvm__V1__ResizeCommand resize;
	Axvm__V1__ConsoleSizeCommand console_size;
};

static int set_json(void *context, const char *value)
{
	(void)value;
	((struct ctl *)context)->json = true;
	return 0;
}

static int set_timeout(void *context, const char *value)
{
	if (flags_number(value, 1, 86400, &((struct ctl *)context)->timeout_s) == 0)
		return 0;
	fprintf(stderr, "axvm ctl: --timeout %s: must be a number of seconds from 1 to 86400\n",
	        value);
	return EX_USAGE;
}

static const struct flag rows[] = {
	{ "json", FLAG_NONE, set_json },
	{ "timeout", FLAG_TEXT, set_timeout },
};
const struct flags ctl_flags = { "ctl", rows, ARRAY_SIZE(rows) };

/* ---- the commands: each fills in its body from its words; 0 or -EINVAL -------------------- */

static int fill_empty(struct request *request, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	request->command.stop = &request->empty;
	return 0;
}

static int fill_shutdown(struct request *request, int argc, char **argv)
{
	uint64_t seconds;

	request->command.shutdown = &request->shutdown;
	if (argc == 0)
		return 0;
	if (flags_number(argv[0], 0, 86400, &seconds) < 0)
		return -EINVAL;
	request->shutdown.has_timeout_ms = 1;
	request->shutdown.timeout_ms = (uint32_t)seconds * 1000;
	return 0;
}

static int fill_balloon(struct request *request, int argc, char **argv)
{
	uint64_t bytes;

	(void)argc;
	request->command.balloon = &request->balloon;
	if (flags_size(argv[0], &bytes) < 0 || bytes % MIB)
		return -EINVAL;
	request->balloon.has_target_mib = 1;
	request->balloon.target_mib = bytes / MIB;
	return 0;
}

/* Takes the value after `name`: a plain number, or one with a suffix of sizes. Refuses a second
 * one. */
static int take_rate(const char *word, const char *name, protobuf_c_boolean *has, uint64_t *ret)
{
	const char *text = word + strlen(name);

	if (*has)
		return -EINVAL;
	*has = 1;
	return flags_number(text, 0, UINT64_MAX, ret) < 0 ? flags_size(text, ret) : 0;
}

static bool begins_with(const char *word, const char *name)
{
	return strncmp(word, name, strlen(name)) == 0;
}

/* Takes one of the words after the device. */
static int take_limit_word(struct request *request, const char *word, protobuf_c_boolean *has_burst,
                           uint64_t *burst)
{
	Axvm__V1__RateLimit *rate = &request->rate;

	if (begins_with(word, "bytes="))
		return take_rate(word, "bytes=", &rate->has_bytes_per_s, &rate->bytes_per_s);
	if (begins_with(word, "ops="))
		return take_rate(word, "ops=", &rate->has_ops_per_s, &rate->ops_per_s);
	if (begins_with(word, "burst="))
		return take_rate(word, "burst=", has_burst, burst);
	if (strcmp(word, "tx") != 0 || request->limit.has_transmit)
		return -EINVAL;
	request->limit.has_transmit = request->limit.transmit = 1;
	return 0;
}

static int fill_limit(struct request *request, int argc, char **argv)
{
	Axvm__V1__RateLimit *rate = &request->rate;
	protobuf_c_boolean has_burst = 0;
	uint64_t burst = 0;

	request->command.limit = &request->limit;
	request->limit.device_id = argv[0];
	request->limit.limit = rate;
	for (int i = 1; i < argc; i++)
		if (take_limit_word(request, argv[i], &has_burst, &burst) < 0)
			return -EINVAL;
	if (burst > 0 && !rate->has_bytes_per_s && !rate->has_ops_per_s)
		return -EINVAL;
	/* The burst applies to each of the two that has a limit. */
	rate->has_bytes_burst = rate->has_bytes_per_s && burst > 0;
	rate->has_ops_burst = !rate->has_bytes_per_s && rate->has_ops_per_s && burst > 0;
	rate->bytes_burst = rate->has_bytes_burst ? burst : 0;
	rate->ops_burst = rate->has_ops_burst ? burst : 0;
	return 0;
}

static int fill_resize(struct request *request, int argc, char **argv)
{
	(void)argc;
	request->command.resize = &request->resize;
	request->resize.disk_id = argv[0];
	return 0;
}

static int fill_console_size(struct request *request, int argc, char **argv)
{
	uint64_t columns, rows_;

	(void)argc;
	request->command.console_size = &request->console_size;
	if (flags_number(argv[0], 1, 65535, &columns) < 0 ||
	    flags_number(argv[1], 1, 65535, &rows_) < 0)
		return -EINVAL;
	request->console_size.has_columns = request->console_size.has_rows = 1;
	request->console_size.columns = (uint32_t)columns;
	request->console_size.rows = (uint32_t)rows_;
	return 0;
}

static const struct action {
	const char *name, *takes; /* the words after it, as the help has them */
	Axvm__V1__Command__WhatCase what;
	int min, max; /* how many */
	int (*fill)(struct request *request, int argc, char **argv);
} actions[] = {
	{ "status", "", AXVM__V1__COMMAND__WHAT_STATUS, 0, 0, fill_empty },
	{ "metrics", "", AXVM__V1__COMMAND__WHAT_METRICS, 0, 0, fill_empty },
	{ "pause", "", AXVM__V1__COMMAND__WHAT_PAUSE, 0, 0, fill_empty },
	{ "resume", "", AXVM__V1__COMMAND__WHAT_RESUME, 0, 0, fill_empty },
	{ "shutdown", " [SECONDS]", AXVM__V1__COMMAND__WHAT_SHUTDOWN, 0, 1, fill_shutdown },
	{ "stop", "", AXVM__V1__COMMAND__WHAT_STOP, 0, 0, fill_empty },
	{ "balloon", " SIZE", AXVM__V1__COMMAND__WHAT_BALLOON, 1, 1, fill_balloon },
	{ "limit", " DEVICE [tx] [bytes=N] [ops=N] [burst=N]", AXVM__V1__COMMAND__WHAT_LIMIT, 1, 5,
	  fill_limit },
	{ "resize", " DISK", AXVM__V1__COMMAND__WHAT_RESIZE, 1, 1, fill_resize },
	{ "nmi", "", AXVM__V1__COMMAND__WHAT_NMI, 0, 0, fill_empty },
	{ "console-size", " COLUMNS ROWS", AXVM__V1__COMMAND__WHAT_CONSOLE_SIZE, 2, 2,
	  fill_console_size },
};
/* For completion; a unit test compares it with the table above through the help. */
const char *const ctl_words[] = { "status",  "metrics", "pause",  "resume", "shutdown",     "stop",
	                          "balloon", "limit",   "resize", "nmi",    "console-size", NULL };

static int make_request(int argc, char **argv, struct request *request)
{
	*request = (struct request){
		.command = AXVM__V1__COMMAND__INIT,
		.empty = AXVM__V1__STOP_COMMAND__INIT,
		.shutdown = AXVM__V1__SHUTDOWN_COMMAND__INIT,
		.balloon = AXVM__V1__BALLOON_COMMAND__INIT,
		.limit = AXVM__V1__LIMIT_COMMAND__INIT,
		.rate = AXVM__V1__RATE_LIMIT__INIT,
		.resize = AXVM__V1__RESIZE_COMMAND__INIT,
		.console_size = AXVM__V1__CONSOLE_SIZE_COMMAND__INIT,
	};
	request->command.has_request_id = 1;
	request->command.request_id = 1;
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		const struct action *action = &actions[i];

		if (strcmp(action->name, argv[0]) != 0)
			continue;
		request->command.what_case = action->what;
		if (argc - 1 < action->min || argc - 1 > action->max ||
		    action->fill(request, argc - 1, argv + 1) < 0) {
			fprintf(stderr,
			        "axvm ctl: \"%s\" was given words that it does not take; usage: axvm "
			        "ctl VM|SOCKET %s%s\n",
			        argv[0], action->name, action->takes);
			return EX_USAGE;
		}
		return 0;
	}
	fprintf(stderr, "axvm ctl: there is no command \"%s\": see axvm ctl --help\n", argv[0]);
	return EX_USAGE;
}

/* Prints a histogram's count and mean, and its non-empty buckets. */
static void print_histogram(FILE *out, const Axvm__V1__Histogram *histogram)
{
	uint64_t count = 0;

	for (size_t i = 0; i < histogram->n_counts; i++)
		count += histogram->counts[i];
	fprintf(out, "%-48s %" PRIu64 " (mean %" PRIu64 ")\n", histogram->name, count,
	        count ? histogram->sum / count : 0);
	for (size_t i = 0; i < histogram->n_counts; i++) {
		if (histogram->counts[i] == 0)
			continue;
		if (i < histogram->n_bounds)
			fprintf(out, "  <= %-43" PRIu64, histogram->bounds[i]);
		else
			fprintf(out, "  %-46s", "above");
		fprintf(out, " %" PRIu64 "\n", histogram->counts[i]);
	}
}

static void print_metrics(FILE *out, const Axvm__V1__MetricsReport *metrics)
{
	for (size_t i = 0; i < metrics->n_counters; i++)
		fprintf(out, "%-48s %" PRIu64 "\n", metrics->counters[i]->name,
		        metrics->counters[i]->value);
	for (size_t i = 0; i < metrics->n_histograms; i++)
		print_histogram(out, metrics->histograms[i]);
}

static bool counter_of(const Axvm__V1__MetricsReport *metrics, const char *name, uint64_t *ret)
{
	for (size_t i = 0; i < metrics->n_counters; i++)
		if (metrics->counters[i]->name && strcmp(metrics->counters[i]->name, name) == 0) {
			*ret = metrics->counters[i]->value;
			return true;
		}
	return false;
}

/* Adds the memory that the guest has now to the answer. The guest takes time to give memory up, so
 * the VM is asked once more; if it does not reply, the figure is left out. */
static void add_balloon(const struct ctl *ctl, struct client *client, const struct request *request,
                        FILE *out)
{
	uint64_t target = request->balloon.target_mib, wanted, actual, all;
	const Axvm__V1__Reply *reply;

	fprintf(out, ": %" PRIu64 " MiB asked", target);
	if (client_ask_metrics(client, request->command.request_id + 1, (int)ctl->timeout_s * 1000,
	                       &reply) < 0 ||
	    !reply->metrics || !counter_of(reply->metrics, "balloon.wanted_bytes", &wanted) ||
	    !counter_of(reply->metrics, "balloon.actual_bytes", &actual))
		return;
	all = target + wanted / MIB;
	fprintf(out, ", %" PRIu64 " MiB now", all - MIN((uint64_t)(actual / MIB), all));
}

static void add_bucket(FILE *out, const char *unit, uint64_t rate, uint64_t burst)
{
	if (rate == 0)
		fprintf(out, " %s without limit", unit);
	else
		fprintf(out, " %s %" PRIu64 "/s, burst %" PRIu64, unit, rate,
		        burst ? burst : MAX(rate / 10, (uint64_t)1));
}

/* Adds the limit, which is in force at the reply. The default burst is that of a tenth of a
 * second. */
static void add_limit(const struct request *request, FILE *out)
{
	const Axvm__V1__RateLimit *rate = &request->rate;

	fprintf(out, ": %s%s:", request->limit.device_id, request->limit.transmit ? " tx" : "");
	add_bucket(out, "bytes", rate->bytes_per_s, rate->bytes_burst);
	fputc(',', out);
	add_bucket(out, "operations", rate->ops_per_s, rate->ops_burst);
}

static void print_done(const struct ctl *ctl, struct client *client, const struct request *request,
                       int state, FILE *out)
{
	fputs(state_name(state), out);
	if (request->command.what_case == AXVM__V1__COMMAND__WHAT_BALLOON)
		add_balloon(ctl, client, request, out);
	else if (request->command.what_case == AXVM__V1__COMMAND__WHAT_LIMIT)
		add_limit(request, out);
	fputc('\n', out);
}

static int show(const struct ctl *ctl, struct client *client, const struct request *request,
                const Axvm__V1__Reply *reply, FILE *out)
{
	if (ctl->json)
		text_print_json_line(out, &reply->base);
	else if (reply->ok && reply->metrics)
		print_metrics(out, reply->metrics);
	else if (reply->ok && reply->has_state) {
		/* Copied, because the next question overwrites the reply. */
		print_done(ctl, client, request, (int)reply->state, out);
		return fflush(out) == 0 ? EX_OK : EX_IOERR;
	}
	if (fflush(out) != 0)
		return EX_IOERR;
	if (reply->ok)
		return EX_OK;
	if (!reply->error) {
		fputs("axvm ctl: refused, and no reason given\n", stderr);
		return EX_SOFTWARE;
	}
	fprintf(stderr, "axvm ctl: %s\n",
	        reply->error->message ? reply->error->message : "refused");
	return problem_class_of((enum axvm_error_code)reply->error->code)->exit_status;
}

static int too_late(const char *vm)
{
	fprintf(stderr, "axvm ctl: %s: no reply in time (--timeout)\n", vm);
	return EX_TEMPFAIL;
}

static int cannot_connect(const char *vm, const char *path, int error_number)
{
	if (error_number == EAGAIN)
		return too_late(vm);
	if (error_number == EINVAL || error_number == ENAMETOOLONG) {
		fprintf(stderr, "axvm ctl: \"%s\" is neither a VM's id nor a socket's path\n", vm);
		return EX_USAGE;
	}
	if (error_number == EEXIST) {
		fprintf(stderr,
		        "axvm ctl: two VMs are named \"%s\", the other's socket is %s; name the one that "
		        "is meant by its socket\n",
		        vm, path);
		return EX_USAGE;
	}
	if (error_number == EACCES)
		fprintf(stderr,
		        "axvm ctl: no VM named \"%s\" runs here that you may command; if it is a service, its "
		        "socket %s is root's\n",
		        vm, path);
	else if (error_number == ENOENT || error_number == ECONNREFUSED)
		fprintf(stderr,
		        "axvm ctl: no VM named \"%s\" runs here: nobody listens at %s "
		        "(axvm top lists those that do)\n",
		        vm, path);
	else
		fprintf(stderr, "axvm ctl: cannot connect to %s: %s\n", path,
		        errno_text(error_number));
	return EX_NOINPUT;
}

int axvm_cmd_ctl(int argc, char **argv, FILE *out)
{
	_cleanup_(client_close) struct client client = { .fd = -1 };
	struct ctl ctl = { .timeout_s = DEFAULT_TIMEOUT_S };
	char path[SOCKET_PATH_MAX] = "";
	struct sockets_places places;
	const Axvm__V1__Reply *reply;
	struct request request;
	int words, r;

	r = flags_parse(&ctl_flags, argc, argv, &ctl, &words);
	if (r)
		return r;
	if (words < 2 || words > ARGS_MAX) {
		fputs(verb_find("ctl")->help, stderr);
		return EX_USAGE;
	}
	r = make_request(words - 1, argv + 2, &request);
	if (r)
		return r;
	sockets_places(&places);
	client.patience_ms = (int)ctl.timeout_s * 1000;
	r = sockets_find(&places, argv[1], &client, path);
	if (r < 0)
		return cannot_connect(argv[1], path, -r);
	r = client_ask(&client, &request.command, (int)ctl.timeout_s * 1000, &reply);
	if (r == 0)
		return show(&ctl, &client, &request, reply, out);
	if (r == -ETIMEDOUT)
		return too_late(argv[1]);
	fprintf(stderr, "axvm ctl: %s: %s\n", argv[1],
	        r == -ECONNRESET ? "ended before it replied" : errno_text(-r));
	return EX_UNAVAILABLE;
}
