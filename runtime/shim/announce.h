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

/* Fills in a completed stage and its duration; also used for the terminal event. */
void announce_fill_stage(Axvm__V1__StageCompleted *to, enum axvm_stage stage, uint64_t duration_ns);

/* Sends that stage shim->stage is done. */
int announce_stage(struct shim *shim);

/* Sends every unmet requirement in shim->verdict: the host does not meet the profile. */
int announce_refusal(struct shim *shim);

/* Sends the placement of guest memory by node, as read back into shim->ram. */
int announce_memory(struct shim *shim);

/* Sends that every thread is confined, as `seen` from the kernel. */
int announce_sealed(struct shim *shim, const struct sandbox_seen *seen);

/* Sends that the guest runs from now on. */
int announce_running(struct shim *shim);

#endif
