/* SPDX-License-Identifier: MIT */
/* The folder of claims, for who launches VMs.
 *
 * Nothing is locked here: a claim is the shim's, which opens the folder again for a description of
 * its own (host/claims.h), and dies with it. What a launcher needs to know before it hands the
 * folder down is whether a shim of its user could claim there. */
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
