/* SPDX-License-Identifier: MIT */
/* `axvm admit`: this host, or one whose facts were written to a file, held against a profile. */
#ifndef AXVM_CLI_ADMIT_H
#define AXVM_CLI_ADMIT_H

#include <stdio.h>

/* Options: --profile NAME (xv2), --tenancy shared|dedicated (shared), --facts FILE (protobuf text
 * or binary HostFacts; "-" is standard input), --json. Returns the exit status: 0 admitted, 69
 * refused, 64 for a wrong command line, 65 for a file that is no HostFacts, 66 for one that cannot
 * be read, 71. Facts from a file are looked at and nothing else: no launch takes them. */
int axvm_cmd_admit(int argc, char **argv, FILE *out);

#endif
