/* SPDX-License-Identifier: MIT */
/* Gives the process its own namespaces and an empty root.
 *
 * The root is a tmpfs that has no name before it is the root: fsopen(2) makes it and a descriptor
 * holds it, so no directory is prepared, no path is walked, and nobody can put a link in the way.
 * It is mounted over "/" and made the root by pivot_root(".", "."); all older mounts are detached.
 * On a machine that runs from an initramfs, which pivot_root(2) cannot detach, the new root stays
 * mounted over it and the process enters it with chroot(2): a process without CAP_SYS_CHROOT and
 * without descriptors of directories cannot leave it.
 *
 * An ordinary user's namespaces hang below a user namespace in which no id is mapped, not even its
 * own: no file in it has an owner, no call can change an id, and the shim need not write an id map,
 * which only a dumpable process may do.
 *
 * namespaces(7), user_namespaces(7), mount_namespaces(7), pivot_root(2). */
#include "sandbox/namespaces.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "base/denied.h"
#include "sandbox/proc.h"
#include "sandbox/step.h"

/* From <sys/mount.h>, which cannot be included together with <linux/mount.h>. */
#define DETACH 2 /* MNT_DETACH */
int umount2(const char *target, int flags);

static const struct {
	const char *name, *path;
	int flag;
} kinds[] = {
	[SANDBOX_USER_NAMESPACE] = { "user", "ns/user", CLONE_NEWUSER },
	[SANDBOX_MOUNT_NAMESPACE] = { "mnt", "ns/mnt", CLONE_NEWNS },
	[SANDBOX_NET_NAMESPACE] = { "net", "ns/net", CLONE_NEWNET },
	[SANDBOX_IPC_NAMESPACE] = { "ipc", "ns/ipc", CLONE_NEWIPC },
	[SANDBOX_UTS_NAMESPACE] = { "uts", "ns/uts", CLONE_NEWUTS },
	[SANDBOX_CGROUP_NAMESPACE] = { "cgroup", "ns/cgroup", CLONE_NEWCGROUP },
};
static_assert(ARRAY_SIZE(kinds) == SANDBOX_NAMESPACES_COUNT, "a row each");

/* Reports a failed call that a host may deny. /proc tells who denied it, and is reachable until the
 * new root is the root. */
static int denied(struct problems *problems, enum denied what, const char *step)
{
	char why[DENIED_TEXT_MAX];
	int error = errno;

	return problems_add(problems, ERROR_CODE_SANDBOX_FAILED, error, NULL, "%s: %s", step,
	                    denied_here(what, error, why));
}

static int inode_of(const struct sandbox *sandbox, size_t kind, ino_t *ret_inode,
                    struct problems *problems)
{
	struct stat st;

	if (fstatat(sandbox->proc_fd, kinds[kind].path, &st, 0) < 0)
		return step_failed(problems, "cannot tell which namespaces the process is in");
	*ret_inode = st.st_ino;
	return 0;
}

int namespaces_note(struct sandbox *sandbox, struct problems *problems)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds) && r == 0; i++)
		r = inode_of(sandbox, i, &sandbox->launcher_namespaces[i], problems);
	return r;
}

/* Whether the host denies user namespaces to ordinary users, by the kernel's own switch or the one
 * that Debian adds. */
static bool forbidden_by_host(void)
{
	static const char *const switches[] = {
		"/proc/sys/user/max_user_namespaces",
		"/proc/sys/kernel/unprivileged_userns_clone",
	};

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		_cleanup_close_ int fd = open(switches[i], O_RDONLY | O_CLOEXEC);
		char text[2];

		if (fd >= 0 && read(fd, text, sizeof(text)) == 2 && memcmp(text, "0\n", 2) == 0)
			return true;
	}
	return false;
}

int namespaces_unshare(uint32_t set, struct problems *problems)
{
	int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		flags |= set & SANDBOX_BIT(i) ? kinds[i].flag : 0;
	if (unshare(flags) < 0) {
		int error = errno;

		if (set & SANDBOX_BIT(SANDBOX_USER_NAMESPACE) &&
		    (error == EPERM || error == ENOSPC) && forbidden_by_host())
			return -EPERM;
		errno = error;
		return denied(problems, DENIED_NAMESPACES,
		              "cannot leave the launcher's namespaces");
	}
	if (set & SANDBOX_BIT(SANDBOX_UTS_NAMESPACE) &&
	    (sethostname("axvm", 4) < 0 || setdomainname("", 0) < 0))
		return denied(problems, DENIED_NAMESPACES, "cannot set a host name");
	return 0;
}

int namespaces_join(const struct sandbox *sandbox, const char *task, uint32_t set,
                    struct problems *problems)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_close_ int fd = -1;
		char path[48];

		if (!(set & SANDBOX_BIT(i)))
			continue;
		snprintf(path, sizeof(path), "%s/%s", task, kinds[i].path);
		fd = openat(sandbox->proc_fd, path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, kinds[i].flag) < 0)
			return denied(problems, DENIED_NAMESPACES,
			              "cannot enter the namespaces that were made");
	}
	return 0;
}

static int make_root(int *ret_fd, struct problems *problems)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
	const unsigned attributes =
		MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	static const struct {
		unsigned command;
		const char *key, *value;
	} settings[] = {
		{ FSCONFIG_SET_STRING, "mode", "0555" }, { FSCONFIG_SET_STRING, "nr_inodes", "1" },
		{ FSCONFIG_SET_STRING, "size", "4k" },   { FSCONFIG_SET_FLAG, "ro", NULL },
		{ FSCONFIG_CMD_CREATE, NULL, NULL },
	};
	int fd;

	if (context < 0)
		return denied(problems, DENIED_NAMESPACES,
		              "cannot open a file system for the root");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (syscall(SYS_fsconfig, context, settings[i].command, settings[i].key,
		            settings[i].value, 0) < 0)
			return denied(problems, DENIED_NAMESPACES,
			              "cannot create a file system for the root");
	fd = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
	if (fd < 0)
		return denied(problems, DENIED_NAMESPACES,
		              "cannot mount a file system for the root");
	*ret_fd = fd;
	return 0;
}

int namespaces_empty_root(struct problems *problems)
{
	struct mount_attr private = { .propagation = 1UL << 18 /* MS_PRIVATE */ };
	_cleanup_close_ int root = -1;
	int r = make_root(&root, problems);

	if (r < 0)
		return r;
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &private, sizeof(private)) < 0)
		return denied(problems,
		              errno == EINVAL && !denied_root_is_mount() ? DENIED_ROOT
		                                                         : DENIED_NAMESPACES,
		              "cannot keep mounts from spreading");
	if (syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return denied(problems, DENIED_NAMESPACES,
		              "cannot lay the new root over the old one");
	if (fchdir(root) < 0)
		return step_failed(problems, "cannot enter the new root");
	if (syscall(SYS_pivot_root, ".", ".") == 0) {
		if (umount2(".", DETACH) < 0)
			return denied(problems, DENIED_NAMESPACES, "cannot let go of the old root");
	} else if (errno != EINVAL || chroot(".") < 0) {
		return denied(problems, DENIED_NAMESPACES, "cannot make the new root the root");
	}
	if (chdir("/") < 0)
		return step_failed(problems, "cannot enter the new root");
	return 0;
}

int sandbox_check_root(const struct sandbox *sandbox, struct problems *problems)
{
	const unsigned long flags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
	struct stat root, cwd;
	struct statfs fs;

	if (!sandbox->namespaced)
		return 0;
	if (statfs("/", &fs) < 0 || stat("/", &root) < 0 || stat(".", &cwd) < 0)
		return step_failed(problems, "cannot examine the root");
	if (fs.f_type != TMPFS_MAGIC || ((unsigned long)fs.f_flags & flags) != flags ||
	    fs.f_files != 1 || fs.f_ffree != 0 || root.st_nlink != 2)
		return step_differs(problems, "the root is not empty and read-only");
	if (root.st_dev != cwd.st_dev || root.st_ino != cwd.st_ino)
		return step_differs(problems, "the working directory is not the root");
	return 0;
}

int sandbox_check_namespaces(const struct sandbox *sandbox, const char **ret_names,
                             uint64_t *ret_inodes, size_t *ret_count, struct problems *problems)
{
	size_t count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool left = sandbox->namespaced &&
		            (i != SANDBOX_USER_NAMESPACE || !sandbox->privileged);
		ino_t inode = 0;
		int r = inode_of(sandbox, i, &inode, problems);

		if (r < 0)
			return r;
		if (left != (inode != sandbox->launcher_namespaces[i]))
			return step_differs(problems, "a namespace is still the launcher's");
		if (!left)
			continue;
		ret_names[count] = kinds[i].name;
		ret_inodes[count++] = inode;
	}
	*ret_count = count;
	return 0;
}
