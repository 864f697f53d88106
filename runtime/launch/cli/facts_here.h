/* SPDX-License-Identifier: MIT */
/* This host's facts, with the results of a trial of the sandbox, for `probe` and `admit`. */
#ifndef AXVM_CLI_FACTS_HERE_H
#define AXVM_CLI_FACTS_HERE_H

#include "host/facts.h"

/* Calls facts_probe(), then has a child take the sandbox's steps to find the offers that only a
 * trial can show. Errors of facts_probe(). */
int facts_here(struct host_facts *facts);

#endif
