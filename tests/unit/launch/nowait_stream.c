/* SPDX-License-Identifier: MIT */
/* Output that waits for its reader without its writer. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch/cli/nowait_stream.h"
#include "rig/wait.h"

#define LINES 20000u
#define LINE_BYTES 16

static struct nowait_stream stream;

TestSuite(nowait_stream, .timeout = 60);

static void write_lines(void)
{
	for (unsigned i = 0; i < LINES; i++)
		cr_assert_eq(fprintf(stream.file, "line %9u\n", i), LINE_BYTES - 1);
}

/* Reads what there is, and lets the stream go on, until all lines have come, in their order. */
static void read_lines(int fd)
{
	static char bytes[LINES * (LINE_BYTES - 1) + 1];
	size_t used = 0;

	while (used < sizeof(bytes) - 1) {
		ssize_t n = read(fd, bytes + used, sizeof(bytes) - 1 - used);

		cr_assert_gt(n, 0);
		used += (size_t)n;
		(void)nowait_flush(&stream);
	}
	for (unsigned i = 0; i < LINES; i++) {
		char line[LINE_BYTES];

		snprintf(line, sizeof(line), "line %9u\n", i);
		cr_assert_eq(memcmp(bytes + i * (LINE_BYTES - 1), line, LINE_BYTES - 1), 0,
		             "line %u", i);
	}
	cr_assert(nowait_flush(&stream));
	cr_assert_eq(nowait_waiting(&stream), 0);
}

/* 300 KB into a pipe that holds 64: they are taken, wait, and come. The pipe stays as it was for
 * others. */
Test(nowait_stream, a_pipe_that_nobody_reads)
{
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(nowait_open(&stream, ends[1]), 0);
	write_lines();
	cr_assert_gt(nowait_waiting(&stream), 100 * KIB);
	cr_assert_not(nowait_flush(&stream));
	cr_assert_not(fcntl(ends[1], F_GETFL) & O_NONBLOCK);
	read_lines(ends[0]);
	nowait_close(&stream);
	close(ends[0]);
	close(ends[1]);
}

/* One that cannot be opened again is asked how ready it is. */
Test(nowait_stream, a_pipe_by_its_readiness)
{
	int ends[2];

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(nowait_open(&stream, ends[1]), 0);
	close_ptr(&stream.again_fd);
	write_lines();
	cr_assert_gt(nowait_waiting(&stream), 100 * KIB);
	read_lines(ends[0]);
	nowait_close(&stream);
	close(ends[0]);
	close(ends[1]);
}

Test(nowait_stream, a_socket_that_nobody_reads)
{
	int pair[2], small = 4096;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	cr_assert_eq(nowait_open(&stream, pair[1]), 0);
	write_lines();
	cr_assert_gt(nowait_waiting(&stream), 100 * KIB);
	read_lines(pair[0]);
	nowait_close(&stream);
	close(pair[0]);
	close(pair[1]);
}

/* A file's place is the one of who shares it, and nothing ever waits. */
Test(nowait_stream, a_file_is_written_where_it_stands)
{
	int fd = memfd_create("out", MFD_CLOEXEC);
	char found[16] = "";

	cr_assert_eq(write(fd, "before ", 7), 7);
	cr_assert_eq(nowait_open(&stream, fd), 0);
	fputs("and ", stream.file);
	cr_assert_eq(nowait_waiting(&stream), 0);
	cr_assert_eq(write(fd, "after", 5), 5);
	cr_assert_eq(pread(fd, found, sizeof(found), 0), 16);
	cr_assert_eq(memcmp(found, "before and after", 16), 0);
	nowait_close(&stream);
	close(fd);
}

/* Whoever reads has gone: nothing waits for him, and nothing is kept. */
Test(nowait_stream, a_reader_that_is_gone)
{
	int ends[2];

	(void)signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(nowait_open(&stream, ends[1]), 0);
	write_lines();
	close(ends[0]);
	cr_assert(nowait_flush(&stream));
	cr_assert_eq(nowait_waiting(&stream), 0);
	write_lines();
	cr_assert_eq(nowait_waiting(&stream), 0);
	nowait_close(&stream);
	close(ends[1]);
	cr_assert_eq(nowait_open(&stream, ends[1]), -EBADF);
}
