/* SPDX-License-Identifier: MIT */
/* Opens the folder of claims, for launchers.
 *
 * Nothing is locked here. The shim makes the claims: it opens the folder again for an open file
 * description of its own (host/claims.h), and its claims end with it. Before a launcher passes the
 * folder on, it must know whether a shim of its user could claim there. */
#include <assert.h>
#include <stdio.h>

#include "host/claims_folder.h"
#include "launch/axvm.h"

static_assert(sizeof(AXVM_CLAIMS_PATH) == sizeof(CLAIMS_PATH), "one folder, by whatever name");

int axvm_claims_open(const char *path, int *ret_fd, struct axvm_error *error)
{
	const char *folder = path ? path : AXVM_CLAIMS_PATH;
	int r = claims_folder_open(folder);

	if (r >= 0) {
		*ret_fd = r;
		return 0;
	}
	if (error)
		snprintf(error->text, sizeof(error->text), "no CPUs can be claimed in %s: %s",
		         folder, claims_folder_reason(-r, folder));
	return r;
}
