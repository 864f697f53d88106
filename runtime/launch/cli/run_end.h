/* SPDX-License-Identifier: MIT */
/* Tells a person how a VM of `axvm run` ended, and each error once. */
#ifndef AXVM_CLI_RUN_END_H
#define AXVM_CLI_RUN_END_H

#include "base/base.h"
#include "proto/axvm.pb-c.h"

#define RUN_WORDS_MAX 16384

/* What the shim writes to fd 2. Its own lines, about a launch that failed, repeat its terminal
 * event, so they are held back until the end is known. All other output goes to stderr as it
 * comes. */
struct run_words {
	bool relays;  /* the shim's fd 2 is our pipe; otherwise it is our stderr, or nothing */
	int fd;       /* our end of the pipe, non-blocking; -1: none, or at its end */
	int shims_fd; /* the shim's end, until the launch */
	bool in_line; /* the first part of a line was passed on, the rest is still to come */
	size_t size;
	char held[RUN_WORDS_MAX];
};

/* 0 or -errno. */
int run_words_open(struct run_words *words);
void run_words_close(struct run_words *words);

/* Reads what the pipe holds. False at its end. */
bool run_words_take(struct run_words *words);

struct run_end {
	bool known;      /* there was a terminal event */
	bool is_launch;  /* it ended before the seal: the shim itself has told people so */
	bool is_refusal; /* all of its errors are requirements of the profile */
	bool told;       /* its errors are on stderr already, with the printed event */
	char text[512];  /* its sentence, without the errors */
	char **errors;   /* owned */
	size_t errors_count;
};

void run_end_remember(struct run_end *end, const Axvm__V1__Terminal *terminal, bool told);
void run_end_done(struct run_end *end);

/* Prints each error that was not told yet, and the shim's held lines that say something else. */
void run_end_tell(const struct run_end *end, struct run_words *words, const char *id);

#endif
