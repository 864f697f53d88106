/* SPDX-License-Identifier: MIT */
/* What the tests of the policies share: a scratch directory, files in it, and programs run to their
 * end. */
#include "tests/unit/rig/policy_tools.h"

#include <criterion/criterion.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void tool_policyc_path(char *path, size_t size)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	cr_assert_gt(n, 0);
	self[n] = '\0';
	cr_assert_lt(snprintf(path, size, "%s/../hack/policyc", dirname(self)), (int)size);
	cr_assert_eq(access(path, X_OK), 0, "%s is not built", path);
}

void tool_scratch(char *path, size_t size)
{
	const char *parent = getenv("TMPDIR");

	cr_assert_lt(snprintf(path, size, "%s/axvm-policy-XXXXXX", parent ? parent : "/tmp"),
	             (int)size);
	cr_assert_not_null(mkdtemp(path));
}

void tool_remove(const char *path)
{
	char command[4200], output[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	cr_assert_eq(tool_run(command, output, sizeof(output)), 0);
}

void tool_write(const char *dir, const char *name, const char *text)
{
	char path[4200];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "we");
	cr_assert_not_null(file);
	cr_assert_geq(fputs(text, file), 0);
	cr_assert_eq(fclose(file), 0);
}

int tool_run(const char *command, char *output, size_t size)
{
	char whole[8192];
	size_t n;
	FILE *pipe;
	int status;

	cr_assert_lt(snprintf(whole, sizeof(whole), "exec 2>&1; %s", command), (int)sizeof(whole));
	pipe = popen(whole, "re");
	cr_assert_not_null(pipe);
	n = fread(output, 1, size - 1, pipe);
	output[n] = '\0';
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
