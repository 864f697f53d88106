/* SPDX-License-Identifier: MIT */
/* Polls for work for a while before the loop sleeps. Private to the loop. */
#ifndef AXVM_IO_BUSY_POLL_H
#define AXVM_IO_BUSY_POLL_H

#include "io/loop_state.h"

/* Polls without a system call. True: a turn would find something. False: busy_poll_us have passed
 * since the last work, and every client has asked for announcements again, so the loop may sleep.
 * Returns false at once in a loop that does not poll. Loop thread. */
bool io_busy_poll(struct io_loop *loop);

/* Starts the polling time again, after a turn that found something. */
void io_busy_poll_again(struct io_loop *loop);

#endif
