/* SPDX-License-Identifier: MIT */
/* The verbs of the `axvm` command. */
#ifndef AXVM_CLI_VERB_H
#define AXVM_CLI_VERB_H

#include <stdio.h>

#include "launch/cli/flags.h"

struct verb {
	const char *name;
	const char *summary; /* one line of `axvm help` */
	const char *help;    /* a screen: at most 24 lines of 80 columns */
	const struct flags *flags;
	const char *const *words;  /* other words that can follow, for completion; ends with NULL */
	bool takes_file, takes_vm; /* also for completion */
	/* argv[0] is the verb. Output goes to `out`, errors to stderr. Returns the exit status. */
	int (*run)(int argc, char **argv, FILE *out);
};

/* All verbs, in the order of `axvm help`. */
const struct verb *verbs(size_t *ret_count);

/* The verb of this name, or NULL. */
const struct verb *verb_find(const char *name);

/* `axvm WORDS...`: finds the verb, answers --help, runs it. argv[0] is the program. */
int verb_main(int argc, char **argv, FILE *out);

/* The verbs that are not declared in a header of their own. */
int axvm_cmd_run(int argc, char **argv, FILE *out);
int axvm_cmd_ctl(int argc, char **argv, FILE *out);
int axvm_cmd_top(int argc, char **argv, FILE *out);
int axvm_cmd_events(int argc, char **argv, FILE *out);
int axvm_cmd_timeline(int argc, char **argv, FILE *out);
int axvm_cmd_plan(int argc, char **argv, FILE *out);
int axvm_cmd_completion(int argc, char **argv, FILE *out);

extern const struct flags run_flags, ctl_flags, top_flags, events_flags, timeline_flags, plan_flags;
extern const char *const ctl_words[];

#endif
