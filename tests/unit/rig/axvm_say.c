/* SPDX-License-Identifier: MIT */
/* The `axvm` command with its streams caught; see axvm_say.h. */
#include "tests/unit/rig/axvm_say.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launch/cli/verb.h"

/* The shim that `axvm plan` asks: the one that was built with these tests, $B/tests/unit, unless
 * another is named. */
__attribute__((constructor)) static void name_shim(void)
{
	char self[PATH_MAX], path[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return;
	self[n] = '\0';
	snprintf(path, sizeof(path), "%s/../axvm-shim", dirname(self));
	setenv("AXVM_SHIM", path, 0);
}

int axvm_say_input(const void *bytes, size_t n)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* The descriptor `number` becomes `fd`; what it was. */
static int replace(int number, int fd)
{
	int before = fcntl(number, F_DUPFD_CLOEXEC, 10);

	cr_assert_eq(dup2(fd, number), number);
	return before;
}

static void put_back(int number, int before)
{
	if (before < 0) {
		close(number);
		return;
	}
	cr_assert_eq(dup2(before, number), number);
	close(before);
}

static char *whole(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *text = calloc((size_t)size + 1, 1);

	cr_assert_not_null(text);
	cr_assert_eq(pread(fd, text, (size_t)size, 0), size);
	close(fd);
	return text;
}

struct said axvm_say(const char *line, int input)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), caught = memfd_create("err", MFD_CLOEXEC),
	    in, err, argc = 1;
	char copy[1024], *argv[48] = { (char[]){ "axvm" } };
	struct said said = { 0 };
	FILE *out = open_memstream(&said.out, &said.out_size);

	cr_assert(null >= 0 && caught >= 0 && out);
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	fflush(stderr);
	in = replace(STDIN_FILENO, input < 0 ? null : input);
	err = replace(STDERR_FILENO, caught);
	said.status = verb_main(argc, argv, out);
	fflush(stderr);
	put_back(STDERR_FILENO, err);
	put_back(STDIN_FILENO, in);
	fclose(out);
	close(null);
	said.err = whole(caught);
	return said;
}

void said_done(struct said *said)
{
	free(said->out);
	free(said->err);
	*said = (struct said){ 0 };
}
