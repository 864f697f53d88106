/* SPDX-License-Identifier: MIT */
/* `axvm events`: an event stream, decoded. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sysexits.h>

#include "launch/cli/event_text.h"
#include "launch/cli/messages.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"

#define FOLLOW_INTERVAL_MS 100

enum format { FORMAT_LINES, FORMAT_JSON, FORMAT_TEXT };

struct events {
	enum format format;
	bool follow;
	bool ended;
	struct held_event held;
	uint64_t start_ns;
	FILE *out;
};

static int set_json(void *context, const char *value)
{
	(void)value;
	((struct events *)context)->format = FORMAT_JSON;
	return 0;
}

static int set_text(void *context, const char *value)
{
	(void)value;
	((struct events *)context)->format = FORMAT_TEXT;
	return 0;
}

static int set_follow(void *context, const char *value)
{
	(void)value;
	((struct events *)context)->follow = true;
	return 0;
}

static const struct flag rows[] = {
	{ "json", FLAG_NONE, set_json },
	{ "text", FLAG_NONE, set_text },
	{ "follow", FLAG_NONE, set_follow },
};
const struct flags events_flags = { "events", rows, ARRAY_SIZE(rows) };

static void print(struct events *events, const Axvm__V1__Event *event)
{
	Axvm__V1__EventStream stream = AXVM__V1__EVENT_STREAM__INIT;
	Axvm__V1__Event copy = *event, *one = &copy;

	if (events->start_ns == 0)
		events->start_ns = event->monotonic_ns;
	events->ended |= event->body_case == AXVM__V1__EVENT__BODY_TERMINAL;
	stream.n_events = 1;
	stream.events = &one;
	if (events->format == FORMAT_JSON)
		event_print_json(events->out, event);
	else if (events->format == FORMAT_TEXT)
		text_print(events->out, &stream.base);
	else
		event_print(events->out, event, events->start_ns);
}

/* Reads to the end, or while following to the terminal event, or until nobody takes the output,
 * which is told by who made it (output.h): 0, -EBADMSG, or -errno. */
static int read_all(struct events *events, struct axvm_decoder *decoder, int fd)
{
	uint8_t bytes[16384];
	const Axvm__V1__Event *event;

	for (;;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = axvm_decoder_feed(decoder, bytes, (size_t)n);
		while (r == 0 && (r = decoder_next_event(decoder, &events->held, &event)) > 0) {
			print(events, event);
			r = 0;
		}
		if (r < 0 && r != -EAGAIN)
			return r;
		if (ferror(events->out))
			return 0;
		if (n > 0)
			continue;
		if (fflush(events->out) != 0)
			return 0;
		if (!events->follow || events->ended)
			return axvm_decoder_pending(decoder) ? -EBADMSG : 0;
		(void)poll(NULL, 0, FOLLOW_INTERVAL_MS);
	}
}

int axvm_cmd_events(int argc, char **argv, FILE *out)
{
	_cleanup_(axvm_decoder_freep) struct axvm_decoder *decoder = NULL;
	struct events events = { .out = out };
	char follow[] = "--follow";
	_cleanup_close_ int owned = -1;
	bool is_stdin;
	int words, r;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "-f") == 0)
			argv[i] = follow;
	r = flags_parse(&events_flags, argc, argv, &events, &words);
	if (r)
		return r;
	if (words != 1) {
		fputs(verb_find("events")->help, stderr);
		return EX_USAGE;
	}
	is_stdin = strcmp(argv[1], "-") == 0;
	owned = is_stdin ? -1 : open(argv[1], O_RDONLY | O_CLOEXEC);
	decoder = axvm_decoder_new();
	if ((!is_stdin && owned < 0) || !decoder) {
		fprintf(stderr, "axvm events: %s: %s\n", argv[1], errno_text(errno));
		return decoder ? EX_NOINPUT : EX_OSERR;
	}
	r = read_all(&events, decoder, is_stdin ? STDIN_FILENO : owned);
	held_event_release(&events.held);
	if (fflush(out) != 0 || ferror(out))
		return EX_IOERR;
	if (r == 0)
		return EX_OK;
	if (r == -EBADMSG)
		fprintf(stderr,
		        "axvm events: %s: what follows is not a whole event; is it what a "
		        "shim wrote to fd 4?\n",
		        argv[1]);
	else
		fprintf(stderr, "axvm events: %s: %s\n", argv[1], errno_text(-r));
	return r == -EBADMSG ? EX_DATAERR : EX_IOERR;
}
