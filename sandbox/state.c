/* SPDX-License-Identifier: MIT */
/* Steps that this kernel or this user cannot take, by name. */
#include "sandbox/state.h"

void sandbox_not_available(struct sandbox *sandbox, const char *name)
{
	if (sandbox->not_available_count < SANDBOX_NOT_AVAILABLE_MAX)
		sandbox->not_available[sandbox->not_available_count++] = name;
}
