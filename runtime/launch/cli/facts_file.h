/* SPDX-License-Identifier: MIT */
/* A host's facts from a file, as `axvm probe --text` and `--binary` write them. */
#ifndef AXVM_CLI_FACTS_FILE_H
#define AXVM_CLI_FACTS_FILE_H

#include <stdio.h>

#include "host/facts.h"

/* The facts in a file of protobuf text or packed HostFacts, packed; the caller frees. What they say
 * is not looked at. 0, or an exit status as below. */
int facts_file_pack(const char *who, const char *path, uint8_t **ret, size_t *ret_size);

/* Fills `facts`, which come from facts_new(), from a file of protobuf text or packed HostFacts; "-"
 * is standard input. 0, or an exit status (65: no HostFacts, 66: cannot be read) when `who` has
 * said on stderr what is wrong. */
int facts_file_read(const char *who, const char *path, struct host_facts *facts);

#endif
