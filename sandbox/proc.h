/* SPDX-License-Identifier: MIT */
/* Reads proc(5) for this process and its threads, through one descriptor. */
#ifndef AXVM_SANDBOX_PROC_H
#define AXVM_SANDBOX_PROC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"

/* The fields of a status file that the sandbox compares. */
struct sandbox_status {
	uint32_t thread, process; /* "Pid" and "Tgid", with the numbers of this /proc */
	uint32_t uid[4], gid[4];  /* real, effective, saved, of files */
	bool has_groups;
	uint32_t pid_levels; /* PID namespaces from this /proc's to the thread's; 1: the same */
	uint64_t inheritable, permitted, effective, bounding, ambient;
	uint32_t no_new_privs, seccomp, seccomp_filters;
};

/* Opens /proc/self, which must be on proc(5), as PROC_FD. -errno with a problem. The caller closes
 * it. */
int proc_open(int *ret_fd, struct problems *problems);

/* Reads a status file ("status", "task/12/status"). A field that is missing or is no number is a
 * failure: -errno with a problem. Does not allocate. */
int proc_read_status(int proc_fd, const char *path, struct sandbox_status *ret_status,
                     struct problems *problems);

/* Calls fn for each entry of a directory ("task", "fd") whose name is a number, until it returns
 * non-zero; that is returned. -errno with a problem when the directory cannot be read. */
int proc_each(int proc_fd, const char *path,
              int (*fn)(uint32_t number, void *context, struct problems *problems), void *context,
              struct problems *problems);

#endif
