/* SPDX-License-Identifier: MIT */
/* Capabilities out of every set, with libcap-ng (capabilities(7)). */
#include "sandbox/capabilities.h"

#include <cap-ng.h>
#include <errno.h>

int sandbox_drop_capabilities(struct problems *problems)
{
	capng_select_t sets = CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT;

	if (capng_get_caps_process() != 0)
		return problems_add(problems, PROBLEM_SANDBOX_FAILED, EIO, NULL,
		                    "cannot read the process's capabilities");
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP))
		sets |= CAPNG_SELECT_BOUNDS;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(sets) != 0)
		return problems_add(problems, PROBLEM_SANDBOX_FAILED, EPERM, NULL,
		                    "cannot drop capabilities");
	if (capng_get_caps_process() != 0 || capng_have_capabilities(sets) != CAPNG_NONE)
		return problems_add(problems, PROBLEM_SANDBOX_FAILED, EPERM, NULL,
		                    "a capability is left after all were dropped");
	return 0;
}
