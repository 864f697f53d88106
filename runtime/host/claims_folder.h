/* SPDX-License-Identifier: MIT */
/* Whether a VM of this user could claim CPUs in a folder, and if not, why. libaxvm uses it too and
 * links no object of this room, so all of it is in this header. */
#ifndef AXVM_HOST_CLAIMS_FOLDER_H
#define AXVM_HOST_CLAIMS_FOLDER_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/base.h"
#include "host/claims.h"

/* A descriptor of the folder, or -errno if no process of this user could claim there. */
static inline int claims_folder_open(const char *folder)
{
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0)
		return -errno;
	return take_fd(&fd);
}

/* What is wrong and what to do, for axvm's own folder or for another. Static. */
static inline const char *claims_folder_reason(int error_number, const char *folder)
{
	static const struct {
		int error_number;
		const char *axvms, *other;
	} reasons[] = {
		{ ENOENT, "it is not there; `systemd-tmpfiles --create` makes it",
		  "it is not there; make it, mode 3770, its group all who launch VMs here" },
		{ EACCES, "this user may not write there; the group kvm may",
		  "this user may not write there; its group has to be all who launch VMs here" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].error_number == error_number)
			return strcmp(folder, CLAIMS_PATH) == 0 ? reasons[i].axvms
			                                        : reasons[i].other;
	return errno_text(error_number);
}

#endif
