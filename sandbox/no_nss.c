/* SPDX-License-Identifier: MIT */
/* Keeps the name service out of the shim.
 *
 * libcap-ng's capng_change_id(), which nobody here calls, refers to getpwuid() and initgroups(). In
 * a static program those would bring glibc's whole name service along, and with it the loading of
 * shared libraries at run time: 300 KiB and files to open in a process that has none. These stand
 * in their place; the Makefile has the linker take them (-u getpwuid). */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>

struct passwd *getpwuid(uid_t uid)
{
	(void)uid;
	errno = ENOSYS;
	return NULL;
}

int initgroups(const char *user, gid_t group)
{
	(void)user;
	(void)group;
	errno = ENOSYS;
	return -1;
}
