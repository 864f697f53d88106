/* SPDX-License-Identifier: MIT */
/* How a VM of `axvm run` ended, as it is told to a person: each error once. */
#ifndef AXVM_CLI_RUN_END_H
#define AXVM_CLI_RUN_END_H

#include "base/base.h"
#include "proto/axvm.pb-c.h"

#define RUN_WORDS_MAX 16384

/* What the shim writes to fd 2. Its own lines, which tell of a launch that failed, say what its
 * terminal event says as well: they are held back until the end is told. All else goes on to stderr
 * as it comes. */
struct run_words {
	bool relays;  /* they come through here; else the shim has our stderr itself, or none */
	int fd;       /* to read from, non-blocking; -1: none, or at its end */
	int shims_fd; /* the shim's end, until the launch */
	bool in_line; /* the beginning of a line was passed on, its rest is still to come */
	size_t size;
	char held[RUN_WORDS_MAX];
};

/* 0 or -errno. */
int run_words_open(struct run_words *words);
void run_words_close(struct run_words *words);

/* Takes what is there. False at the end. */
bool run_words_take(struct run_words *words);

struct run_end {
	bool known;      /* there was a terminal event */
	bool is_launch;  /* it never came as far as the seal: the shim tells people so itself */
	bool is_refusal; /* its errors are the profile's, and nothing else */
	bool told;       /* its errors are on stderr already, where the event was printed */
	char text[512];  /* its sentence, without the errors */
	char **errors;   /* owned */
	size_t errors_count;
};

void run_end_remember(struct run_end *end, const Axvm__V1__Terminal *terminal, bool told);
void run_end_done(struct run_end *end);

/* Each error that is not told yet, and what else of the shim's own lines was held back. */
void run_end_tell(const struct run_end *end, struct run_words *words, const char *id);

#endif
