/* SPDX-License-Identifier: MIT */
/* What the shim tells of itself and of its VM, from what it has: one event a function.
 *
 * Control thread, or before there are others. Each returns what event_writer_put() does; an event
 * that is dropped is counted there, so a caller may leave the result. */
#ifndef AXVM_SHIM_ANNOUNCE_H
#define AXVM_SHIM_ANNOUNCE_H

#include "interface/stage.h"
#include "proto/axvm.pb-c.h"
#include "sandbox/verify.h"

struct shim;

/* A stage that has taken so long, as a message; for the terminal event, too. */
void announce_fill_stage(Axvm__V1__StageCompleted *to, enum axvm_stage stage, uint64_t duration_ns);

/* Stage shim->stage is done. */
int announce_stage(struct shim *shim);

/* The host does not meet the profile: every requirement in shim->verdict that is unmet. */
int announce_refusal(struct shim *shim);

/* Where guest memory is, by node, as read back into shim->ram. */
int announce_memory(struct shim *shim);

/* Every thread is confined, as `seen` from the kernel. */
int announce_sealed(struct shim *shim, const struct sandbox_seen *seen);

/* The guest runs from now on. */
int announce_running(struct shim *shim);

#endif
