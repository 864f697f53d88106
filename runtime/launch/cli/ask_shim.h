/* SPDX-License-Identifier: MIT */
/* A shim that is asked something, and ends with the answer. */
#ifndef AXVM_CLI_ASK_SHIM_H
#define AXVM_CLI_ASK_SHIM_H

#include "proto/axvm.pb-c.h"

/* Runs `shim` (shim_path(); NULL: the one in PATH) with these bytes of a ControlStream and nothing
 * else, and waits for its end. 0 with what it has written to fd 4, the caller's to free, and the
 * status that waitpid(2) gave; -EBADMSG when what it has written is no EventStream; -errno when it
 * could not be run. */
int ask_shim(const char *shim, const void *bytes, size_t n, Axvm__V1__EventStream **ret,
             int *ret_wait_status);

#endif
