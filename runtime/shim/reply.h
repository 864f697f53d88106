/* SPDX-License-Identifier: MIT */
/* The reply to a command. */
#ifndef AXVM_SHIM_REPLY_H
#define AXVM_SHIM_REPLY_H

#include "base/problem.h"
#include "proto/axvm.pb-c.h"

struct shim;

/* Puts a reply with the VM's stage and state; `error` NULL: done. commands_ready() has reserved its
 * room. Control thread. */
void reply_put(struct shim *shim, uint64_t request_id, const struct problem *error);

/* The same with a report, which may need more than the reserved room: -ENOBUFS then, and nothing is
 * put. */
int reply_put_report(struct shim *shim, uint64_t request_id, Axvm__V1__MetricsReport *report);

#endif
