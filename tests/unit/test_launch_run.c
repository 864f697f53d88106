/* SPDX-License-Identifier: MIT */
/* `axvm run` before its launch: which fds go where, and who gets a console; fragments of a spec made one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "launch/cli/run_parts.h"
#include "tests/unit/protoc.h"

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
	run = (struct run){ .keys_fd = -1, .guest_input_fd = -1, .vsock_fd = -1, .signal_fd = -1 };
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
		if (console)
			expect_fd(console->input, lines[i].input);
		/* What the console names is handed over, and nothing that it does not; stderr always. */
		cr_assert_eq(handed_over(1), console && lines[i].output == 1 ? 1 : -1, "%s", lines[i].line);
		cr_assert_eq(handed_over(0), console && lines[i].input == 0 ? 0 : -1, "%s", lines[i].line);
		cr_assert_eq(handed_over(2), 2);
		cr_assert_eq(handed_over(3), -1);
		run_done(&run);
	}
}

/* Each fd that the spec names goes over by its number; one that is not open is named, with its field. */
Test(launch_run, fds_of_the_spec_go_over)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	cr_assert_eq(dup2(fd, 60), 60);
	cr_assert_eq(dup2(fd, 61), 61);
	cr_assert_eq(dup2(fd, 62), 62);
	cr_assert_eq(prepare("--flat f --set disks{id:\"a\",image{fd:60}} --set nets{id:\"n\",tap{fd:61}} "
	                     "--set sandbox{cgroup_fds:62}"), 0);
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

/* ---- merging --------------------------------------------------------------------------------------- */

/* Fragments strung together are what protoc makes of all of them in one text: lists grow, numbers and the members
 * of a oneof are replaced by the last, and messages are merged and not put in twice. */
Test(launch_run, fragments_become_one_message)
{
	static const struct {
		const char *fragments[5], *whole;
	} cases[] = {
		{ { "cpus { count: 3 }", "cpus { pins: 1 }", "cpus { pins: 4 }", "cpus { pins: 5 }" },
		  "cpus { count: 3 pins: 1 pins: 4 pins: 5 }" },
		{ { "vm_id: 'a'", "cpus { count: 1 }", "vm_id: 'b'", "cpus { count: 2 }" }, "vm_id: 'b' cpus { count: 2 }" },
		{ { "disks { id: 'a' }", "disks { id: 'b' }" }, "disks { id: 'a' } disks { id: 'b' }" },
		{ { "memory { nodes { size_mib: 1 } }", "memory { lock: true nodes { size_mib: 2 } }" },
		  "memory { nodes { size_mib: 1 } nodes { size_mib: 2 } lock: true }" },
		{ { "boot { linux { kernel { path: 'k' } } }", "boot { linux { initrd { path: 'i' } } }",
		    "boot { linux { cmdline: 'c' } }" },
		  "boot { linux { kernel { path: 'k' } initrd { path: 'i' } cmdline: 'c' } }" },
		{ { "boot { linux { cmdline: 'c' } }", "boot { flat { local_apic: true } }" },
		  "boot { flat { local_apic: true } }" },
		{ { "boot { flat { image { path: 'f' } } }", "boot { flat { image { fd: 5 } } }" },
		  "boot { flat { image { fd: 5 } } }" },
		{ { "" }, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *all = malloc(4096), wanted[1024], got[1024];
		Axvm__V1__LaunchSpec *spec;
		size_t size = 0, n;

		for (size_t k = 0; k < ARRAY_SIZE(cases[i].fragments) && cases[i].fragments[k]; k++)
			size += protoc_encode("LaunchSpec", cases[i].fragments[k], all + size, 4096 - size);
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
