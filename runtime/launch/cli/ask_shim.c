/* SPDX-License-Identifier: MIT */
/* Runs a shim that answers a question. Both streams are files in memory: the shim never waits for
 * us, and we wait only for its end. */
#include "launch/cli/ask_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "sandbox/fd_layout.h"

/* At a number above the shim's own, so that dup2(2) overwrites none of them. */
static int new_file(const char *name)
{
	_cleanup_close_ int fd = memfd_create(name, MFD_CLOEXEC);
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, EVENT_FD + 1);

	return high < 0 ? -errno : high;
}

static int write_whole(int fd, const uint8_t *bytes, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t done = pwrite(fd, bytes + at, n - at, (off_t)at);

		if (done < 0)
			return -errno;
		at += (size_t)done;
	}
	return 0;
}

static int place_fds(posix_spawn_file_actions_t *actions, int control, int events)
{
	int r = 0;

	for (int fd = 0; fd <= 2 && r == 0; fd++)
		r = posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, control, CONTROL_FD);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, events, EVENT_FD);
	if (r == 0)
		r = posix_spawn_file_actions_addclosefrom_np(actions, EVENT_FD + 1);
	return r;
}

/* Starts the shim as axvm_spawn() does: no environment, default signals, an empty mask. */
static int start(const char *shim, int control, int events, pid_t *ret_pid)
{
	static char *const no_environment[] = { NULL };
	char *argv[] = { (char[]){ "axvm-shim" }, NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		(void)posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	(void)posix_spawnattr_setsigdefault(&attributes, &all);
	(void)posix_spawnattr_setsigmask(&attributes, &none);
	(void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = place_fds(&actions, control, events);
	if (r == 0)
		r = posix_spawnp(ret_pid, shim ? shim : "axvm-shim", &actions, &attributes, argv,
		                 no_environment);
	(void)posix_spawnattr_destroy(&attributes);
	(void)posix_spawn_file_actions_destroy(&actions);
	return -r;
}

static int read_events(int fd, Axvm__V1__EventStream **ret)
{
	struct stat st;
	void *map;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size == 0) {
		*ret = axvm__v1__event_stream__unpack(NULL, 0, NULL);
		return *ret ? 0 : -ENOMEM;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret = axvm__v1__event_stream__unpack(NULL, (size_t)st.st_size, map);
	(void)munmap(map, (size_t)st.st_size);
	return *ret ? 0 : -EBADMSG;
}

int ask_shim(const char *shim, const void *bytes, size_t n, Axvm__V1__EventStream **ret,
             int *ret_wait_status)
{
	_cleanup_close_ int control = new_file("control");
	_cleanup_close_ int events = new_file("events");
	pid_t pid = 0;
	int r;

	if (control < 0 || events < 0)
		return MIN(control, events);
	r = write_whole(control, bytes, n);
	if (r == 0)
		r = start(shim, control, events, &pid);
	if (r < 0)
		return r;
	while (waitpid(pid, ret_wait_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return read_events(events, ret);
}
