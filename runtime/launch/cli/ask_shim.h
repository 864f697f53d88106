/* SPDX-License-Identifier: MIT */
/* Runs a shim that answers a question and ends. */
#ifndef AXVM_CLI_ASK_SHIM_H
#define AXVM_CLI_ASK_SHIM_H

#include "proto/axvm.pb-c.h"

/* Runs `shim` (shim_path(); NULL: the one in PATH) with these bytes of a ControlStream and nothing
 * else, and waits for its end. 0 with its events from fd 4, which the caller frees, and its status
 * of waitpid(2); -EBADMSG if its output is not an EventStream; -errno if it could not be run. */
int ask_shim(const char *shim, const void *bytes, size_t n, Axvm__V1__EventStream **ret,
             int *ret_wait_status);

#endif
