/* SPDX-License-Identifier: MIT */
/* Commands from fd 3: each gets exactly one reply event. */
#ifndef AXVM_SHIM_COMMANDS_H
#define AXVM_SHIM_COMMANDS_H

#include "base/problem.h"
#include "shim/stream.h"

struct shim;

/* One command as it came; `context` is the shim. Carried out and replied to at once, but for a
 * pause, whose reply comes when all is at rest. Control thread; allocates nothing. */
void commands_take(const struct stream_command *command, void *context);

/* Looks whether a pause has come into force, and replies. Control thread, when it was woken. */
void commands_settle(struct shim *shim);

/* Replies to a pause that will not come into force any more. Control thread, when the VM has ended. */
void commands_end(struct shim *shim);

/* Takes back a pause; one that has not come into force yet is replied to. */
void commands_let_go_on(struct shim *shim);

/* The reply to bytes that are no command: request_id 0. */
void commands_refuse_stream(struct shim *shim, const struct problem *problem);

#endif
