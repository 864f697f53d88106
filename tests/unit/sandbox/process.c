/* SPDX-License-Identifier: MIT */
/* The read-back of what is the process's, each spoiled by itself: attributes, ids, securebits,
 * namespaces, root, descriptors. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sandbox/capabilities.h"
#include "sandbox/fd_layout.h"
#include "sandbox/namespaces.h"
#include "sandbox/proc.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static const struct sandbox_config plain;

/* ----------------------------------------------------------------------------------- attributes */

static int new_privileges(void)
{
	return 0;
}

static int becomes_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int unasked_signal(void)
{
	return prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
}

static int missing_signal(void)
{
	scene.sandbox.config.stop_with_launcher = true;
	return 0;
}

static int other_signal(void)
{
	scene.sandbox.config.stop_with_launcher = true;
	return prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
}

static int memory_to_execute(void)
{
	scene.sandbox.writes_refused_exec = true;
	return 0;
}

static int other_uid(void)
{
	scene.sandbox.uid++;
	return 0;
}

static int other_gid(void)
{
	scene.sandbox.gid++;
	return 0;
}

static const struct attribute {
	const char *name;
	int (*spoil)(void);
	const char *words;
} attributes[] = {
	{ "nothing", NULL, "" },
	{ "new privileges", new_privileges, "sandbox check: the process may gain privileges" },
	{ "dumpable", becomes_dumpable, "sandbox check: the process is dumpable" },
	{ "an unasked signal", unasked_signal,
	  "sandbox check: the parent-death signal is not as asked for" },
	{ "a missing signal", missing_signal,
	  "sandbox check: the parent-death signal is not as asked for" },
	{ "another signal", other_signal,
	  "sandbox check: the parent-death signal is not as asked for" },
	{ "memory", memory_to_execute, "sandbox check: memory may become writable and executable" },
	{ "uid", other_uid, "sandbox check: the process has other ids than it took" },
	{ "gid", other_gid, "sandbox check: the process has other ids than it took" },
};

static const struct attribute *attribute;

/* As an ordinary user's shim without namespaces: the attributes alone. */
static int with_attributes(void)
{
	struct sandbox *sandbox = &scene.sandbox;

	sandbox->uid = getuid();
	sandbox->gid = getgid();
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    (attribute->spoil != new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) ||
	    proc_open(&sandbox->proc_fd, &scene.problems) < 0 ||
	    namespaces_note(sandbox, &scene.problems) < 0)
		return 1;
	if (attribute->spoil && attribute->spoil() != 0)
		return 2;
	return sandbox_verify_process(sandbox, &scene.seen, &scene.problems) < 0 ? 10 : 0;
}

Test(sandbox_verify, every_attribute_of_the_process_is_read_back)
{
	for (size_t i = 0; i < ARRAY_SIZE(attributes); i++) {
		attribute = &attributes[i];
		cr_expect_eq(rig_child(with_attributes), *attribute->words ? 10 : 0, "%s: %s",
		             attribute->name, rig_words);
		cr_expect_str_eq(rig_words, attribute->words, "%s: %s", attribute->name, rig_words);
	}
}

/* ----------------------------------------------------------------------------------- securebits */

/* As capabilities(7) has them; each but KEEP_CAPS is set, KEEP_CAPS is locked at 0. */
static const int wanted_bits = 1 << 0 /* NOROOT */ | 1 << 1 /* locked */ |
                               1 << 2 /* NO_SETUID_FIXUP */ | 1 << 3 /* locked */ |
                               1 << 5 /* KEEP_CAPS locked */ | 1 << 6 /* NO_CAP_AMBIENT_RAISE */ |
                               1 << 7 /* locked */;
static int bits;

static int check_bits(bool privileged, bool namespaced)
{
	scene.sandbox.privileged = privileged;
	scene.sandbox.namespaced = namespaced;
	return sandbox_check_securebits(&scene.sandbox, &scene.problems);
}

static int with_bits(void)
{
	int r;

	if (rig_gain_capabilities() < 0 || prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) < 0)
		return 1;
	/* Where nobody could set them they are nobody's fault. */
	if (check_bits(false, false) != 0)
		return 2;
	r = check_bits(true, false);
	return r == check_bits(false, true) ? (r == -EBADMSG ? 10 : r == 0 ? 0 : 3) : 4;
}

Test(sandbox_verify, every_securebit_is_read_back)
{
	bits = wanted_bits;
	cr_expect_eq(rig_child(with_bits), 0, "%s", rig_words);
	for (int bit = 0; bit < 8; bit++) {
		bits = wanted_bits ^ 1 << bit;
		cr_expect_eq(rig_child(with_bits), 10, "bit %d: %s", bit, rig_words);
		cr_expect_str_eq(rig_words,
		                 "sandbox check: the securebits are not as they were locked");
	}
}

static int locked_bits(void)
{
	if (rig_confine(&plain, true) < 0)
		return RIG_NOT_CONFINED;
	return prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) == wanted_bits ? 0 : 1;
}

Test(sandbox_confine, locks_every_securebit)
{
	cr_expect_eq(rig_child(locked_bits), 0, "%s", rig_words);
}

Test(sandbox_confine, privileged_is_who_has_every_capability_that_the_steps_need)
{
	static const unsigned needed[] = { CAP_SYS_ADMIN, CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID,
		                           CAP_SETPCAP };
	struct sandbox_status status = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		status.effective |= 1ULL << needed[i];
	cr_expect(sandbox_has_capabilities(&status));
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		struct sandbox_status lacks = { .effective = ~(1ULL << needed[i]),
			                        .permitted = UINT64_MAX };

		cr_expect_not(sandbox_has_capabilities(&lacks), "capability %u", needed[i]);
	}
}

/* ----------------------------------------------------------------------------------- namespaces */

static const char *const kinds[] = {
	[SANDBOX_USER_NAMESPACE] = "user", [SANDBOX_MOUNT_NAMESPACE] = "mnt",
	[SANDBOX_NET_NAMESPACE] = "net",   [SANDBOX_IPC_NAMESPACE] = "ipc",
	[SANDBOX_UTS_NAMESPACE] = "uts",   [SANDBOX_CGROUP_NAMESPACE] = "cgroup",
};

static ino_t inode_of(size_t kind)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "ns/%s", kinds[kind]);
	return fstatat(scene.sandbox.proc_fd, path, &st, 0) < 0 ? 0 : st.st_ino;
}

static int each_namespace(void)
{
	ino_t before[SANDBOX_NAMESPACES_COUNT];
	struct sandbox *sandbox = &scene.sandbox;
	char name[8] = "", domain[8] = "x";
	size_t at = 0;

	if (proc_open(&sandbox->proc_fd, &scene.problems) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		before[i] = inode_of(i);
	if (rig_confine(&plain, true) < 0)
		return RIG_NOT_CONFINED;
	if (rig_verify(0) < 0)
		return 2;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool left = i != SANDBOX_USER_NAMESPACE || !sandbox->privileged;

		if (sandbox->launcher_namespaces[i] != before[i] ||
		    left != (inode_of(i) != before[i]))
			return 10 + (int)i;
		if (left && (strcmp(scene.seen.namespaces[at], kinds[i]) != 0 ||
		             scene.seen.namespace_inodes[at++] != inode_of(i)))
			return 20 + (int)i;
	}
	return at == scene.seen.namespaces_count && gethostname(name, sizeof(name)) == 0 &&
	                       strcmp(name, "axvm") == 0 &&
	                       getdomainname(domain, sizeof(domain)) == 0 && *domain == '\0'
	               ? 0
	               : 3;
}

Test(sandbox_confine, leaves_every_namespace)
{
	cr_expect_eq(rig_child(each_namespace), 0, "%s", rig_words);
}

static size_t same;

/* One that is the launcher's still; of the user namespace of a privileged process, one that is
 * not. */
static int one_namespace_differs(void)
{
	if (rig_confine(&plain, true) < 0)
		return RIG_NOT_CONFINED;
	scene.sandbox.launcher_namespaces[same] =
		inode_of(same) + (same == SANDBOX_USER_NAMESPACE && scene.sandbox.privileged);
	return rig_verify(0) < 0 ? 0 : 1;
}

Test(sandbox_verify, every_namespace_is_read_back)
{
	for (same = 0; same < ARRAY_SIZE(kinds); same++) {
		cr_expect_eq(rig_child(one_namespace_differs), 0, "%s: %s", kinds[same], rig_words);
		cr_expect_str_eq(rig_words, "sandbox check: a namespace is still the launcher's");
	}
}

/* ----------------------------------------------------------------------------------------- root */

#define ROOT_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
#define ROOT_WORDS "sandbox check: the root is not empty and read-only"

static const struct root {
	const char *name, *type, *options;
	unsigned long flags;
	/* where the process then is; NULL: where it was, "": in a root like it */
	const char *directory;
	const char *words;
} roots[] = {
	{ "right", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS, "/", "" },
	{ "writable", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS & ~MS_RDONLY, "/",
	  ROOT_WORDS },
	{ "set-user-ID", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS & ~MS_NOSUID, "/",
	  ROOT_WORDS },
	{ "devices", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS & ~MS_NODEV, "/",
	  ROOT_WORDS },
	{ "programs", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS & ~MS_NOEXEC, "/",
	  ROOT_WORDS },
	{ "room for files", "tmpfs", "mode=0555,nr_inodes=2,size=4k", ROOT_FLAGS, "/", ROOT_WORDS },
	{ "another file system", "ramfs", "mode=0555", ROOT_FLAGS, "/", ROOT_WORDS },
	{ "elsewhere", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS, NULL,
	  "sandbox check: the working directory is not the root" },
	{ "in another root", "tmpfs", "mode=0555,nr_inodes=1,size=4k", ROOT_FLAGS, "",
	  "sandbox check: the working directory is not the root" },
};

static const struct root *root;

static int with_root(void)
{
	if (rig_gain_capabilities() < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 1;
	if (root->directory && !*root->directory &&
	    (mount("none", "/tmp", root->type, root->flags, root->options) < 0 ||
	     chdir("/tmp") < 0))
		return 2;
	if (mount("none", "/tmp", root->type, root->flags, root->options) < 0 ||
	    chroot("/tmp") < 0 ||
	    (root->directory && *root->directory && chdir(root->directory) < 0))
		return 2;
	if (sandbox_check_root(&scene.sandbox, &scene.problems) < 0)
		return 3; /* it is nobody's own */
	scene.sandbox.namespaced = true;
	return sandbox_check_root(&scene.sandbox, &scene.problems) < 0 ? 10 : 0;
}

Test(sandbox_verify, the_root_is_read_back)
{
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		root = &roots[i];
		/* Who is not root may not mount a ramfs. */
		if (geteuid() != 0 && strcmp(root->type, "ramfs") == 0)
			continue;
		cr_expect_eq(rig_child(with_root), *root->words ? 10 : 0, "%s: %s", root->name,
		             rig_words);
		cr_expect_str_eq(rig_words, root->words, "%s: %s", root->name, rig_words);
	}
}

static bool without_nest;

static int made_root(void)
{
	struct statfs fs;
	struct stat st;

	if (rig_confine(&plain, !without_nest) < 0)
		return RIG_NOT_CONFINED;
	if (statfs("/", &fs) < 0 || stat("/", &st) < 0)
		return 1;
	if (fs.f_type != TMPFS_MAGIC || fs.f_files != 1 ||
	    fs.f_blocks * (uint64_t)fs.f_bsize != 4096)
		return 2;
	if (((unsigned long)fs.f_flags & ROOT_FLAGS) != ROOT_FLAGS)
		return 3;
	return st.st_mode == (S_IFDIR | 0555) && st.st_nlink == 2 ? 0 : 4;
}

Test(sandbox_confine, makes_an_empty_root)
{
	cr_expect_eq(rig_child(made_root), 0, "%s", rig_words);
	without_nest = true;
	cr_expect_eq(rig_child(made_root), 0, "%s", rig_words);
}

/* ---------------------------------------------------------------------------------- descriptors */

/* Of the launcher's making: before there is no file any more. */
static int open_directory(void)
{
	if (dup2(open("/", O_RDONLY | O_DIRECTORY), 0) != 0 || rig_confine(&plain, true) < 0)
		return 1;
	return rig_verify(0) < 0 ? 0 : 2;
}

static int named_directory(void)
{
	if (dup2(open("/tmp", O_PATH | O_DIRECTORY), EVENT_FD) < 0 || rig_confine(&plain, true) < 0)
		return 1;
	return rig_verify(0) < 0 ? 0 : 2;
}

Test(sandbox_verify, an_open_directory_is_named)
{
	cr_expect_eq(rig_child(open_directory), 0, "%s", rig_words);
	cr_expect_str_eq(rig_words,
	                 "sandbox check: a directory is open, and is a way out of the root");
	cr_expect_eq(rig_child(named_directory), 0, "%s", rig_words);
	cr_expect_str_eq(rig_words,
	                 "sandbox check: a directory is open, and is a way out of the root");
}

static int closed_at_last(void)
{
	if (rig_confine(&plain, true) < 0 || rig_verify(0) < 0)
		return 1;
	sandbox_close_proc(&scene.sandbox);
	if (scene.sandbox.proc_fd != -1 || scene.sandbox.landlock_fd != -1)
		return 2;
	for (int fd = 5; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			return 3;
	return 0;
}

Test(sandbox_verify, leaves_no_descriptor_of_its_own)
{
	cr_assert_eq(rig_child(closed_at_last), 0, "%s", rig_words);
}

static bool another_file_system(long nr, const uint64_t args[static 6], long *ret_result)
{
	*ret_result = fake_kernel_call(nr, args);
	((struct statfs *)(uintptr_t)args[1])->f_type = TMPFS_MAGIC;
	return true;
}

static int proc_that_is_none(void)
{
	const long calls[] = { SYS_fstatfs };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, another_file_system) < 0)
		return 1;
	return rig_confine(&plain, true) < 0 ? 0 : 2;
}

Test(sandbox_confine, a_proc_that_is_none_is_refused)
{
	cr_expect_eq(rig_child(proc_that_is_none), 0);
	cr_expect_eq(strncmp(rig_words, "/proc is not the proc file system", 33), 0, "%s",
	             rig_words);
}
