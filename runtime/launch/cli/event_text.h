/* SPDX-License-Identifier: MIT */
/* Events for people, and for programs that read lines. */
#ifndef AXVM_CLI_EVENT_TEXT_H
#define AXVM_CLI_EVENT_TEXT_H

#include <stdio.h>

#include "proto/axvm.pb-c.h"

/* "memory placed", "running": what an event is, NULL for one of a later version. */
const char *event_kind(const Axvm__V1__Event *event);

/* One line: since when, what, and what matters of it. `start_ns` is the first event's monotonic
 * time. The errors of a terminal event and the requirements of a refusal are lines of their own. */
void event_print(FILE *out, const Axvm__V1__Event *event, uint64_t start_ns);

/* One line of JSON. */
void event_print_json(FILE *out, const Axvm__V1__Event *event);

/* "1.5 ms" */
const char *format_ns(uint64_t ns, char *to, size_t size);

/* "1.5 GiB" */
const char *format_bytes(uint64_t bytes, char *to, size_t size);

/* The name of an enum's value without its prefix; "?" when it has none. */
const char *state_name(int state);
const char *event_stage_name(int stage);

/* The sentence of a terminal event without the error that it quotes, which is in the list of
 * errors: "launch failed" of "launch failed: ... (and 2 more)". Returns `to`. */
const char *event_end_phrase(const Axvm__V1__Terminal *terminal, char *to, size_t size);

#endif
