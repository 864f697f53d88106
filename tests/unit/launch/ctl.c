/* SPDX-License-Identifier: MIT */
/* `axvm ctl`: each of its words becomes its command, each reply its text and status. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/base.h"
#include "launch/cli/sockets.h"
#include "tests/unit/rig/axvm_say.h"
#include "tests/unit/rig/protoc.h"

static char folder[64], path[80];
static int listener = -1;

static void open_socket(void)
{
	strcpy(folder, "/tmp/axvm-ctl-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	cr_assert_eq(sockets_listen(path, 4, &listener, NULL), 0);
}

static void close_socket(void)
{
	close(listener);
	unlink(path);
	rmdir(folder);
}

TestSuite(launch_ctl, .init = open_socket, .fini = close_socket, .timeout = 120);

/* One command in, one reply out: the VM. */
struct served {
	const char *reply;  /* an Event in text; NULL: none, and the connection is closed */
	const char *second; /* to what it is asked then; NULL: nothing is expected */
	uint8_t command[4096];
	size_t command_size;
};

static void *serve(void *context)
{
	struct served *served = context;
	static uint8_t reply[4096];
	int fd = -1;
	size_t n;

	while (fd < 0)
		fd = accept(listener, NULL, NULL);
	served->command_size =
		(size_t)MAX(recv(fd, served->command, sizeof(served->command), 0), (ssize_t)0);
	if (served->reply) {
		n = protoc_encode("EventStream", served->reply, reply, sizeof(reply));
		(void)!write(fd, reply, n);
	}
	if (served->second && recv(fd, served->command, sizeof(served->command), 0) > 0) {
		n = protoc_encode("EventStream", served->second, reply, sizeof(reply));
		(void)!write(fd, reply, n);
	}
	close(fd);
	return NULL;
}

static const char *second_reply; /* of the next ctl() */

/* Runs `axvm ctl SOCKET words…` against a VM that replies so. */
static struct said ctl(const char *words, const char *reply, struct served *ret)
{
	struct said said;
	pthread_t thread;
	char line[256];

	snprintf(line, sizeof(line), "ctl %s %s", path, words);
	*ret = (struct served){ .reply = reply, .second = second_reply };
	second_reply = NULL;
	cr_assert_eq(pthread_create(&thread, NULL, serve, ret), 0);
	said = axvm_say(line, -1);
	pthread_join(thread, NULL);
	return said;
}

static const struct {
	const char *words, *command;
	const char *out; /* behind the state */
} commands[] = {
	{ "status", "status {}", "" },
	{ "metrics", "metrics {}", "" },
	{ "pause", "pause {}", "" },
	{ "resume", "resume {}", "" },
	{ "stop", "stop {}", "" },
	{ "nmi", "nmi {}", "" },
	{ "shutdown", "shutdown {}", "" },
	{ "shutdown 0", "shutdown { timeout_ms: 0 }", "" },
	{ "shutdown 90", "shutdown { timeout_ms: 90000 }", "" },
	{ "shutdown 86400", "shutdown { timeout_ms: 86400000 }", "" },
	{ "balloon 512", "balloon { target_mib: 512 }", ": 512 MiB asked" },
	{ "balloon 2G", "balloon { target_mib: 2048 }", ": 2048 MiB asked" },
	{ "balloon 1024K", "balloon { target_mib: 1 }", ": 1 MiB asked" },
	{ "limit root", "limit { device_id: 'root' limit {} }",
	  ": root: bytes without limit, operations without limit" },
	{ "limit root bytes=0", "limit { device_id: 'root' limit { bytes_per_s: 0 } }",
	  ": root: bytes without limit, operations without limit" },
	{ "limit root bytes=10M", "limit { device_id: 'root' limit { bytes_per_s: 10485760 } }",
	  ": root: bytes 10485760/s, burst 1048576, operations without limit" },
	{ "limit root bytes=1000 burst=7",
	  "limit { device_id: 'root' limit { bytes_per_s: 1000 bytes_burst: 7 } }",
	  ": root: bytes 1000/s, burst 7, operations without limit" },
	{ "limit root ops=100 burst=7",
	  "limit { device_id: 'root' limit { ops_per_s: 100 ops_burst: 7 } }",
	  ": root: bytes without limit, operations 100/s, burst 7" },
	{ "limit root bytes=1 ops=2 burst=7",
	  "limit { device_id: 'root' limit { bytes_per_s: 1 bytes_burst: 7 ops_per_s: 2 } }",
	  ": root: bytes 1/s, burst 7, operations 2/s, burst 1" },
	{ "limit root bytes=2M burst=4M",
	  "limit { device_id: 'root' limit { bytes_per_s: 2097152 bytes_burst: 4194304 } }",
	  ": root: bytes 2097152/s, burst 4194304, operations without limit" },
	{ "limit root ops=2K burst=1G",
	  "limit { device_id: 'root' limit { ops_per_s: 2048 ops_burst: 1073741824 } }",
	  ": root: bytes without limit, operations 2048/s, burst 1073741824" },
	{ "limit eth0 tx ops=20",
	  "limit { device_id: 'eth0' transmit: true limit { ops_per_s: 20 } }",
	  ": eth0 tx: bytes without limit, operations 20/s, burst 2" },
	{ "resize root", "resize { disk_id: 'root' }", "" },
	{ "console-size 132 43", "console_size { columns: 132 rows: 43 }", "" },
	{ "console-size 65535 1", "console_size { columns: 65535 rows: 1 }", "" },
};

/* A balloon's reply is followed by a question for what is so now; what the guest says it gave up
 * may be more than all. */
Test(launch_ctl, a_balloon_has_what_was_asked_and_what_is_so_now)
{
	static const struct {
		const char *metrics, *out;
	} rows[] = {
		{ "counters { name: 'balloon.wanted_bytes' value: 8388608 } counters { name: 'balloon.actual_bytes' value: 0 }",
		  "RUNNING: 24 MiB asked, 32 MiB now\n" },
		{ "counters { name: 'balloon.actual_bytes' value: 4194304 } counters { name: 'balloon.wanted_bytes' value: 8388608 }",
		  "RUNNING: 24 MiB asked, 28 MiB now\n" },
		{ "counters { name: 'balloon.wanted_bytes' value: 8388608 } counters { name: 'balloon.actual_bytes' value: 8388608 }",
		  "RUNNING: 24 MiB asked, 24 MiB now\n" },
		{ "counters { name: 'balloon.wanted_bytes' value: 8388608 } counters { name: 'balloon.actual_bytes' value: 8388608000 }",
		  "RUNNING: 24 MiB asked, 0 MiB now\n" },
		{ "counters { name: 'balloon.wanted_bytes' value: 8388608 }",
		  "RUNNING: 24 MiB asked\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct served served;
		struct said said;
		char text[512];

		snprintf(
			text, sizeof(text),
			"events { reply { request_id: 2 ok: true state: STATE_PAUSED metrics { %s } } }",
			rows[i].metrics);
		second_reply = text;
		said = ctl("balloon 24",
		           "events { reply { request_id: 1 ok: true state: STATE_RUNNING } } ",
		           &served);
		cr_expect_eq(said.status, 0, "%s", said.err);
		/* commands { request_id: 2 metrics {} } */
		cr_expect_eq(memcmp(served.command, "\x12\x04\x08\x02\x3a\x00", 6), 0);
		cr_expect_str_eq(said.out, rows[i].out, "row %zu: %s", i, said.out);
		said_done(&said);
	}
}

Test(launch_ctl, each_word_is_its_command)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		uint8_t wanted[1024];
		struct served served;
		struct said said;
		char text[512];
		size_t n;

		snprintf(text, sizeof(text), "commands { request_id: 1 %s }", commands[i].command);
		n = protoc_encode("ControlStream", text, wanted, sizeof(wanted));
		said = ctl(commands[i].words,
		           "events { reply { request_id: 1 ok: true state: STATE_PAUSED } }",
		           &served);
		cr_assert_eq(said.status, 0, "%s: %s", commands[i].words, said.err);
		cr_assert_eq(served.command_size, n, "%s", commands[i].words);
		cr_assert_arr_eq(served.command, wanted, n, "%s", commands[i].words);
		snprintf(text, sizeof(text), "PAUSED%s\n", commands[i].out);
		cr_assert_str_eq(said.out, text);
		cr_assert_str_eq(said.err, "");
		said_done(&said);
	}
}

static int ctl_alone(const char *line)
{
	struct said said = axvm_say(line, -1);
	int status = said.status;

	cr_assert_str_eq(said.out, "", "%s", line);
	cr_assert_gt(strlen(said.err), 0, "%s", line);
	said_done(&said);
	return status;
}

/* Nobody is asked when the words are wrong. */
Test(launch_ctl, words_that_are_no_command)
{
	static const char *const wrong[] = {
		"",
		"sleep",
		"status now",
		"shutdown x",
		"shutdown -1",
		"shutdown 86401",
		"shutdown 1 2",
		"balloon",
		"balloon 1K",
		"balloon 1 2",
		"balloon x",
		"limit",
		"limit a bytes=x",
		"limit a ops=1X",
		"limit a burst=x",
		"limit a rx",
		"resize",
		"resize a b",
		"console-size 80",
		"console-size 0 1",
		"console-size 1 65536",
		"--timeout 0 status",
		"--timeout 86401 status",
		"--colour status",
		"limit a bytes=1 bytes=2",
		"limit a ops=1 ops=1",
		"limit a ops=1 burst=0 burst=2",
		"limit a tx tx ops=1",
		"limit a burst=1",
		"limit a bytes=",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		char line[256];

		snprintf(line, sizeof(line), "ctl %s %s", path, wrong[i]);
		cr_assert_eq(ctl_alone(line), 64, "%s", wrong[i]);
	}
	cr_assert_eq(ctl_alone("ctl ../../x status"), 66, "a path that nobody listens at");
	cr_assert_eq(ctl_alone("ctl a%b status"), 64, "no id");
}

/* The status of a refusal is its code's, as the terminal event's would be. */
Test(launch_ctl, replies_are_shown)
{
	static const struct {
		const char *words, *reply;
		int status;
		const char *out, *err; /* where `err` is NULL: that it ended */
	} replies[] = {
		{ "pause",
		  "reply { request_id: 1 ok: false error { code: ERROR_CODE_COMMAND_WRONG_STATE message: 'm' } }",
		  65, "", "axvm ctl: m\n" },
		{ "resize a",
		  "reply { request_id: 1 ok: false error { code: ERROR_CODE_DEVICE_FAILED } }", 71,
		  "", "axvm ctl: refused\n" },
		{ "pause", "reply { request_id: 1 ok: false }", 70, "",
		  "axvm ctl: refused, and no reason given\n" },
		{ "pause", "reply { request_id: 1 ok: false state: STATE_PAUSED }", 70, "",
		  "axvm ctl: refused, and no reason given\n" },
		{ "pause", "reply { request_id: 1 ok: true }", 0, "", "" },
		{ "--json pause",
		  "reply { request_id: 1 ok: false error { code: ERROR_CODE_DEVICE_FAILED message: 'm' } }",
		  71,
		  "{\"request_id\": \"1\", \"ok\": false, \"error\": {\"code\": \"ERROR_CODE_DEVICE_FAILED\", \"message\": \"m\"}}\n",
		  "axvm ctl: m\n" },
		{ "--json status", "reply { request_id: 1 ok: true state: STATE_RUNNING }", 0,
		  "{\"request_id\": \"1\", \"ok\": true, \"state\": \"STATE_RUNNING\"}\n", "" },
		{ "metrics",
		  "reply { request_id: 1 ok: true metrics { counters { name: 'a' value: 5 } histograms { name: 'h' "
		  "bounds: 10 bounds: 100 counts: 1 counts: 0 counts: 3 sum: 402 } } }",
		  0,
		  "a                                                5\n"
		  "h                                                4 (mean 100)\n"
		  "  <= 10                                          1\n"
		  "  above                                          3\n",
		  "" },
		{ "metrics",
		  "reply { request_id: 1 ok: true state: STATE_PAUSED metrics { histograms { name: 'h' bounds: 10 counts: 0 "
		  "counts: 0 sum: 9 } } }",
		  0, "h                                                0 (mean 0)\n", "" },
		{ "status", NULL, 69, "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		char text[512], ended[128];
		struct served served;
		struct said said;

		snprintf(text, sizeof(text), "events { reply { request_id: 9 } } events { %s }",
		         replies[i].reply ? replies[i].reply : "");
		snprintf(ended, sizeof(ended), "axvm ctl: %s: ended before it replied\n", path);
		said = ctl(replies[i].words, replies[i].reply ? text : NULL, &served);
		cr_assert_eq(said.status, replies[i].status, "%zu: %s", i, replies[i].words);
		cr_assert_str_eq(said.out, replies[i].out, "%zu", i);
		cr_assert_str_eq(said.err, replies[i].err ? replies[i].err : ended, "%zu", i);
		said_done(&said);
	}
}

/* One that is silent, one that has gone, one that cannot be reached. */
Test(launch_ctl, a_vm_that_does_not_reply_is_told_apart)
{
	struct said said;
	char line[128], wanted[256];

	snprintf(line, sizeof(line), "ctl --timeout 1 %s status", path);
	said = axvm_say(line, -1);
	snprintf(wanted, sizeof(wanted), "axvm ctl: %s: no reply in time (--timeout)\n", path);
	cr_assert_eq(said.status, 75);
	cr_assert_str_eq(said.err, wanted);
	said_done(&said);
	close(listener);
	listener = -1;
	snprintf(
		wanted, sizeof(wanted),
		"axvm ctl: no VM named \"%s\" runs here: nobody listens at %s (axvm top lists those that do)\n",
		path, path);
	said = axvm_say(line, -1);
	cr_assert_eq(said.status, 66);
	cr_assert_str_eq(said.err, wanted);
	said_done(&said);
}

/* Whoever listens and takes nobody, a launcher that was stopped, is waited for as long as for a
 * reply. */
Test(launch_ctl, a_listener_that_takes_nobody)
{
	struct sockaddr_un address;
	int waiting[16];
	struct said said;
	char line[128];

	cr_assert_eq(sockets_address(path, &address), 0);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		waiting[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(waiting[i], (const struct sockaddr *)&address, sizeof(address));
	}
	snprintf(line, sizeof(line), "ctl --timeout 1 %s status", path);
	said = axvm_say(line, -1);
	cr_expect_eq(said.status, 75, "%s", said.err);
	cr_expect_not_null(strstr(said.err, "no reply in time (--timeout)"), "%s", said.err);
	said_done(&said);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
}
