/* SPDX-License-Identifier: MIT */
/* `axvm run` before its launch: which fds go where, and who gets a console; fragments of a spec
 * made one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>

#include "host/facts_proto.h"
#include "launch/cli/run_parts.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"
#include "launch/vm.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/protoc.h"

static struct run run;

/* 0 or the exit status, as `axvm run …` would prepare it. */
static int prepare(const char *line)
{
	static char copy[512], *argv[32];
	int argc = 0, r;

	snprintf(copy, sizeof(copy), "run %s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	run = (struct run){ .keys_fd = -1,
		            .guest_input_fd = -1,
		            .vsock_fd = -1,
		            .signal_fd = -1,
		            .events_fd = -1,
		            .words = { .fd = -1, .shims_fd = -1 } };
	r = run_options_parse(&run.options, argc, argv);
	return r ? r : run_prepare(&run);
}

/* Which of our fds becomes this number of the shim's; -1: none. */
static int handed_over(int number)
{
	for (size_t i = 0; i < run.fds_count; i++)
		if (run.fds[i].number == number)
			return run.fds[i].fd;
	return -1;
}

static void null_stdio(void)
{
	/* Nothing here is a terminal, whoever runs the tests. */
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert(dup2(fd, 0) == 0 && dup2(fd, 1) == 1);
	close(fd);
}

TestSuite(launch_run, .init = null_stdio, .timeout = 60);

static void expect_fd(const Axvm__V1__Resource *resource, int fd)
{
	if (fd < 0) {
		cr_assert_null(resource);
		return;
	}
	cr_assert(resource && resource->source_case == AXVM__V1__RESOURCE__SOURCE_FD);
	cr_assert_eq((int)resource->fd, fd);
}

/* A Linux gets one, both ways; a flat image when it asks, one way; a file says itself; no is no. */
Test(launch_run, who_gets_a_console)
{
	static const struct {
		const char *line;
		bool console;
		int output, input;
	} lines[] = {
		{ "--kernel k", true, 1, 0 },
		{ "--kernel k --no-console", false, -1, -1 },
		{ "--kernel k --early-console", true, 1, 0 },
		{ "--flat f", false, -1, -1 },
		{ "--flat f --early-console", true, 1, -1 },
		{ "--kernel k --set console{output{path:\"x\"}}", true, -2, 0 },
		{ "tests/specs/longmode.txtpb", false, -1, -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		const Axvm__V1__Console *console;

		cr_assert_eq(prepare(lines[i].line), 0, "%s", lines[i].line);
		console = run.options.spec->console;
		cr_assert_eq(console != NULL, lines[i].console, "%s", lines[i].line);
		if (console && lines[i].output != -2)
			expect_fd(console->output, lines[i].output);
		if (lines[i].output == -2)
			cr_assert_str_eq(console->output->path, "x",
			                 "what is said is not replaced");
		if (console)
			expect_fd(console->input, lines[i].input);
		/* What the console names is handed over, and nothing that it does not; stderr
		 * always. */
		cr_assert_eq(handed_over(1), console && lines[i].output == 1 ? 1 : -1, "%s",
		             lines[i].line);
		cr_assert_eq(handed_over(0), console && lines[i].input == 0 ? 0 : -1, "%s",
		             lines[i].line);
		cr_assert_eq(handed_over(2), run.words.shims_fd, "its words come through us");
		cr_assert_gt(run.words.shims_fd, 2);
		cr_assert_eq(handed_over(3), -1);
		run_done(&run);
	}
}

/* A guest that prints on stderr has stderr itself; who has none gives none. */
Test(launch_run, the_shims_stderr)
{
	cr_assert_eq(prepare("--kernel k --set console{output{fd:2}}"), 0);
	cr_assert_eq(handed_over(2), 2);
	cr_assert_eq(run.words.fd, -1);
	run_done(&run);
	close(2);
	cr_assert_eq(prepare("--kernel k"), 0);
	cr_assert_eq(handed_over(2), -1);
	run_done(&run);
}

/* Each fd that the spec names goes over by its number; one that is not open is named, with its
 * field. */
Test(launch_run, fds_of_the_spec_go_over)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert_eq(dup2(fd, 60), 60);
	cr_assert_eq(dup2(fd, 61), 61);
	cr_assert_eq(dup2(fd, 62), 62);
	cr_assert_eq(
		prepare("--flat f --set disks{id:\"a\",image{fd:60}} --set nets{id:\"n\",tap{fd:61}} "
	                "--set sandbox{cgroup_fds:62}"),
		0);
	for (int number = 60; number <= 62; number++)
		cr_assert_eq(handed_over(number), number);
	run_done(&run);
	close(61);
	cr_assert_eq(prepare("--flat f --set nets{id:\"n\",tap{fd:61}}"), 66);
	run_done(&run);
	close(60);
	cr_assert_eq(prepare("--flat f --set disks{id:\"a\",image{fd:60}}"), 66);
	run_done(&run);
	close(62);
	cr_assert_eq(prepare("--flat f --set sandbox{cgroup_fds:62}"), 66);
	run_done(&run);
	close(fd);
}

/* As many as there is room for, and not one more: neither of the spec's nor of ours. */
Test(launch_run, fds_beyond_the_table_are_refused)
{
	static char line[16384];
	size_t n = 0;

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 2048, 2048 }), 0);
	n += (size_t)snprintf(
		line + n, sizeof(line) - n,
		"launch { vm_id: 'a' boot { flat_boot { image { path: 'f' } } } sandbox { cgroup_fds: [");
	for (int fd = 100; fd < 100 + RUN_FDS_MAX; fd++) {
		cr_assert_eq(dup2(1, fd), fd);
		n += (size_t)snprintf(line + n, sizeof(line) - n, "%s%d", fd > 100 ? ", " : "", fd);
	}
	snprintf(line + n, sizeof(line) - n, "] } }");
	{
		char path[] = "/tmp/axvm-run-XXXXXX.txtpb";
		int fd = mkostemps(path, 6, O_CLOEXEC);

		cr_assert_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
		cr_expect_eq(prepare(path), 71, "the shim's stderr has no place");
		cr_expect_eq(run.fds_count, RUN_FDS_MAX);
		run_done(&run);
		unlink(path);
		close(fd);
	}
}

Test(launch_run, events_go_where_they_are_asked_to)
{
	cr_assert_eq(prepare("--flat f"), 0);
	cr_assert_null(run.events);
	run_done(&run);
	cr_assert_eq(prepare("--flat f --events text"), 0);
	cr_assert_eq(run.events, stderr);
	run_done(&run);
	cr_assert_eq(prepare("--flat f --events pb:/nonexistent/file"), 73);
	run_done(&run);
}

/* What it was told since the last time: commands, in order. */
static Axvm__V1__ControlStream *told(int fd)
{
	static uint8_t bytes[4096];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	return axvm__v1__control_stream__unpack(NULL, n < 0 ? 0 : (size_t)n, bytes);
}

/* A burst of signals is one request, however late its end is seen; the next one is the next
 * step. */
Test(launch_run, a_burst_of_signals_is_one_request)
{
	static const struct {
		uint64_t at_ms;
		bool looked; /* the loop has looked when the time of the burst was over */
		Axvm__V1__Command__WhatCase tells;
	} rows[] = {
		{ 0, false, AXVM__V1__COMMAND__WHAT_SHUTDOWN },
		{ 0, false, AXVM__V1__COMMAND__WHAT__NOT_SET },
		{ 1, false, AXVM__V1__COMMAND__WHAT__NOT_SET },
		{ 499, false, AXVM__V1__COMMAND__WHAT__NOT_SET },
		{ 3000, false, AXVM__V1__COMMAND__WHAT__NOT_SET },
		{ 3001, true, AXVM__V1__COMMAND__WHAT_STOP },
		{ 3400, false, AXVM__V1__COMMAND__WHAT__NOT_SET },
	};
	const uint64_t begin_ns = 5000000000;
	static struct axvm_vm vm;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(prepare("--kernel k --quiet"), 0);
	vm = (struct axvm_vm){
		.control_fd = pair[0], .event_fd = -1, .pidfd = -1, .next_request_id = 5
	};
	run.vm = &vm;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t now_ns = begin_ns + rows[i].at_ms * 1000000;
		Axvm__V1__ControlStream *stream;

		/* Looked at too early, it is the same burst still. */
		burst_looked(&run.signals,
		             rows[i].looked ? run.signals.until_ns : run.signals.until_ns - 1);
		run_heed_signal(&run, now_ns);
		stream = told(pair[1]);
		cr_assert_eq(stream->n_commands, rows[i].tells != AXVM__V1__COMMAND__WHAT__NOT_SET,
		             "row %zu", i);
		cr_assert(stream->n_commands == 0 ||
		                  stream->commands[0]->what_case == rows[i].tells,
		          "row %zu", i);
		axvm__v1__control_stream__free_unpacked(stream, NULL);
	}
	run.vm = NULL;
	run_done(&run);
	close(pair[0]);
	close(pair[1]);
}

/* A refusal is told when it is of a command of ours. That of a client who has left by then is
 * nobody's. */
Test(launch_run, refusals_of_others_are_not_told)
{
	Axvm__V1__Error error = AXVM__V1__ERROR__INIT;
	Axvm__V1__Reply reply = AXVM__V1__REPLY__INIT;
	FILE *before = stderr;
	char said[] = "cannot pause a VM that is stopping";
	char *text = NULL;
	size_t size;

	cr_assert_eq(prepare("--kernel k"), 0);
	error.message = said;
	reply.error = &error;
	reply.has_request_id = true;
	run_remember_own(&run, 7);
	for (uint64_t id = 0; id < 12; id++) {
		stderr = open_memstream(&text, &size);
		reply.request_id = id;
		run_answer(&run, &reply);
		(void)fclose(stderr);
		stderr = before;
		cr_expect_str_eq(text,
		                 id == 7 || id == 0
		                         ? "axvm run: cannot pause a VM that is stopping\n"
		                         : "",
		                 "%u: %s", (unsigned)id, text);
		free(text);
	}
	/* As long as it is one of the last. */
	for (uint64_t id = 100; id < 100 + RUN_OWN_REQUESTS; id++)
		run_remember_own(&run, id);
	stderr = open_memstream(&text, &size);
	reply.request_id = 7;
	run_answer(&run, &reply);
	(void)fclose(stderr);
	stderr = before;
	cr_expect_str_eq(text, "");
	free(text);
	run_done(&run);
}

/* Columns and rows of the terminal, each as itself, to a VM that has a console and to no other. */
Test(launch_run, a_changed_window_is_told)
{
	int pair[2], terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), ours;
	const struct winsize window = { .ws_col = 132, .ws_row = 43 };
	static struct axvm_vm vm;
	Axvm__V1__ControlStream *stream;
	uint8_t bytes[256];
	ssize_t n;

	cr_assert(grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	ours = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	cr_assert_eq(ioctl(ours, TIOCSWINSZ, &window), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(prepare("--kernel k"), 0);
	vm = (struct axvm_vm){
		.control_fd = pair[0], .event_fd = -1, .pidfd = -1, .next_request_id = 5
	};
	run.vm = &vm;
	run_send_console_size(&run);
	cr_assert_eq(recv(pair[1], bytes, sizeof(bytes), MSG_DONTWAIT), -1,
	             "standard output is no terminal");
	cr_assert_eq(dup2(ours, 1), 1);
	run_send_console_size(&run);
	n = recv(pair[1], bytes, sizeof(bytes), MSG_DONTWAIT);
	cr_assert_gt(n, 0);
	stream = axvm__v1__control_stream__unpack(NULL, (size_t)n, bytes);
	cr_assert(stream && stream->n_commands == 1 && stream->commands[0]->console_size);
	cr_assert(stream->commands[0]->console_size->has_columns &&
	          stream->commands[0]->console_size->has_rows);
	cr_assert_eq(stream->commands[0]->console_size->columns, 132);
	cr_assert_eq(stream->commands[0]->console_size->rows, 43);
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	run.vm = NULL;
	run_done(&run);
	cr_assert_eq(prepare("--kernel k --no-console"), 0);
	run.vm = &vm;
	run_send_console_size(&run);
	cr_assert_eq(recv(pair[1], bytes, sizeof(bytes), MSG_DONTWAIT), -1, "there is no console");
	run.vm = NULL;
	run_done(&run);
	/* A launch takes the window as it is then. */
	cr_assert_eq(prepare("--kernel k"), 0);
	cr_assert(run.options.spec->console->columns == 132 &&
	          run.options.spec->console->rows == 43);
	run_done(&run);
	/* What is said of it is not replaced. */
	cr_assert_eq(prepare("--kernel k --set console{columns:100}"), 0);
	cr_assert(run.options.spec->console->columns == 100 &&
	          !run.options.spec->console->has_rows);
	run_done(&run);
	cr_assert_eq(prepare("--kernel k --set console{rows:7}"), 0);
	cr_assert(run.options.spec->console->rows == 7 && !run.options.spec->console->has_columns);
	run_done(&run);
	/* A window of no size is none. */
	for (int i = 0; i < 2; i++) {
		const struct winsize none = { .ws_col = i ? 5 : 0, .ws_row = i ? 0 : 5 };

		cr_assert_eq(ioctl(ours, TIOCSWINSZ, &none), 0);
		cr_assert_eq(prepare("--kernel k"), 0);
		cr_assert(!run.options.spec->console->has_columns &&
		          !run.options.spec->console->has_rows);
		run_done(&run);
	}
	null_stdio();
	close(ours);
	close(terminal);
	close(pair[0]);
	close(pair[1]);
}

/* ---- merging --------------------------------------------------------------------------------- */

/* Fragments strung together are what protoc makes of all of them in one text: lists grow, numbers
 * and the members of a oneof are replaced by the last, and messages are merged and not put in
 * twice. */
Test(launch_run, fragments_become_one_message)
{
	static const struct {
		const char *fragments[5], *whole;
	} cases[] = {
		{ { "cpus { count: 3 }", "cpus { pins: 1 }", "cpus { pins: 4 }",
		    "cpus { pins: 5 }" },
		  "cpus { count: 3 pins: 1 pins: 4 pins: 5 }" },
		{ { "vm_id: 'a'", "cpus { count: 1 }", "vm_id: 'b'", "cpus { count: 2 }" },
		  "vm_id: 'b' cpus { count: 2 }" },
		{ { "disks { id: 'a' }", "disks { id: 'b' }" },
		  "disks { id: 'a' } disks { id: 'b' }" },
		{ { "memory { nodes { size_mib: 1 } }",
		    "memory { lock: true nodes { size_mib: 2 } }" },
		  "memory { nodes { size_mib: 1 } nodes { size_mib: 2 } lock: true }" },
		{ { "boot { linux_boot { kernel { path: 'k' } } }",
		    "boot { linux_boot { initrd { path: 'i' } } }",
		    "boot { linux_boot { cmdline: 'c' } }" },
		  "boot { linux_boot { kernel { path: 'k' } initrd { path: 'i' } cmdline: 'c' } }" },
		{ { "boot { linux_boot { cmdline: 'c' } }",
		    "boot { flat_boot { local_apic: true } }" },
		  "boot { flat_boot { local_apic: true } }" },
		{ { "boot { flat_boot { image { path: 'f' } } }",
		    "boot { flat_boot { image { fd: 5 } } }" },
		  "boot { flat_boot { image { fd: 5 } } }" },
		{ { "" }, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *all = malloc(4096), wanted[1024], got[1024];
		Axvm__V1__LaunchSpec *spec;
		size_t size = 0, n;

		for (size_t k = 0; k < ARRAY_SIZE(cases[i].fragments) && cases[i].fragments[k]; k++)
			size += protoc_encode("LaunchSpec", cases[i].fragments[k], all + size,
			                      4096 - size);
		cr_assert_eq(spec_merge(&all, &size), 0);
		spec = axvm__v1__launch_spec__unpack(NULL, size, all);
		cr_assert_not_null(spec);
		n = protoc_encode("LaunchSpec", cases[i].whole, wanted, sizeof(wanted));
		cr_assert_eq(axvm__v1__launch_spec__pack(spec, got), n, "%s", cases[i].whole);
		cr_assert_arr_eq(got, wanted, n, "%s", cases[i].whole);
		axvm__v1__launch_spec__free_unpacked(spec, NULL);
		free(all);
	}
}

/* Whatever their length: each number of bytes that their lengths take. */
Test(launch_run, fragments_of_each_length)
{
	static const size_t lengths[] = { 0,     1,     110,   118,   119,   120,   121,   122,
		                          123,   124,   125,   126,   127,   128,   129,   253,
		                          254,   255,   256,   257,   16370, 16375, 16376, 16377,
		                          16378, 16379, 16380, 16381, 16384, 70000 };
	static char line[70001];

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		Axvm__V1__LaunchSpec spec = AXVM__V1__LAUNCH_SPEC__INIT, *back;
		Axvm__V1__Boot boot = AXVM__V1__BOOT__INIT;
		Axvm__V1__LinuxBoot linux_boot = AXVM__V1__LINUX_BOOT__INIT;
		size_t size, n;
		uint8_t *all;

		memset(line, 'x', sizeof(line));
		line[lengths[i]] = '\0';
		linux_boot.cmdline = line;
		boot.kind_case = AXVM__V1__BOOT__KIND_LINUX_BOOT;
		boot.linux_boot = &linux_boot;
		spec.boot = &boot;
		n = axvm__v1__launch_spec__get_packed_size(&spec);
		all = malloc(n + 64);
		axvm__v1__launch_spec__pack(&spec, all);
		size = n + protoc_encode("LaunchSpec",
		                         "boot { linux_boot { kernel { path: 'k' } } }", all + n,
		                         64);
		cr_assert_eq(spec_merge(&all, &size), 0);
		back = axvm__v1__launch_spec__unpack(NULL, size, all);
		cr_assert_not_null(back, "%zu", lengths[i]);
		cr_assert_str_eq(back->boot->linux_boot->cmdline, line);
		cr_assert_str_eq(back->boot->linux_boot->kernel->path, "k");
		axvm__v1__launch_spec__free_unpacked(back, NULL);
		free(all);
	}
}

/* What is no message, outside or within one, is refused, and left as it was. */
Test(launch_run, fragments_that_are_none)
{
	static const struct {
		const char *bytes;
		size_t n;
	} wrong[] = {
		{ "\x0a", 1 },
		{ "\x0a\x05"
		  "abc",
		  5 },
		{ "\x22\x01\x08", 3 },
		{ "\x22\x02\x0a\x05", 4 },
		{ "\xff", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint8_t *all = malloc(wrong[i].n);
		size_t size = wrong[i].n;

		memcpy(all, wrong[i].bytes, size);
		cr_assert_eq(spec_merge(&all, &size), -EBADMSG, "%zu", i);
		cr_assert(size == wrong[i].n && memcmp(all, wrong[i].bytes, size) == 0);
		free(all);
	}
}

/* ---- plan ------------------------------------------------------------------------------------ */

/* `axvm plan` of a spec on the recorded E5-2697 v2: what it prints, freed by the caller. */
static char *plan_of(const char *spec, int *ret_status)
{
	_cleanup_free_ struct host_facts *facts = fixture_e5_2697_v2();
	char spec_path[96], facts_path[96], *text = NULL, *out = NULL;
	char *argv[] = { (char[]){ "axvm" }, (char[]){ "plan" }, (char[]){ "--facts" },
		         facts_path,         spec_path,          NULL };
	Axvm__V1__HostFacts *message;
	struct fixture_tree tree;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	fixture_guest_leaves(facts);
	cr_assert_eq(facts_to_message(facts, &message), 0);
	text_print(file, &message->base);
	fclose(file);
	axvm__v1__host_facts__free_unpacked(message, NULL);
	fixture_tree_new(&tree);
	fixture_tree_write(&tree, "facts", "%s", text);
	fixture_tree_write(&tree, "spec.txtpb", "launch { %s }", spec);
	snprintf(facts_path, sizeof(facts_path), "%s/facts", tree.root);
	snprintf(spec_path, sizeof(spec_path), "%s/spec.txtpb", tree.root);
	file = open_memstream(&out, &size);
	*ret_status = verb_main(5, argv, file);
	fclose(file);
	fixture_tree_done(&tree);
	free(text);
	return out;
}

#define PLANNED                                                                                    \
	"vm_id: 'p' profile: 'dev' boot { flat_boot { image { path: 'i' } local_apic: true } } "

Test(launch_run, plan_shows_who_runs_where)
{
	static const char *const lines[] = {
		"profile dev: this host meets it\n",
		"    0        0       12         1          0\n",
		"    1        1       36         1          0\n",
		"    2        2       13         1          1",
		"guest node 0: 64 MiB on host node 1 in 4 KiB pages; I/O thread on CPU ",
		"guest node 1: 32 MiB on host node ",
		"; distances 10 ",
		"memory 0x000000000000-0x000003ffffff RAM of node 0\n",
		"memory 0x000004000000-0x000005ffffff RAM of node 1\n",
		"memory 0x0000c0000000-0x0000cfffffff BARs\n",
		"flat image at 0x100000\n",
		"device 00:01.0 disk a: BAR 0 at 0xc0000000, 2 queues, vectors 0-2 as GSI 24-26, io",
		"device 00:02.0 rng: BAR 0 at 0xc0008000, 1 queue, vectors 0-1 as GSI 27-28, io",
		"machine_sha256 ",
	};
	const char *threads;
	int status;
	char *out = plan_of(
		PLANNED
		"cpus { count: 3 pins: [12, 36, 13] nodes: [0, 0, 1] } "
		"memory { nodes { size_mib: 64 host_node: 1 } nodes { size_mib: 32 } } "
		"io { threads_per_node: 3 } disks { id: 'a' image { fd: 5 } queues: 2 } rng {}",
		&status);

	cr_assert_eq(status, 0, "%s", out);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		cr_assert_not_null(strstr(out, lines[i]), "no %s in\n%s", lines[i], out);
	/* Three of node 0: two commas before the distances. */
	threads = strstr(out, "I/O thread on CPU ");
	threads = strchr(threads, ',');
	cr_assert(threads && threads < strstr(out, "; distances"), "%s", out);
	threads = strchr(threads + 1, ',');
	cr_assert(threads && threads < strstr(out, "; distances"), "%s", out);
	free(out);
	/* A host that does not meet the profile is told so, by the status too, and planned all the
	 * same. */
	out = plan_of(
		"vm_id: 'p' profile: 'xv2' cpus { count: 1 pins: [3] fifo_priority: 1 } memory { nodes { size_mib: 64 } } "
		"boot { flat_boot { image { path: 'i' } } }",
		&status);
	cr_assert_eq(status, 0);
	cr_assert_not_null(strstr(out, "profile xv2: this host meets it"));
	cr_assert_null(strstr(out, "BARs"), "without local APICs there are no devices");
	free(out);
	out = plan_of(PLANNED
	              "cpus { count: 200 overcommit: false } memory { nodes { size_mib: 64 } }",
	              &status);
	cr_assert_neq(status, 0, "more vCPUs than CPUs");
	free(out);
}
