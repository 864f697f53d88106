/* SPDX-License-Identifier: MIT */
/* The symbols a policy may name in a condition, and their values. */
#ifndef AXVM_SANDBOX_POLICY_SYMBOLS_H
#define AXVM_SANDBOX_POLICY_SYMBOLS_H

#include <stdint.h>

/* Returns 0 and the value of the symbol of that name, or -ENOENT. */
int sandbox_symbol_value(const char *name, uint64_t *ret_value);

#endif
