/* SPDX-License-Identifier: MIT */
/* Whether what a shim wrote to fd 4 goes with its exit status. */
#ifndef AXVM_TESTS_JUDGE_H
#define AXVM_TESTS_JUDGE_H

#include <stdio.h>

#include "base/base.h"
#include "proto/axvm.pb-c.h"

struct verdict {
	Axvm__V1__Outcome outcome;
	Axvm__V1__ErrorCode code; /* of the first error, or OK */
	Axvm__V1__Stage stage;    /* of the first error, or of the terminal event */
	bool silent;              /* the stream is empty */
};

#define FAULT(...) (fprintf(stderr, "judge: " __VA_ARGS__), fputc('\n', stderr), false)

/* Exactly one terminal event, the last; events numbered without a gap that is not accounted for;
 * every error whole; a launch that failed names the stage after the last one completed; the exit
 * status is that of the outcome or of the first error. False, and a line on stderr, when not. */
bool judge(const uint8_t *bytes, size_t length, int status, struct verdict *ret);

/* What a stream that is still being written tells so far; its last event may be cut off. `what` is
 * "running" (the Running event), "stopping" (the change to that state), or the name of a counter,
 * which is to be above 0 in a report. */
enum told { TOLD_NOT_YET, TOLD_IT, TOLD_THE_END };
enum told stream_tells(const uint8_t *bytes, size_t length, const char *what);

#endif
