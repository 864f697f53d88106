/* SPDX-License-Identifier: MIT */
/* Looking for work for a while before sleeping. Inside of the loop. */
#ifndef AXVM_IO_BUSY_POLL_H
#define AXVM_IO_BUSY_POLL_H

#include "io/loop_state.h"

/* Without a system call, until there is something that a turn would find: true; or until the loop's
 * busy_poll_us are over since there last was, when every client has had its work announced again:
 * false, the loop may sleep. At once false in a loop that does not poll. Loop thread. */
bool io_busy_poll(struct io_loop *loop);

/* A turn found something: the time starts again. */
void io_busy_poll_again(struct io_loop *loop);

#endif
