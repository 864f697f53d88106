/* SPDX-License-Identifier: MIT */
/* Calls whose arguments nothing reads back, as the kernel gets them: the filter's, a cgroup's, the
 * root's. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sandbox/cgroup.h"
#include "sandbox/namespaces.h"
#include "sandbox/nest.h"
#include "sandbox/proc.h"
#include "sandbox/seccomp.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"

/* -------------------------------------------------------------------------------------- seccomp */

static struct {
	unsigned calls;
	uint64_t operation, flags;
	struct sock_fprog program;
	long result;
} asked;

static bool answer_seccomp(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	asked.calls++;
	asked.operation = args[0];
	asked.flags = args[1];
	memcpy(&asked.program, (const void *)(uintptr_t)args[2], sizeof(asked.program));
	*ret_result = asked.result;
	return true;
}

/* The filter of the role and no other, logged; of this thread alone, with the host's
 * mitigations. */
static int seals_as_asked(void)
{
	const long calls[] = { SYS_seccomp };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, answer_seccomp) < 0)
		return 1;
	for (enum sandbox_role role = 0; role < SANDBOX_ROLE_COUNT; role++) {
		asked.calls = 0;
		asked.result = 0;
		if (sandbox_seccomp_seal(role) != 0 || asked.calls != 1)
			return 2;
		if (asked.operation != SECCOMP_SET_MODE_FILTER ||
		    asked.flags != SECCOMP_FILTER_FLAG_LOG)
			return 3;
		if (asked.program.filter != sandbox_filters[role].insns ||
		    asked.program.len != sandbox_filters[role].count)
			return 4;
		asked.result = -EINVAL;
		if (sandbox_seccomp_seal(role) != -EINVAL)
			return 5;
	}
	asked.calls = 0;
	return sandbox_seccomp_seal(SANDBOX_ROLE_COUNT) == -EINVAL && asked.calls == 0 ? 0 : 6;
}

Test(sandbox_seccomp, asks_for_the_filter_of_the_role_and_for_its_log)
{
	cr_assert_eq(rig_child(seals_as_asked), 0);
}

/* --------------------------------------------------------------------------------------- cgroup */

static struct {
	long type; /* what fstatfs(2) says that the directory is on */
	long write_result;
	unsigned opened, written;
	struct open_how how;
	char text[8];
	size_t length;
} group;

static bool answer_cgroup(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (nr == SYS_fstatfs) {
		*ret_result = fake_kernel_call(nr, args);
		((struct statfs *)(uintptr_t)args[1])->f_type = group.type;
		return true;
	}
	if (nr == SYS_openat2) {
		group.opened++;
		memcpy(&group.how, (const void *)(uintptr_t)args[2], sizeof(group.how));
		return false;
	}
	group.written++;
	group.length = args[2];
	memcpy(group.text, (const void *)(uintptr_t)args[1], args[2] < 8 ? args[2] : 0);
	*ret_result = group.write_result;
	return true;
}

static const char *member = "cgroup.procs", *points_to;

static void put_away(const char *directory)
{
	int fd = open(directory, O_PATH);

	(void)unlinkat(fd, member, 0);
	(void)unlinkat(fd, "other", 0);
	(void)rmdir(directory);
}

/* In a directory that has that file, or a link of that name. */
static int joins(void)
{
	const long calls[] = { SYS_fstatfs, SYS_openat2, SYS_write };
	char directory[] = "/tmp/axvm-cgroup-XXXXXX";
	bool left_open;
	int fds[2], r;

	if (!mkdtemp(directory) || (fds[0] = open(directory, O_RDONLY | O_DIRECTORY)) < 0)
		return 1;
	fds[1] = dup(fds[0]);
	if (points_to ? symlinkat(points_to, fds[0], member)
	              : mknodat(fds[0], member, S_IFREG | 0600, 0))
		return 2;
	if (points_to)
		(void)mknodat(fds[0], "other", S_IFREG | 0600, 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, ARRAY_SIZE(calls), answer_cgroup) < 0)
		return 3;
	r = sandbox_join_cgroups(fds, 2, &scene.problems);
	left_open = fcntl(fds[0], F_GETFD) >= 0 || fcntl(fds[1], F_GETFD) >= 0;
	put_away(directory);
	if (r < 0)
		return 10;
	if (group.opened != 2 || group.how.flags != (O_WRONLY | O_CLOEXEC) || group.how.mode != 0 ||
	    group.how.resolve != (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV))
		return 4;
	if (group.written != 2 || group.length != 1 || group.text[0] != '0')
		return 5;
	return left_open ? 6 : 0;
}

Test(sandbox_cgroup, is_joined_or_the_launch_fails)
{
	static const struct {
		const char *name, *member, *points_to;
		long type, write_result;
		const char *words;
	} rows[] = {
		{ "version 2", "cgroup.procs", NULL, CGROUP2_SUPER_MAGIC, 1, "" },
		{ "version 1", "cgroup.procs", NULL, CGROUP_SUPER_MAGIC, 1, "" },
		{ "another file system", "cgroup.procs", NULL, TMPFS_MAGIC, 1,
		  "sandbox.cgroup_fds names a descriptor that is not on a cgroup file system: " },
		{ "no such file", "tasks", NULL, CGROUP2_SUPER_MAGIC, 1,
		  "cannot open cgroup.procs of a cgroup of the spec: " },
		{ "a link", "cgroup.procs", "other", CGROUP2_SUPER_MAGIC, 1,
		  "cannot open cgroup.procs of a cgroup of the spec: " },
		{ "a link out of it", "cgroup.procs", "/dev/null", CGROUP2_SUPER_MAGIC, 1,
		  "cannot open cgroup.procs of a cgroup of the spec: " },
		{ "refused", "cgroup.procs", NULL, CGROUP2_SUPER_MAGIC, -EBUSY,
		  "cannot join a cgroup of the spec: " },
		{ "not written", "cgroup.procs", NULL, CGROUP2_SUPER_MAGIC, 0,
		  "cannot join a cgroup of the spec: " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		member = rows[i].member;
		points_to = rows[i].points_to;
		group.type = rows[i].type;
		group.write_result = rows[i].write_result;
		cr_expect_eq(rig_child(joins), *rows[i].words ? 10 : 0, "%s: %s", rows[i].name,
		             rig_words);
		cr_expect_eq(strncmp(rig_words, rows[i].words, strlen(rows[i].words)), 0,
		             "%s: \"%s\"", rows[i].name, rig_words);
	}
}

/* ----------------------------------------------------------------------------------------- root */

static struct {
	char made[16];          /* the calls as they come, a letter each */
	struct mount_attr attr; /* of mount_setattr(2) */
	uint64_t at, flags, umount_flags;
	char setattr_path[4], umount_path[4];
	long pivot_result; /* 0: the kernel's own */
} mounts;

static bool answer_mounts(long nr, const uint64_t args[static 6], long *ret_result)
{
	size_t n = strlen(mounts.made);

	mounts.made[n < sizeof(mounts.made) - 1 ? n : n - 1] = nr == SYS_mount_setattr ? 'p'
	                                                       : nr == SYS_move_mount  ? 'm'
	                                                       : nr == SYS_pivot_root  ? 'r'
	                                                       : nr == SYS_chroot      ? 'c'
	                                                                               : 'u';
	if (nr == SYS_mount_setattr) {
		mounts.at = args[0];
		snprintf(mounts.setattr_path, sizeof(mounts.setattr_path), "%s",
		         (const char *)(uintptr_t)args[1]);
		mounts.flags = args[2];
		memcpy(&mounts.attr, (const void *)(uintptr_t)args[3], sizeof(mounts.attr));
	}
	if (nr == SYS_umount2) {
		snprintf(mounts.umount_path, sizeof(mounts.umount_path), "%s",
		         (const char *)(uintptr_t)args[0]);
		mounts.umount_flags = args[1];
	}
	*ret_result = mounts.pivot_result;
	return nr == SYS_pivot_root && mounts.pivot_result != 0;
}

/* In a mount namespace that is private already: whatever is wrong stays in it. */
static int made_root(void)
{
	const long calls[] = { SYS_mount_setattr, SYS_move_mount, SYS_pivot_root, SYS_umount2,
		               SYS_chroot };

	if (rig_gain_capabilities() < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    fake_kernel_begin(calls, ARRAY_SIZE(calls), answer_mounts) < 0)
		return 1;
	if (namespaces_empty_root(&scene.problems) < 0)
		return 10;
	if (mounts.attr.propagation != MS_PRIVATE || mounts.attr.attr_set || mounts.attr.attr_clr ||
	    (int)mounts.at != AT_FDCWD || mounts.flags != AT_RECURSIVE ||
	    strcmp(mounts.setattr_path, "/") != 0)
		return 2;
	scene.sandbox.namespaced = true;
	if (sandbox_check_root(&scene.sandbox, &scene.problems) < 0)
		return 3;
	/* From an initramfs, which cannot be put away, it is left by chroot(2). */
	if (mounts.pivot_result == -EINVAL)
		return strcmp(mounts.made, "pmrc") == 0 ? 0 : 4;
	return strcmp(mounts.made, "pmru") == 0 && strcmp(mounts.umount_path, ".") == 0 &&
	                       mounts.umount_flags == MNT_DETACH
	               ? 0
	               : 5;
}

Test(sandbox_nest, keeps_mounts_from_spreading_before_it_moves_any)
{
	cr_expect_eq(rig_child(made_root), 0, "%s", rig_words);
	mounts.pivot_result = -EINVAL;
	cr_expect_eq(rig_child(made_root), 0, "%s", rig_words);
	mounts.pivot_result = -EPERM;
	cr_expect_eq(rig_child(made_root), 10);
	cr_expect_eq(strncmp(rig_words, "cannot make the new root the root: ", 35), 0, "%s",
	             rig_words);
}

/* What the new root is made of, in words. */
static char root_words[256];

static bool answer_root(long nr, const uint64_t args[static 6], long *ret_result)
{
	static const uint64_t stderr_fd[6] = { 2 };
	size_t n = strlen(root_words);
	const char *first = (const char *)(uintptr_t)args[nr == SYS_fsconfig ? 2 : 0];
	const char *second = (const char *)(uintptr_t)args[3];

	*ret_result = nr == SYS_fsconfig ? 0 : fake_kernel_call(SYS_dup, stderr_fd);
	if (nr == SYS_fsopen)
		snprintf(root_words + n, sizeof(root_words) - n, "%s %x;", first,
		         (unsigned)args[1]);
	else if (nr == SYS_fsmount)
		snprintf(root_words + n, sizeof(root_words) - n, "%x %x;", (unsigned)args[1],
		         (unsigned)args[2]);
	else
		snprintf(root_words + n, sizeof(root_words) - n, "%u %s=%s;", (unsigned)args[1],
		         first ? first : "", second ? second : "");
	/* No further than this: nothing is mounted. */
	if (nr == SYS_fsmount)
		*ret_result = -EPERM;
	return true;
}

/* A file system of one inode and one page that nobody can write to, nothing in it can be run, and
 * no child inherits. */
static int describes_root(void)
{
	static const char wanted[] = "tmpfs 1;1 mode=0555;1 nr_inodes=1;1 size=4k;0 ro=;6 =;1 f;";
	const long calls[] = { SYS_fsopen, SYS_fsconfig, SYS_fsmount };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, ARRAY_SIZE(calls), answer_root) < 0)
		return 1;
	if (namespaces_empty_root(&scene.problems) == 0)
		return 2;
	return strcmp(root_words, wanted) == 0 ? 0 : 3;
}

Test(sandbox_nest, the_new_root_is_as_small_as_can_be)
{
	cr_assert_eq(rig_child(describes_root), 0);
}

/* ------------------------------------------------------------------- each call on the way fails */

/* A row a call: the nth of its kind is refused, all others say yes and do nothing. */
struct refusal {
	int (*go)(void); /* 0 or -errno, with a problem */
	long nr;
	unsigned nth;
	const char *words;
	long also; /* this one is refused too, with EINVAL */
};
static const struct refusal *refusal;
static unsigned calls_so_far;

static bool answer_refusal(long nr, const uint64_t args[static 6], long *ret_result)
{
	static const uint64_t stderr_fd[6] = { 2 };

	(void)args;
	if (nr == refusal->also && nr != refusal->nr)
		*ret_result = -EINVAL;
	else if (nr == refusal->nr && calls_so_far++ == refusal->nth)
		*ret_result = -EPERM;
	else if (nr == SYS_fsopen || nr == SYS_fsmount)
		*ret_result = fake_kernel_call(SYS_dup, stderr_fd);
	else if (nr == SYS_getdents64 || nr == SYS_read || nr == SYS_fstatfs ||
	         nr == SYS_newfstatat)
		return false;
	else
		*ret_result = 0;
	return true;
}

static int empties_root(void)
{
	return namespaces_empty_root(&scene.problems);
}

static int unshares(void)
{
	return namespaces_unshare(SANDBOX_BIT(SANDBOX_UTS_NAMESPACE) |
	                                  SANDBOX_BIT(SANDBOX_NET_NAMESPACE),
	                          &scene.problems);
}

/* Those of this thread, by its own name. */
static int joins_namespaces(void)
{
	return namespaces_join(&scene.sandbox, ".", SANDBOX_BIT(SANDBOX_NET_NAMESPACE),
	                       &scene.problems);
}

static int counts_threads(void)
{
	return nest_empty_root(&scene.sandbox, &scene.problems);
}

static int nothing(uint32_t number, void *context, struct problems *problems)
{
	(void)number;
	(void)context;
	(void)problems;
	return 0;
}

static int lists_threads(void)
{
	return proc_each(scene.sandbox.proc_fd, "task", nothing, NULL, &scene.problems);
}

static int reads_status(void)
{
	struct sandbox_status status;

	return proc_read_status(scene.sandbox.proc_fd, "status", &status, &scene.problems);
}

static int opens_proc(void)
{
	int fd;

	return proc_open(&fd, &scene.problems);
}

static int is_refused_once(void)
{
	const long calls[] = { SYS_fsopen,        SYS_fsconfig, SYS_fsmount,    SYS_mount_setattr,
		               SYS_move_mount,    SYS_fchdir,   SYS_pivot_root, SYS_umount2,
		               SYS_chroot,        SYS_chdir,    SYS_unshare,    SYS_sethostname,
		               SYS_setdomainname, SYS_setns,    SYS_getdents64 };
	const long of_proc[] = { SYS_read, SYS_fstatfs, SYS_newfstatat };
	bool is_of_proc = refusal->nr == SYS_read || refusal->nr == SYS_fstatfs ||
	                  refusal->nr == SYS_newfstatat;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return 1;
	scene.sandbox.proc_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fake_kernel_begin(is_of_proc ? of_proc : calls,
	                      is_of_proc ? ARRAY_SIZE(of_proc) : ARRAY_SIZE(calls),
	                      answer_refusal) < 0)
		return 2;
	if (refusal->go() == 0)
		return refusal->words ? 3 : 0;
	return scene.problems.count == 1 && scene.problems.list[0].error_number == EPERM &&
	                       scene.problems.list[0].code == ERROR_CODE_SANDBOX_FAILED
	               ? 0
	               : 4;
}

/* Each by its own words, with the errno of the call that failed. */
Test(sandbox_nest, no_call_on_the_way_may_fail)
{
	static const struct refusal rows[] = {
		{ empties_root, -1, 0, NULL, 0 },
		{ empties_root, SYS_fsopen, 0, "cannot open a file system for the root: ", 0 },
		{ empties_root, SYS_fsconfig, 0, "cannot create a file system for the root: ", 0 },
		{ empties_root, SYS_fsconfig, 4, "cannot create a file system for the root: ", 0 },
		{ empties_root, SYS_fsmount, 0, "cannot mount a file system for the root: ", 0 },
		{ empties_root, SYS_mount_setattr, 0, "cannot keep mounts from spreading: ", 0 },
		{ empties_root, SYS_move_mount, 0,
		  "cannot lay the new root over the old one: ", 0 },
		{ empties_root, SYS_fchdir, 0, "cannot enter the new root: ", 0 },
		{ empties_root, SYS_pivot_root, 0, "cannot make the new root the root: ", 0 },
		{ empties_root, SYS_umount2, 0, "cannot let go of the old root: ", 0 },
		{ empties_root, SYS_chroot, 0,
		  "cannot make the new root the root: ", SYS_pivot_root },
		{ empties_root, SYS_chdir, 0, "cannot enter the new root: ", 0 },
		{ unshares, -1, 0, NULL, 0 },
		{ unshares, SYS_unshare, 0, "cannot leave the launcher's namespaces: ", 0 },
		{ unshares, SYS_sethostname, 0, "cannot set a host name: ", 0 },
		{ unshares, SYS_setdomainname, 0, "cannot set a host name: ", 0 },
		{ joins_namespaces, -1, 0, NULL, 0 },
		{ joins_namespaces, SYS_setns, 0,
		  "cannot enter the namespaces that were made: ", 0 },
		{ counts_threads, SYS_newfstatat, 0, "cannot count the threads: ", 0 },
		{ lists_threads, SYS_getdents64, 0, "cannot list a directory of /proc/self: ", 0 },
		{ lists_threads, SYS_getdents64, 1, "cannot list a directory of /proc/self: ", 0 },
		{ reads_status, SYS_read, 0, "cannot read a thread's status: ", 0 },
		{ opens_proc, SYS_fstatfs, 0, "cannot examine /proc/self: ", 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		refusal = &rows[i];
		cr_expect_eq(rig_child(is_refused_once), 0, "row %zu: \"%s\"", i, rig_words);
		if (rows[i].words)
			cr_expect_eq(strncmp(rig_words, rows[i].words, strlen(rows[i].words)), 0,
			             "row %zu: \"%s\"", i, rig_words);
	}
}
