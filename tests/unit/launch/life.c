/* SPDX-License-Identifier: MIT */
/* `axvm run` from its launch to its end: a script stands in for the shim, says what the test wants
 * it to say on fd 4, and writes down what it is told on fd 3. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/axvm.h"
#include "launch/cli/sockets.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/protoc.h"
#include "tests/unit/rig/wait.h"

static char folder[64], words[4096];
static bool gives_fd_5; /* what begin() starts has /dev/null as its fd 5 */
static uid_t runs_as;   /* and this for its effective user */
static int said_fd = -1, keyboard = -1;
static pid_t child;

static void new_folder(void)
{
	strcpy(folder, "/tmp/axvm-life-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	setenv("XDG_RUNTIME_DIR", folder, 1);
	setenv("AXVM_CLAIMS_DIR", "", 1); /* whether this machine has any is told on stderr */
}

static void remove_folder(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_assert_eq(system(command), 0);
}

TestSuite(launch_life, .init = new_folder, .fini = remove_folder, .timeout = 200);

static const char *in_folder(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const void *bytes, size_t n, mode_t mode)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static size_t read_file(const char *name, void *to, size_t size)
{
	int fd = open(in_folder(name), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, to, size);

	close(fd);
	cr_assert(n >= 0 && (size_t)n < size);
	((char *)to)[n] = '\0';
	return (size_t)n;
}

static void events(const char *name, const char *text)
{
	static uint8_t bytes[8192];

	write_file(name, bytes, protoc_encode("EventStream", text, bytes, sizeof(bytes)), 0600);
}

/* In a script `until_there FILE` waits for that file of the folder, though not for ever: a test
 * that fails leaves it behind. */
static void write_shim(const char *script)
{
	static const char waits[] =
		"until_there() { n=0; while [ ! -e $D/$1 ] && [ $n -lt 4000 ]; do sleep 0.05; "
		"n=$((n + 1)); done; }";
	char text[2048];

	snprintf(text, sizeof(text), "#!/bin/sh\nD=%s\n%s\n%s\n", folder, waits, script);
	write_file("shim", text, strlen(text), 0700);
}

/* Begins `axvm run --flat f … flags`, whose shim is this script: $D is the folder. With a terminal
 * as its standard input when `keys`. */
static void begin(const char *script, const char *flags, bool keys)
{
	char line[1024],
		*argv[32] = { (char[]){ "axvm" }, (char[]){ "run" }, (char[]){ "--shim" } };
	int argc = 3, null = open("/dev/null", O_RDWR | O_CLOEXEC), slave = -1;

	write_shim(script);
	snprintf(line, sizeof(line), "%s %s", in_folder("shim"), flags);
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	if (keys) {
		keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		cr_assert(keyboard >= 0 && grantpt(keyboard) == 0 && unlockpt(keyboard) == 0);
		slave = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
		cr_assert_geq(slave, 0);
	}
	said_fd = memfd_create("said", MFD_CLOEXEC);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		if (keys)
			close(keyboard);
		dup2(keys ? slave : null, 0);
		dup2(null, 1);
		dup2(said_fd, 2);
		if (gives_fd_5)
			dup2(null, 5);
		if (runs_as && seteuid(runs_as) < 0)
			_exit(99);
		_exit(verb_main(argc, argv, stdout));
	}
	close(null);
	if (slave >= 0)
		close(slave);
}

/* Its exit status; what it said on stderr is in `words`. */
static int end(void)
{
	int status = wait_child(child);
	ssize_t n = pread(said_fd, words, sizeof(words) - 1, 0);

	words[MAX(n, (ssize_t)0)] = '\0';
	close(said_fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool is_there(const char *name)
{
	return access(in_folder(name), F_OK) == 0;
}

static bool has_said(const char *what)
{
	ssize_t n = pread(said_fd, words, sizeof(words) - 1, 0);

	words[MAX(n, (ssize_t)0)] = '\0';
	return strstr(words, what) != NULL;
}

static size_t times_said(const char *what)
{
	size_t n = 0;

	for (const char *at = words; (at = strstr(at, what)); at++)
		n++;
	return n;
}

#define RUNNING "events { sequence: 1 monotonic_ns: 5000 running { profile: 'dev' } } "
#define ENDED                                                                                      \
	"events { sequence: 2 monotonic_ns: 2005000 terminal { outcome: OUTCOME_POWER_OFF exit_status: 5 message: 'bye' } } "

/* ---- its end --------------------------------------------------------------------------------- */

Test(launch_life, the_status_is_the_shims)
{
	static const struct {
		const char *script, *flags;
		int status;
		const char *says, *does_not_say;
	} rows[] = {
		{ "cat $D/all >&4; exit 5", "--flat f --id web", 5,
		  "axvm run: web: bye (status 5)\n", NULL },
		{ "cat $D/all >&4; exit 5", "--flat f --id web --quiet", 5, "", "axvm run" },
		{ "exit 6", "--flat f --id web --quiet", 70,
		  "axvm run: web: the shim ended with status 6 and no terminal event", NULL },
		/* What is no shim: whatever its status, it is not a VM's. */
		{ "exit 0", "--flat f --id web", 70,
		  "the shim ended with status 0 and no terminal event", NULL },
		{ "cat $D/running >&4; exit 33", "--flat f --id web", 70,
		  "the shim ended with status 33 and no terminal event", NULL },
		{ "cat $D/all >&4; exit 0", "--flat f --id web", 70,
		  "axvm run: web: bye; but the shim ended with status 0", NULL },
		{ "printf '\\377\\377\\377' >&4; exit 3", "--flat f --id web", 70,
		  "axvm run: what the shim wrote to fd 4 is not an EventStream; is --shim, or AXVM_SHIM, an "
		  "axvm-shim?\n",
		  NULL },
		{ "cat $D/bare >&4", "--flat f --id web", 0, "axvm run: web: ended (status 0)\n",
		  NULL },
		{ "exit 0", "--flat f --id web --control-socket /nonexistent/x/y", 73,
		  "cannot listen at /nonexistent/x/y", NULL },
	};

	events("all", RUNNING ENDED);
	events("bare", "events { terminal { } }");
	events("running", RUNNING);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin(rows[i].script, rows[i].flags, false);
		cr_expect_eq(end(), rows[i].status, "row %zu: %s", i, words);
		cr_expect_not_null(strstr(words, rows[i].says), "row %zu: %s", i, words);
		cr_expect(!rows[i].does_not_say || !strstr(words, rows[i].does_not_say),
		          "row %zu: %s", i, words);
	}
	begin("exit 0", "--flat f --shim /nonexistent/shim", false);
	cr_expect_eq(end(), 66);
	cr_expect_not_null(strstr(words, "--shim FILE or AXVM_SHIM say where it is"), "%s", words);
}

/* What the shim is given: the launch, by itself and whole, and the fds that the spec names. */
Test(launch_life, the_shim_gets_the_launch)
{
	static char text[4096];
	static uint8_t bytes[2048];
	size_t n;

	events("all", RUNNING ENDED);
	write_file("image", "an image", 8, 0600);
	begin("dd bs=4096 count=1 of=$D/got status=none <&3; cat $D/all >&4; exit 5",
	      "--flat f --id web --cpus 3 --memory 64M", false);
	cr_assert_eq(end(), 5, "%s", words);
	n = read_file("got", bytes, sizeof(bytes));
	cr_assert_eq(protoc_decode("ControlStream", bytes, n, text, sizeof(text)), 0);
	cr_assert_not_null(strstr(text, "vm_id: \"web\""), "%s", text);
	cr_assert_not_null(strstr(text, "count: 3"));
	cr_assert_not_null(strstr(text, "size_mib: 64"));
	cr_assert_not_null(strstr(text, "on_control_eof: ON_CONTROL_EOF_SHUTDOWN"));
}

/* ---- events ---------------------------------------------------------------------------------- */

Test(launch_life, events_are_written_as_asked)
{
	static const struct {
		const char *flags, *holds;
	} rows[] = {
		{ "--events text:",
		  "    0.000000 running profile dev\n    0.002000 end POWER_OFF, status 5: bye\n" },
		{ "--events json:",
		  "{\"sequence\": \"1\", \"monotonic_ns\": \"5000\", \"running\": {\"profile\": \"dev\"}}\n" },
		{ "--events pb:", NULL },
	};
	static char got[4096], wanted[4096];
	size_t n;

	events("all", RUNNING ENDED);
	n = read_file("all", wanted, sizeof(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char flags[256];

		snprintf(flags, sizeof(flags), "--flat f --quiet %s%s", rows[i].flags,
		         in_folder("events"));
		begin("cat $D/all >&4; exit 5", flags, false);
		cr_assert_eq(end(), 5, "%s", words);
		if (rows[i].holds) {
			read_file("events", got, sizeof(got));
			cr_assert_not_null(strstr(got, rows[i].holds), "%s: %s", flags, got);
			continue;
		}
		cr_assert_eq(read_file("events", got, sizeof(got)), n);
		cr_assert_eq(memcmp(got, wanted, n), 0);
	}
	begin("cat $D/all >&4; exit 5", "--flat f --quiet --events text", false);
	cr_assert_eq(end(), 5);
	cr_assert_not_null(strstr(words, "running profile dev"), "%s", words);
}

/* ---- being asked to end ---------------------------------------------------------------------- */

/* The commands on fd 3 behind the launch, as text. */
static const char *commands_told(void)
{
	static char text[4096];
	static uint8_t bytes[4096];
	size_t n = read_file("got", bytes, sizeof(bytes));
	char *commands;

	cr_assert_eq(protoc_decode("ControlStream", bytes, n, text, sizeof(text)), 0);
	commands = strstr(text, "commands {");
	return commands ? commands : "";
}

static bool was_told(const char *what)
{
	return strstr(commands_told(), what) != NULL;
}

/* Writes down each thing it is told at once, and goes on until it is killed or $D/go is there. */
#define LISTENS                                                                                    \
	"dd bs=4096 of=$D/got conv=notrunc status=none <&3 & cat $D/running >&4; touch $D/ready; " \
	"until_there go; kill $!; cat $D/ended >&4; exit 5"

/* One more of those signals where it has not come to it: a signal close behind the one before is
 * the same request. */
static bool signalled_until(int number, bool it_has)
{
	if (!it_has)
		cr_assert_eq(kill(child, number), 0);
	return it_has;
}

/* The power button, then a stop, then the process's end. */
Test(launch_life, signals_ask_three_times)
{
	siginfo_t info = { 0 };

	events("running", RUNNING);
	events("ended", ENDED);
	write_file("got", "", 0, 0600);
	begin(LISTENS, "--flat f --id web --set boot{flat_boot{local_apic:true}}", false);
	WAIT_UNTIL(is_there("ready"));
	cr_assert_eq(kill(child, SIGTERM), 0);
	WAIT_UNTIL(was_told("shutdown {"));
	cr_assert_not(was_told("stop {"));
	cr_assert(has_said("power button pressed; once more stops the VM"), "%s", words);
	WAIT_UNTIL(signalled_until(SIGINT, was_told("stop {")));
	cr_assert(has_said("stopping the VM; once more kills its process"), "%s", words);
	WAIT_UNTIL(signalled_until(SIGHUP, waitid(P_PID, (id_t)child, &info,
	                                          WEXITED | WNOHANG | WNOWAIT) == 0 &&
	                                           info.si_pid == child));
	cr_assert_eq(end(), 137, "%s", words);
	cr_assert_not_null(strstr(words, "axvm run: web: the shim was ended by signal 9 ("), "%s",
	                   words);
}

/* A VM without a power button is not said to have one. */
Test(launch_life, a_signal_to_a_vm_without_a_button)
{
	events("running", RUNNING);
	events("ended", ENDED);
	write_file("got", "", 0, 0600);
	begin(LISTENS, "--flat f --id web", false);
	WAIT_UNTIL(is_there("ready"));
	cr_assert_eq(kill(child, SIGTERM), 0);
	WAIT_UNTIL(was_told("shutdown {"));
	WAIT_UNTIL(has_said(
		"stopping the VM, which has no power button; twice more kills its process"));
	write_file("go", "", 0, 0600);
	cr_assert_eq(end(), 5, "%s", words);
	cr_assert_eq(times_said("power button pressed"), 0, "%s", words);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void type(const char *keys)
{
	cr_assert_eq(write(keyboard, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static size_t times_told(const char *what)
{
	size_t n = 0;

	for (const char *at = commands_told(); (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* The escape key's commands, and what is no command goes to the guest. */
Test(launch_life, keys_are_commands_or_the_guests)
{
	static char typed[64];

	events("running", RUNNING);
	events("paused", "events { state_changed { from: STATE_RUNNING to: STATE_PAUSED } } ");
	events("ended", ENDED);
	write_file("got", "", 0, 0600);
	begin("exec 7<&0; cat <&7 >$D/typed & " LISTENS, "--kernel k --id web", true);
	WAIT_UNTIL(is_there("ready"));
	WAIT_UNTIL(has_said("Ctrl-A x stops it"));
	type("ab\x01"
	     "q");
	type("\x01i");
	WAIT_UNTIL(has_said("axvm run: web is RUNNING, process "));
	WAIT_UNTIL(read_file("typed", typed, sizeof(typed)) == 2);
	cr_assert_str_eq(typed, "ab");
	type("\x01?");
	WAIT_UNTIL(has_said("Ctrl-A p"));
	type("\x01p");
	WAIT_UNTIL(was_told("shutdown {"));
	type("\x01s");
	WAIT_UNTIL(was_told("pause {"));
	cr_assert_eq(times_told("shutdown {"), 1);
	cr_assert_not(was_told("stop {"));
	/* Stop is a stop at once, not the power button first. */
	type("\x01x");
	WAIT_UNTIL(was_told("stop {"));
	cr_assert_eq(times_told("shutdown {"), 1);
	type("\x01x");
	cr_assert_eq(end(), 137, "%s", words);
	close(keyboard);
}

/* A key that commands is answered: with what has come of it, or with why nothing has. Replies to
 * others are not. */
Test(launch_life, keys_are_answered)
{
	static const struct {
		const char *flags, *key, *told, *reply, *says;
	} rows[] = {
		{ "", "p", "shutdown {", "ok: true state: STATE_RUNNING",
		  "\naxvm run: power button pressed; in 30 s the VM is stopped if it has not ended (Ctrl-A x stops it now)\n" },
		{ " --set lifecycle{shutdown_timeout_ms:1500}", "p", "shutdown {",
		  "ok: true state: STATE_RUNNING",
		  "\naxvm run: power button pressed; in 1.5 s the VM" },
		{ "", "s", "pause {", "ok: true state: STATE_PAUSED",
		  "\naxvm run: web is PAUSED; Ctrl-A s lets it go on\n" },
		{ "", "s", "pause {", "ok: true state: STATE_RUNNING",
		  "\naxvm run: web is RUNNING\n" },
		{ " --quiet", "s", "pause {", "ok: true state: STATE_PAUSED", "web is PAUSED" },
		{ "", "s", "pause {", "ok: false error { message: 'not now' }",
		  "\naxvm run: not now\n" },
		{ "", "p", "shutdown {", "ok: false error { message: 'not now' }",
		  "\naxvm run: not now\n" },
	};

	events("running",
	       RUNNING "events { reply { request_id: 9 ok: true state: STATE_PAUSED } }");
	events("ended", ENDED);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[256], flags[128], key[] = "\x01?";

		write_file("got", "", 0, 0600);
		unlink(in_folder("go"));
		unlink(in_folder("on"));
		unlink(in_folder("ready"));
		snprintf(flags, sizeof(flags), "--kernel k --id web%s", rows[i].flags);
		begin("dd bs=4096 of=$D/got conv=notrunc status=none <&3 & cat $D/running >&4; touch $D/ready; "
		      "until_there on; cat $D/answer >&4; until_there go; kill $!; cat $D/ended >&4; exit 5",
		      flags, true);
		WAIT_UNTIL(is_there("ready"));
		key[1] = rows[i].key[0];
		/* The terminal is in raw mode, or the key would be what it is not. */
		WAIT_UNTIL(({
			struct termios now;
			tcgetattr(keyboard, &now) == 0 && !(now.c_lflag & ICANON);
		}));
		type(key);
		WAIT_UNTIL(was_told(rows[i].told));
		/* Somebody else's, and then the one. */
		snprintf(text, sizeof(text),
		         "events { reply { request_id: 8 ok: true state: STATE_STOPPING } } "
		         "events { reply { request_id: 4294967296 %s } }",
		         rows[i].reply);
		events("answer", text);
		write_file("on", "", 0, 0600);
		WAIT_UNTIL(has_said(rows[i].says));
		write_file("go", "", 0, 0600);
		cr_expect_eq(end(), 5, "row %zu: %s", i, words);
		cr_expect_eq(times_said("axvm run: web is ") + times_said("power button pressed") +
		                     times_said("not now"),
		             1, "row %zu: %s", i, words);
		close(keyboard);
	}
}

/* The pause key of a VM that is paused lets it go on. */
Test(launch_life, the_pause_key_of_a_paused_vm)
{
	events("running",
	       RUNNING "events { state_changed { from: STATE_RUNNING to: STATE_PAUSED } }");
	events("ended", ENDED);
	write_file("got", "", 0, 0600);
	begin(LISTENS, "--kernel k --id web", true);
	WAIT_UNTIL(is_there("ready"));
	WAIT_UNTIL(has_said("Ctrl-A x stops it"));
	do {
		type("\x01i");
		pause_a_little();
	} while (!has_said("web is PAUSED"));
	type("\x01s");
	WAIT_UNTIL(was_told("resume {"));
	cr_assert_not(was_told("pause {"));
	write_file("go", "", 0, 0600);
	cr_assert_eq(end(), 5, "%s", words);
	close(keyboard);
}

/* ---- metrics --------------------------------------------------------------------------------- */

/* Asked for once it runs; what comes, by itself or as a reply, is in the file. */
Test(launch_life, metrics_go_to_their_file)
{
	static const char *const kinds[] = {
		"events { metrics { counters { name: 'a.b' value: 7 } } }",
		"events { reply { request_id: 1 ok: true metrics { counters { name: 'a.b' value: 7 } } } }",
	};
	static char got[4096];
	char flags[256];

	events("ended", ENDED);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		char text[512];

		snprintf(text, sizeof(text), RUNNING "%s", kinds[i]);
		events("running", text);
		write_file("got", "", 0, 0600);
		unlink(in_folder("metrics"));
		unlink(in_folder("go"));
		unlink(in_folder("ready"));
		snprintf(flags, sizeof(flags), "--flat f --quiet --id web --metrics-file %s",
		         in_folder("metrics"));
		begin(LISTENS, flags, false);
		WAIT_UNTIL(was_told("metrics {"));
		WAIT_UNTIL(is_there("metrics"));
		cr_assert_eq(times_told("metrics {"), 1, "once, and again in five seconds");
		write_file("go", "", 0, 0600);
		cr_assert_eq(end(), 5, "%s", words);
		read_file("metrics", got, sizeof(got));
		cr_assert_not_null(strstr(got, "axvm_a_b{vm=\"web\"} 7\n"), "%s", got);
	}
	/* A file that cannot be written is told, once. */
	unlink(in_folder("go"));
	events("running", RUNNING "events { metrics { } } events { metrics { } }");
	begin("cat $D/running $D/ended >&4; exit 5",
	      "--flat f --id web --metrics-file /nonexistent/metrics", false);
	cr_assert_eq(end(), 5);
	cr_assert_not_null(
		strstr(words,
	               "axvm run: cannot write /nonexistent/metrics: No such file or directory\n"));
	cr_assert_null(strstr(strstr(words, "cannot write") + 1, "cannot write"), "%s", words);
}

/* A refusal of the stream itself is shown; one of a command that nobody of us has sent is not. */
Test(launch_life, a_refusal_is_shown)
{
	events("all", RUNNING
	       "events { reply { request_id: 0 ok: false error { message: 'not now' } } } events { reply { request_id: 9 ok: false error { message: 'nobody' } } }" ENDED);
	begin("cat $D/all >&4; exit 5", "--flat f", false);
	cr_assert_eq(end(), 5);
	cr_assert_not_null(strstr(words, "axvm run: not now\n"), "%s", words);
	cr_assert_null(strstr(words, "nobody"), "%s", words);
}

/* ---- errors ---------------------------------------------------------------------------------- */

#define FAILED(outcome, stage)                                                                     \
	"events { terminal { outcome: " outcome " exit_status: 65 stage: " stage                   \
	" message: 'launch failed: eins zwei (and 1 more)' "                                       \
	"errors { code: ERROR_CODE_SPEC_INVALID message: 'eins zwei' } errors { code: ERROR_CODE_SPEC_INVALID message: 'drei' } } }"
#define SAYS "printf 'axvm-shim: eins zwei\\naxvm-shim: drei\\n' >&2; "

/* Each error once, whoever comes first, and wherever else it would be printed; and what else is
 * said is not lost. */
Test(launch_life, each_error_is_told_once)
{
	static const struct {
		const char *script, *flags;
	} rows[] = {
		{ SAYS "cat $D/all >&4; exit 65", "" },
		{ SAYS "sleep 0.1; cat $D/all >&4; sleep 0.1; exit 65", "" },
		{ "cat $D/all >&4; sleep 0.1; " SAYS "exit 65", "" },
		{ "cat $D/all >&4; sleep 0.1; " SAYS "exit 65", "--quiet" },
		{ SAYS "cat $D/all >&4; exit 65", "--events text" },
		{ "cat $D/all >&4; " SAYS "exit 65", "--events text" },
		{ "cat $D/all >&4; " SAYS "exit 65", "--events json --quiet" },
		/* Nobody but the event: the runtime's, or a shim whose stderr took no more. */
		{ "cat $D/all >&4; exit 65", "" },
		{ "cat $D/late >&4; exit 65", "" },
		{ "cat $D/late >&4; exit 65", "--set console{output{fd:2}}" },
		{ "printf 'axvm-shim: drei\\n' >&2; cat $D/all >&4; exit 65", "" },
		/* Nobody but the shim: fd 4 is what is wrong. */
		{ SAYS "exit 64", "" },
		/* The guest has our stderr, and so has the shim. */
		{ SAYS "cat $D/all >&4; exit 65", "--set console{output{fd:2}}" },
	};

	events("all", FAILED("OUTCOME_LAUNCH_FAILED", "STAGE_LEARN"));
	events("late", FAILED("OUTCOME_RUNTIME_FAILED", "STAGE_RUN"));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char flags[128];
		bool json = strstr(rows[i].flags, "json") != NULL;

		snprintf(flags, sizeof(flags), "--flat f --id web %s", rows[i].flags);
		begin(rows[i].script, flags, false);
		cr_expect_neq(end(), 0);
		/* In JSON the event is whole, its sentence too. */
		cr_expect_eq(times_said("eins zwei"), json ? 2 : 1, "row %zu: %s", i, words);
		cr_expect_eq(times_said("drei"), 1, "row %zu: %s", i, words);
		if (!strstr(rows[i].flags, "quiet") && strstr(rows[i].script, "cat "))
			cr_expect_eq(times_said("axvm run: web: launch failed (status 65)\n"), 1,
			             "row %zu: %s", i, words);
	}
}

/* An error's field is told with it, by the shim's line and by ours. */
Test(launch_life, an_error_has_its_field)
{
	events("all",
	       "events { terminal { outcome: OUTCOME_RUNTIME_FAILED exit_status: 65 stage: STAGE_RUN errors { field: 'cpus.count' message: "
	       "'is odd' } errors { field: 'rng' message: 'launch.rng is odd' } } }");
	begin("printf 'axvm-shim: cpus.count: is odd\\n' >&2; cat $D/all >&4; exit 65",
	      "--flat f --id web", false);
	cr_expect_eq(end(), 65);
	cr_expect_eq(times_said("axvm-shim: cpus.count: is odd\n"), 1, "%s", words);
	cr_expect_eq(times_said("is odd"), 2, "%s", words);
	cr_expect_eq(times_said("axvm run: web: launch.rng is odd\n"), 1, "%s", words);
}

/* What is not the shim's own goes through as it comes, whatever it is; nothing of it is lost, or
 * told as an error. */
Test(launch_life, other_words_of_the_shim_are_passed_on)
{
	static char wanted[512];

	events("all", FAILED("OUTCOME_LAUNCH_FAILED", "STAGE_LEARN"));
	begin("printf 'a line\\nthe rest' >&2; until_there go; printf ' of it\\naxvm-shim: more\\naxvm' >&2; "
	      "cat $D/all >&4; exit 65",
	      "--flat f --id web --quiet", false);
	WAIT_UNTIL(has_said("a line\nthe rest"));
	write_file("go", "", 0, 0600);
	cr_assert_eq(end(), 65);
	strcpy(wanted, "a line\nthe rest of it\n");
	cr_assert_eq(strncmp(words, wanted, strlen(wanted)), 0, "%s", words);
	cr_assert_eq(times_said("axvm-shim: more\n"), 1, "%s", words);
	cr_assert_eq(times_said("axvm run: web: eins zwei\n"), 1, "%s", words);
	/* More of them than are kept: nothing waits for anybody, and all is there. */
	unlink(in_folder("go"));
	begin("i=0; while [ $i -lt 3000 ]; do echo \"axvm-shim: line $i\" >&2; i=$((i + 1)); done; cat $D/all >&4; exit 65",
	      "--flat f --id web --quiet", false);
	{
		static char all[128 * 1024];
		int status = wait_child(child);
		ssize_t n = pread(said_fd, all, sizeof(all) - 1, 0);
		size_t lines = 0;

		cr_assert_eq(WEXITSTATUS(status), 65);
		all[MAX(n, (ssize_t)0)] = '\0';
		for (const char *at = all; (at = strstr(at, "axvm-shim: line ")); at++)
			lines++;
		cr_assert_eq(lines, 3000);
		close(said_fd);
	}
}

/* The last line of a refusal names the profile that would take this host, and only where it
 * would. */
Test(launch_life, a_refusal_ends_with_what_would_be_taken)
{
	static const char hint[] =
		"axvm run: profile dev would take this host, for development: add --profile dev\n";
	static const struct {
		const char *errors, *flags;
		bool hinted;
	} rows[] = {
		{ "errors { code: ERROR_CODE_HOST_REFUSED message: 'a' } errors { code: ERROR_CODE_HOST_REFUSED message: 'b' }",
		  "", true },
		{ "errors { code: ERROR_CODE_HOST_REFUSED message: 'a' }", "--events text", true },
		{ "errors { code: ERROR_CODE_HOST_REFUSED message: 'a' } errors { code: ERROR_CODE_KVM_MISSING message: 'b' }",
		  "", false },
		{ "errors { code: ERROR_CODE_SPEC_INVALID message: 'a' }", "", false },
		{ "", "", false },
		{ "errors { code: ERROR_CODE_HOST_REFUSED message: 'a' }", "--profile dev", false },
		{ "errors { code: ERROR_CODE_HOST_REFUSED message: 'a' }", "--quiet", false },
	};
	struct said dev = axvm_say("admit --profile dev", -1);
	bool takes = dev.status == 0;

	said_done(&dev);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[512], flags[128];
		size_t n;

		snprintf(
			text, sizeof(text),
			"events { terminal { outcome: OUTCOME_LAUNCH_FAILED exit_status: 69 stage: STAGE_ADMIT %s } }",
			rows[i].errors);
		events("all", text);
		snprintf(flags, sizeof(flags), "--flat f --id web %s", rows[i].flags);
		begin("cat $D/all >&4; exit 69", flags, false);
		cr_expect_eq(end(), 69);
		n = strlen(words);
		cr_expect_eq(n >= strlen(hint) && strcmp(words + n - strlen(hint), hint) == 0,
		             rows[i].hinted && takes, "row %zu: %s", i, words);
		cr_expect_eq(times_said("would take"), rows[i].hinted && takes ? 1 : 0,
		             "row %zu: %s", i, words);
	}
}

/* ---- the terminal ---------------------------------------------------------------------------- */

/* Begins `axvm run … flags` with a terminal of 80 columns and 25 rows for all three of its
 * streams. */
static void begin_on_terminal(const char *script, const char *flags)
{
	const struct winsize window = { .ws_col = 80, .ws_row = 25 };
	char line[512], *argv[32] = { (char[]){ "axvm" }, (char[]){ "run" } };
	int argc = 2, slave;

	write_shim(script);
	snprintf(line, sizeof(line), "--shim %s %s", in_folder("shim"), flags);
	for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	cr_assert(keyboard >= 0 && grantpt(keyboard) == 0 && unlockpt(keyboard) == 0);
	slave = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert(slave >= 0 && ioctl(slave, TIOCSWINSZ, &window) == 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		close(keyboard);
		for (int fd = 0; fd < 3; fd++)
			dup2(slave, fd);
		_exit(verb_main(argc, argv, stdout));
	}
	close(slave);
	words[0] = '\0';
}

/* Whether the terminal has shown it by now; all that it has shown is in `words`. */
static bool shows(const char *what)
{
	size_t n = strlen(words);
	ssize_t more = read(keyboard, words + n, sizeof(words) - 1 - n);

	words[n + (size_t)MAX(more, (ssize_t)0)] = '\0';
	return strstr(words, what) != NULL;
}

/* Long work shows how far it is; what it has shown goes when the VM runs. */
Test(launch_life, progress_on_a_terminal)
{
	double seconds, have, size;
	char stage[16], unit[8];
	const char *line;

	events("stage", "events { stage_completed { stage: STAGE_ACQUIRE } }");
	events("running", RUNNING);
	events("ended", ENDED);
	begin_on_terminal("cat $D/stage >&4; until_there on; cat $D/running >&4; "
	                  "until_there go; cat $D/ended >&4; exit 5",
	                  "--flat f --id web --set memory{nodes{size_mib:3072}} --memory 1G");
	WAIT_UNTIL(shows(" of 4.0 GiB"));
	line = strstr(words, "\r\033[Kaxvm run: ");
	cr_assert_not_null(line, "%s", words);
	cr_assert_eq(
		sscanf(line,
	               "\r\033[Kaxvm run: %lf s, after stage %15[A-Z]: memory %lf %7s of %lf GiB",
	               &seconds, stage, &have, unit, &size),
		5, "%s", line);
	cr_assert_str_eq(stage, "ACQUIRE");
	cr_assert(seconds >= 0.5 && have > 0, "%s", line);
	cr_assert(strcmp(unit, "KiB") == 0 || strcmp(unit, "MiB") == 0,
	          "a shell is not that large: %s", line);
	write_file("on", "", 0, 0600);
	WAIT_UNTIL(shows("GiB\r\033[K") && strcmp(words + strlen(words) - 4, "\r\033[K") == 0 &&
	           strcmp(words + strlen(words) - 7, "GiB\r\033[K") == 0);
	write_file("go", "", 0, 0600);
	cr_assert_eq(WEXITSTATUS(wait_child(child)), 5);
	cr_assert(shows("axvm run: web: bye (status 5)\r\n"), "%s", words);
	close(keyboard);
}

/* None when it is to be quiet, nor words of keys. */
Test(launch_life, no_progress_when_quiet)
{
	events("ended", ENDED);
	begin_on_terminal("sleep 1; cat $D/ended >&4; exit 5",
	                  "--kernel k --id web --memory 1G --quiet");
	cr_assert_eq(WEXITSTATUS(wait_child(child)), 5);
	(void)shows("");
	cr_assert_str_eq(words, "");
	close(keyboard);
}

/* Raw for the guest, but for what is printed, which goes on beginning lines; afterwards as it was.
 * Its window is told with the launch, and when it has changed. */
Test(launch_life, the_terminal_is_the_guests_for_a_while)
{
	const struct winsize window = { .ws_col = 132, .ws_row = 43 };
	static char typed[64], text[4096];
	static uint8_t bytes[4096];
	struct termios now;
	int slave;
	size_t n;

	events("running", RUNNING);
	events("ended", ENDED);
	write_file("got", "", 0, 0600);
	begin_on_terminal("exec 7<&0; { cat <&7 >$D/typed; touch $D/over; } & " LISTENS,
	                  "--kernel k --id web");
	slave = open(ptsname(keyboard), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_geq(slave, 0);
	WAIT_UNTIL(shows("axvm run: web: Ctrl-A x stops it, Ctrl-A h lists keys\r\n"));
	cr_assert_eq(tcgetattr(slave, &now), 0);
	cr_assert_not(now.c_lflag & (ICANON | ECHO | ISIG));
	cr_assert_not(now.c_iflag & ICRNL);
	cr_assert(now.c_oflag & OPOST);
	type("\x03\r");
	WAIT_UNTIL(read_file("typed", typed, sizeof(typed)) == 2);
	cr_assert_str_eq(typed, "\x03\r", "keys that would be signals, and as they are typed");
	/* What is read for it by a program beside it may come later. */
	WAIT_UNTIL((n = read_file("got", bytes, sizeof(bytes))) > 0);
	cr_assert_eq(protoc_decode("ControlStream", bytes, n, text, sizeof(text)), 0);
	cr_assert_not_null(strstr(text, "columns: 80"), "%s", text);
	cr_assert_not_null(strstr(text, "rows: 25"), "%s", text);
	cr_assert_eq(ioctl(slave, TIOCSWINSZ, &window), 0);
	cr_assert_eq(kill(child, SIGWINCH), 0);
	WAIT_UNTIL(was_told("console_size {"));
	cr_assert_not_null(strstr(commands_told(), "columns: 132"));
	cr_assert_not_null(strstr(commands_told(), "rows: 43"));
	cr_assert_not(was_told("shutdown {"));
	write_file("go", "", 0, 0600);
	cr_assert_eq(WEXITSTATUS(wait_child(child)), 5);
	cr_assert_eq(tcgetattr(slave, &now), 0);
	cr_assert(now.c_lflag & ICANON && now.c_lflag & ECHO && now.c_lflag & ISIG);
	cr_assert(now.c_iflag & ICRNL);
	close(slave);
	close(keyboard);
}

/* When nobody types any more, the guest's input is at its end, and the VM goes on. */
Test(launch_life, the_end_of_the_keys)
{
	events("running", RUNNING);
	events("ended", ENDED);
	write_file("got", "", 0, 0600);
	begin("exec 7<&0; { cat <&7 >$D/typed; touch $D/over; } & " LISTENS, "--kernel k --id web",
	      true);
	WAIT_UNTIL(has_said("Ctrl-A x stops it"));
	type("a");
	close(keyboard);
	WAIT_UNTIL(is_there("over"));
	write_file("go", "", 0, 0600);
	cr_assert_eq(end(), 5, "%s", words);
}

/* ---- the control socket ---------------------------------------------------------------------- */

static bool listens(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	bool ok;

	cr_assert_eq(sockets_address(path, &address), 0);
	ok = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	close(fd);
	return ok;
}

/* `axvm ctl WHAT status` meanwhile: its exit status. */
static pid_t begin_ctl(const char *what)
{
	char line[256];
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid > 0)
		return pid;
	snprintf(line, sizeof(line), "ctl %s status", what);
	_exit(axvm_say(line, -1).status);
}

/* Under its name, or where it is asked to be: a command reaches the shim, and its reply whoever
 * asked; afterwards it is gone. Only one VM of a name, the second is ended. */
Test(launch_life, it_is_controlled_from_outside)
{
	static const char *const flags[][2] = { { "", "web" }, { "--control-socket %s", NULL } };

	events("running", RUNNING);
	events("ended", ENDED);
	events("answer",
	       "events { reply { request_id: 4294967296 ok: true state: STATE_PAUSED } }");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		char line[256] = "--flat f --id web ", path[128];
		siginfo_t info = { 0 };
		pid_t ctl;

		strcpy(path, in_folder(i ? "sock" : "axvm/web.sock"));
		snprintf(line + strlen(line), sizeof(line) - strlen(line), flags[i][0], path);
		write_file("got", "", 0, 0600);
		unlink(in_folder("go"));
		unlink(in_folder("ready"));
		unlink(in_folder("on"));
		begin("dd bs=4096 of=$D/got conv=notrunc status=none <&3 & cat $D/running >&4; touch $D/ready; "
		      "until_there on; cat $D/answer >&4; "
		      "until_there go; kill $!; cat $D/ended >&4; exit 5",
		      line, false);
		WAIT_UNTIL(is_there("ready"));
		WAIT_UNTIL(listens(path));
		ctl = begin_ctl(i ? path : "web");
		WAIT_UNTIL(was_told("status {"));
		write_file("on", "", 0, 0600);
		cr_assert_eq(WEXITSTATUS(wait_child(ctl)), 0);
		if (i == 0) {
			struct said said;

			snprintf(line, sizeof(line), "run --flat f --id web --shim %s",
			         in_folder("shim"));
			said = axvm_say(line, -1);
			snprintf(
				line, sizeof(line),
				"axvm run: a VM named \"web\" runs here already (%s); give this one another --id, "
				"or --control-socket none\n",
				path);
			cr_assert_eq(said.status, 69);
			cr_assert_str_eq(said.err, line);
			said_done(&said);
			cr_assert_eq(access(path, F_OK), 0,
			             "the socket of the first is still there");
			/* Its shim, which had been started, is killed. */
			WAIT_UNTIL(waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 &&
			           info.si_pid != 0);
			cr_assert(info.si_pid != child && info.si_code == CLD_KILLED &&
			          info.si_status == SIGKILL);
		}
		write_file("go", "", 0, 0600);
		cr_assert_eq(end(), 5, "%s", words);
		cr_assert_eq(access(path, F_OK), -1, "the socket is left");
		cr_assert_null(strstr(words, "PAUSED"), "the reply is not ours: %s", words);
	}
}

/* A VM of no name has none, nor one that is to have none, and runs all the same. */
Test(launch_life, without_a_control_socket)
{
	static const char *const flags[] = { "--flat f --id web --control-socket none",
		                             "--flat f --id ..", "--flat f --set vm_id:\"a/b\"" };

	events("all", RUNNING ENDED);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		begin("ls -A $D >$D/list; ls -A $D/axvm >>$D/list 2>/dev/null; cat $D/all >&4; exit 5",
		      flags[i], false);
		cr_assert_eq(end(), 5, "%s: %s", flags[i], words);
		cr_assert_not(is_there("axvm/web.sock"));
		cr_assert_not(is_there("none"));
	}
}

/* ---- the shim -------------------------------------------------------------------------------- */

/* What AXVM_SHIM names is run, unless --shim names another. */
Test(launch_life, the_shim_of_the_environment)
{
	struct said said;
	char line[256];

	events("all", "events { terminal { exit_status: 7 } }");
	write_shim("cat $D/all >&4; exit 7");
	setenv("AXVM_SHIM", in_folder("shim"), 1);
	said = axvm_say("run --flat f --quiet --control-socket none", -1);
	cr_assert_eq(said.status, 7, "%s", said.err);
	said_done(&said);
	setenv("AXVM_SHIM", "/nonexistent/shim", 1);
	snprintf(line, sizeof(line), "run --flat f --quiet --control-socket none --shim %s",
	         in_folder("shim"));
	said = axvm_say(line, -1);
	cr_assert_eq(said.status, 7, "%s", said.err);
	said_done(&said);
}

/* Who may not have a process namespace for it runs it without; the shim is given what is asked for
 * all the same. */
Test(launch_life, without_privileges)
{
	events("all", RUNNING ENDED);
	runs_as = geteuid() == 0 ? 65534 : 0;
	cr_assert_eq(chmod(folder, 0777), 0);
	write_file("list", "", 0, 0600);
	cr_assert(chmod(in_folder("all"), 0644) == 0 && chmod(in_folder("list"), 0666) == 0);
	write_shim("");
	cr_assert_eq(chmod(in_folder("shim"), 0755), 0);
	begin("echo $$ >$D/list; cat $D/all >&4; exit 5", "--flat f --id web", false);
	cr_assert_eq(end(), 5, "%s", words);
	read_file("list", words, sizeof(words));
	cr_assert_neq(atoi(words), 1, "it is process 1 of a namespace");
	cr_assert_neq(atoi(words), 0);
}

/* The first fd that a spec may name is that of the shim's, too, whatever is opened meanwhile. */
Test(launch_life, the_first_fd_of_a_spec)
{
	events("all", RUNNING ENDED);
	gives_fd_5 = true;
	begin("readlink /proc/self/fd/5 >$D/list; cat $D/all >&4; exit 5",
	      "--flat f --set disks{id:\"a\",image{fd:5}} --vsock 3", false);
	cr_assert_eq(end(), 5, "%s", words);
	read_file("list", words, sizeof(words));
	cr_assert_str_eq(words, "/dev/null\n");
}
