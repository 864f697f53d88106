/* SPDX-License-Identifier: MIT */
/* Claims in a folder that others spoil: files of other kinds, without permission, with a lease on
 * them, removed or just being made; locks of shapes that no VM takes. Whatever it is, a call ends,
 * and says which it is. */
#include "host/claims.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/host_fixture.h"
#include "tests/unit/rig/sandbox_rig.h"
#include "tests/unit/rig/wait.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NOBODY 65534

static struct fixture_tree folder;
static struct claims a, b;
static char path[128];

static void open_two(void)
{
	fixture_tree_new(&folder);
	cr_assert_eq(claims_open(&a, -1, folder.root, false), 0);
	cr_assert_eq(claims_open(&b, -1, folder.root, false), 0);
}

static void close_two(void)
{
	claims_close(&a);
	claims_close(&b);
	fixture_tree_done(&folder);
}

TestSuite(claims_hostile, .init = open_two, .fini = close_two);

static const char *in_folder(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", folder.root, name);
	return path;
}

/* ---------------------------------------------------------------------------- files and folders */

static void make_directory(const char *at)
{
	cr_assert_eq(mkdir(at, 0700), 0);
}
static void make_fifo(const char *at)
{
	cr_assert_eq(mkfifo(at, 0600), 0);
}

static void make_link(const char *at)
{
	char target[128];

	snprintf(target, sizeof(target), "%s/elsewhere", folder.root);
	cr_assert_eq(symlink(target, at), 0);
}

static void make_link_to_nothing(const char *at)
{
	make_link(at);
	cr_assert_eq(unlink(in_folder("elsewhere")), 0);
}

static void make_socket(const char *at)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", at);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

Test(claims_hostile, a_file_of_another_kind_is_told_and_never_waited_for)
{
	static void (*const make[])(const char *at) = { make_directory, make_fifo, make_link,
		                                        make_socket, make_link_to_nothing };
	char name[3][32];

	fixture_tree_write(&folder, "elsewhere", "%s", "");
	for (uint32_t i = 0; i < ARRAY_SIZE(make); i++) {
		struct claims_load load = { .vcpus = 7 };
		uint64_t slot = 7;

		snprintf(name[0], sizeof(name[0]), "cpu%u", i);
		snprintf(name[1], sizeof(name[1]), "node%u", i);
		make[i](in_folder(name[0]));
		if (i + 1 < ARRAY_SIZE(make))
			make[i](in_folder(name[1]));
		cr_expect_eq(claims_take(&a, i, CLAIMS_VCPU, 0), -EMEDIUMTYPE, "row %u", i);
		cr_expect_eq(claims_take_whole(&a, i), -EMEDIUMTYPE, "row %u", i);
		cr_expect_eq(claims_look(&a, i, &load), -EMEDIUMTYPE, "row %u", i);
		cr_expect_eq(load.vcpus, 7, "untouched");
		cr_expect(!claims_idle(&a, i) && !claims_whole(&a, i), "row %u", i);
		if (i + 1 < ARRAY_SIZE(make))
			cr_expect_eq(claims_take_memory(&a, i, 1, 64, &slot), -EMEDIUMTYPE,
			             "row %u", i);
		cr_expect_eq(slot, 7, "untouched");
	}
	cr_expect_neq(access(in_folder("elsewhere"), F_OK), 0,
	              "a link was followed, and made a file");
	cr_expect_eq(claims_take(&a, 99, CLAIMS_VCPU, 0), 0, "other CPUs can be claimed");
}

Test(claims_hostile, what_is_no_folder_is_refused)
{
	struct claims claims = { 0 };
	int fd;

	cr_expect_eq(claims_open(&claims, -1, in_folder("missing"), false), -ENOENT);
	fixture_tree_write(&folder, "file", "%s", "");
	cr_assert_eq(claims_open(&claims, -1, in_folder("file"), false), -ENOTDIR);
	fd = open(in_folder("file"), O_RDWR | O_CLOEXEC);
	cr_expect_eq(claims_open(&claims, fd, NULL, false), -ENOTDIR);
	close(fd);
	make_fifo(in_folder("fifo"));
	cr_expect_eq(claims_open(&claims, -1, in_folder("fifo"), false), -ENOTDIR);
	fd = open(in_folder("fifo"), O_RDWR | O_CLOEXEC);
	cr_expect_eq(claims_open(&claims, fd, NULL, false), -ENOTDIR);
	close(fd);
	cr_expect_eq(claims_open(&claims, fd, NULL, false), -EBADF);
	cr_expect_not(claims.open);
	claims_close(&claims);
	cr_expect_eq(claims_keep(&claims), 0);
}

/* A shim's own user, where the tests are root's, whom no mode keeps out. */
static void as_nobody(bool on)
{
	if (getuid() == 0)
		cr_assert_eq(seteuid(on ? NOBODY : 0), 0);
}

Test(claims_hostile, who_has_no_permission_is_told_so)
{
	struct claims claims = { 0 };
	struct claims_load load;
	uint64_t slot;

	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take(&a, 1, CLAIMS_VCPU, 0), 0);
	cr_assert_eq(chmod(in_folder("cpu0"), 0), 0);
	cr_assert_eq(chmod(in_folder("cpu1"), 0444), 0);
	cr_assert_eq(chmod(folder.root, 0555), 0);
	as_nobody(true);
	cr_assert_eq(claims_open(&claims, -1, folder.root, false), 0);
	cr_expect_eq(claims_take(&claims, 0, CLAIMS_VCPU, 1), -EACCES, "not to be read");
	cr_expect_eq(claims_take(&claims, 1, CLAIMS_VCPU, 1), -EACCES, "not to be written");
	cr_expect_eq(claims_take_whole(&claims, 2), -EACCES, "not to be made");
	cr_expect_eq(claims_look(&claims, 0, &load), -EACCES);
	cr_expect_eq(claims_take_memory(&claims, 0, 1, 64, &slot), -EACCES);
	cr_expect(!claims_idle(&claims, 0) && !claims_whole(&claims, 0));
	claims_close(&claims);
	as_nobody(false);
	cr_assert_eq(chmod(folder.root, 0), 0);
	as_nobody(true);
	cr_expect_eq(claims_open(&claims, -1, folder.root, false), -EACCES);
	as_nobody(false);
	cr_assert_eq(chmod(folder.root, 0700), 0);
}

Test(claims_hostile, a_folder_removed_while_claims_are_held_is_an_error_and_they_stay)
{
	struct claims_load load;

	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_VCPU, 1), 0);
	cr_assert_eq(unlink(in_folder("cpu0")), 0);
	cr_assert_eq(rmdir(folder.root), 0);
	cr_expect_eq(claims_take(&b, 0, CLAIMS_VCPU, 0), -EAGAIN, "of those who know its file");
	cr_expect_eq(claims_take(&a, 1, CLAIMS_VCPU, 0), -ENOENT);
	cr_expect_eq(claims_take_whole(&a, 1), -ENOENT);
	cr_expect_eq(claims_look(&a, 1, &load), -ENOENT);
	cr_expect_not(claims_idle(&a, 1));
	cr_expect_not(claims_whole(&a, 1));
	cr_expect_eq(claims_keep(&a), 0);
	cr_assert_eq(mkdir(folder.root, 0700), 0);
}

/* Who made a file may take a lease on it, and the kernel then has others wait until it is given
 * back. */
Test(claims_hostile, a_lease_on_a_file_is_no_claim_and_is_not_waited_for)
{
	struct claims_load load;
	int fd;

	signal(SIGIO, SIG_IGN);
	fixture_tree_write(&folder, "cpu0", "%s", "");
	fd = open(in_folder("cpu0"), O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fcntl(fd, F_SETLEASE, F_RDLCK), 0, "no leases here");
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), -EBUSY);
	cr_expect_eq(claims_take_whole(&a, 0), -EBUSY);
	cr_expect_eq(claims_look(&a, 0, &load), -EBUSY);
	cr_assert_eq(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	close(fd);
}

Test(claims_hostile, without_descriptors_it_is_told_so_and_nothing_is_left)
{
	struct rlimit limit;
	int fd;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	fd = dup(1);
	close(fd);
	setrlimit(RLIMIT_NOFILE,
	          &(struct rlimit){ .rlim_cur = (rlim_t)fd, .rlim_max = limit.rlim_max });
	cr_expect_eq(claims_take(&a, 1, CLAIMS_VCPU, 0), -EMFILE);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_IO, 0), 0, "its file is open");
	setrlimit(RLIMIT_NOFILE, &limit);
	cr_expect_eq(claims_take(&a, 1, CLAIMS_VCPU, 0), 0);
}

Test(claims_hostile, who_never_opened_a_folder_makes_no_file)
{
	static struct claims never;
	int standard = dup(0), fd = open(folder.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* A zeroed struct must not be taken for a folder on fd 0. */
	cr_assert_eq(dup2(fd, 0), 0);
	cr_expect_eq(claims_take(&never, 3, CLAIMS_VCPU, 0), -EBADF);
	cr_expect_not(claims_idle(&never, 3));
	claims_drop(&never, 3, CLAIMS_VCPU, 0);
	cr_expect_neq(access(in_folder("cpu3"), F_OK), 0);
	dup2(standard, 0);
	close(standard);
	close(fd);
}

/* ------------------------------------------------------------------------------------ new files */

static mode_t mode_of(const char *name)
{
	struct stat st;

	cr_assert_eq(stat(in_folder(name), &st), 0, "%s", name);
	return st.st_mode;
}

static bool only_says_yes(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	*ret_result = 0;
	return true;
}

/* Another VM's user may open it as soon as it is there. A shim's umask is 077. */
static int made_under_a_umask(void)
{
	const long calls[] = { SYS_fchmod, SYS_fchmodat };
	mode_t before;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 2, only_says_yes) < 0)
		return 1;
	umask(0077);
	if (claims_take(&a, 5, CLAIMS_VCPU, 0) < 0)
		return 2;
	before = umask(0);
	return before == 0077 ? 0 : 3;
}

Test(claims_hostile, a_new_file_is_the_groups_from_its_first_moment)
{
	cr_expect_eq(rig_child(made_under_a_umask), 0);
	cr_expect_eq(mode_of("cpu5"), S_IFREG | 0660);
}

/* Between a look and the making somebody else has made it. */
static bool made_meanwhile(long nr, const uint64_t args[static 6], long *ret_result)
{
	uint64_t make[6] = { args[0], args[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660 };

	if (args[2] & O_CREAT)
		return false;
	*ret_result = fake_kernel_call(nr, args);
	if (*ret_result == -ENOENT)
		close((int)fake_kernel_call(nr, make));
	return true;
}

static int two_at_once(void)
{
	const long calls[] = { SYS_openat };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, made_meanwhile) < 0)
		return 1;
	return claims_take(&a, 6, CLAIMS_VCPU, 0) == 0 ? 0 : 2;
}

Test(claims_hostile, a_file_that_somebody_has_just_made_is_opened)
{
	cr_expect_eq(rig_child(two_at_once), 0);
}

/* Many launches at once on a host that has just started: whatever order the kernel finds, each gets
 * a slot of its own, and no slot is left out. */
Test(claims_hostile, launches_that_make_a_file_at_once_get_a_slot_each)
{
	enum { VMS = 8 };
	int start[2], said[2], hold[2];
	pid_t pids[VMS];
	uint8_t slots = 0, slot;

	cr_assert(pipe2(start, O_CLOEXEC) == 0 && pipe2(said, O_CLOEXEC) == 0 &&
	          pipe2(hold, O_CLOEXEC) == 0);
	for (int i = 0; i < VMS; i++) {
		pids[i] = fork();
		cr_assert_geq(pids[i], 0);
		if (pids[i] == 0) {
			static struct claims vm;

			close(start[1]);
			close(hold[1]);
			slot = claims_open(&vm, -1, folder.root, false) < 0 ? VMS : 0;
			/* Until its other end is closed, for all at once. */
			if (read(start[0], &(char){ 0 }, 1) != 0)
				_exit(1);
			while (slot < VMS && claims_take(&vm, 0, CLAIMS_VCPU, slot) == -EAGAIN)
				slot++;
			if (claims_keep(&vm) < 0 || write(said[1], &slot, 1) != 1)
				_exit(2);
			_exit(read(hold[0], &(char){ 0 }, 1) == 0 ? 0 : 3);
		}
	}
	close(start[1]);
	for (int i = 0; i < VMS; i++) {
		cr_assert_eq(wait_read(said[0], &slot, 1), 1);
		cr_expect_lt(slot, VMS);
		slots = (uint8_t)(slots | 1u << slot);
	}
	cr_expect_eq(slots, 0xff, "slots taken: %#x", slots);
	close(hold[1]);
	for (int i = 0; i < VMS; i++)
		cr_expect_eq(wait_child(pids[i]), 0);
}

/* ---------------------------------------------------------------------------------------- locks */

/* Of no VM; `length` 0: to the end of the file. Sets hostile_fd. */
static int hostile_fd = -1;

static void hostile_lock(short type, off_t start, off_t length)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length
	};

	if (hostile_fd < 0)
		hostile_fd = open(in_folder("cpu0"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(fcntl(hostile_fd, F_OFD_SETLK, &lock), 0);
}

static void hostile_done(void)
{
	close(hostile_fd);
	hostile_fd = -1;
}

Test(claims_hostile, locks_of_any_shape_are_counted_for_what_they_keep_from_others)
{
	const uint32_t most = CLAIMS_LEVELS_MAX;
	const off_t slots = CLAIMS_SLOTS;
	const struct {
		off_t start, length;
		uint32_t vcpus, io;
		bool whole;
	} rows[] = {
		{ 0, 1, 1, 0, false },
		{ 5, 0, most, most, false }, /* to the end of the file */
		{ 0, 0, most, most, true },
		{ 0, 2 * slots, most, most, true },
		{ 0, 2 * slots - 1, most, most, false },
		{ slots - 2, 5, 2, 3, false }, /* of both ranges */
		{ 1, slots + 2, most, 3, false },
		{ slots - 2, 0, 2, most, false },
		{ 2 * slots - 1, 77, 0, 1, false },
		{ 2 * slots, 0, 0, 0, false },
		{ slots, slots, 0, most, false },
		{ INT64_MAX, 1, 0, 0, false },
		{ 0, INT64_MAX, most, most, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int type = 0; type < 2; type++) {
			struct claims_load load;

			hostile_lock(type ? F_RDLCK : F_WRLCK, rows[i].start, rows[i].length);
			cr_expect_eq(claims_look(&a, 0, &load), 0, "row %zu", i);
			cr_expect(load.vcpus == rows[i].vcpus && load.io == rows[i].io &&
			                  load.whole == rows[i].whole,
			          "row %zu, type %d: %u, %u, %d", i, type, load.vcpus, load.io,
			          load.whole);
			cr_expect_eq(claims_whole(&a, 0), rows[i].whole, "row %zu", i);
			cr_expect_eq(claims_idle(&a, 0), rows[i].vcpus == 0, "row %zu", i);
			hostile_done();
		}
}

/* How often the kernel was asked. */
static unsigned asked;

static bool count_calls(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	(void)ret_result;
	asked++;
	return false;
}

/* A lock in every second slot, so that none is neighbour to another: as many as a look goes past,
 * and more. */
static int looks_at_too_many(void)
{
	const long calls[] = { SYS_fcntl };
	struct claims_load load;
	uint64_t slot;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, count_calls) < 0)
		return 1;
	if (claims_look(&b, 0, &load) < 0 || load.vcpus != CLAIMS_LEVELS_MAX || load.whole)
		return 2;
	if (asked > 3 * CLAIMS_LEVELS_MAX)
		return 3;
	asked = 0;
	/* No place among them; and half of them beyond what is free. */
	if (claims_take_memory(&b, 0, 128, 4 * CLAIMS_LEVELS_MAX * 64, &slot) != -EAGAIN)
		return 4;
	if (claims_take_memory(&b, 0, 128, 2 * CLAIMS_LEVELS_MAX * 64, &slot) != -EAGAIN)
		return 5;
	return asked > CLAIMS_LEVELS_MAX ? 6 : 0;
}

Test(claims_hostile, however_many_locks_there_are_the_looks_at_them_are_bounded)
{
	char node[128];

	for (off_t slot = 0; slot < 4 * CLAIMS_LEVELS_MAX; slot += 2)
		hostile_lock(F_WRLCK, slot, 1);
	/* The same in a node's file: it is one file. */
	snprintf(node, sizeof(node), "%s/node0", folder.root);
	cr_assert_eq(link(in_folder("cpu0"), node), 0);
	cr_expect_eq(rig_child(looks_at_too_many), 0);
	hostile_done();
}

/* A file system of somebody's own, which answers what the kernel itself does not. */
static bool answer_again(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	(void)args;
	*ret_result = -EAGAIN;
	return true;
}

static int look_in_vain(void)
{
	const long calls[] = { SYS_fcntl };
	struct claims_load load;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, answer_again) < 0)
		return 1;
	if (claims_look(&b, 0, &load) != -EIO)
		return 2;
	return claims_whole(&b, 0) ? 3 : 0;
}

Test(claims_hostile, a_look_that_fails_with_eagain_has_found_no_lock)
{
	hostile_lock(F_WRLCK, 0, 1);
	cr_expect_eq(rig_child(look_in_vain), 0);
	hostile_done();
}

Test(claims_hostile, a_cpu_of_which_every_slot_is_locked_is_full_and_no_more)
{
	hostile_lock(F_WRLCK, 0, 2 * CLAIMS_SLOTS);
	for (uint32_t slot = 0; slot < CLAIMS_LEVELS_MAX; slot++)
		cr_assert_eq(claims_take(&a, 0, CLAIMS_VCPU, slot), -EAGAIN);
	cr_expect_eq(claims_take_whole(&a, 0), -EAGAIN);
	hostile_done();
	hostile_lock(F_RDLCK, 0, 0);
	cr_expect_eq(claims_take(&a, 0, CLAIMS_IO, 0), -EAGAIN);
	cr_expect_eq(claims_take_whole(&a, 0), -EAGAIN);
	hostile_done();
	cr_expect_eq(claims_take_whole(&a, 0), 0);
}

/* -------------------------------------------------------------------------------------- keeping */

Test(claims_hostile, claims_that_cannot_be_kept_are_told)
{
	int event = eventfd(0, EFD_CLOEXEC);

	/* Of which the kernel makes no mapping. */
	cr_expect_eq(claims_take(&a, 0, CLAIMS_VCPU, 0), 0);
	cr_assert_geq(dup2(event, a.cpus[0].fd), 0);
	cr_expect_eq(claims_keep(&a), -ENODEV);
	cr_expect_not(a.open);
	close(event);
}
