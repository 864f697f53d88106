/* SPDX-License-Identifier: MIT */
/* Deadlines of the control loop, and resources as they are taken over or opened. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>

#include "shim/control.h"
#include "shim/deadline.h"
#include "shim/device/resources.h"

#define MS 1000000ULL
#define HOUR_MS 3600000

/* A wait for a deadline never ends before it, or the loop would spin through what is left; an hour
 * away, so that no time that passes here matters. */
Test(control, a_wait_is_rounded_up)
{
	const uint64_t now = deadline_now_ns(), hour = HOUR_MS * MS;

	for (uint64_t ns = 1; ns < 2 * MS; ns += 99999) {
		uint64_t deadline = now + hour + ns;
		int wait_ms = deadline_wait_ms(deadline, -1);
		/* Whatever the time is by now, waiting that long leads to the deadline or
		 * beyond. */
		uint64_t after = deadline_now_ns();

		cr_assert_geq(after + (uint64_t)wait_ms * MS, deadline, "%d ms", wait_ms);
		cr_assert_leq(wait_ms, HOUR_MS + 2);
	}
}

/* The one that the events bear, and that a clock set anew does not move. */
Test(control, its_clock_is_the_monotonic_one)
{
	struct timespec before, after;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &before);
	now = deadline_now_ns();
	clock_gettime(CLOCK_MONOTONIC, &after);
	cr_assert_geq(now, (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec);
	cr_assert_leq(now, (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
}

Test(control, the_shorter_of_deadline_and_limit)
{
	const uint64_t far = deadline_now_ns() + HOUR_MS * MS;

	cr_assert_eq(deadline_wait_ms(0, -1), -1, "no deadline, no limit");
	cr_assert_eq(deadline_wait_ms(0, 0), 0);
	cr_assert_eq(deadline_wait_ms(0, 7), 7);
	cr_assert_eq(deadline_wait_ms(far, 7), 7);
	cr_assert_eq(deadline_wait_ms(far, 0), 0);
	cr_assert_lt(deadline_wait_ms(far, INT_MAX), HOUR_MS + 1);
	cr_assert_eq(deadline_wait_ms(1, -1), 0, "passed long ago");
	cr_assert_eq(deadline_wait_ms(1, 7), 0);
	cr_assert_eq(deadline_wait_ms(UINT64_MAX - MS, -1), INT_MAX);
	cr_assert_not(deadline_passed(0), "none");
	cr_assert(deadline_passed(1));
	cr_assert_not(deadline_passed(far));
	cr_assert_not(deadline_passed(UINT64_MAX));
}

/* ---- resources ------------------------------------------------------------------------------- */

static int take(enum axvm_resource_source kind, int fd, const char *path, enum resource_use use,
                int *ret_fd, struct problems *problems)
{
	struct spec_resource resource = { .kind = kind, .fd = fd, .path = path };

	*problems = (struct problems){ 0 };
	*ret_fd = -7;
	return resource_take(&resource, use, "a.field", ret_fd, problems);
}

/* Which access modes of an fd serve which use. */
Test(resources, an_fd_must_be_open_for_its_use)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR };
	static const bool serves[][3] = {
		[RESOURCE_READ] = { true, false, true },
		[RESOURCE_APPEND] = { false, true, true },
		[RESOURCE_READ_WRITE] = { false, false, true },
	};
	struct problems problems;
	int got;

	for (int use = 0; use < (int)ARRAY_SIZE(serves); use++)
		for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
			int fd = open("/dev/null", modes[m] | O_CLOEXEC);
			int r = take(RESOURCE_SOURCE_FD, fd, NULL, (enum resource_use)use, &got,
			             &problems);

			cr_assert_eq(r, serves[use][m] ? 0 : -EBADF, "use %d, mode %zu", use, m);
			cr_assert_eq(got, serves[use][m] ? fd : -7);
			cr_assert(serves[use][m] ||
			          problems.list[0].code == ERROR_CODE_RESOURCE_UNREADABLE);
			close(fd);
		}
	cr_assert_eq(take(RESOURCE_SOURCE_FD, 999, NULL, RESOURCE_READ, &got, &problems), -EBADF);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_RESOURCE_MISSING);
	cr_assert_str_eq(problems.list[0].field, "a.field");
	cr_assert_eq(take(RESOURCE_SOURCE_NOT_SET, 0, NULL, RESOURCE_READ, &got, &problems), 0);
	cr_assert_eq(got, -1);
}

/* A directory opens for reading: it is told here, by its name, and not later as an fd that is no
 * file. */
Test(resources, a_directory_is_no_file)
{
	struct problems problems;
	int got;

	for (int use = RESOURCE_READ; use <= RESOURCE_READ_WRITE; use++) {
		cr_expect_eq(take(RESOURCE_SOURCE_PATH, -1, "/usr", (enum resource_use)use, &got,
		                  &problems),
		             -EISDIR, "use %d", use);
		cr_expect_eq(got, -7);
		cr_expect_eq(problems.list[0].code, ERROR_CODE_RESOURCE_WRONG_KIND);
		cr_expect_str_eq(problems.list[0].message,
		                 "\"/usr\" is a directory: name a file, such as one in it");
	}
}

/* What is appended to keeps what it holds, is made where it is missing, for its owner alone; what
 * is read is not made. */
Test(resources, a_path_is_opened_for_its_use)
{
	char path[] = "/tmp/axvm-resource-XXXXXX", held[16];
	int fd = mkostemp(path, O_CLOEXEC), got;
	struct problems problems;
	struct stat st;

	cr_assert_eq(write(fd, "before", 6), 6);
	cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, path, RESOURCE_APPEND, &got, &problems), 0);
	cr_assert_eq(fcntl(got, F_GETFL) & (O_ACCMODE | O_APPEND), O_WRONLY | O_APPEND);
	cr_assert_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
	cr_assert_eq(write(got, "after", 5), 5);
	cr_assert_eq(pread(fd, held, sizeof(held), 0), 11);
	cr_assert_eq(memcmp(held, "beforeafter", 11), 0);
	close(got);
	cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, path, RESOURCE_READ, &got, &problems), 0);
	cr_assert_eq(fcntl(got, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(got);
	cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, path, RESOURCE_READ_WRITE, &got, &problems), 0);
	cr_assert_eq(fcntl(got, F_GETFL) & (O_ACCMODE | O_APPEND), O_RDWR);
	close(got);
	close(fd);
	unlink(path);
	for (int use = 0; use < 3; use++) {
		bool made = use == RESOURCE_APPEND;

		cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, path, (enum resource_use)use, &got,
		                  &problems),
		             made ? 0 : -ENOENT);
		cr_assert(made || problems.list[0].code == ERROR_CODE_RESOURCE_MISSING);
		if (made) {
			cr_assert_eq(fstat(got, &st), 0);
			cr_assert_eq(st.st_mode & 0077, 0, "others may not");
			close(got);
		}
		unlink(path);
	}
	cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, "/", RESOURCE_APPEND, &got, &problems),
	             -EISDIR);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_RESOURCE_WRONG_KIND);
}

/* ---- ends whose clients come and go ---------------------------------------------------------- */

static int hold(int fd, struct problems *problems)
{
	*problems = (struct problems){ 0 };
	return resource_hold_open(fd, "a.field", problems);
}

Test(resources, a_fifo_has_no_end)
{
	char folder[] = "/tmp/axvm-fifo-XXXXXX", path[64], byte;
	struct problems problems;
	int in, out, client;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/fifo", folder);
	cr_assert_eq(mkfifo(path, 0600), 0);
	/* By a path; nobody is there. */
	cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, path, RESOURCE_READ, &in, &problems), 0);
	cr_assert_eq(read(in, &byte, 1), 0, "as it is, that is the end");
	cr_assert_eq(hold(in, &problems), 0);
	cr_assert_eq(fcntl(in, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR | O_NONBLOCK);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(read(in, &byte, 1), -1);
		cr_assert_eq(errno, EAGAIN);
		client = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		cr_assert_geq(client, 0);
		cr_assert_eq(write(client, "x", 1), 1);
		close(client);
		cr_assert_eq(read(in, &byte, 1), 1);
	}
	close(in);
	cr_assert_eq(take(RESOURCE_SOURCE_PATH, -1, path, RESOURCE_APPEND, &out, &problems), 0,
	             "%s", problems.list[0].message);
	cr_assert_eq(hold(out, &problems), 0);
	cr_assert_eq(write(out, "a", 1), 1, "nobody reads it yet");
	for (int i = 0; i < 3; i++) {
		client = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		cr_assert_eq(read(client, &byte, 1), 1, "what was written before is there");
		close(client);
		cr_assert_eq(write(out, "a", 1), 1);
	}
	close(out);
	/* An fd that waits goes on waiting. */
	out = open(path, O_RDWR | O_CLOEXEC);
	client = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(hold(client, &problems), 0);
	cr_assert_eq(fcntl(client, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDWR);
	close(client);
	close(out);
	unlink(path);
	rmdir(folder);
}

/* A pipe's other end is somebody's, and nobody else can come. */
Test(resources, a_pipe_has_an_end)
{
	struct problems problems;
	int fds[2], file = open("/dev/null", O_RDWR | O_CLOEXEC), before;
	char byte;

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	before = dup(file);
	close(before);
	cr_assert_eq(hold(fds[0], &problems), 0);
	cr_assert_eq(hold(fds[1], &problems), 0);
	cr_assert_eq(hold(file, &problems), 0);
	cr_assert_eq(dup(file), before, "nothing was opened");
	close(fds[1]);
	cr_assert_eq(read(fds[0], &byte, 1), 0);
	close(fds[0]);
}

static void set_raw(int slave)
{
	struct termios attributes;

	cr_assert_eq(tcgetattr(slave, &attributes), 0);
	cfmakeraw(&attributes);
	cr_assert_eq(tcsetattr(slave, TCSANOW, &attributes), 0);
}

Test(resources, a_ptys_master_has_no_end)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), client;
	struct problems problems;
	char byte;

	cr_assert_geq(master, 0);
	cr_assert_lt(hold(master, &problems), 0, "it is locked");
	cr_assert_eq(problems.list[0].code, ERROR_CODE_RESOURCE_UNREADABLE);
	cr_assert_str_eq(problems.list[0].field, "a.field");
	cr_assert_eq(unlockpt(master), 0);
	client = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	close(client);
	cr_assert_eq(read(master, &byte, 1), -1);
	cr_assert_eq(errno, EIO, "as it is, that is the end");
	cr_assert_eq(hold(master, &problems), 0);
	for (int i = 0; i < 3; i++) {
		client = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		cr_assert_geq(client, 0);
		set_raw(client);
		cr_assert_eq(write(client, "x", 1), 1);
		cr_assert_eq(read(master, &byte, 1), 1);
		close(client);
		cr_assert_eq(read(master, &byte, 1), -1);
		cr_assert_eq(errno, EAGAIN, "the leaving of the last client is no end");
		cr_assert_eq(write(master, "a", 1), 1);
	}
	close(master);
}

static size_t claimed(int a, bool a_written, int b, bool b_written, struct problems *problems)
{
	static struct resource_claims claims;

	claims.count = 0;
	resource_claim(&claims, -1, true, "none");
	resource_claim(&claims, a, a_written, "%c.field", 'a');
	resource_claim(&claims, b, b_written, "b.field");
	resource_claim(&claims, -1, true, "none");
	*problems = (struct problems){ 0 };
	resource_check_claims(&claims, problems);
	return problems->count;
}

/* A file that is written is in no second place; what only passes bytes on may be. */
Test(resources, a_file_that_is_written_is_nothing_else)
{
	char path[] = "/tmp/axvm-claims-XXXXXX";
	int file = mkostemp(path, O_CLOEXEC), again = open(path, O_RDONLY | O_CLOEXEC);
	int other = memfd_create("other", MFD_CLOEXEC),
	    null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), ends[2];
	struct problems problems;

	unlink(path);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert_eq(claimed(file, false, again, false, &problems), 0);
	cr_assert_eq(claimed(file, true, again, false, &problems), 1);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_SPEC_INVALID);
	cr_assert_str_eq(problems.list[0].field, "a.field");
	cr_assert_not_null(strstr(problems.list[0].message, "the same file as b.field"), "%s",
	                   problems.list[0].message);
	cr_assert_eq(claimed(file, false, again, true, &problems), 1);
	cr_assert_str_eq(problems.list[0].field, "b.field");
	cr_assert_not_null(strstr(problems.list[0].message, "a.field"), "%s",
	                   problems.list[0].message);
	cr_assert_eq(claimed(file, true, again, true, &problems), 1);
	cr_assert_eq(claimed(file, true, other, true, &problems), 0);
	/* One that cannot be asked is not taken for another. */
	cr_assert_eq(claimed(900, true, other, true, &problems), 1);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_OS_FAILED);
	cr_assert_str_eq(problems.list[0].field, "a.field");
	cr_assert_eq(claimed(null, true, null, true, &problems), 0);
	cr_assert_eq(claimed(terminal, true, terminal, true, &problems), 0);
	cr_assert_eq(claimed(ends[1], true, ends[1], true, &problems), 0);
	cr_assert_eq(claimed(-1, true, -1, true, &problems), 0);
}
