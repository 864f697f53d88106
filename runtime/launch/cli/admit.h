/* SPDX-License-Identifier: MIT */
/* `axvm admit`: compares this host, or the facts of a host from a file, with a profile. */
#ifndef AXVM_CLI_ADMIT_H
#define AXVM_CLI_ADMIT_H

#include <stdio.h>

/* Options: --profile NAME (xv2), --tenancy shared|dedicated (shared), --facts FILE (protobuf text
 * or binary HostFacts; "-" is standard input), --json. Returns the exit status: 0 admitted, 69
 * refused, 64 for a wrong command line, 65 for a file that is not HostFacts, 66 for one that cannot
 * be read, 71 for a host that cannot be read. No launch uses facts from a file. */
int axvm_cmd_admit(int argc, char **argv, FILE *out);

#endif
