/* SPDX-License-Identifier: MIT */
/* The folder of claims, for who launches VMs.
 *
 * Nothing is locked here: a claim is the shim's, which opens the folder again for a description of its own
 * (host/claims.h), and dies with it. What a launcher needs to know before it hands the folder down is whether a shim of
 * its user could claim there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "launch/axvm.h"

/* What is wrong, and what to do: where it is axvm's own folder, and where it is another. */
static const struct {
	int error_number;
	const char *axvms, *other;
} reasons[] = {
	{ ENOENT, "it is not there; `systemd-tmpfiles --create` makes it",
	  "it is not there; make it, mode 3770, its group all who launch VMs here" },
	{ EACCES, "this user may not write there; the group kvm may",
	  "this user may not write there; its group has to be all who launch VMs here" },
};

static const char *reason(int error_number, const char *folder)
{
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].error_number == error_number)
			return strcmp(folder, AXVM_CLAIMS_PATH) == 0 ? reasons[i].axvms : reasons[i].other;
	return strerrordesc_np(error_number);
}

int axvm_claims_open(const char *path, int *ret_fd, struct axvm_error *error)
{
	const char *folder = path ? path : AXVM_CLAIMS_PATH;
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = 0;

	if (fd < 0 || faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0)
		r = -errno;
	if (r == 0)
		*ret_fd = take_fd(&fd);
	else if (error)
		snprintf(error->text, sizeof(error->text), "no CPUs can be claimed in %s: %s", folder,
		         reason(-r, folder));
	return r;
}
