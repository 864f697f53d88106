/* SPDX-License-Identifier: MIT */
/* A thread's way into its seal: which calls it makes, in which order, which descriptors it keeps,
 * and that none may fail. The filter itself is not taken: the kernel only says that it was. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/fd_layout.h"
#include "shim/device/devices.h"
#include "shim/sealing.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"
#include "virtio/vsock.h"

static struct shim shim;

/* The calls as they come, a letter each, a row of the same once. */
static char calls_made[32];
static long refused; /* this call fails, with EPERM */
static const struct sock_filter *filter_taken;
static int layer_laid;

static void note_call(char letter)
{
	size_t n = strlen(calls_made);

	if ((n == 0 || calls_made[n - 1] != letter) && n + 1 < sizeof(calls_made))
		calls_made[n] = letter;
}

static bool answer(long nr, const uint64_t args[static 6], long *ret_result)
{
	*ret_result = -EPERM;
	switch (nr) {
	case SYS_landlock_restrict_self:
		note_call('L');
		layer_laid = (int)args[0];
		*ret_result = nr == refused ? -EPERM : 0;
		return true;
	case SYS_openat:
		if ((int)args[0] != PROC_FD ||
		    strcmp((const char *)(uintptr_t)args[1], "task") != 0 ||
		    !strchr(calls_made, 'L'))
			return false;
		note_call('t'); /* tries the layer */
		*ret_result = nr == refused ? 3 : -EACCES;
		return true;
	case SYS_dup3:
		note_call(args[2] == O_CLOEXEC ? 'D' : '?');
		return nr == refused;
	case SYS_close_range:
		note_call(args[2] == CLOSE_RANGE_UNSHARE ? 'U' : 'C');
		return nr == refused;
	case SYS_prlimit64:
		note_call(args[2] ? 'l' : 'r');
		return nr == refused && args[2];
	default: /* seccomp */
		note_call('S');
		filter_taken = ((const struct sock_fprog *)(uintptr_t)args[2])->filter;
		*ret_result = nr == refused ? -EPERM : 0;
		return true;
	}
}

static int watch_calls(void)
{
	const long calls[] = { SYS_landlock_restrict_self,
		               SYS_openat,
		               SYS_dup3,
		               SYS_close_range,
		               SYS_seccomp,
		               SYS_prlimit64 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return fake_kernel_begin(calls, ARRAY_SIZE(calls), answer);
}

/* ---------------------------------------------------------------------------- the other threads */

enum { LAYER_FD = 334, INDEX = 3 };

static bool of_vcpu;
static int vcpu_fd = 333; /* in the shared table */

static int seal(void)
{
	return of_vcpu ? seal_vcpu_thread(&shim, vcpu_fd, &scene.problems)
	               : seal_io_thread(&shim, INDEX, &scene.problems);
}

static bool keeps(int fd)
{
	if (fd == CONTROL_WAKE_FD)
		return true;
	if (of_vcpu)
		return fd == VCPU_FD || (fd >= IO_WAKE_FD_BASE && fd <= IO_WAKE_FD_LAST);
	return fd == IO_WAKE_FD_BASE + INDEX || fd == IO_RING_FD_BASE + INDEX;
}

/* Every number leads somewhere, up to one beyond the layout. */
static int open_all(void)
{
	const struct rlimit room = { 2048, 2048 };
	int vcpu = memfd_create("vcpu", MFD_CLOEXEC);

	if (vcpu < 0 || setrlimit(RLIMIT_NOFILE, &room) < 0)
		return -errno;
	for (int fd = 0; fd <= INTERNAL_FD_LAST + 1; fd++)
		if (fd != vcpu && dup2(vcpu, fd) < 0)
			return -errno;
	vcpu = memfd_create("another", MFD_CLOEXEC);
	return vcpu < 0 || dup2(vcpu, vcpu_fd) < 0 ? -errno : 0;
}

static int sealed_thread(void)
{
	struct stat vcpu, placed;

	if (open_all() < 0 || fstat(vcpu_fd, &vcpu) < 0 || watch_calls() < 0)
		return 1;
	shim.sandbox.proc_fd = PROC_FD;
	shim.sandbox.landlock_fd = LAYER_FD;
	if (seal() < 0)
		return 10;
	if (strcmp(calls_made, of_vcpu ? "LtUDCS" : "LtUCS") != 0)
		return 2;
	if (layer_laid != LAYER_FD ||
	    filter_taken != sandbox_filters[of_vcpu ? SANDBOX_ROLE_VCPU : SANDBOX_ROLE_IO].insns)
		return 3;
	for (int fd = 0; fd <= INTERNAL_FD_LAST + 1; fd++)
		if ((fcntl(fd, F_GETFD) >= 0) != keeps(fd))
			return 4;
	if (of_vcpu && (fstat(VCPU_FD, &placed) < 0 || placed.st_ino != vcpu.st_ino))
		return 5;
	return 0;
}

Test(sandbox_sealing, a_thread_keeps_what_its_role_needs)
{
	of_vcpu = true;
	cr_expect_eq(rig_child(sealed_thread), 0, "%s", rig_words);
	vcpu_fd = 0; /* of a launcher that left no standard input */
	cr_expect_eq(rig_child(sealed_thread), 0, "%s", rig_words);
	vcpu_fd = INTERNAL_FD_LAST; /* beyond all that the thread keeps */
	cr_expect_eq(rig_child(sealed_thread), 0, "%s", rig_words);
	of_vcpu = false;
	cr_expect_eq(rig_child(sealed_thread), 0, "%s", rig_words);
}

Test(sandbox_sealing, no_step_of_a_thread_may_fail)
{
	static const struct {
		long nr;
		const char *vcpu, *io; /* NULL: it makes no such call */
	} rows[] = {
		{ SYS_landlock_restrict_self, "cannot restrict a thread by Landlock: ",
		  "cannot restrict a thread by Landlock: " },
		{ SYS_openat, "sandbox check: a directory can be opened in spite of Landlock",
		  "sandbox check: a directory can be opened in spite of Landlock" },
		{ SYS_dup3, "a vcpu thread cannot keep to its own descriptors: ", NULL },
		{ SYS_close_range, "a vcpu thread cannot keep to its own descriptors: ",
		  "a io thread cannot keep to its own descriptors: " },
		{ SYS_seccomp, "a vcpu thread cannot take its seccomp filter: ",
		  "a io thread cannot take its seccomp filter: " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (int turn = 0; turn < 2; turn++) {
			const char *words = turn ? rows[i].io : rows[i].vcpu;

			of_vcpu = turn == 0;
			refused = rows[i].nr;
			if (!words)
				continue;
			cr_expect_eq(rig_child(sealed_thread), 10, "row %zu: %s", i, rig_words);
			cr_expect_eq(strncmp(rig_words, words, strlen(words)), 0, "row %zu: %s", i,
			             rig_words);
		}
}

/* --------------------------------------------------------------------------- the control thread */

static bool with_vsock, with_company;

static bool limited_to(int resource, rlim_t value)
{
	struct rlimit limit;

	return getrlimit((__rlimit_resource_t)resource, &limit) == 0 && limit.rlim_cur == value &&
	       limit.rlim_max == value;
}

static int idle(void *unused)
{
	(void)unused;
	for (;;)
		pause();
	return 0;
}

static int finished(void)
{
	static char stack[16384];
	const struct sandbox_config config = { 0 };
	int layer;

	if (rig_confine(&config, true) < 0)
		return RIG_NOT_CONFINED;
	shim.sandbox = scene.sandbox;
	layer = shim.sandbox.landlock_fd;
	shim.spec.vsock.present = with_vsock;
	devices_init(&shim.devices, &shim.spec, &shim.machine, &shim.events, &shim.problems);
	if (event_writer_init(&shim.events, 1) < 0 ||
	    sandbox_verify_process(&shim.sandbox, &scene.seen, &scene.problems) < 0)
		return 1;
	if (with_company &&
	    clone(idle, stack + sizeof(stack),
	          CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL) < 0)
		return 2;
	/* It is a filter more for this thread; of the launcher's making, as it were. */
	shim.sandbox.inherited_filters++;
	if (watch_calls() < 0)
		return 3;
	if (sealing_finish(&shim, &scene.seen) < 0) {
		scene.problems = shim.problems;
		return strchr(calls_made, 'S') && refused != SYS_seccomp ? 4 : 10;
	}
	/* The limit on file sizes comes after the others; where a standard stream is a file, it is
	 * let alone. */
	if (strcmp(calls_made, scene.seen.file_size == UINT64_MAX ? "LtlrS" : "LtlrlrS") != 0 ||
	    layer_laid != layer || filter_taken != sandbox_filters[SANDBOX_ROLE_CONTROL].insns)
		return 5;
	if (fcntl(PROC_FD, F_GETFD) >= 0 || fcntl(layer, F_GETFD) >= 0)
		return 6;
	return limited_to(RLIMIT_NOFILE, with_vsock ? VSOCK_DESCRIPTORS : 1) &&
	                       limited_to(RLIMIT_MEMLOCK, 0) && limited_to(RLIMIT_RTPRIO, 0) &&
	                       limited_to(RLIMIT_CORE, 0)
	               ? limited_to(RLIMIT_FSIZE, scene.seen.file_size) ? 0 : 8
	               : 7;
}

Test(sandbox_sealing, the_control_thread_is_the_last)
{
	cr_expect_eq(rig_child(finished), 0, "%s", rig_words);
	with_vsock = true;
	cr_expect_eq(rig_child(finished), 0, "%s", rig_words);
}

Test(sandbox_sealing, no_step_of_the_control_thread_may_fail)
{
	static const struct {
		long nr;
		bool company;
		const char *words;
	} rows[] = {
		{ SYS_landlock_restrict_self, false, "cannot restrict a thread by Landlock: " },
		{ SYS_openat, false,
		  "sandbox check: a directory can be opened in spite of Landlock" },
		{ SYS_prlimit64, false, "cannot lower RLIMIT_NOFILE: " },
		{ SYS_seccomp, false, "the control thread cannot take its seccomp filter: " },
		{ 0, true, "sandbox check: a thread is not under one filter of its own" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		refused = rows[i].nr;
		with_company = rows[i].company;
		cr_expect_eq(rig_child(finished), 10, "row %zu: %s", i, rig_words);
		cr_expect_eq(strncmp(rig_words, rows[i].words, strlen(rows[i].words)), 0,
		             "row %zu: %s", i, rig_words);
	}
}

/* ------------------------------------------------------------------------- what a death becomes */

enum { DESK_FULL = 2 };

static void die_as(const struct sandbox_death *death)
{
	static struct guest_region region;

	memset(&shim, 0, sizeof(shim));
	problems_add(&shim.problems, ERROR_CODE_HOST_LIMIT, ENOSPC, NULL, "found before");
	region = (struct guest_region){ .base = GPA(0x100000),
		                        .size = 0x4000,
		                        .hva = (void *)0x7000000 };
	shim.machine.memory.regions[0] = region;
	shim.machine.memory.count = 1;
	cr_expect_not(sealing_death(&shim));
	shim.desk.record = *death;
	atomic_store(&shim.desk.state, DESK_FULL);
	cr_expect(sealing_death(&shim));
	cr_expect(sealing_death(&shim));
	cr_expect_eq(shim.death, &shim.desk.record);
	/* Once, and before whatever else was found: it gives the exit status. */
	cr_expect_eq(shim.problems.count, 2);
	cr_expect_str_eq(shim.problems.list[1].message, "found before");
}

Test(sandbox_sealing, a_death_is_the_first_problem)
{
	static const struct {
		struct sandbox_death death;
		enum axvm_error_code code;
		int error_number;
		const char *words; /* in the message */
		bool of_the_guest;
	} rows[] = {
		{ { .role = SANDBOX_ROLE_VCPU, .nr = SYS_openat },
		  ERROR_CODE_SANDBOX_VIOLATION,
		  EPERM,
		  "system call openat (257) denied",
		  false },
		{ { .role = SANDBOX_ROLE_IO, .ring = { 18, "OPENAT", "a forbidden opcode" } },
		  ERROR_CODE_SANDBOX_VIOLATION,
		  EPERM,
		  "io_uring operation OPENAT (18) refused",
		  false },
		{ { .role = SANDBOX_ROLE_VCPU, .lost = { 0x7001234, "no page could be had" } },
		  ERROR_CODE_OS_FAILED,
		  EFAULT,
		  "; it is guest memory at 0x0000000000101234",
		  true },
		{ { .role = SANDBOX_ROLE_VCPU, .lost = { 0x7003fff, "no page could be had" } },
		  ERROR_CODE_OS_FAILED,
		  EFAULT,
		  "; it is guest memory at 0x0000000000103fff",
		  true },
		{ { .role = SANDBOX_ROLE_VCPU, .lost = { 0x7004000, "no page could be had" } },
		  ERROR_CODE_OS_FAILED,
		  EFAULT,
		  "SIGBUS at 0x7004000: no page could be had",
		  false },
		{ { .role = SANDBOX_ROLE_VCPU, .lost = { 0x6ffffff, "no page could be had" } },
		  ERROR_CODE_OS_FAILED,
		  EFAULT,
		  "SIGBUS at 0x6ffffff: no page could be had",
		  false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct problem *first = &shim.problems.list[0];

		die_as(&rows[i].death);
		cr_expect_eq(first->code, rows[i].code, "row %zu", i);
		cr_expect_eq(first->error_number, rows[i].error_number, "row %zu", i);
		cr_expect_not_null(strstr(first->message, rows[i].words), "row %zu: %s", i,
		                   first->message);
		cr_expect_eq(strstr(first->message, "guest memory") != NULL, rows[i].of_the_guest,
		             "row %zu", i);
	}
}

/* The list is full: the last is dropped, and counted. */
Test(sandbox_sealing, a_death_finds_room_among_the_problems)
{
	memset(&shim, 0, sizeof(shim));
	for (int i = 0; i < PROBLEMS_MAX; i++)
		problems_add(&shim.problems, ERROR_CODE_HOST_LIMIT, ENOSPC, NULL, "problem %d", i);
	shim.desk.record = (struct sandbox_death){ .role = SANDBOX_ROLE_VCPU, .nr = SYS_openat };
	atomic_store(&shim.desk.state, DESK_FULL);
	cr_expect(sealing_death(&shim));
	cr_expect_eq(shim.problems.count, PROBLEMS_MAX);
	cr_expect_eq(shim.problems.not_listed, 1);
	cr_expect_eq(shim.problems.list[0].code, ERROR_CODE_SANDBOX_VIOLATION);
	cr_expect_str_eq(shim.problems.list[1].message, "problem 0");
}
