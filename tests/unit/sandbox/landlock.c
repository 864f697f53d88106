/* SPDX-License-Identifier: MIT */
/* Landlock: what is asked of a kernel of each ABI, that both layers are tried, and, under this
 * machine's kernel, each right by an operation that succeeded before. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandbox/fd_layout.h"
#include "sandbox/landlock.h"
#include "sandbox/proc.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"

/* ---------------------------------------------------------------- a kernel of the test's making */

enum { FIRST_FD = 700, SECOND_FD = 701 };

static struct {
	int abi; /* what it says that it has; or -errno */
	long open_answer, bind_answer, kill_answer, restrict_answer, rule_answer;
	/* What it was asked. */
	uint64_t rulesets[2][3];
	size_t sizes[2], rulesets_count, rules_count, restricted_count;
	struct landlock_path_beneath_attr rule;
	int rule_of, rule_type, restricted_by[2], killed, kill_signal;
	unsigned opened, bound, killings;
	int opened_at;
	char path[16];
} kernel;

static long new_ruleset(const uint64_t args[static 6])
{
	size_t at = kernel.rulesets_count;

	if (args[2] & LANDLOCK_CREATE_RULESET_VERSION)
		return args[0] == 0 && args[1] == 0 ? kernel.abi : -EINVAL;
	if (at == 2 || args[2] != 0 || args[1] > sizeof(kernel.rulesets[0]))
		return -E2BIG;
	memcpy(kernel.rulesets[at], (const void *)(uintptr_t)args[0], args[1]);
	kernel.sizes[at] = args[1];
	kernel.rulesets_count++;
	return FIRST_FD + (long)at;
}

static long new_rule(const uint64_t args[static 6])
{
	kernel.rule_of = (int)args[0];
	kernel.rule_type = (int)args[1];
	memcpy(&kernel.rule, (const void *)(uintptr_t)args[2], sizeof(kernel.rule));
	kernel.rules_count++;
	return kernel.rule_answer;
}

static bool answer(long nr, const uint64_t args[static 6], long *ret_result)
{
	switch (nr) {
	case SYS_landlock_create_ruleset:
		*ret_result = new_ruleset(args);
		return true;
	case SYS_landlock_add_rule:
		*ret_result = new_rule(args);
		return true;
	case SYS_landlock_restrict_self:
		kernel.restricted_by[kernel.restricted_count++ % 2] = (int)args[0];
		*ret_result = kernel.restrict_answer;
		return true;
	case SYS_openat:
		kernel.opened++;
		kernel.opened_at = (int)args[0];
		snprintf(kernel.path, sizeof(kernel.path), "%s", (const char *)(uintptr_t)args[1]);
		*ret_result = kernel.open_answer;
		return true;
	case SYS_bind:
		kernel.bound++;
		*ret_result = kernel.bind_answer;
		return true;
	default:
		kernel.killings++;
		kernel.killed = (int)args[0];
		kernel.kill_signal = (int)args[1];
		*ret_result = kernel.kill_answer;
		return true;
	}
}

static pid_t launcher = 4711;

static int begin(void)
{
	const long calls[] = { SYS_landlock_create_ruleset,
		               SYS_landlock_add_rule,
		               SYS_landlock_restrict_self,
		               SYS_openat,
		               SYS_bind,
		               SYS_kill };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	scene.sandbox.proc_fd = PROC_FD;
	scene.sandbox.landlock_fd = -1;
	scene.sandbox.launcher = launcher;
	return fake_kernel_begin(calls, ARRAY_SIZE(calls), answer);
}

/* Rights by the ABI that brought them, as the kernel's documentation has them. */
static uint64_t files_of(int abi)
{
	return 0x1fff | (abi >= 2 ? LANDLOCK_ACCESS_FS_REFER : 0) | (abi >= 3 ? 1u << 14 : 0) |
	       (abi >= 5 ? 1u << 15 : 0);
}

static int asks_for_all(void)
{
	int abi = kernel.abi;
	size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;

	if (begin() < 0 || landlock_restrict(&scene.sandbox, &scene.problems) < 0)
		return 1;
	if (kernel.rulesets_count != 2 || kernel.sizes[0] != size || kernel.sizes[1] != size)
		return 2;
	if (kernel.rulesets[0][0] != files_of(abi) || kernel.rulesets[0][1] != (abi >= 4 ? 3 : 0) ||
	    kernel.rulesets[0][2] != (abi >= 6 ? 3 : 0))
		return 3;
	if (kernel.rulesets[1][0] != files_of(abi) || kernel.rulesets[1][1] ||
	    kernel.rulesets[1][2])
		return 4;
	if (kernel.rules_count != 1 || kernel.rule_of != FIRST_FD ||
	    kernel.rule_type != LANDLOCK_RULE_PATH_BENEATH || kernel.rule.parent_fd != PROC_FD ||
	    kernel.rule.allowed_access !=
	            (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR))
		return 5;
	if (kernel.restricted_count != 1 || kernel.restricted_by[0] != FIRST_FD ||
	    scene.sandbox.landlock_fd != SECOND_FD || scene.sandbox.landlock_abi != abi)
		return 6;
	if (kernel.opened != 1 || strcmp(kernel.path, "/") != 0 || kernel.bound != (abi >= 4) ||
	    kernel.killings != (abi >= 6) || (abi >= 6 && kernel.killed != 4711) ||
	    kernel.kill_signal != 0)
		return 7;
	if (sandbox_close_files(&scene.sandbox, &scene.problems) < 0)
		return 8;
	return kernel.restricted_count == 2 && kernel.restricted_by[1] == SECOND_FD &&
	                       kernel.opened == 2 && kernel.opened_at == PROC_FD &&
	                       strcmp(kernel.path, "task") == 0
	               ? 0
	               : 9;
}

static void fresh_kernel(int abi)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.abi = abi;
	kernel.open_answer = kernel.bind_answer = -EACCES;
	kernel.kill_answer = -EPERM;
}

Test(sandbox_landlock, asks_for_all_that_the_kernel_knows)
{
	for (int abi = 1; abi < 10; abi++) {
		fresh_kernel(abi);
		cr_expect_eq(rig_child(asks_for_all), 0, "ABI %d: %s", abi, rig_words);
	}
}

/* 0 is what getppid(2) says of one in another PID namespace, and would mean this process's own
 * group. */
static int leaves_a_distant_launcher(void)
{
	if (begin() < 0 || landlock_restrict(&scene.sandbox, &scene.problems) < 0)
		return 1;
	return kernel.killings == 0 && kernel.bound == 1 && kernel.opened == 1 ? 0 : 2;
}

Test(sandbox_landlock, a_launcher_in_another_pid_namespace_is_not_signalled)
{
	fresh_kernel(6);
	launcher = 0;
	cr_expect_eq(rig_child(leaves_a_distant_launcher), 0, "%s", rig_words);
}

static bool second_layer;

static int refused_by_the_trial(void)
{
	if (begin() < 0)
		return 1;
	if (second_layer)
		return sandbox_close_files(&scene.sandbox, &scene.problems) < 0 ? 0 : 2;
	return landlock_restrict(&scene.sandbox, &scene.problems) < 0 ? 0 : 2;
}

Test(sandbox_landlock, each_layer_is_tried)
{
	static const struct {
		bool second;
		long *answer;
		long value;
		const char *words;
	} rows[] = {
		{ false, &kernel.open_answer, 700,
		  "sandbox check: a directory can be opened in spite of Landlock" },
		{ false, &kernel.open_answer, -ENOENT,
		  "cannot tell whether Landlock holds for files: " },
		{ false, &kernel.bind_answer, 0,
		  "sandbox check: a port can be bound in spite of Landlock" },
		{ false, &kernel.bind_answer, -EADDRINUSE,
		  "cannot tell whether Landlock holds for ports: " },
		{ false, &kernel.kill_answer, 0,
		  "sandbox check: the launcher can be signalled in spite of" },
		{ false, &kernel.restrict_answer, -EPERM,
		  "cannot restrict the process by Landlock: " },
		{ false, &kernel.rule_answer, -EINVAL, "cannot prepare Landlock: " },
		{ true, &kernel.open_answer, 700,
		  "sandbox check: a directory can be opened in spite of Landlock" },
		{ true, &kernel.open_answer, -ENOENT,
		  "cannot tell whether Landlock holds for files: " },
		{ true, &kernel.restrict_answer, -EPERM, "cannot restrict a thread by Landlock: " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fresh_kernel(6);
		*rows[i].answer = rows[i].value;
		second_layer = rows[i].second;
		cr_expect_eq(rig_child(refused_by_the_trial), 0, "row %zu", i);
		cr_expect_eq(strncmp(rig_words, rows[i].words, strlen(rows[i].words)), 0,
		             "row %zu: %s", i, rig_words);
	}
	fresh_kernel(-EOPNOTSUPP);
	second_layer = false;
	cr_expect_eq(rig_child(refused_by_the_trial), 0);
	cr_expect_not_null(strstr(rig_words, "this kernel has no Landlock"), "%s", rig_words);
}

/* ------------------------------------------------------------------------- the machine's kernel */

static char folder[64];
static int port_listener = -1, name_listener = -1;
static struct sockaddr_in port_address;
static struct sockaddr_un name_address = { .sun_family = AF_UNIX };
static socklen_t name_length;

/* 0, or -errno; what it opens is closed again. */
static int opens(const char *name, int flags)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static const char *in_folder(const char *name)
{
	static char paths[2][96];
	static unsigned turn;
	char *path = paths[turn++ % 2];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static int executes(void)
{
	/* Landlock is asked before the kernel looks whether it is a program. */
	execl(in_folder("program"), "program", (char *)NULL);
	return errno == ENOEXEC ? 0 : -errno;
}

static int reads(void)
{
	return opens("file", O_RDONLY);
}
static int writes(void)
{
	return opens("file", O_WRONLY);
}
static int lists(void)
{
	return opens(".", O_RDONLY | O_DIRECTORY);
}
static int truncates(void)
{
	return truncate(in_folder("file"), 0) < 0 ? -errno : 0;
}
static int removes_folder(void)
{
	return rmdir(in_folder("d")) < 0 ? -errno : 0;
}
static int removes_file(void)
{
	return unlink(in_folder("gone")) < 0 ? -errno : 0;
}
static int makes_folder(void)
{
	return mkdir(in_folder("d"), 0700) < 0 ? -errno : 0;
}
static int makes_link(void)
{
	return symlink("x", in_folder("s")) < 0 ? -errno : 0;
}

static int makes_node(mode_t type, dev_t device)
{
	return mknod(in_folder("n"), type | 0600, device) < 0 ? -errno : 0;
}

static int makes_file(void)
{
	return makes_node(S_IFREG, 0);
}
static int makes_fifo(void)
{
	return makes_node(S_IFIFO, 0);
}
static int makes_socket(void)
{
	return makes_node(S_IFSOCK, 0);
}
/* Whiteouts: device 0:0 needs no capability. A block device needs one: without, -EPERM says
 * nothing. */
static int makes_character_device(void)
{
	return makes_node(S_IFCHR, makedev(0, 0));
}
static int makes_block_device(void)
{
	return makes_node(S_IFBLK, makedev(7, 0));
}

static int moves(void)
{
	return rename(in_folder("file"), in_folder("other/file")) < 0 ? -errno : 0;
}

static int on_socket(int (*act)(int, const struct sockaddr *, socklen_t), const void *address,
                     socklen_t length, sa_family_t family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	r = act(fd, address, length) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int binds(void)
{
	const struct sockaddr_in any = { .sin_family = AF_INET };

	return on_socket(bind, &any, sizeof(any), AF_INET);
}

static int connects(void)
{
	return on_socket(connect, &port_address, sizeof(port_address), AF_INET);
}

static int connects_by_name(void)
{
	return on_socket(connect, &name_address, name_length, AF_UNIX);
}

static int signals(void)
{
	return kill(getppid(), 0) < 0 ? -errno : 0;
}

static const struct operation {
	const char *name;
	int abi; /* that refuses it */
	int (*act)(void);
	int refusal;
} operations[] = {
	{ "execute", 1, executes, EACCES },
	{ "write a file", 1, writes, EACCES },
	{ "read a file", 1, reads, EACCES },
	{ "list a directory", 1, lists, EACCES },
	{ "remove a directory", 1, removes_folder, EACCES },
	{ "remove a file", 1, removes_file, EACCES },
	{ "make a character device", 1, makes_character_device, EACCES },
	{ "make a directory", 1, makes_folder, EACCES },
	{ "make a file", 1, makes_file, EACCES },
	{ "make a socket", 1, makes_socket, EACCES },
	{ "make a fifo", 1, makes_fifo, EACCES },
	{ "make a block device", 1, makes_block_device, EACCES },
	{ "make a symbolic link", 1, makes_link, EACCES },
	{ "move to another directory", 1, moves, EACCES },
	{ "truncate", 3, truncates, EACCES },
	{ "bind a TCP port", 4, binds, EACCES },
	{ "connect to a TCP port", 4, connects, EACCES },
	{ "connect to an abstract socket", 6, connects_by_name, EPERM },
	{ "signal the parent", 6, signals, EPERM },
};

static const struct operation *operation;
static bool restricted;

static int act(void)
{
	scene.sandbox.proc_fd = -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0)
		return 1;
	if (restricted && landlock_restrict(&scene.sandbox, &scene.problems) < 0)
		return 2;
	if (!restricted)
		return operation->act() == 0 ? 0 : 3;
	return operation->act() == -operation->refusal ? 0 : 4;
}

/* As the operations need it: a file, a program that is none, a directory that is there or not. */
static void lay_out(void)
{
	static const char *const files[] = { "file", "program", "gone" };

	snprintf(folder, sizeof(folder), "/tmp/axvm-landlock-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		int fd = open(in_folder(files[i]), O_WRONLY | O_CREAT | O_CLOEXEC, 0700);

		cr_assert_geq(fd, 0);
		cr_assert_eq(write(fd, "\1\2\3\4", 4), 4);
		close(fd);
	}
	cr_assert_eq(mkdir(in_folder("other"), 0700), 0);
	if (operation->act == removes_folder)
		cr_assert_eq(mkdir(in_folder("d"), 0700), 0);
}

static void clear_away(void)
{
	static const char *const files[] = { "file", "program", "gone", "n", "s", "other/file" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		(void)unlink(in_folder(files[i]));
	(void)rmdir(in_folder("d"));
	(void)rmdir(in_folder("other"));
	cr_assert_eq(rmdir(folder), 0);
}

static void listen_for_it(void)
{
	socklen_t length = sizeof(port_address);

	port_address = (struct sockaddr_in){ .sin_family = AF_INET,
		                             .sin_addr = { htonl(INADDR_LOOPBACK) } };
	port_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(port_listener, (const struct sockaddr *)&port_address,
	                  sizeof(port_address)),
	             0);
	cr_assert_eq(listen(port_listener, 8), 0);
	cr_assert_eq(getsockname(port_listener, (struct sockaddr *)&port_address, &length), 0);
	name_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                          (size_t)snprintf(name_address.sun_path + 1, 64,
	                                           "axvm-landlock-%d", getpid()));
	name_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(name_listener, (const struct sockaddr *)&name_address, name_length), 0);
	cr_assert_eq(listen(name_listener, 8), 0);
}

/* What the process may do without Landlock: a right that it lacks anyway would prove nothing. */
Test(sandbox_landlock, each_right_is_taken)
{
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	cr_assert_geq(abi, 1);
	listen_for_it();
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		operation = &operations[i];
		if (operation->act == makes_block_device && geteuid() != 0)
			continue; /* root's alone; that it is asked for is tried above */
		for (int turn = 0; turn < 2; turn++) {
			restricted = turn == 1;
			if (restricted && abi < operation->abi)
				continue;
			lay_out();
			cr_expect_eq(rig_child(act), 0, "%s, %s: %s", operation->name,
			             restricted ? "restricted" : "free", rig_words);
			clear_away();
		}
	}
}

/* Of /proc/self, reading is left until the second layer, and nothing but reading. */
static int proc_is_read_only(void)
{
	int fd;

	scene.sandbox.proc_fd = -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    landlock_restrict(&scene.sandbox, &scene.problems) < 0)
		return 1;
	fd = openat(scene.sandbox.proc_fd, "task", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || close(fd) < 0)
		return 2;
	fd = openat(scene.sandbox.proc_fd, "status", O_RDONLY);
	if (fd < 0 || close(fd) < 0)
		return 3;
	if (openat(scene.sandbox.proc_fd, "comm", O_WRONLY) >= 0 || errno != EACCES)
		return 4;
	if (openat(scene.sandbox.proc_fd, "../self/../1/status", O_RDONLY) >= 0 || errno != EACCES)
		return 5;
	if (sandbox_close_files(&scene.sandbox, &scene.problems) < 0)
		return 6;
	return openat(scene.sandbox.proc_fd, "status", O_RDONLY) < 0 && errno == EACCES ? 0 : 7;
}

Test(sandbox_landlock, proc_can_be_read_until_the_second_layer)
{
	cr_assert_eq(rig_child(proc_is_read_only), 0, "%s", rig_words);
}
