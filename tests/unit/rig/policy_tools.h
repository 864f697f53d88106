/* SPDX-License-Identifier: MIT */
/* What the tests of the policies share: a scratch directory, files in it, and programs run to their
 * end. */
#ifndef AXVM_TESTS_POLICY_TOOLS_H
#define AXVM_TESTS_POLICY_TOOLS_H

#include <stddef.h>

/* The path of the built policyc: beside the folder of this test program. */
void tool_policyc_path(char *path, size_t size);

/* Makes a scratch directory; tool_remove() takes it away with all that is in it. */
void tool_scratch(char *path, size_t size);
void tool_remove(const char *path);

/* Writes text into dir/name; fails the test when it cannot. */
void tool_write(const char *dir, const char *name, const char *text);

/* Runs a shell command, collects what it writes to 1 and 2, and returns its exit status or -1. */
int tool_run(const char *command, char *output, size_t size);

#endif
