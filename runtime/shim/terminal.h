/* SPDX-License-Identifier: MIT */
/* The terminal event, put together from all that is known at the end. */
#ifndef AXVM_SHIM_TERMINAL_H
#define AXVM_SHIM_TERMINAL_H

#include "interface/outcome.h"
#include "shim/shim.h"

/* Sends the terminal event and returns the exit status. Never fails: if the event cannot be
 * written, the status still tells. A failed launch is reported on fd 2 too. Control thread. */
int terminal_emit(struct shim *shim, enum axvm_outcome outcome);

#endif
