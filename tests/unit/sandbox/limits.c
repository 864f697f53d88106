/* SPDX-License-Identifier: MIT */
/* Resource limits: each as it is to be, each read back, and what the open files make of the limit
 * on file sizes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/fd_layout.h"
#include "sandbox/limits.h"
#include "sandbox/proc.h"
#include "sandbox/verify.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/sandbox_rig.h"

static const struct sandbox_config plain;

static bool is(int resource, rlim_t value)
{
	struct rlimit limit;

	return getrlimit((__rlimit_resource_t)resource, &limit) == 0 && limit.rlim_cur == value &&
	       limit.rlim_max == value;
}

static uint32_t received;

static int each_as_it_is_to_be(void)
{
	if (rig_confine(&plain, true) < 0)
		return RIG_NOT_CONFINED;
	if (!is(RLIMIT_CORE, 0) || !is(RLIMIT_MSGQUEUE, 0))
		return 1;
	if (sandbox_freeze_limits(received, RLIM_INFINITY, &scene.problems) < 0)
		return 2;
	if (!is(RLIMIT_NOFILE, received == 0 ? 1 : received))
		return 3;
	if (!is(RLIMIT_MEMLOCK, 0) || !is(RLIMIT_RTPRIO, 0))
		return 4;
	/* The calls: a sanitizer has an mlock() of its own, which does nothing. */
	if (syscall(SYS_mlock, &scene, 4096) == 0)
		return 5;
	close(0);
	return received > 0 ? (dup(1) == 0 ? 0 : 6)
	                    : (dup(1) == 0 && dup(1) < 0 && errno == EMFILE ? 0 : 7);
}

Test(sandbox_limits, each_is_as_it_is_to_be)
{
	cr_expect_eq(rig_child(each_as_it_is_to_be), 0, "%s", rig_words);
	received = 9;
	cr_expect_eq(rig_child(each_as_it_is_to_be), 0, "%s", rig_words);
}

/* ------------------------------------------------------------------ a kernel that did not do it */

static int spoiled;
static struct rlimit says; /* of that limit, beyond the value that was set */

/* Setting says yes. What is read later is what was set, and more. */
static bool answer_limit(long nr, const uint64_t args[static 6], long *ret_result)
{
	struct rlimit *out = (struct rlimit *)(uintptr_t)args[3];

	if ((int)args[1] != spoiled || !out)
		return false;
	*ret_result = fake_kernel_call(nr, args);
	if (*ret_result == 0) {
		out->rlim_cur += says.rlim_cur;
		out->rlim_max += says.rlim_max;
	}
	return true;
}

static int spoil_limit(void)
{
	const long calls[] = { SYS_prlimit64 };

	if (rig_confine(&plain, true) < 0)
		return RIG_NOT_CONFINED;
	if (fake_kernel_begin(calls, 1, answer_limit) < 0)
		return 2;
	return sandbox_freeze_limits(0, 0, &scene.problems) == -EBADMSG ? 0 : 1;
}

Test(sandbox_limits, each_is_read_back)
{
	static const struct {
		int resource;
		const char *words;
	} rows[] = {
		{ RLIMIT_CORE,
		  "sandbox check: RLIMIT_CORE still allows core dumps: it is 1, not 0" },
		{ RLIMIT_MSGQUEUE,
		  "sandbox check: RLIMIT_MSGQUEUE still allows message queues: it is 1, not 0" },
		{ RLIMIT_NOFILE,
		  "sandbox check: RLIMIT_NOFILE still allows new descriptors: it is 2, not 1" },
		{ RLIMIT_MEMLOCK,
		  "sandbox check: RLIMIT_MEMLOCK still allows locked memory: it is 1, not 0" },
		{ RLIMIT_RTPRIO,
		  "sandbox check: RLIMIT_RTPRIO still allows realtime priorities: it is 1, not 0" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		for (rlim_t soft = 0; soft < 2; soft++) {
			spoiled = rows[i].resource;
			says = (struct rlimit){ .rlim_cur = soft, .rlim_max = 1 };
			cr_expect_eq(rig_child(spoil_limit), 0, "%s: %s", rows[i].words, rig_words);
			cr_expect_str_eq(rig_words, rows[i].words);
		}
}

/* As at the seal: what the descriptors say of it, and the limit. */
static int limit_files(void)
{
	static struct sandbox_seen seen;
	int r;

	scene.sandbox.landlock_fd = -1;
	r = limits_before_threads(&scene.sandbox, &scene.problems);
	if (r == 0)
		r = sandbox_verify_descriptors(&scene.sandbox, &seen, &scene.problems);
	return r < 0 ? r : sandbox_freeze_limits(0, seen.file_size, &scene.problems);
}

static unsigned reads;

/* The second reading of it: the first is of what the launcher left. */
static bool answer_second(long nr, const uint64_t args[static 6], long *ret_result)
{
	return (int)args[1] == spoiled && args[3] && ++reads == 2 &&
	       answer_limit(nr, args, ret_result);
}

static int spoil_file_size(void)
{
	const long calls[] = { SYS_prlimit64 };

	if (close_range(3, ~0u, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    fake_kernel_begin(calls, 1, answer_second) < 0)
		return 2;
	return limit_files() == -EBADMSG ? 0 : 1;
}

Test(sandbox_limits, the_one_on_file_sizes_is_read_back)
{
	spoiled = RLIMIT_FSIZE;
	for (rlim_t soft = 0; soft < 2; soft++) {
		says = (struct rlimit){ .rlim_cur = soft, .rlim_max = 1 };
		cr_expect_eq(rig_child(spoil_file_size), 0, "%s", rig_words);
		cr_expect_str_eq(rig_words,
		                 "sandbox check: RLIMIT_FSIZE still allows files to grow");
	}
}

/* A limit that cannot be set, and one that cannot be read: said as that. */
static bool refuse_limit(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	if ((int)args[1] != spoiled || (args[2] != 0) != (says.rlim_cur != 0))
		return false;
	*ret_result = -EPERM;
	return true;
}

static int refused_limit(void)
{
	const long calls[] = { SYS_prlimit64 };

	scene.sandbox.proc_fd = -1;
	if (proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    fake_kernel_begin(calls, 1, refuse_limit) < 0)
		return 1;
	if (limits_before_threads(&scene.sandbox, &scene.problems) == -EPERM)
		return 0;
	return sandbox_freeze_limits(0, 0, &scene.problems) == -EPERM ? 0 : 2;
}

Test(sandbox_limits, one_that_is_refused_is_named)
{
	static const struct {
		int resource;
		bool setting;
		const char *words;
	} rows[] = {
		{ RLIMIT_CORE, true, "cannot lower RLIMIT_CORE: " },
		{ RLIMIT_MSGQUEUE, true, "cannot lower RLIMIT_MSGQUEUE: " },
		{ RLIMIT_FSIZE, true, "cannot lower RLIMIT_FSIZE: " },
		{ RLIMIT_FSIZE, false, "cannot read RLIMIT_FSIZE: " },
		{ RLIMIT_NOFILE, true, "cannot lower RLIMIT_NOFILE: " },
		{ RLIMIT_MEMLOCK, true, "cannot lower RLIMIT_MEMLOCK: " },
		{ RLIMIT_RTPRIO, true, "cannot lower RLIMIT_RTPRIO: " },
		{ RLIMIT_CORE, false, "cannot read a resource limit: " },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		spoiled = rows[i].resource;
		says.rlim_cur = rows[i].setting;
		cr_expect_eq(rig_child(refused_limit), 0, "%s: %s", rows[i].words, rig_words);
		cr_expect_eq(strncmp(rig_words, rows[i].words, strlen(rows[i].words)), 0,
		             "\"%s\", not \"%s\"", rig_words, rows[i].words);
	}
}

/* ---------------------------------------------------------------------------------- file sizes */

struct file {
	int fd; /* 0: no more of them; -1: standard input */
	long size;
	int flags;
	bool block; /* the kernel says that it is a block device */
};

static const struct file_case {
	const char *name;
	struct file files[3];
	struct rlimit before, after; /* before: the launcher's; {0, 0}: none */
} file_cases[] = {
/* clang-format off */
#define EVERYTHING { RLIM_INFINITY, RLIM_INFINITY }
	/* clang-format on */
	{ "nothing to write", { { 0 } }, { 0, 0 }, { 0, 0 } },
	{ "a disk", { { 5, 5000, O_RDWR, false } }, { 0, 0 }, { 5000, 5000 } },
	{ "the largest comes first",
	  { { 5, 9000, O_RDWR, false }, { 6, 70, O_RDWR, false } },
	  { 0, 0 },
	  { 9000, 9000 } },
	{ "the largest comes last",
	  { { 5, 70, O_RDWR, false }, { 890, 9000, O_WRONLY, false } },
	  { 0, 0 },
	  { 9000, 9000 } },
	{ "a larger one to read",
	  { { 5, 5000, O_RDWR, false }, { 6, 9000, O_RDONLY, false } },
	  { 0, 0 },
	  { 5000, 5000 } },
	{ "one that is named only",
	  { { 5, 5000, O_RDWR, false }, { 6, 9000, O_PATH, false } },
	  { 0, 0 },
	  { 5000, 5000 } },
	{ "an appended one", { { 5, 100, O_WRONLY | O_APPEND, false } }, { 0, 0 }, EVERYTHING },
	{ "an appended one to read",
	  { { 5, 100, O_RDONLY | O_APPEND, false } },
	  { 0, 0 },
	  { 0, 0 } },
	{ "standard input", { { -1, 100, O_RDWR, false } }, { 0, 0 }, EVERYTHING },
	{ "standard output", { { 1, 100, O_WRONLY, false } }, { 0, 0 }, EVERYTHING },
	{ "diagnostics", { { 2, 100, O_WRONLY, false } }, { 0, 0 }, EVERYTHING },
	{ "commands", { { CONTROL_FD, 100, O_RDWR, false } }, { 0, 0 }, { 100, 100 } },
	{ "events", { { EVENT_FD, 100, O_WRONLY, false } }, { 0, 0 }, EVERYTHING },
	{ "a block device", { { 5, 0, O_RDWR, true } }, { 0, 0 }, EVERYTHING },
	{ "a block device to read", { { 5, 0, O_RDONLY, true } }, { 0, 0 }, { 0, 0 } },
	{ "the launcher's limits are lower",
	  { { 5, 5000, O_RDWR, false } },
	  { 2000, 3000 },
	  { 2000, 3000 } },
	{ "its soft limit is lower",
	  { { 5, 5000, O_RDWR, false } },
	  { 2000, 9000 },
	  { 2000, 5000 } },
	{ "its limits and an appended file",
	  { { 5, 1, O_WRONLY | O_APPEND, false } },
	  { 2000, 9000 },
	  { 2000, 9000 } },
#undef EVERYTHING
};

static const struct file_case *file_case;

static bool answer_stat(long nr, const uint64_t args[static 6], long *ret_result)
{
	struct stat *out = (struct stat *)(uintptr_t)args[nr == SYS_fstat ? 1 : 2];

	*ret_result = fake_kernel_call(nr, args);
	for (const struct file *file = file_case->files; file->fd != 0; file++)
		if (*ret_result == 0 && file->block && (int)args[0] == file->fd)
			out->st_mode = (out->st_mode & ~(mode_t)S_IFMT) | S_IFBLK;
	return true;
}

static bool place(const struct file *file)
{
	int fd = memfd_create("size", MFD_CLOEXEC), to = file->fd < 0 ? 0 : file->fd, opened;
	char path[32];
	bool placed;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	opened = fd >= 0 && ftruncate(fd, file->size) == 0 ? open(path, file->flags | O_CLOEXEC)
	                                                   : -1;
	if (opened < 0)
		return false;
	close(fd);
	placed = opened == to || dup2(opened, to) == to;
	if (opened != to)
		close(opened);
	return placed;
}

static int limit_of_files(void)
{
	const long calls[] = { SYS_newfstatat, SYS_fstat };
	struct rlimit found;

	if (close_range(3, ~0u, 0) < 0)
		return 1;
	for (const struct file *file = file_case->files; file->fd != 0; file++)
		if (!place(file))
			return 2;
	if (file_case->before.rlim_max > 0 && setrlimit(RLIMIT_FSIZE, &file_case->before) < 0)
		return 3;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    proc_open(&scene.sandbox.proc_fd, &scene.problems) < 0 ||
	    fake_kernel_begin(calls, ARRAY_SIZE(calls), answer_stat) < 0)
		return 4;
	if (limit_files() < 0)
		return 5;
	if (getrlimit(RLIMIT_FSIZE, &found) < 0)
		return 6;
	return found.rlim_cur == file_case->after.rlim_cur &&
	                       found.rlim_max == file_case->after.rlim_max
	               ? 0
	               : 7;
}

Test(sandbox_limits, files_grow_no_further_than_the_largest_that_is_written)
{
	for (size_t i = 0; i < ARRAY_SIZE(file_cases); i++) {
		file_case = &file_cases[i];
		cr_expect_eq(rig_child(limit_of_files), 0, "%s: %s", file_cases[i].name, rig_words);
	}
}

/* What it is for: the byte after the last one of the largest image is refused. */
static int grown_file(void)
{
	signal(SIGXFSZ, SIG_IGN);
	file_case = &file_cases[1];
	if (limit_of_files() != 0)
		return 1;
	return pwrite(5, "x", 1, 4999) == 1 && pwrite(5, "x", 1, 5000) < 0 && errno == EFBIG ? 0
	                                                                                     : 2;
}

Test(sandbox_limits, an_image_does_not_grow)
{
	cr_assert_eq(rig_child(grown_file), 0, "%s", rig_words);
}

/* What the spec lets an image become can be written, and the byte after it not. */
static int file_that_may_grow(void)
{
	signal(SIGXFSZ, SIG_IGN);
	file_case = &file_cases[1];
	scene.sandbox.config.file_size = 9000;
	(void)limit_of_files();
	return pwrite(5, "x", 1, 8999) == 1 && pwrite(5, "x", 1, 9000) < 0 && errno == EFBIG ? 0
	                                                                                     : 2;
}

Test(sandbox_limits, an_image_grows_as_far_as_it_may)
{
	cr_assert_eq(rig_child(file_that_may_grow), 0, "%s", rig_words);
}
