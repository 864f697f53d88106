/* SPDX-License-Identifier: MIT */
/* The read-back of threads: field by field from a /proc of the test's own, and of real threads that
 * kept one thing. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/fd_layout.h"
#include "sandbox/proc.h"
#include "tests/unit/rig/sandbox_rig.h"

/* -------------------------------------------------------------------- a /proc of the test's own */

/* Of thread 100, which is control, and 101, which is sealed. */
enum { CONTROL, SEALED };

static char root[64];
static ino_t pid_inode;

/* Of ids, '=' is this process's own and '!' another. */
static void write_field(FILE *out, const char *name, const char *value)
{
	unsigned own = strcmp(name, "Gid") == 0 ? getgid() : getuid();

	fprintf(out, "%s:\t", name);
	for (; *value; value++)
		if (*value == '=' || *value == '!')
			fprintf(out, "%u", own + (*value == '!'));
		else
			fputc(*value, out);
	fputc('\n', out);
}

static void write_status(const char *path, unsigned thread, const char *seccomp,
                         const char *filters, const char *field, const char *value)
{
	char tid[16];
	const struct {
		const char *name, *value;
	} rows[] = {
		{ "Name", "axvm-shim" },
		{ "Umask", "0077" },
		{ "Tgid", "100" },
		{ "Pid", tid },
		{ "Uid", "=\t=\t=\t=" },
		{ "Gid", "=\t=\t=\t=" },
		{ "Groups", " " },
		{ "NSpid", tid },
		{ "CapInh", "0000000000000000" },
		{ "CapPrm", "0000000000000000" },
		{ "CapEff", "0000000000000000" },
		{ "CapBnd", "0000000000000000" },
		{ "CapAmb", "0000000000000000" },
		{ "NoNewPrivs", "1" },
		{ "Seccomp", seccomp },
		{ "Seccomp_filters", filters },
	};
	FILE *out = fopen(path, "we");

	cr_assert_not_null(out);
	snprintf(tid, sizeof(tid), "%u", thread);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool meant = field && strcmp(field, rows[i].name) == 0;

		if (!meant || value)
			write_field(out, rows[i].name, meant ? value : rows[i].value);
	}
	fclose(out);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static void put_away(void)
{
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make(const char *format, ...)
{
	char path[160];
	size_t n = strlen(root);
	va_list args;

	memcpy(path, root, n);
	va_start(args, format);
	vsnprintf(path + n, sizeof(path) - n, format, args);
	va_end(args);
	if (strstr(path, "/fd/") || strstr(path, "/ns/"))
		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	else
		cr_assert_eq(mkdir(path, 0700), 0, "%s", path);
}

/* What is spoiled in it: a field of one thread, or a descriptor too many. */
struct spoil {
	const char *name;
	int thread;
	const char *field, *value; /* NULL value: the line is missing */
	int fd;                    /* > 0: open in that thread as well */
	bool privileged, namespaced;
	uint32_t inherited;
	uint32_t sealed_less_one; /* how many are said to be sealed, less 1 */
	const char *words;        /* NULL: nothing is wrong */
};

static void make_proc(const struct spoil *spoil)
{
	static const char *const folders[] = { "/task",        "/task/100", "/task/101",
		                               "/task/101/fd", "/fd",       "/ns" };
	char path[128], filters[2][16];
	struct stat st;

	snprintf(root, sizeof(root), "/tmp/axvm-proc-XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		make("%s", folders[i]);
	make("/ns/pid");
	snprintf(path, sizeof(path), "%s/ns/pid", root);
	cr_assert_eq(stat(path, &st), 0);
	pid_inode = st.st_ino;
	make("/fd/0");
	make("/task/101/fd/%d", CONTROL_WAKE_FD);
	make("/task/101/fd/%d", VCPU_FD);
	for (uint32_t i = 0; i < 2; i++) {
		bool meant = spoil->field && spoil->thread == (int)i;

		snprintf(filters[i], sizeof(filters[i]), "%u", spoil->inherited + i);
		snprintf(path, sizeof(path), "%s/task/%u/status", root, 100 + i);
		write_status(path, 100 + i, i == SEALED || spoil->inherited ? "2" : "0", filters[i],
		             meant ? spoil->field : NULL, spoil->value);
	}
	if (spoil->fd > 0)
		make(spoil->thread == SEALED ? "/task/101/fd/%d" : "/fd/%d", spoil->fd);
}

static int look_at(const struct spoil *spoil)
{
	struct sandbox sandbox = { .landlock_fd = -1,
		                   .privileged = spoil->privileged,
		                   .namespaced = spoil->namespaced,
		                   .inherited_filters = spoil->inherited };
	int r;

	make_proc(spoil);
	sandbox.proc_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memset(&scene.problems, 0, sizeof(scene.problems));
	memset(&scene.seen, 0, sizeof(scene.seen));
	r = sandbox_verify_threads(&sandbox, 1 + spoil->sealed_less_one, &scene.seen,
	                           &scene.problems);
	close(sandbox.proc_fd);
	put_away();
	return r;
}

#define CAPABILITY "sandbox check: a thread has a capability"
#define BOUND "sandbox check: a thread has a capability in its bounding set"
#define PRIVILEGES "sandbox check: a thread may gain privileges"
#define UID "sandbox check: a thread has another uid"
#define GID "sandbox check: a thread has another gid"
#define GROUPS "sandbox check: a thread has supplementary groups"
#define FILTER "sandbox check: a thread is not under one filter of its own"
#define EARLY "sandbox check: the control thread is under a filter already"
#define FOREIGN "sandbox check: a thread has a descriptor that is not its own"
#define BEYOND "sandbox check: a descriptor is open beyond the fixed layout"
#define NUMBER "sandbox check: there are more or fewer threads than were started"

static const struct spoil spoils[] = {
	{ "right", CONTROL, NULL, NULL, 0, true, true, 0, 0, NULL },
	{ "right, under the launcher's filters", CONTROL, NULL, NULL, 0, false, false, 3, 0, NULL },
	{ "bounding set", SEALED, "CapBnd", "1", 0, true, false, 0, 0, BOUND },
	{ "bounding set, user namespace", CONTROL, "CapBnd", "1", 0, false, true, 0, 0, BOUND },
	{ "bounding set, high", SEALED, "CapBnd", "8000000000000000", 0, true, true, 0, 0, BOUND },
	{ "bounding set that could not be emptied", SEALED, "CapBnd", "1", 0, false, false, 0, 0,
	  NULL },
	{ "groups", SEALED, "Groups", "4 ", 0, true, true, 0, 0, GROUPS },
	{ "group 0", CONTROL, "Groups", "0 ", 0, true, true, 0, 0, GROUPS },
	{ "groups that could not be dropped", SEALED, "Groups", "4 5 ", 0, false, true, 0, 0,
	  NULL },
	{ "uid", SEALED, "Uid", "!\t=\t=\t=", 0, true, true, 0, 0, UID },
	{ "effective uid", SEALED, "Uid", "=\t!\t=\t=", 0, true, true, 0, 0, UID },
	{ "saved uid", SEALED, "Uid", "=\t=\t!\t=", 0, true, true, 0, 0, UID },
	{ "uid of files", SEALED, "Uid", "=\t=\t=\t!", 0, true, true, 0, 0, UID },
	{ "gid", SEALED, "Gid", "!\t=\t=\t=", 0, true, true, 0, 0, GID },
	{ "effective gid", SEALED, "Gid", "=\t!\t=\t=", 0, true, true, 0, 0, GID },
	{ "saved gid", SEALED, "Gid", "=\t=\t!\t=", 0, true, true, 0, 0, GID },
	{ "gid of files", SEALED, "Gid", "=\t=\t=\t!", 0, true, true, 0, 0, GID },
	{ "control's uid", CONTROL, "Uid", "=\t=\t=\t!", 0, true, true, 0, 0, UID },
	{ "new privileges", SEALED, "NoNewPrivs", "0", 0, true, true, 0, 0, PRIVILEGES },
	{ "control's new privileges", CONTROL, "NoNewPrivs", "0", 0, true, true, 0, 0, PRIVILEGES },
	{ "no seccomp", SEALED, "Seccomp", "0", 0, true, true, 0, 0, FILTER },
	{ "strict seccomp", SEALED, "Seccomp", "1", 0, true, true, 0, 0, FILTER },
	{ "no filter", SEALED, "Seccomp_filters", "0", 0, true, true, 0, 0, FILTER },
	{ "two filters", SEALED, "Seccomp_filters", "2", 0, true, true, 0, 0, FILTER },
	{ "the launcher's filters alone", SEALED, "Seccomp_filters", "3", 0, true, true, 3, 0,
	  FILTER },
	{ "two beside the launcher's", SEALED, "Seccomp_filters", "5", 0, true, true, 3, 0,
	  FILTER },
	{ "control sealed", CONTROL, "Seccomp_filters", "1", 0, true, true, 0, 0, EARLY },
	{ "control sealed, launcher's", CONTROL, "Seccomp_filters", "4", 0, true, true, 3, 0,
	  EARLY },
	{ "fewer filters than the launcher's", CONTROL, "Seccomp_filters", "2", 0, true, true, 3, 0,
	  EARLY },
	{ "standard input", SEALED, NULL, NULL, STDERR_FD, true, true, 0, 0, FOREIGN },
	{ "events", SEALED, NULL, NULL, EVENT_FD, true, true, 0, 0, FOREIGN },
	{ "the spec's last", SEALED, NULL, NULL, SPEC_FD_LAST, true, true, 0, 0, FOREIGN },
	{ "the VM", SEALED, NULL, NULL, VM_FD, true, true, 0, 0, FOREIGN },
	{ "beyond the layout", SEALED, NULL, NULL, INTERNAL_FD_LAST + 1, true, true, 0, 0,
	  FOREIGN },
	{ "the layout's last", SEALED, NULL, NULL, INTERNAL_FD_LAST, true, true, 0, 0, NULL },
	{ "control's beyond the layout", CONTROL, NULL, NULL, INTERNAL_FD_LAST + 1, true, true, 0,
	  0, BEYOND },
	{ "one that is not there", CONTROL, NULL, NULL, 1023, true, true, 0, 0,
	  "cannot examine a descriptor: " },
	{ "one thread missing", CONTROL, NULL, NULL, 0, true, true, 0, 1, NUMBER },
	{ "two threads too many", CONTROL, NULL, NULL, 0, true, true, 0, UINT32_MAX, NUMBER },
	{ "another process's thread", SEALED, "Pid", "100", 0, true, true, 0, 0, EARLY },
};

/* The words that a spoil is to have; NULL: none. */
static void expect_words(const struct spoil *spoil, int r, const char *name)
{
	if (!spoil->words) {
		cr_expect_eq(r, 0, "%s: %s", name, scene.problems.list[0].message);
		return;
	}
	cr_expect(r < 0, "%s: nothing was found", name);
	cr_expect_eq(scene.problems.count, 1);
	cr_expect_eq(scene.problems.list[0].code, ERROR_CODE_SANDBOX_FAILED);
	cr_expect_eq(strncmp(scene.problems.list[0].message, spoil->words, strlen(spoil->words)), 0,
	             "%s: \"%s\"", name, scene.problems.list[0].message);
}

Test(sandbox_verify, every_thread_is_held_against_the_rules)
{
	for (size_t i = 0; i < ARRAY_SIZE(spoils); i++)
		expect_words(&spoils[i], look_at(&spoils[i]), spoils[i].name);
}

Test(sandbox_verify, a_capability_in_any_set_of_any_thread_is_named)
{
	static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
	static const char *const values[] = { "1", "8000000000000000" };

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		for (int thread = CONTROL; thread <= SEALED; thread++)
			for (size_t k = 0; k < ARRAY_SIZE(values); k++) {
				const struct spoil spoil = { .thread = thread,
					                     .field = sets[i],
					                     .value = values[k],
					                     .words = CAPABILITY };

				expect_words(&spoil, look_at(&spoil), sets[i]);
			}
}

Test(sandbox_verify, a_status_without_one_of_the_fields_is_none)
{
	static const char *const fields[] = { "Tgid",           "Pid",    "Uid",        "Gid",
		                              "Groups",         "CapInh", "CapPrm",     "CapEff",
		                              "CapBnd",         "CapAmb", "NoNewPrivs", "Seccomp",
		                              "Seccomp_filters" };

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct spoil spoil = { .thread = SEALED,
			               .field = fields[i],
			               .words = "sandbox check: a thread's status lacks a field" };

		expect_words(&spoil, look_at(&spoil), fields[i]);
		if (strcmp(fields[i], "Groups") == 0)
			continue;
		spoil.value = "?";
		expect_words(&spoil, look_at(&spoil), fields[i]);
		spoil.value = "0 0 0 0 0";
		if (strcmp(fields[i], "Uid") != 0 && strcmp(fields[i], "Gid") != 0)
			expect_words(&spoil, look_at(&spoil), fields[i]);
	}
}

Test(sandbox_verify, a_pid_namespace_of_the_launchers_is_reported)
{
	struct spoil spoil = { .thread = CONTROL, .field = "NSpid", .value = "100" };

	expect_words(&spoil, look_at(&spoil), "the same");
	cr_expect_eq(scene.seen.namespaces_count, 0);
	spoil.value = "100\t7";
	expect_words(&spoil, look_at(&spoil), "another");
	cr_assert_eq(scene.seen.namespaces_count, 1);
	cr_expect_str_eq(scene.seen.namespaces[0], "pid");
	cr_expect_eq(scene.seen.namespace_inodes[0], pid_inode);
}

/* What the Sealed event lists: control's, but for those of the read-back itself. */
Test(sandbox_verify, the_control_threads_descriptors_are_listed)
{
	const struct spoil spoil = { .thread = CONTROL, .fd = 2 };

	expect_words(&spoil, look_at(&spoil), "two");
	cr_expect_eq(scene.seen.threads, 2);
	cr_expect_eq(scene.seen.fds_count, 2);
	cr_expect_eq(scene.seen.fds[0] + scene.seen.fds[1], 2);
}

/* --------------------------------------------------------------------- real threads that differ */

enum keeps {
	KEEPS_NOTHING,
	KEEPS_PRIVILEGES,
	KEEPS_PERMITTED,
	KEEPS_INHERITABLE,
	KEEPS_BOUND,
	KEEPS_UID,
	KEEPS_FILE_UID,
	KEEPS_GID,
	KEEPS_GROUPS,
	KEEPS_NO_FILTER,
	KEEPS_TWO_FILTERS,
	KEEPS_TABLE,
};

enum { ID = 54321 };

static _Atomic bool thread_is_ready;
static enum keeps keeps;

static bool take_filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = { 1, &allow };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

/* By calls that are of this thread alone, where the C library would have all take part. */
static bool give_up(enum keeps kept)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { { 0 } };
	const gid_t group = 4;

	/* While the bounding set has it. */
	if (kept == KEEPS_INHERITABLE &&
	    (syscall(SYS_capget, &header, sets) != 0 ||
	     !(sets[0].inheritable |= 1u << CAP_SETGID) || syscall(SYS_capset, &header, sets) != 0))
		return false;
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) < 0 ||
	    syscall(SYS_setgroups, kept == KEEPS_GROUPS ? 1 : 0, &group) < 0)
		return false;
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if ((kept != KEEPS_BOUND || cap != CAP_SETGID) &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return false;
	if (syscall(SYS_setresgid, kept == KEEPS_GID ? ID + 1 : ID, ID, ID) < 0 ||
	    syscall(SYS_setresuid, kept == KEEPS_UID ? ID + 1 : ID, ID, ID) < 0)
		return false;
	if (kept == KEEPS_FILE_UID)
		syscall(SYS_setfsuid, ID + 1);
	memset(sets, 0, sizeof(sets));
	sets[0].permitted = kept == KEEPS_PERMITTED ? 1u << CAP_SETGID : 0;
	sets[0].inheritable = kept == KEEPS_INHERITABLE ? 1u << CAP_SETGID : 0;
	/* With a filter before the capability for it goes; no_new_privs is what is at stake. */
	if (kept == KEEPS_PRIVILEGES ? !take_filter() : prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return false;
	return syscall(SYS_capset, &header, sets) == 0;
}

static void *second_thread(void *unused)
{
	bool done = give_up(keeps);

	(void)unused;
	if (keeps != KEEPS_PRIVILEGES && keeps != KEEPS_NO_FILTER)
		done = done && take_filter();
	if (keeps == KEEPS_TWO_FILTERS)
		done = done && take_filter();
	if (keeps != KEEPS_TABLE)
		done = done && close_range(0, ~0u, CLOSE_RANGE_UNSHARE) == 0;
	atomic_store(&thread_is_ready, done);
	for (;;)
		pause();
	return NULL;
}

/* The ids, the capability to change them, and no step of the product's: what is read back is what
 * these two threads did. */
static int two_threads(void)
{
	pthread_t thread;

	if (proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0)
		return 1;
	scene.sandbox.landlock_fd = -1;
	scene.sandbox.privileged = true;
	if (pthread_create(&thread, NULL, second_thread, NULL) != 0 || !give_up(KEEPS_NOTHING))
		return 2;
	for (int turns = 0; turns < 5000 && !atomic_load(&thread_is_ready); turns++)
		usleep(1000);
	if (!atomic_load(&thread_is_ready))
		return 3;
	return sandbox_verify_threads(&scene.sandbox, 1, &scene.seen, &scene.problems) < 0 ? 10 : 0;
}

Test(sandbox_verify, a_thread_that_kept_something_is_named)
{
	static const struct {
		const char *name, *words;
	} rows[] = {
		[KEEPS_NOTHING] = { "nothing", "" },
		[KEEPS_PRIVILEGES] = { "privileges", PRIVILEGES },
		[KEEPS_PERMITTED] = { "permitted", CAPABILITY },
		[KEEPS_INHERITABLE] = { "inheritable", CAPABILITY },
		[KEEPS_BOUND] = { "bounding set", BOUND },
		[KEEPS_UID] = { "uid", UID },
		[KEEPS_FILE_UID] = { "uid of files", UID },
		[KEEPS_GID] = { "gid", GID },
		[KEEPS_GROUPS] = { "groups", GROUPS },
		[KEEPS_NO_FILTER] = { "no filter", FILTER },
		[KEEPS_TWO_FILTERS] = { "two filters", FILTER },
		[KEEPS_TABLE] = { "table of descriptors", FOREIGN },
	};

	if (geteuid() != 0)
		cr_skip_test("not root: a thread has nothing to keep");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		keeps = (enum keeps)i;
		cr_expect_eq(rig_child(two_threads), *rows[i].words ? 10 : 0, "%s: %s",
		             rows[i].name, rig_words);
		cr_expect_str_eq(rig_words, rows[i].words, "%s: %s", rows[i].name, rig_words);
	}
}
