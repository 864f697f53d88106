/* SPDX-License-Identifier: MIT */
/* Joins the control groups that the spec names by descriptor. */
#ifndef AXVM_SANDBOX_CGROUP_H
#define AXVM_SANDBOX_CGROUP_H

#include <stddef.h>

#include "base/problem.h"

/* Moves the process into each of the n groups (a directory of cgroup v2, or of a v1 controller) and
 * closes the descriptors. Call it before memory is touched: a page is charged to the group that the
 * process is in when it first touches the page, and stays charged to it. -errno with a problem.
 * cgroups(7). */
int sandbox_join_cgroups(const int *fds, size_t n, struct problems *problems);

#endif
