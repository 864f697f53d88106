/* SPDX-License-Identifier: MIT */
/* From an errno and the traces in /proc to a sentence that names the cause and what to do. */
#include "base/denied.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/host_fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A host that denies nothing: root, no filter, each sysctl permissive. */
static struct denied_clues generous(void)
{
	struct denied_clues clues = { .seccomp = 0,
		                      .sys_admin = true,
		                      .io_uring_disabled = 0,
		                      .userns_clone = 1,
		                      .apparmor_userns = 0 };

	for (size_t i = 0; i < DENIED_KINDS; i++)
		clues.max_namespaces[i] = 1024;
	return clues;
}

static void filtered(struct denied_clues *c)
{
	c->seccomp = 2;
}
static void filtered_user(struct denied_clues *c)
{
	c->seccomp = 2;
	c->sys_admin = false;
}
static void filtered_old(struct denied_clues *c)
{
	c->seccomp = 2;
	c->io_uring_disabled = -1;
}
static void old(struct denied_clues *c)
{
	c->io_uring_disabled = -1;
}
static void ring_off(struct denied_clues *c)
{
	c->io_uring_disabled = 2;
	c->seccomp = 2;
}
static void ring_group(struct denied_clues *c)
{
	c->io_uring_disabled = 1;
	c->sys_admin = false;
	c->seccomp = 2;
}
static void ring_group_root(struct denied_clues *c)
{
	c->io_uring_disabled = 1;
	c->seccomp = 2;
}
static void user(struct denied_clues *c)
{
	c->sys_admin = false;
}
static void unknown(struct denied_clues *c)
{
	c->seccomp = -1;
}
static void no_net(struct denied_clues *c)
{
	c->max_namespaces[DENIED_NET] = 0;
}
static void no_user(struct denied_clues *c)
{
	c->max_namespaces[DENIED_USER] = 0;
	c->sys_admin = false;
	c->seccomp = 2;
}
static void clone_off(struct denied_clues *c)
{
	c->userns_clone = 0;
	c->sys_admin = false;
	c->seccomp = 2;
}
static void clone_off_root(struct denied_clues *c)
{
	c->userns_clone = 0;
	c->seccomp = 2;
}
static void apparmor(struct denied_clues *c)
{
	c->apparmor_userns = 1;
	c->sys_admin = false;
}
static void lacks_ipc(struct denied_clues *c)
{
	c->missing[DENIED_IPC] = true;
}
static void nothing(struct denied_clues *c)
{
	(void)c;
}

/* No file that tells anything: nothing is concluded from that. */
static void no_clues(struct denied_clues *c)
{
	*c = (struct denied_clues){
		.seccomp = -1, .io_uring_disabled = -1, .userns_clone = -1, .apparmor_userns = -1
	};
	for (size_t i = 0; i < DENIED_KINDS; i++)
		c->max_namespaces[i] = -1;
}

static const struct {
	enum denied what;
	int error;
	void (*change)(struct denied_clues *clues);
	const char *why, *remedy; /* each is in the text, the first before the second */
} cases[] = {
	{ DENIED_IO_URING, ENOSYS, old, "the kernel has no io_uring (CONFIG_IO_URING)",
	  "run one that has" },
	{ DENIED_IO_URING, ENOSYS, filtered, "a seccomp filter", "allows io_uring_setup" },
	{ DENIED_IO_URING, ENOSYS, filtered_old,
	  "no io_uring (CONFIG_IO_URING), or a container's seccomp profile", "run a kernel" },
	{ DENIED_IO_URING, EPERM, ring_off, "kernel.io_uring_disabled is 2",
	  "sysctl kernel.io_uring_disabled=0" },
	{ DENIED_IO_URING, EPERM, ring_group, "kernel.io_uring_disabled is 1",
	  "as root or in that group" },
	{ DENIED_IO_URING, EPERM, ring_group_root, "a seccomp filter", "seccomp=FILE" },
	{ DENIED_IO_URING, EPERM, filtered, "a seccomp filter", "seccomp=FILE" },
	{ DENIED_IO_URING, EPERM, nothing, "a security module's policy", "audit log" },
	{ DENIED_IO_URING, EACCES, unknown, "by a seccomp filter or a security module",
	  "audit log" },
	{ DENIED_NAMESPACES, EPERM, filtered, "a seccomp filter", "seccomp=FILE" },
	{ DENIED_NAMESPACES, EPERM, filtered_user, "a seccomp filter", "--cap-add SYS_ADMIN" },
	{ DENIED_NAMESPACES, EPERM, nothing, "a security module's policy", "audit log" },
	{ DENIED_NAMESPACES, ENOSPC, no_net, "user.max_net_namespaces is 0",
	  "sysctl user.max_net_namespaces=" },
	{ DENIED_NAMESPACES, ENOSPC, nothing, "user.max_*_namespaces is reached", "raise it" },
	{ DENIED_NAMESPACES, EPERM, no_user, "user.max_user_namespaces is 0",
	  "sysctl user.max_user_namespaces=" },
	{ DENIED_NAMESPACES, EPERM, clone_off, "kernel.unprivileged_userns_clone is 0",
	  "set it to 1" },
	{ DENIED_NAMESPACES, EPERM, clone_off_root, "a seccomp filter", "seccomp=FILE" },
	{ DENIED_NAMESPACES, EPERM, apparmor, "kernel.apparmor_restrict_unprivileged_userns is 1",
	  "set it to 0" },
	{ DENIED_NAMESPACES, EPERM, user, "no CAP_SYS_ADMIN", "as root, or outside the chroot" },
	{ DENIED_NAMESPACES, EINVAL, lacks_ipc, "the kernel has no ipc namespaces",
	  "run one that has" },
	{ DENIED_NAMESPACES, ENOSPC, no_clues, "one of the limits user.max_*_namespaces is reached",
	  "raise it" },
	{ DENIED_NAMESPACES, EPERM, no_clues, "there is no CAP_SYS_ADMIN",
	  "as root, or outside the chroot" },
	{ DENIED_IO_URING, EPERM, no_clues, "by a seccomp filter or a security module",
	  "audit log" },
	{ DENIED_ROOT, EINVAL, nothing, "no mount point, as in a chroot", "mount --bind DIR DIR" },
	{ DENIED_MEMORY_POLICY, EPERM, filtered, "a seccomp filter", "CAP_SYS_NICE" },
	{ DENIED_MEMORY_POLICY, ENOSYS, nothing, "CONFIG_NUMA", "leave host_node out" },
	{ DENIED_MEMORY_POLICY, EPERM, nothing, "a security module's policy", "audit log" },
	/* What no host decides is told as it is. */
	{ DENIED_IO_URING, ENOMEM, ring_off, "Cannot allocate memory", "" },
	{ DENIED_NAMESPACES, EINVAL, nothing, "Invalid argument", "" },
	{ DENIED_MEMORY_POLICY, EIO, filtered, "Input/output error", "" },
};

Test(denied, each_cause_is_named_with_what_to_do)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct denied_clues clues = generous();
		char text[DENIED_TEXT_MAX];
		const char *why;

		cases[i].change(&clues);
		cr_assert_eq(denied_explain(cases[i].what, cases[i].error, &clues, text), text);
		why = strstr(text, cases[i].why);
		cr_expect(why && strstr(why, cases[i].remedy), "case %zu: %s", i, text);
		cr_expect(cases[i].remedy[0] == '\0' || (why && strchr(why, ';')), "case %zu: %s",
		          i, text);
		cr_expect_lt(strlen(text), sizeof(text) - 1, "case %zu was cut off: %s", i, text);
	}
}

Test(denied, clues_are_read_below_a_root)
{
	struct denied_clues clues;
	struct fixture_tree tree;

	fixture_tree_new(&tree);
	denied_read_clues(tree.root, &clues);
	cr_expect_eq(clues.seccomp, -1);
	cr_expect_not(clues.sys_admin);
	cr_expect_eq(clues.io_uring_disabled, -1);
	cr_expect_eq(clues.userns_clone, -1);
	cr_expect_eq(clues.apparmor_userns, -1);
	cr_expect_eq(clues.max_namespaces[DENIED_CGROUP], -1);
	cr_expect(clues.missing[DENIED_USER]);

	fixture_tree_write(
		&tree, "proc/self/status",
		"Name:\tx\nCapInh:\t0000000000000000\nCapEff:\t0000000000200000\nSeccomp:\t2\n"
		"Seccomp_filters:\t1\n");
	fixture_tree_write(&tree, "proc/sys/kernel/io_uring_disabled", "1\n");
	fixture_tree_write(&tree, "proc/sys/kernel/unprivileged_userns_clone", "0\n");
	fixture_tree_write(&tree, "proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n");
	fixture_tree_write(&tree, "proc/sys/user/max_net_namespaces", "0\n");
	fixture_tree_write(&tree, "proc/sys/user/max_user_namespaces", "95843\n");
	fixture_tree_write(&tree, "proc/self/ns/user", "\n");
	denied_read_clues(tree.root, &clues);
	cr_expect_eq(clues.seccomp, 2);
	cr_expect(clues.sys_admin);
	cr_expect_eq(clues.io_uring_disabled, 1);
	cr_expect_eq(clues.userns_clone, 0);
	cr_expect_eq(clues.apparmor_userns, 1);
	cr_expect_eq(clues.max_namespaces[DENIED_NET], 0);
	cr_expect_eq(clues.max_namespaces[DENIED_USER], 95843);
	cr_expect_eq(clues.max_namespaces[DENIED_MNT], -1);
	cr_expect_not(clues.missing[DENIED_USER]);
	cr_expect(clues.missing[DENIED_UTS]);

	/* Another capability beside the one that counts, and not that one. */
	fixture_tree_write(&tree, "proc/self/status",
	                   "Name:\tx\nCapEff:\t00000000a80425fb\nSeccomp:\t0\n");
	denied_read_clues(tree.root, &clues);
	cr_expect_eq(clues.seccomp, 0);
	cr_expect_not(clues.sys_admin);
	fixture_tree_done(&tree);
}

/* What a kernel may answer to each question, and what that is taken for. */
static const struct question {
	long nr;
	long answer;                /* a value or -errno */
	uint64_t known, attributes; /* of statx */
	int wanted;
} questions[] = {
	{ SYS_io_uring_setup, -EFAULT, 0, 0, 0 }, /* allowed: it came to reading the parameters */
	{ SYS_io_uring_setup, 700, 0, 0, 0 },
	{ SYS_io_uring_setup, -EPERM, 0, 0, EPERM },
	{ SYS_io_uring_setup, -ENOSYS, 0, 0, ENOSYS },
	{ SYS_io_uring_setup, -ENOMEM, 0, 0, ENOMEM },
	{ SYS_mbind, 0, 0, 0, 0 },
	{ SYS_mbind, -EPERM, 0, 0, EPERM },
	{ SYS_mbind, -ENOSYS, 0, 0, ENOSYS },
	/* A kernel that does not tell is not doubted. */
	{ SYS_statx, -ENOSYS, 0, 0, true },
	{ SYS_statx, 0, 0, 0, true },
	{ SYS_statx, 0, STATX_ATTR_COMPRESSED, 0, true },
	{ SYS_statx, 0, STATX_ATTR_MOUNT_ROOT, 0, false },
	{ SYS_statx, 0, STATX_ATTR_MOUNT_ROOT, STATX_ATTR_COMPRESSED, false },
	{ SYS_statx, 0, STATX_ATTR_MOUNT_ROOT, STATX_ATTR_MOUNT_ROOT, true },
};

static const struct question *question;

static bool answer(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (nr != question->nr)
		return false;
	if (nr == SYS_statx) {
		struct statx *st = (struct statx *)(uintptr_t)args[4];

		st->stx_attributes_mask = question->known;
		st->stx_attributes = question->attributes;
	}
	*ret_result = question->answer;
	return true;
}

/* 0, or which question was answered in another way, from 1. */
static int ask_all(void)
{
	static const long calls[] = { SYS_io_uring_setup, SYS_mbind, SYS_statx };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, ARRAY_SIZE(calls), answer) < 0)
		return 100;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		question = &questions[i];
		if (question->wanted != (question->nr == SYS_io_uring_setup ? denied_ask_io_uring()
		                         : question->nr == SYS_mbind ? denied_ask_memory_policy()
		                                                     : denied_root_is_mount()))
			return (int)i + 1;
	}
	return 0;
}

Test(denied, questions_get_the_kernels_errno)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0)
		_exit(ask_all());
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "question %d", WEXITSTATUS(status) - 1);
}

Test(denied, what_a_host_decides_is_told_from_want)
{
	cr_expect(denied_by_host(EPERM) && denied_by_host(EACCES) && denied_by_host(ENOSYS));
	cr_expect_not(denied_by_host(ENOMEM) || denied_by_host(EMFILE) || denied_by_host(EAGAIN));
}
