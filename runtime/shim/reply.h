/* SPDX-License-Identifier: MIT */
/* The reply to a command. */
#ifndef AXVM_SHIM_REPLY_H
#define AXVM_SHIM_REPLY_H

#include "base/problem.h"
#include "proto/axvm.pb-c.h"

struct shim;

/* Puts it, with the VM's stage and state; `error` NULL: done. Its room has been kept
 * (commands_ready). Control thread. */
void reply_put(struct shim *shim, uint64_t request_id, const struct problem *error);

/* The same with a report, with which it can be larger than the room that was kept: -ENOBUFS then,
 * and nothing has happened. */
int reply_put_report(struct shim *shim, uint64_t request_id, Axvm__V1__MetricsReport *report);

#endif
