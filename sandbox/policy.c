/* SPDX-License-Identifier: MIT */
/* Names of system calls, both ways. */
#include "sandbox/policy.h"

#include <errno.h>
#include <string.h>

const char *sandbox_syscall_name(int64_t nr)
{
	if (nr < 0 || (uint64_t)nr >= sandbox_syscall_names_count)
		return NULL;
	return sandbox_syscall_names[nr];
}

int sandbox_syscall_parse(const char *name, int *ret_nr)
{
	for (size_t i = 0; i < sandbox_syscall_names_count; i++)
		if (sandbox_syscall_names[i] && strcmp(name, sandbox_syscall_names[i]) == 0) {
			*ret_nr = (int)i;
			return 0;
		}
	return -ENOENT;
}
