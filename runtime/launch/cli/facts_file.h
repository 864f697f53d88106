/* SPDX-License-Identifier: MIT */
/* Reads a host's facts from a file that `axvm probe --text` or `--binary` wrote. */
#ifndef AXVM_CLI_FACTS_FILE_H
#define AXVM_CLI_FACTS_FILE_H

#include <stdio.h>

#include "host/facts.h"

/* Reads a file of protobuf text or packed HostFacts and returns it packed; the caller frees it. The
 * values are not checked. 0, or an exit status as below. */
int facts_file_pack(const char *who, const char *path, uint8_t **ret, size_t *ret_size);

/* Fills `facts`, made by facts_new(), from a file of protobuf text or packed HostFacts; "-" is
 * standard input. 0, or an exit status (65: not HostFacts, 66: cannot be read) after a message on
 * stderr that begins with `who`. */
int facts_file_read(const char *who, const char *path, struct host_facts *facts);

#endif
