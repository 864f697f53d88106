/* SPDX-License-Identifier: MIT */
/* Keeps the name service out of the shim.
 *
 * libcap-ng's capng_change_id(), which nobody here calls, refers to getpwuid() and initgroups(). In
 * a static program those would link glibc's whole name service, which loads shared libraries at run
 * time: 300 KiB, and files to open in a process that can open none. The functions here replace
 * them; the Makefile has the linker take these (-u getpwuid). */
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
