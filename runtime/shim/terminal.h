/* SPDX-License-Identifier: MIT */
/* The terminal event, put together from all that is known at the end. */
#ifndef AXVM_SHIM_TERMINAL_H
#define AXVM_SHIM_TERMINAL_H

#include "interface/outcome.h"
#include "shim/shim.h"

/* Emits the terminal event and returns the exit status. Never fails: what cannot be written is
 * still in the status. A launch that failed is told on fd 2 as well. Control thread. */
int terminal_emit(struct shim *shim, enum axvm_outcome outcome);

#endif
