/* SPDX-License-Identifier: MIT */
/* Stage confine: everything that is taken from the one thread before there are more. */
#ifndef AXVM_SANDBOX_CONFINE_H
#define AXVM_SANDBOX_CONFINE_H

#include "sandbox/state.h"

/* The name of a step, from 0 in their order; NULL beyond the last. Constant storage. */
const char *sandbox_confine_step(size_t index);

/* Takes the steps that need no spec, where the process has the capabilities for them. That one
 * failed is told by sandbox_confine(), whose step it is; none is tried twice. After
 * sandbox_arrive(). */
void sandbox_prepare(struct sandbox *sandbox);

/* Takes all steps, or those that are left. 0, or -errno with a problem (ERROR_CODE_SANDBOX_FAILED):
 * the process must then end. Leaves proc_fd and landlock_fd open for what follows. The only thread
 * of the process; allocates. A step that needs root and has none is named in `not_available`. */
int sandbox_confine(struct sandbox *sandbox, const struct sandbox_config *config,
                    struct problems *problems);

#endif
