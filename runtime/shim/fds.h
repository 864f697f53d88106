/* SPDX-License-Identifier: MIT */
/* Whether fds 3 and 4 are what the contract says, before anything relies on them; an fd's way to
 * its number. */
#ifndef AXVM_SHIM_FDS_H
#define AXVM_SHIM_FDS_H

#include "base/problem.h"

#define CONTROL_FD 3
#define EVENT_FD 4

/* `fd` must be open for reading and be a pipe, a stream socket, a regular file or a character
 * device that is no terminal. 0, or -errno with a CONTROL_FD_UNUSABLE added. */
int check_control_fd(int fd, struct problems *problems);

/* `fd` must be open for writing and be a pipe, a stream socket, a regular file or a character
 * device that is no terminal; it must not be the other end of the pipe that `control_fd` is. 0, or
 * -errno with an EVENT_FD_UNUSABLE added. */
int check_event_fd(int fd, int control_fd, struct problems *problems);

/* Moves a new fd to its number of the fixed layout, and closes an fd there. `fd` may be negative,
 * with errno set: then -errno. Returns the number, or -errno. */
int fd_settle(int fd, int number);

#endif
