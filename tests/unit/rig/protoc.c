/* SPDX-License-Identifier: MIT */
/* Runs protoc from the project's root with its input and output in memory files. */
#include "tests/unit/rig/protoc.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/rig/wait.h"

static int run(const char *option, const char *type, const void *input, size_t n, void *output,
               size_t size, size_t *ret_length)
{
	char what[96];
	char program[] = "protoc", schema[] = "proto/axvm.proto";
	char *argv[] = { program, what, schema, NULL };
	posix_spawn_file_actions_t actions;
	int in = memfd_create("protoc-in", MFD_CLOEXEC),
	    out = memfd_create("protoc-out", MFD_CLOEXEC);
	int status;
	ssize_t length;
	pid_t pid;

	snprintf(what, sizeof(what), "--%s=axvm.v1.%s", option, type);
	cr_assert(in >= 0 && out >= 0);
	cr_assert_eq(pwrite(in, input, n, 0), (ssize_t)n);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	cr_assert_eq(posix_spawnp(&pid, "protoc", &actions, NULL, argv, environ), 0,
	             "protoc cannot be run");
	posix_spawn_file_actions_destroy(&actions);
	status = wait_child(pid);
	length = pread(out, output, size, 0);
	cr_assert(length >= 0 && (size_t)length < size, "protoc gave %zd bytes", length);
	*ret_length = (size_t)length;
	close(in);
	close(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

size_t protoc_encode(const char *type, const char *text, uint8_t *to, size_t size)
{
	size_t length = 0;

	cr_assert_eq(run("encode", type, text, strlen(text), to, size, &length), 0,
	             "protoc takes no %s of: %s", type, text);
	return length;
}

int protoc_decode(const char *type, const uint8_t *bytes, size_t n, char *to, size_t size)
{
	size_t length = 0;
	int status = run("decode", type, bytes, n, to, size - 1, &length);

	to[length] = '\0';
	return status;
}
