/* SPDX-License-Identifier: MIT */
/* `axvm events` and `axvm timeline`: streams from files and standard input, whole, cut and
 * growing. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/protoc.h"
#include "tests/unit/rig/wait.h"

#define STREAM                                                                                     \
	"events { sequence: 1 monotonic_ns: 5000 running { profile: 'dev' } } "                    \
	"events { sequence: 2 monotonic_ns: 2005000 terminal { outcome: OUTCOME_POWER_OFF message: 'bye' } } "

static char folder[64], path[96], other[96];
static uint8_t stream[4096];
static size_t size;

static void write_stream(const char *to, size_t from, size_t n)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, stream + from, n), (ssize_t)n);
	close(fd);
}

static void begin(void)
{
	strcpy(folder, "/tmp/axvm-events-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/events.pb", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
	size = protoc_encode("EventStream", STREAM, stream, sizeof(stream));
	write_stream(path, 0, size);
}

static void end(void)
{
	unlink(path);
	unlink(other);
	rmdir(folder);
}

TestSuite(launch_events, .init = begin, .fini = end, .timeout = 120);

#define LINES "    0.000000 running profile dev\n    0.002000 end POWER_OFF, status 0: bye\n"
#define OBJECTS                                                                                                    \
	"{\"sequence\": \"1\", \"monotonic_ns\": \"5000\", \"running\": {\"profile\": \"dev\"}}\n"                 \
	"{\"sequence\": \"2\", \"monotonic_ns\": \"2005000\", \"terminal\": {\"outcome\": \"OUTCOME_POWER_OFF\", " \
	"\"message\": \"bye\"}}\n"

static const struct {
	const char *words, *out; /* NULL: text, which protoc reads back */
} formats[] = {
	{ "", LINES },         { "--json", OBJECTS },        { "--text", NULL },
	{ "-f", LINES },       { "--follow", LINES },        { "--json -f", OBJECTS },
	{ "-f --text", NULL }, { "--text --json", OBJECTS },
};

static void expect_format(const struct said *said, size_t i)
{
	uint8_t back[4096];

	cr_expect_eq(said->status, 0, "%s: %s", formats[i].words, said->err);
	cr_expect_str_eq(said->err, "");
	if (formats[i].out) {
		cr_expect_str_eq(said->out, formats[i].out, "%s", formats[i].words);
		return;
	}
	cr_expect_eq(protoc_encode("EventStream", said->out, back, sizeof(back)), size, "%s",
	             said->out);
	cr_expect_eq(memcmp(back, stream, size), 0, "%s", said->out);
}

/* From a file and from standard input, in each format; followed, too: it ends with the terminal
 * event. */
Test(launch_events, each_format_is_printed_from_file_and_stdin)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		int input = axvm_say_input(stream, size);
		struct said said;
		char line[160];

		snprintf(line, sizeof(line), "events %s %s", formats[i].words, path);
		said = axvm_say(line, -1);
		expect_format(&said, i);
		said_done(&said);
		snprintf(line, sizeof(line), "events %s -", formats[i].words);
		said = axvm_say(line, input);
		expect_format(&said, i);
		said_done(&said);
		close(input);
	}
}

/* What there is of a stream that is cut is shown, and told as cut, wherever that is; followed to
 * its terminal event as well. */
Test(launch_events, a_stream_that_is_cut)
{
	struct said said;
	int input;

	for (size_t n = 1; n < size; n++) {
		bool whole = n == 2 + (size_t)stream[1];

		input = axvm_say_input(stream, n);
		said = axvm_say("events -", input);
		cr_expect_eq(said.status, whole ? 0 : 65, "%zu bytes: %d", n, said.status);
		cr_expect_eq(strncmp(said.out, LINES, said.out_size), 0, "%s", said.out);
		cr_expect_eq(said.out_size > 0, n >= 2 + (size_t)stream[1], "%zu bytes", n);
		cr_expect_str_eq(
			said.err,
			whole ? ""
			      : "axvm events: -: what follows is not a whole event; is it what a shim "
				"wrote to fd 4?\n");
		said_done(&said);
		close(input);
	}
	/* Something behind the terminal event. */
	stream[size] = 0x0a;
	input = axvm_say_input(stream, size + 1);
	said = axvm_say("events -f -", input);
	cr_expect_eq(said.status, 65);
	cr_expect_str_eq(said.out, LINES);
	said_done(&said);
	close(input);
}

/* More than is read at once. */
Test(launch_events, a_long_stream)
{
	enum { COUNT = 3000 };
	static uint8_t many[COUNT * 16];
	int input = 0;
	size_t n = 0, lines = 0;
	struct said said;

	for (int i = 0; i < COUNT; i++) {
		/* Event { monotonic_ns: 1 guest_panicked { message: "x" } } as protoc has it, from
		 * its number on. */
		static uint8_t one[64];
		static size_t length;

		if (length == 0)
			length = protoc_encode(
				"EventStream",
				"events { monotonic_ns: 1 guest_panicked { message: 'x' } }", one,
				sizeof(one));
		cr_assert_leq(n + length, sizeof(many));
		memcpy(many + n, one, length);
		n += length;
	}
	input = axvm_say_input(many, n);
	said = axvm_say("events -", input);
	cr_expect_eq(said.status, 0, "%s", said.err);
	for (const char *at = said.out; (at = strchr(at, '\n')); at++)
		lines++;
	cr_expect_eq(lines, COUNT);
	said_done(&said);
	close(input);
}

/* The time of the first event is 0, also when it is not the first that there ever was. */
static size_t shown(const char *file)
{
	char text[512] = "";
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	return n > 0 ? (size_t)n : 0;
}

/* A file that grows: what there is is shown at once, the rest when it comes; the terminal event is
 * the end. */
Test(launch_events, a_stream_that_grows)
{
	size_t first = strlen("    0.000000 running profile dev\n");
	char text[512] = "";
	pid_t child;
	int fd;

	unlink(path);
	write_stream(path, 0, size - 3);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		FILE *out = fopen(other, "we");
		char *argv[] = { (char[]){ "axvm" }, (char[]){ "events" }, path, (char[]){ "-f" },
			         NULL };

		_exit(out ? verb_main(4, argv, out) : 99);
	}
	WAIT_UNTIL(shown(other) == first);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_expect_eq(waitpid(child, NULL, WNOHANG), 0, "it goes on");
	cr_expect_eq(shown(other), first);
	write_stream(path, size - 3, 3);
	cr_expect_eq(wait_child(child), 0);
	fd = open(other, O_RDONLY | O_CLOEXEC);
	cr_assert_geq(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	cr_expect_str_eq(text, LINES);
}

/* ---- timeline -------------------------------------------------------------------------------- */

#define STAGES                                                                                                          \
	"events { vm_id: 'first' monotonic_ns: 1000000 stage_completed { stage: STAGE_ARRIVE duration_ns: 1000000 } } " \
	"events { vm_id: 'second' monotonic_ns: 1000000 stage_completed { stage: STAGE_LEARN } } "                      \
	"events { monotonic_ns: 1000000 sealed { } } "                                                                  \
	"events { monotonic_ns: 11000000 stage_completed { stage: STAGE_SEAL duration_ns: 10000000 } } "                \
	"events { monotonic_ns: 12000000 stage_completed { stage: STAGE_RUN duration_ns: 500 } } "                      \
	"events { monotonic_ns: 12000000 stage_completed { stage: STAGE_ACCOUNT duration_ns: 500 } } "                  \
	"events { monotonic_ns: 13000000 terminal { } } events { monotonic_ns: 13000000 } "

/* The whole picture, as it goes into a document. */
static const char picture[] =
	"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 196\" width=\"960\" height=\"196\">\n"
	"<style>text{font:13px sans-serif;fill:#222}.t{font-size:11px;fill:#666}"
	".h{font-size:16px;font-weight:bold}.g{stroke:#ddd}.b{fill:#3b76b0}.p{fill:#5b9a68}.m{fill:#c2571a}</style>\n"
	"<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
	"<text class=\"h\" x=\"16\" y=\"26\">Launch of first: 11.0 ms</text>\n"
	"<line class=\"g\" x1=\"150.0\" y1=\"58\" x2=\"150.0\" y2=\"162\"/>\n"
	"<text class=\"t\" x=\"150.0\" y=\"52\" text-anchor=\"middle\">0 ns</text>\n"
	"<line class=\"g\" x1=\"274.0\" y1=\"58\" x2=\"274.0\" y2=\"162\"/>\n"
	"<text class=\"t\" x=\"274.0\" y=\"52\" text-anchor=\"middle\">2.2 ms</text>\n"
	"<line class=\"g\" x1=\"398.0\" y1=\"58\" x2=\"398.0\" y2=\"162\"/>\n"
	"<text class=\"t\" x=\"398.0\" y=\"52\" text-anchor=\"middle\">4.4 ms</text>\n"
	"<line class=\"g\" x1=\"522.0\" y1=\"58\" x2=\"522.0\" y2=\"162\"/>\n"
	"<text class=\"t\" x=\"522.0\" y=\"52\" text-anchor=\"middle\">6.6 ms</text>\n"
	"<line class=\"g\" x1=\"646.0\" y1=\"58\" x2=\"646.0\" y2=\"162\"/>\n"
	"<text class=\"t\" x=\"646.0\" y=\"52\" text-anchor=\"middle\">8.8 ms</text>\n"
	"<line class=\"g\" x1=\"770.0\" y1=\"58\" x2=\"770.0\" y2=\"162\"/>\n"
	"<text class=\"t\" x=\"770.0\" y=\"52\" text-anchor=\"middle\">11.0 ms</text>\n"
	"<text x=\"140\" y=\"78\" text-anchor=\"end\">ARRIVE</text>\n"
	"<rect class=\"b\" x=\"150.0\" y=\"67\" width=\"56.4\" height=\"14\" rx=\"2\"/>\n"
	"<text class=\"t\" x=\"212.4\" y=\"78\">1.0 ms</text>\n"
	"<text x=\"140\" y=\"100\" text-anchor=\"end\">LEARN</text>\n"
	"<rect class=\"b\" x=\"206.4\" y=\"89\" width=\"1.0\" height=\"14\" rx=\"2\"/>\n"
	"<text class=\"t\" x=\"212.4\" y=\"100\">0 ns</text>\n"
	"<text x=\"140\" y=\"122\" text-anchor=\"end\">sealed</text>\n"
	"<path class=\"m\" d=\"M206.4 112 l5 6 l-5 6 l-5 -6 z\"/>\n"
	"<text class=\"t\" x=\"215.4\" y=\"122\"></text>\n"
	"<text x=\"140\" y=\"144\" text-anchor=\"end\">SEAL</text>\n"
	"<rect class=\"b\" x=\"206.4\" y=\"133\" width=\"563.6\" height=\"14\" rx=\"2\"/>\n"
	"<text class=\"t\" x=\"776.0\" y=\"144\">10.0 ms</text>\n"
	"<text class=\"t\" x=\"16\" y=\"182\">blue: stages, on the control thread; green: threads until they are ready; "
	"marks: a thread takes its filter, or an event</text>\n</svg>\n";

/* To standard output, or to a file by either name of the flag; from a file or standard input. */
Test(launch_events, a_picture_goes_where_it_is_asked_to)
{
	static const char *const lines[] = { "timeline -", "timeline %s", "timeline - -o %s",
		                             "timeline --output=%s -" };
	char line[256];

	size = protoc_encode("EventStream", STAGES, stream, sizeof(stream));
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int input = axvm_say_input(stream, size), fd;
		char text[8192] = "";
		struct said said;

		unlink(path);
		write_stream(path, 0, size);
		snprintf(line, sizeof(line), lines[i], i == 1 ? path : other);
		said = axvm_say(line, i == 1 ? -1 : input);
		cr_expect_eq(said.status, 0, "%s: %s", line, said.err);
		fd = open(other, O_RDONLY | O_CLOEXEC);
		cr_expect_eq(fd >= 0, i >= 2, "%s", line);
		if (fd >= 0)
			cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
		cr_expect_str_eq(i < 2 ? said.out : text, picture, "%s: %s%s", line, said.out,
		                 text);
		cr_expect_str_eq(i < 2 ? text : said.out, "");
		close(fd);
		unlink(other);
		said_done(&said);
		close(input);
	}
}

/* What has no place in it is counted, events and threads alike. */
Test(launch_events, a_picture_without_room_for_all)
{
	static char text[64 * 1024];
	size_t at = 0;
	struct said said;
	int input;

	for (int i = 0; i < 321; i++)
		at += (size_t)snprintf(
			text + at, sizeof(text) - at,
			"events { monotonic_ns: 1 stage_completed { stage: STAGE_LEARN } } ");
	snprintf(
		text + at, sizeof(text) - at,
		"events { monotonic_ns: 2 running { threads { started_ns: 1 } threads { started_ns: 1 } } }");
	size = protoc_encode("EventStream", text, stream, sizeof(stream));
	input = axvm_say_input(stream, size);
	said = axvm_say("timeline -", input);
	cr_expect_eq(said.status, 0);
	cr_expect_str_eq(
		said.err,
		"axvm timeline: 4 more are not in the picture, which has room for 320 rows\n");
	said_done(&said);
	close(input);
}

Test(launch_events, a_picture_that_cannot_be_written_or_drawn)
{
	int input = axvm_say_input(stream, size);
	struct said said = axvm_say("timeline - -o /nonexistent/a/b", input);

	cr_expect_eq(said.status, 73);
	cr_expect_str_eq(said.err, "axvm timeline: /nonexistent/a/b: No such file or directory\n");
	said_done(&said);
	lseek(input, 0, SEEK_SET);
	said = axvm_say("timeline - -o /dev/full", input);
	cr_expect_eq(said.status, 74);
	cr_expect_str_eq(said.err, "axvm timeline: --output /dev/full: the picture cannot be "
	                           "written: No space left on device; name another file\n");
	said_done(&said);
	close(input);
	/* A terminal event alone is no launch; what is broken is none either, whatever stood before
	 * it. */
	size = protoc_encode("EventStream", "events { monotonic_ns: 5 terminal { } }", stream,
	                     sizeof(stream));
	input = axvm_say_input(stream, size);
	said = axvm_say("timeline -", input);
	cr_expect_eq(said.status, 65);
	said_done(&said);
	close(input);
	size = protoc_encode("EventStream", STAGES, stream, sizeof(stream));
	stream[size] = 0x08;
	stream[size + 1] = 0x08;
	input = axvm_say_input(stream, size + 2);
	said = axvm_say("timeline -", input);
	cr_expect_eq(said.status, 65);
	cr_expect_str_eq(said.out, "");
	said_done(&said);
	close(input);
}
