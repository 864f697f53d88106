/* SPDX-License-Identifier: MIT */
/* Landlock: forbids files, TCP ports, and signals and abstract sockets of other processes.
 *
 * There are two layers. Stage confine applies the first, while there is one thread: it handles
 * every right that the kernel's ABI knows and allows only reading below /proc/self, which the
 * read-back of stage seal needs. The second allows nothing, and each thread applies it to itself in
 * stage seal. Only the first layer has the scopes: all threads share that layer and so may signal
 * one another; with scopes in domains of their own, some kernels would forbid it.
 *
 * Landlock cannot be read back, so each layer is tested by a call that it must refuse. */
#include "sandbox/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "sandbox/step.h"

/* The kernel's structure as of ABI 6; a kernel of an older ABI takes the start of it. */
struct ruleset {
	uint64_t files, ports, scopes;
};

/* Rights by the ABI that brought them (linux/landlock.h). */
static const struct {
	int abi;
	struct ruleset rights;
} known[] = {
	{ 1, { .files = (1ULL << 13) - 1 } }, /* execute to make_sym */
	{ 2, { .files = 1ULL << 13 } },       /* refer */
	{ 3, { .files = 1ULL << 14 } },       /* truncate */
	{ 4, { .ports = 3 } },                /* bind and connect, TCP */
	{ 5, { .files = 1ULL << 15 } },       /* ioctl on devices */
	{ 6, { .scopes = 3 } },               /* abstract sockets, signals */
};

static size_t size_for(int abi)
{
	return abi >= 6   ? sizeof(struct ruleset)
	       : abi >= 4 ? offsetof(struct ruleset, scopes)
	                  : offsetof(struct ruleset, ports);
}

static struct ruleset all_of(int abi)
{
	struct ruleset all = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(known) && known[i].abi <= abi; i++) {
		all.files |= known[i].rights.files;
		all.ports |= known[i].rights.ports;
		all.scopes |= known[i].rights.scopes;
	}
	return all;
}

static int create(const struct ruleset *ruleset, int abi)
{
	return (int)syscall(SYS_landlock_create_ruleset, ruleset, size_for(abi), 0);
}

/* Checks that Landlock refuses to open `fd` and `path`, which the file's mode allows. */
static int try_open(int fd, const char *path, struct problems *problems)
{
	_cleanup_close_ int opened = openat(fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (opened >= 0)
		return step_differs(problems, "a directory can be opened in spite of Landlock");
	if (errno != EACCES)
		return step_failed(problems, "cannot tell whether Landlock holds for files");
	return 0;
}

static int try_bind(struct problems *problems)
{
	const struct sockaddr_in any = { .sin_family = AF_INET };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0; /* no network, or none of this kind: nothing to bind */
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0)
		return step_differs(problems, "a port can be bound in spite of Landlock");
	if (errno != EACCES)
		return step_failed(problems, "cannot tell whether Landlock holds for ports");
	return 0;
}

static int try_signal(const struct sandbox *sandbox, struct problems *problems)
{
	if (sandbox->launcher > 0 && kill(sandbox->launcher, 0) == 0)
		return step_differs(problems, "the launcher can be signalled in spite of Landlock");
	return 0;
}

/* Requires: no_new_privs; all steps that open, bind or signal are done.
 * Does: apply the first layer, prepare the second, test the first.
 * Must not: go on without Landlock. */
int landlock_restrict(struct sandbox *sandbox, struct problems *problems)
{
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_path_beneath_attr proc = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
		.parent_fd = sandbox->proc_fd,
	};
	struct ruleset all;
	_cleanup_close_ int first = -1;
	int r;

	if (abi < 1)
		return step_failed(problems, "this kernel has no Landlock; build it in (5.13 or "
		                             "later) and name it in the kernel's lsm= list");
	all = all_of(abi);
	first = create(&all, abi);
	if (first < 0 ||
	    syscall(SYS_landlock_add_rule, first, LANDLOCK_RULE_PATH_BENEATH, &proc, 0) < 0)
		return step_failed(problems, "cannot prepare Landlock");
	sandbox->landlock_fd = create(&(struct ruleset){ .files = all.files }, abi);
	if (sandbox->landlock_fd < 0)
		return step_failed(problems, "cannot prepare Landlock for the threads");
	if (syscall(SYS_landlock_restrict_self, first, 0) < 0)
		return step_failed(problems, "cannot restrict the process by Landlock");
	sandbox->landlock_abi = abi;
	r = try_open(AT_FDCWD, "/", problems);
	if (r == 0 && all.ports)
		r = try_bind(problems);
	if (r == 0 && all.scopes)
		r = try_signal(sandbox, problems);
	return r;
}

int sandbox_close_files(const struct sandbox *sandbox, struct problems *problems)
{
	if (syscall(SYS_landlock_restrict_self, sandbox->landlock_fd, 0) < 0)
		return step_failed(problems, "cannot restrict a thread by Landlock");
	return try_open(sandbox->proc_fd, "task", problems);
}
