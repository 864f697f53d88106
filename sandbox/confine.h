/* SPDX-License-Identifier: MIT */
/* Stage confine: gives up privileges and access while the process has only one thread. */
#ifndef AXVM_SANDBOX_CONFINE_H
#define AXVM_SANDBOX_CONFINE_H

#include "sandbox/state.h"

/* The name of a step, from 0 in their order; NULL beyond the last. Constant storage. */
const char *sandbox_confine_step(size_t index);

/* Takes the steps that need no spec, if the process has the capabilities for them. If one fails,
 * sandbox_confine() reports it when it reaches that step; no step is tried twice. Call it after
 * sandbox_arrive(). */
void sandbox_prepare(struct sandbox *sandbox);

/* Takes all steps that sandbox_prepare() has not taken. 0, or -errno with a problem
 * (ERROR_CODE_SANDBOX_FAILED): the process must then end. Leaves proc_fd and landlock_fd open for
 * what follows. The only thread of the process; allocates. A step that is left out because it needs
 * root is named in `not_available`. */
int sandbox_confine(struct sandbox *sandbox, const struct sandbox_config *config,
                    struct problems *problems);

#endif
