/* SPDX-License-Identifier: MIT */
/* Runs unit tests without Criterion: each in a child of its own, as many at once as there are
 * processors.
 *
 * Usage: unit-bare [-x WHICH]... [WHICH]...      (SUITE or SUITE/NAME; all without one; -x: but not
 *                                                these)
 *
 * A WHICH that is no test's name is an error (status 64): nothing would be run, or left out. What a
 * child writes goes to a file, and is shown when it failed. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stand_in.h"

#define CHILDREN_MAX 16
#define TIMEOUT 240 /* seconds; what runs here runs many times slower than it is meant to */

static struct stand_in_test *tests, **last = &tests;

struct child {
	pid_t pid;
	int output;
	const struct stand_in_test *test;
};

static struct child children[CHILDREN_MAX];
static unsigned passed, failed, skipped;

void stand_in_add(struct stand_in_test *test)
{
	*last = test;
	last = &test->next;
}

static struct stand_in_options options_of(const struct stand_in_test *test)
{
	struct stand_in_options options = test->options;

	for (const struct stand_in_test *t = tests; t; t = t->next) {
		if (t->run || strcmp(t->suite, test->suite) != 0)
			continue;
		options.init = options.init ? options.init : t->options.init;
		options.fini = options.fini ? options.fini : t->options.fini;
	}
	return options;
}

static void run(const struct stand_in_test *test, int output)
{
	struct stand_in_options options = options_of(test);

	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	close(output);
	alarm(TIMEOUT);
	if (options.init)
		options.init();
	test->run();
	if (options.fini)
		options.fini();
	/* exit: the sanitizers' last checks are there. */
	exit(stand_in_has_failed ? 1 : 0);
}

static void show(int output)
{
	char buffer[4096];
	ssize_t n;

	lseek(output, 0, SEEK_SET);
	while ((n = read(output, buffer, sizeof(buffer))) > 0)
		(void)!write(STDOUT_FILENO, buffer, (size_t)n);
}

static void reap(void)
{
	int status;
	pid_t pid = wait(&status);

	for (size_t i = 0; i < CHILDREN_MAX; i++) {
		struct child *c = &children[i];

		if (c->pid != pid)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			passed++;
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == STAND_IN_SKIPPED) {
			skipped++;
			printf("skip %s/%s: ", c->test->suite, c->test->name);
			fflush(stdout);
			show(c->output);
		} else {
			failed++;
			printf("FAILED %s/%s: status %#x\n", c->test->suite, c->test->name,
			       (unsigned)status);
			fflush(stdout);
			show(c->output);
		}
		close(c->output);
		*c = (struct child){ 0 };
		return;
	}
}

static bool is_named(const struct stand_in_test *test, const char *which)
{
	size_t length = strlen(test->suite);

	return strncmp(which, test->suite, length) == 0 &&
	       (which[length] == '\0' ||
	        (which[length] == '/' && strcmp(which + length + 1, test->name) == 0));
}

static bool wanted(const struct stand_in_test *test, int argc, char **argv)
{
	bool named = false, any = false;

	for (int i = 1; i < argc; i++) {
		bool without = strcmp(argv[i], "-x") == 0 && i + 1 < argc;

		if (without && is_named(test, argv[++i]))
			return false;
		any |= !without;
		named |= !without && is_named(test, argv[i]);
	}
	return test->run && (named || !any);
}

/* Whether each word on the command line names a test; those that do not are said. */
static bool all_are_tests(int argc, char **argv)
{
	bool all = true;

	for (int i = 1; i < argc; i++) {
		const struct stand_in_test *t = tests;

		if (strcmp(argv[i], "-x") == 0 && i + 1 < argc)
			i++;
		while (t && !(t->run && is_named(t, argv[i])))
			t = t->next;
		if (!t)
			fprintf(stderr, "unit-bare: there is no test or suite %s\n", argv[i]);
		all &= t != NULL;
	}
	return all;
}

int main(int argc, char **argv)
{
	size_t jobs = (size_t)sysconf(_SC_NPROCESSORS_ONLN), running = 0;

	if (!all_are_tests(argc, argv))
		return 64; /* EX_USAGE */
	jobs = jobs < CHILDREN_MAX ? jobs : CHILDREN_MAX;
	for (const struct stand_in_test *t = tests; t; t = t->next) {
		struct child *c = children;

		if (!wanted(t, argc, argv))
			continue;
		for (; running == jobs; running--)
			reap();
		while (c->pid)
			c++;
		c->test = t;
		c->output = memfd_create(t->name, MFD_CLOEXEC);
		fflush(stdout);
		c->pid = fork();
		if (c->pid == 0)
			run(t, c->output);
		if (c->output < 0 || c->pid < 0)
			return 1;
		running++;
	}
	for (; running > 0; running--)
		reap();
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed > 0 || passed == 0;
}
