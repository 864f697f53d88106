/* SPDX-License-Identifier: MIT */
/* Starts a shim with its fds in place.
 *
 * The child is made with clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD): it borrows our memory until
 * it execs, so that a launcher of any size forks nothing, and writes why it could not straight into
 * `struct child`. Its descriptor table is a copy: first every descriptor above 2 is marked
 * close-on-exec, then the sources are duplicated above all targets, where no target can overwrite
 * them, then each is put in its place with dup2(2), which clears the mark. So nothing but what is
 * listed survives the exec, whatever the launcher's other threads open meanwhile.
 *
 * Signals are blocked in the parent around the clone: no handler may run in borrowed memory. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "launch/by_number.h"
#include "launch/vm.h"
#include "sandbox/fd_layout.h"

#define STACK_SIZE (64 * KIB)
#define STDIO_COUNT 3
#define FIRST_REQUEST_ID (1ULL << 32)
/* Fds that the library adds to the caller's: three for 0 to 2, and fds 3 and 4. */
#define OWN_FDS 5

struct child {
	const char *path;
	struct axvm_fd *fds;
	size_t fds_count;
	int base; /* above every target */
	const char *step;
	int error_number;
};

static int fail(struct axvm_error *error, int error_number, const char *format, ...) _printf_(3, 4);
static int fail(struct axvm_error *error, int error_number, const char *format, ...)
{
	va_list args;

	if (error) {
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return -error_number;
}

static int child_fail(struct child *child, const char *step)
{
	child->step = step;
	child->error_number = errno;
	return 127;
}

/* Handlers do not survive exec, but ignored signals and the mask do. */
static void default_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child, on a stack of its own in the parent's memory: nothing but system calls. */
static int run_child(void *context)
{
	static char *const no_environment[] = { NULL };
	struct child *child = context;
	char *argv[] = { (char[]){ "axvm-shim" }, NULL };

	default_signals();
	(void)setsid();
	if (close_range(STDIO_COUNT, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0)
		return child_fail(child, "close_range");
	for (size_t i = 0; i < child->fds_count; i++) {
		child->fds[i].fd = fcntl(child->fds[i].fd, F_DUPFD_CLOEXEC, child->base);
		if (child->fds[i].fd < 0)
			return child_fail(child, "duplicate an fd for");
	}
	for (size_t i = 0; i < child->fds_count; i++)
		if (dup2(child->fds[i].fd, child->fds[i].number) < 0)
			return child_fail(child, "place an fd of");
	(void)execve(child->path, argv, no_environment);
	return child_fail(child, "run");
}

static int start(struct child *child, unsigned flags, struct axvm_vm *vm)
{
	int clone_flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD;
	sigset_t all, before;
	uint8_t *stack;
	int cancel;
	pid_t pid;

	if (flags & AXVM_NEW_PID_NAMESPACE)
		clone_flags |= CLONE_NEWPID;
	stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
	             MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	sigfillset(&all);
	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = clone(run_child, stack + STACK_SIZE, clone_flags, child, &vm->pidfd);
	if (pid < 0) {
		child->step = "clone for";
		child->error_number = errno;
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_setcancelstate(cancel, &cancel);
	(void)munmap(stack, STACK_SIZE);
	vm->pid = pid;
	if (child->error_number && pid > 0) {
		int status;

		while (axvm_vm_reap(vm, &status) == -EAGAIN)
			sched_yield();
	}
	return -child->error_number;
}

/* The path to exec: a name without a slash is looked up in PATH. */
static int find_shim(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH");
	int r = -ENOENT;

	if (strchr(name, '/'))
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX ? 0 : -ENAMETOOLONG;
	for (const char *at = dirs ? dirs : "/usr/sbin:/usr/bin"; *at;) {
		size_t n = strcspn(at, ":");

		if (n > 0 && snprintf(path, PATH_MAX, "%.*s/%s", (int)n, at, name) < PATH_MAX) {
			if (access(path, X_OK) == 0)
				return 0;
			r = errno == EACCES ? -EACCES : r;
		}
		at += n + (at[n] == ':');
	}
	return r;
}

/* Checks that each number occurs once and is not one of ours, and that each fd is open. */
static int check_fds(const struct axvm_launch *launch, struct axvm_error *error)
{
	for (size_t i = 0; i < launch->fds_count; i++) {
		const struct axvm_fd *fd = &launch->fds[i];

		if (fd->number < 0 || fd->number == CONTROL_FD || fd->number == EVENT_FD ||
		    fd->number > SPEC_FD_LAST)
			return fail(error, EINVAL, "%d is no number for an fd of the shim",
			            fd->number);
		for (size_t j = 0; j < i; j++)
			if (launch->fds[j].number == fd->number)
				return fail(error, EINVAL, "two fds are to become number %d",
				            fd->number);
		if (fcntl(fd->fd, F_GETFD) < 0)
			return fail(error, EBADF, "fd %d, which is to become %d, is not open",
			            fd->fd, fd->number);
	}
	return 0;
}

/* Fills the whole table: the caller's fds, /dev/null for those missing of 0 to 2, fds 3 and 4. */
static void fill_fds(struct child *child, const struct axvm_launch *launch, int null_fd,
                     int control_fd, int event_fd)
{
	bool have[STDIO_COUNT] = { false };
	size_t n = 0;

	for (size_t i = 0; i < launch->fds_count; i++) {
		child->fds[n++] = launch->fds[i];
		if (launch->fds[i].number < STDIO_COUNT)
			have[launch->fds[i].number] = true;
	}
	for (int i = 0; i < STDIO_COUNT; i++)
		if (!have[i])
			child->fds[n++] = (struct axvm_fd){ null_fd, i };
	child->fds[n++] = (struct axvm_fd){ control_fd, CONTROL_FD };
	child->fds[n++] = (struct axvm_fd){ event_fd, EVENT_FD };
	child->fds_count = n;
	for (size_t i = 0; i < n; i++)
		child->base = MAX(child->base, child->fds[i].number + 1);
}

/* Opens the streams, puts our ends into `vm`, and starts the shim. */
static int launch_shim(const struct axvm_launch *launch, struct axvm_vm *vm,
                       struct axvm_error *error)
{
	_cleanup_close_ int control_fd = -1, event_fd = -1, null_fd = -1;
	_cleanup_free_ struct axvm_fd *fds = NULL;
	const char *name = launch->shim ? launch->shim : "axvm-shim";
	struct child child = { 0 };
	char path[PATH_MAX];
	int pair[2], r;

	r = find_shim(name, path);
	if (r < 0)
		return fail(error, -r, "cannot find %s: %s", name, errno_text(-r));
	fds = calloc(launch->fds_count + OWN_FDS, sizeof(*fds));
	if (!fds)
		return fail(error, ENOMEM, "out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fail(error, errno, "cannot make a socket pair: %s", errno_text(errno));
	vm->control_fd = pair[0];
	control_fd = pair[1];
	/* One way only: events come through fd 4. */
	(void)shutdown(vm->control_fd, SHUT_RD);
	if (pipe2(pair, O_CLOEXEC) < 0)
		return fail(error, errno, "cannot make a pipe: %s", errno_text(errno));
	vm->event_fd = pair[0];
	event_fd = pair[1];
	if (fcntl(vm->event_fd, F_SETFL, O_NONBLOCK) < 0 ||
	    fcntl(vm->control_fd, F_SETFL, O_NONBLOCK) < 0)
		return fail(error, errno, "cannot prepare the streams: %s", errno_text(errno));
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd < 0)
		return fail(error, errno, "cannot open /dev/null: %s", errno_text(errno));
	child.path = path;
	child.fds = fds;
	fill_fds(&child, launch, null_fd, control_fd, event_fd);
	r = start(&child, launch->flags, vm);
	if (r < 0)
		return fail(error, -r, "cannot %s %s: %s", child.step ? child.step : "start", path,
		            errno_text(-r));
	return 0;
}

static void free_vm(struct axvm_vm **vm)
{
	axvm_vm_free(*vm);
}

int axvm_spawn(const struct axvm_launch *launch, struct axvm_vm **ret_vm, struct axvm_error *error)
{
	_cleanup_(free_vm) struct axvm_vm *vm = NULL;
	int r;

	if (!launch->spec)
		return fail(error, EINVAL, "no spec is given");
	r = check_fds(launch, error);
	if (r < 0)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return fail(error, ENOMEM, "out of memory");
	vm->control_fd = vm->event_fd = vm->pidfd = -1;
	vm->next_request_id = FIRST_REQUEST_ID;
	vm->decoder = axvm_decoder_new();
	if (!vm->decoder || vm_queue(vm, FIELD_LAUNCH, launch->spec, launch->spec_size) < 0)
		return fail(error, ENOMEM, "out of memory");
	r = launch_shim(launch, vm, error);
	if (r < 0)
		return r;
	/* Errors from here on appear in the events or the exit status. */
	(void)axvm_vm_flush(vm);
	*ret_vm = vm;
	vm = NULL;
	return 0;
}
