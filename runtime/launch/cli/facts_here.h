/* SPDX-License-Identifier: MIT */
/* This host's facts, with what the sandbox finds of it: for `probe` and `admit`. */
#ifndef AXVM_CLI_FACTS_HERE_H
#define AXVM_CLI_FACTS_HERE_H

#include "host/facts.h"

/* facts_probe(), then the offers that only a trial tells: a child takes the sandbox's steps. Its
 * errors. */
int facts_here(struct host_facts *facts);

#endif
