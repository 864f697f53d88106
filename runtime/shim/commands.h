/* SPDX-License-Identifier: MIT */
/* Commands from fd 3: each gets exactly one reply event. */
#ifndef AXVM_SHIM_COMMANDS_H
#define AXVM_SHIM_COMMANDS_H

#include "base/problem.h"
#include "interface/stream.h"

struct shim;

/* Whether the next command can be taken: room for its reply is kept (and stays so), and the one
 * before does not wait for room for a report. Otherwise fd 3 is left alone. */
bool commands_ready(struct shim *shim);

/* One command as it came; `context` is the shim. Carried out and replied to at once, but for a
 * pause, whose reply comes when all is at rest, and a report that waits for its room. When the next
 * one cannot be taken the stream is stopped. Control thread; allocates nothing. */
void commands_take(const struct stream_command *raw, void *context);

/* Replies with the report that waits for room, if there is one and room by now. */
void commands_report(struct shim *shim);

/* Replies to a pause that will not come into force any more, and with a report that waits for room,
 * as long as event_finish() may take. Control thread, when the VM has ended. */
void commands_end(struct shim *shim);

/* The reply to bytes that are no command: request_id 0. */
void commands_refuse_stream(struct shim *shim, const struct problem *problem);

#endif
