/* SPDX-License-Identifier: MIT */
/* The claims of `axvm run`'s VMs: each VM claims in this host's folder, unless its spec or a flag
 * says otherwise.
 *
 * root makes axvm's own folder if it does not exist, as it makes /run/axvm for the sockets. So a VM
 * that is started from a build, on a host where nothing was installed and systemd-tmpfiles(8) did
 * not run, is known to the next VM. The folder is like the one of the package's tmpfiles.d, for the
 * group that may open /dev/kvm. A folder that a person has named is never made: after a slip, VMs
 * would claim where nobody looks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "launch/cli/claims_here.h"
#include "launch/cli/run_parts.h"
#include "launch/cli/sockets.h"

#define SYSTEM_FOLDER_MODE 0755
/* sticky: only a file's owner and root may remove it; setgid: files belong to the group */
#define FOLDER_MODE 03770
#define MADE_PATH_MAX 256

void run_drop_claims(Axvm__V1__LaunchSpec *spec)
{
	if (!spec->cpus || !spec->cpus->claims)
		return;
	axvm__v1__resource__free_unpacked(spec->cpus->claims, NULL);
	spec->cpus->claims = NULL;
}

int run_make_claims(const char *root)
{
	char parent[MADE_PATH_MAX], folder[MADE_PATH_MAX], draft[MADE_PATH_MAX];
	struct stat kvm;
	int r = 0;

	snprintf(parent, sizeof(parent), "%s" SOCKETS_SYSTEM_FOLDER, root);
	snprintf(folder, sizeof(folder), "%s" CLAIMS_PATH, root);
	snprintf(draft, sizeof(draft), "%s" SOCKETS_SYSTEM_FOLDER "/.claims.%d", root,
	         (int)getpid());
	if (mkdir(parent, SYSTEM_FOLDER_MODE) == 0)
		(void)chmod(parent, SYSTEM_FOLDER_MODE); /* mkdir(2) applies the umask */
	else if (errno != EEXIST)
		return -errno;
	/* Makes the folder under a draft's name, and renames it once mode and group are set. */
	if (mkdir(draft, 0700) < 0)
		return -errno;
	if ((stat("/dev/kvm", &kvm) == 0 && chown(draft, (uid_t)-1, kvm.st_gid) < 0) ||
	    chmod(draft, FOLDER_MODE) < 0 ||
	    renameat2(AT_FDCWD, draft, AT_FDCWD, folder, RENAME_NOREPLACE) < 0)
		r = -errno;
	if (r < 0)
		(void)rmdir(draft);
	return r == -EEXIST ? 0 : r; /* another process was faster */
}

/* NULL if a shim of this user can claim; else the reason, in `error`. */
static const char *why_not(const char *folder, struct axvm_error *error)
{
	int fd = -1, r = axvm_claims_open(folder, &fd, error), made = 0;

	if (r == -ENOENT && geteuid() == 0 && strcmp(folder, CLAIMS_PATH) == 0) {
		made = run_make_claims("");
		r = axvm_claims_open(folder, &fd, error);
	}
	if (r == 0) {
		close(fd);
		return NULL;
	}
	if (made < 0)
		snprintf(error->text, sizeof(error->text),
		         "no CPUs can be claimed in %s: it cannot be made: %s", folder,
		         errno_text(-made));
	return error->text;
}

int run_add_claims(struct run *run)
{
	Axvm__V1__Cpus *cpus = run->options.spec->cpus;
	const char *folder = claims_here_folder(), *why;
	struct axvm_error error;

	if (!folder || run->options.no_claims || !cpus || cpus->claims)
		return 0;
	why = why_not(folder, &error);
	if (why) {
		if (!run->options.quiet)
			fprintf(stderr,
			        "axvm run: %s; without, other VMs do not know which CPUs this one has "
			        "(--no-claims, if that is meant)\n",
			        why);
		return 0;
	}
	cpus->claims = malloc(sizeof(*cpus->claims));
	if (!cpus->claims)
		return -ENOMEM;
	axvm__v1__resource__init(cpus->claims);
	cpus->claims->path = strdup(folder);
	if (!cpus->claims->path)
		return -ENOMEM;
	cpus->claims->source_case = AXVM__V1__RESOURCE__SOURCE_PATH;
	return 0;
}
