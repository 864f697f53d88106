/* SPDX-License-Identifier: MIT */
/* The tables behind failing_calls.h. */
#include "tests/system/failing_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "sandbox/fd_layout.h"

/* What a call can fail with, the likeliest first. A call without a row fails with EPERM or
 * ENOMEM. */
static const struct call_errors errors[] = {
	{ SYS_read, false, { EIO, EINTR, EAGAIN } },
	{ SYS_write, false, { ENOSPC, EINTR, EPIPE, EIO } },
	{ SYS_pread64, false, { EIO, EINTR } },
	{ SYS_openat, false, { EMFILE, EACCES, ENOENT, ENOMEM } },
	{ SYS_close, true, { EIO, EINTR } },
	{ SYS_munmap, true, { ENOMEM } },
	{ SYS_mmap, false, { ENOMEM, EAGAIN } },
	{ SYS_mprotect, false, { ENOMEM } },
	{ SYS_madvise, false, { ENOMEM, EINVAL, EAGAIN } },
	{ SYS_brk, false, { ENOMEM } },
	{ SYS_ioctl, false, { ENOMEM, EINVAL, EINTR, EBUSY } },
	{ SYS_clone3, false, { EAGAIN, ENOMEM, EPERM } },
	{ SYS_clone, false, { EAGAIN, ENOMEM, EPERM } },
	{ SYS_unshare, false, { EPERM, ENOSPC, ENOMEM } },
	{ SYS_futex, false, { EINTR, EAGAIN } },
	{ SYS_poll, false, { EINTR, ENOMEM } },
	/* Interrupted, it is the end that a signal has asked for: `spawn waiting`. */
	{ SYS_ppoll, false, { ENOMEM } },
	{ SYS_epoll_wait, false, { EINTR } },
	{ SYS_fcntl, false, { EAGAIN, EINVAL, ENOLCK } },
	{ SYS_dup3, false, { EMFILE, EINTR } },
	{ SYS_eventfd2, false, { EMFILE, ENFILE, ENOMEM } },
	{ SYS_signalfd4, false, { EMFILE, ENOMEM } },
	{ SYS_epoll_create1, false, { EMFILE, ENOMEM } },
	{ SYS_epoll_ctl, false, { ENOMEM, ENOSPC } },
	{ SYS_io_uring_setup, false, { ENOMEM, EPERM, ENOSYS, EMFILE } },
	{ SYS_io_uring_register, false, { ENOMEM, EINVAL, EPERM } },
	{ SYS_mount, false, { EPERM, ENOMEM, EBUSY } },
	{ SYS_mbind, false, { ENOMEM, EIO, EPERM } },
	{ SYS_sched_setaffinity, false, { EINVAL, EPERM } },
};

static const struct call_errors any_errors = { .list = { EPERM, ENOMEM } };

/* What no Linux refuses to a caller whose pointers are good (or what would be the end of us, not of
 * it). */
static const long cannot_fail[] = {
	SYS_exit,    SYS_exit_group,     SYS_rt_sigreturn, SYS_restart_syscall, SYS_execve,
	SYS_getpid,  SYS_gettid,         SYS_getppid,      SYS_getuid,          SYS_getgid,
	SYS_geteuid, SYS_getegid,        SYS_umask,        SYS_set_tid_address, SYS_set_robust_list,
	SYS_rseq,    SYS_rt_sigprocmask, SYS_rt_sigaction,
};

/* Calls whose failure a launch may survive. Each is advice, or cleaning up, or a question whose
 * answer may be that there is none, or a trial that is meant to fail. Everything that a machine or
 * a sandbox is made of is not in this table. */
static const struct dispensable {
	long nr;
	bool has_argument;
	unsigned long argument; /* the second one of ioctl and fcntl, the first one of others */
	/* what the thread opened last; with a slash at its end all that begins so */
	const char *path;
	int error; /* only with this one; 0: with any */
} dispensable[] = {
	{ SYS_close, false, 0, NULL, 0 },
	{ SYS_munmap, false, 0, NULL, 0 },
	{ SYS_madvise, false, 0, NULL, 0 },
	/* The shim's own arenas are in huge pages then. */
	{ SYS_prctl, true, PR_SET_THP_DISABLE, NULL, 0 },
	/* Shorter turns than the kernel's own. */
	{ SYS_sched_getattr, false, 0, NULL, 0 },
	{ SYS_sched_setattr, false, 0, NULL, 0 },
	/* malloc finds another way; a thread that helps is not started, and its work done without
	 * it. */
	{ SYS_brk, false, 0, NULL, 0 },
	{ SYS_mmap, false, 0, NULL, 0 },
	{ SYS_mprotect, false, 0, NULL, 0 },
	{ SYS_clone3, false, 0, NULL, 0 },
	/* What is waited for is looked at again. */
	{ SYS_futex, false, 0, NULL, 0 },
	{ SYS_poll, false, 0, NULL, 0 },
	{ SYS_clock_nanosleep, false, 0, NULL, 0 },
	{ SYS_fcntl, true, F_OFD_SETLK, NULL, EAGAIN },
	{ SYS_read, true, CONTROL_WAKE_FD, NULL, 0 },
	{ SYS_read, true, CONTROL_FD, NULL, EAGAIN },
	{ SYS_write, true, CONTROL_WAKE_FD, NULL, 0 },
	/* Facts of the host: that one is not known is a fact, and the profile decides. stdio asks
	 * for the kind of a file, by newfstatat in glibc 2.36 and by fstat since. */
	{ SYS_openat, false, 0, "/proc/", 0 },
	{ SYS_read, false, 0, "/proc/", 0 },
	{ SYS_newfstatat, false, 0, "/proc/", 0 },
	{ SYS_fstat, false, 0, "/proc/", 0 },
	{ SYS_openat, false, 0, "/sys/", 0 },
	{ SYS_read, false, 0, "/sys/", 0 },
	{ SYS_newfstatat, false, 0, "/sys/", 0 },
	{ SYS_fstat, false, 0, "/sys/", 0 },
	{ SYS_getdents64, false, 0, "/sys/", 0 },
	{ SYS_fcntl, true, F_GETFL, "/sys/", 0 },
	{ SYS_fcntl, true, F_SETFD, "/sys/", 0 },
	/* /proc/self/status and the file of the release tell as well. */
	{ SYS_sched_getaffinity, false, 0, "status", 0 },
	{ SYS_uname, false, 0, NULL, 0 },
	{ SYS_openat, false, 0, "/dev/kvm", 0 },
	{ SYS_ioctl, true, KVM_GET_API_VERSION, NULL, 0 },
	{ SYS_ioctl, true, KVM_CHECK_EXTENSION, NULL, 0 },
	{ SYS_ioctl, true, KVM_GET_TSC_KHZ, NULL, 0 },
	{ SYS_ioctl, true, KVM_GET_STATS_FD, NULL, 0 },
	{ SYS_capget, false, 0, NULL, 0 },
	{ SYS_prctl, true, PR_CAPBSET_READ, NULL, 0 },
	{ SYS_prctl, true, PR_SET_NAME, NULL, 0 },
	{ SYS_prlimit64, false, 0, NULL, 0 },
	/* Whether a TAP knows RWF_NOWAIT: O_NONBLOCK serves. */
	{ SYS_preadv2, false, 0, NULL, 0 },
	/* Placement is read back. */
	{ SYS_sched_setaffinity, false, 0, NULL, 0 },
	{ SYS_set_mempolicy, false, 0, NULL, 0 },
	/* What the launcher left in the process: what cannot be asked for or cleared is told in the
	 * Sealed event. */
	{ SYS_personality, false, 0, NULL, 0 },
	{ SYS_getitimer, false, 0, NULL, 0 },
	{ SYS_setitimer, false, 0, NULL, 0 },
	{ SYS_sched_getscheduler, false, 0, NULL, 0 },
	{ SYS_getpriority, false, 0, NULL, 0 },
	{ SYS_ioprio_get, false, 0, NULL, 0 },
	{ SYS_get_mempolicy, false, 0, NULL, 0 },
	{ SYS_openat, false, 0, "oom_score_adj", 0 },
	{ SYS_read, false, 0, "oom_score_adj", 0 },
	{ SYS_prctl, true, 68, NULL, 0 }, /* PR_GET_MEMORY_MERGE */
	{ SYS_prctl, true, 62, NULL, 0 }, /* PR_SCHED_CORE */
	{ SYS_prctl, true, PR_GET_TIMERSLACK, NULL, 0 },
	{ SYS_prctl, true, PR_SET_TIMERSLACK, NULL, 0 },
	/* and asked for again, by a launch that needs the answer */
	{ SYS_prctl, true, PR_GET_PDEATHSIG, NULL, 0 },
	{ SYS_prctl, true, PR_GET_THP_DISABLE, NULL, 0 },
	{ SYS_prctl, true, PR_MCE_KILL_GET, NULL, 0 },
	{ SYS_prctl, true, PR_GET_SPECULATION_CTRL, NULL, 0 },
	{ SYS_prctl, true, PR_GET_IO_FLUSHER, NULL, 0 },
	{ SYS_prctl, true, PR_GET_CHILD_SUBREAPER, NULL, 0 },
	/* Trials of the sandbox, which must be refused. */
	{ SYS_openat, false, 0, "/", EACCES },
	{ SYS_openat, false, 0, "task", EACCES },
	{ SYS_setresuid, true, 0, NULL, EPERM },
	{ SYS_setresuid, true, (uid_t)-1, NULL, EPERM },
	{ SYS_setresgid, true, 0, NULL, EPERM },
	{ SYS_setgroups, false, 0, NULL, EPERM },
	{ SYS_socket, false, 0, NULL, 0 },
	{ SYS_kill, false, 0, NULL, 0 },
};
static_assert(ARRAY_SIZE(dispensable) <= CALL_ROWS_MAX, "a number a row");

const struct call_errors *call_errors_of(long nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].nr == nr)
			return &errors[i];
	return &any_errors;
}

bool call_can_fail(const struct call *call)
{
	for (size_t i = 0; i < ARRAY_SIZE(cannot_fail); i++)
		if (cannot_fail[i] == call->nr)
			return false;
	/* A wait can fail, a wake cannot. */
	return call->nr != SYS_futex || (call->arguments[1] & FUTEX_CMD_MASK) != FUTEX_WAKE;
}

static bool path_fits(const char *path, const char *wanted)
{
	size_t length = strlen(wanted);

	return length > 1 && wanted[length - 1] == '/' ? strncmp(path, wanted, length) == 0
	                                               : strcmp(path, wanted) == 0;
}

bool call_is_dispensable(const struct call *call, int error, size_t *ret_row)
{
	unsigned long argument = call->arguments[call->nr == SYS_ioctl || call->nr == SYS_fcntl];

	for (size_t i = 0; i < ARRAY_SIZE(dispensable); i++) {
		const struct dispensable *row = &dispensable[i];

		if (row->nr != call->nr || (row->has_argument && row->argument != argument) ||
		    (row->path && !path_fits(call->path, row->path)) ||
		    (row->error && error && row->error != error))
			continue;
		*ret_row = i;
		return true;
	}
	return false;
}
