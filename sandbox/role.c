/* SPDX-License-Identifier: MIT */
/* Names of the thread roles, both ways. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "sandbox/policy.h"

static const char *const role_names[] = {
	[SANDBOX_ROLE_CONTROL] = "control",
	[SANDBOX_ROLE_VCPU] = "vcpu",
	[SANDBOX_ROLE_IO] = "io",
};
static_assert(ARRAY_SIZE(role_names) == SANDBOX_ROLE_COUNT, "one name for each role");

const char *sandbox_role_name(enum sandbox_role role)
{
	return (size_t)role < ARRAY_SIZE(role_names) ? role_names[role] : "none";
}

int sandbox_role_parse(const char *name, enum sandbox_role *ret_role)
{
	for (size_t i = 0; i < ARRAY_SIZE(role_names); i++)
		if (strcmp(name, role_names[i]) == 0) {
			*ret_role = (enum sandbox_role)i;
			return 0;
		}
	return -ENOENT;
}
