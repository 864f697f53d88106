/* SPDX-License-Identifier: MIT */
/* Commands from fd 3: each gets exactly one reply event. */
#ifndef AXVM_SHIM_COMMANDS_H
#define AXVM_SHIM_COMMANDS_H

#include "base/problem.h"
#include "interface/stream.h"

struct shim;

/* Whether the next command can be taken: it reserves room for the reply, and no earlier command
 * waits for room for a report. If not, fd 3 is not read. */
bool commands_ready(struct shim *shim);

/* Takes one command; `context` is the shim. It is carried out and replied to at once, except a
 * pause, whose reply comes when the VM is at rest, and a report that waits for room. If the next
 * command cannot be taken, the stream is stopped. Control thread; allocates nothing. */
void commands_take(const struct stream_command *raw, void *context);

/* Replies with a report that waits for room, if there is room by now. */
void commands_report(struct shim *shim);

/* Replies to a pause that can no longer come into force, and with a report that waits for room,
 * within the time of event_finish(). Control thread, when the VM has ended. */
void commands_end(struct shim *shim);

/* Replies to bytes that are not a command, with request_id 0. */
void commands_refuse_stream(struct shim *shim, const struct problem *problem);

#endif
