/* SPDX-License-Identifier: MIT */
/* `axvm probe`: what this host is. */
#ifndef AXVM_CLI_PROBE_H
#define AXVM_CLI_PROBE_H

#include <stdio.h>

#include "host/facts.h"

/* Options: --table (the default), --json, --text (protobuf text that `axvm admit --facts` reads
 * back),
 * --binary. Returns the exit status: 0, 64 for a wrong command line, 71 when the host cannot be
 * read. */
int axvm_cmd_probe(int argc, char **argv, FILE *out);

/* What --table prints of any host. */
void probe_table(FILE *out, const struct host_facts *facts);

#endif
