/* SPDX-License-Identifier: MIT */
/* `axvm policy`: shows the compiled seccomp policies and asks them questions. */
#ifndef AXVM_LAUNCH_CLI_POLICY_H
#define AXVM_LAUNCH_CLI_POLICY_H

#include <stdio.h>

/* argv[0] is "policy". Answers go to out, complaints to stderr. Returns the exit status: 0 (for
 * check: allowed), 1 (for check: denied), 64 wrong command line, 70 filter and rules disagree, 74
 * out cannot be written. */
int axvm_cmd_policy(int argc, char **argv, FILE *out);

#endif
