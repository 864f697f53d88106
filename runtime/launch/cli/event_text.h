/* SPDX-License-Identifier: MIT */
/* Prints events for people, and as JSON lines for programs. */
#ifndef AXVM_CLI_EVENT_TEXT_H
#define AXVM_CLI_EVENT_TEXT_H

#include <stdio.h>

#include "proto/axvm.pb-c.h"

/* The kind of an event: "memory placed", "running". NULL for a kind of a later version. */
const char *event_kind(const Axvm__V1__Event *event);

/* Prints an event as one line: time since `start_ns` (the first event's monotonic time), kind, and
 * its main fields. Errors of a terminal event and requirements of a refusal get lines of their
 * own. */
void event_print(FILE *out, const Axvm__V1__Event *event, uint64_t start_ns);

/* One line of JSON. */
void event_print_json(FILE *out, const Axvm__V1__Event *event);

/* "1.5 ms" */
const char *format_ns(uint64_t ns, char *to, size_t size);

/* "1.5 GiB" */
const char *format_bytes(uint64_t bytes, char *to, size_t size);

/* The name of an enum's value without its prefix; "?" for an unknown value. */
const char *state_name(int state);
const char *event_stage_name(int stage);

/* The sentence of a terminal event without the error that it quotes, since the list of errors has
 * it: "launch failed" of "launch failed: ... (and 2 more)". Returns `to`. */
const char *event_end_phrase(const Axvm__V1__Terminal *terminal, char *to, size_t size);

#endif
