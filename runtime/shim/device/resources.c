/* SPDX-License-Identifier: MIT */
/* The spec's resources, taken over or opened. */
#include "shim/device/resources.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static const struct use_row {
	int open_flags;
	bool reads, writes;
	const char *verb;
} uses[] = {
	[RESOURCE_READ] = { O_RDONLY, true, false, "read" },
	[RESOURCE_APPEND] = { O_WRONLY | O_CREAT | O_APPEND, false, true, "written" },
	[RESOURCE_READ_WRITE] = { O_RDWR, true, true, "read and written" },
};

static int check_fd(int fd, const struct use_row *use, const char *field, struct problems *problems)
{
	int flags = fcntl(fd, F_GETFL);
	int mode = flags & O_ACCMODE;

	if (flags < 0)
		return problems_add(problems, ERROR_CODE_RESOURCE_MISSING, EBADF, field,
		                    "fd %d is not open: hand it over to the shim at exec", fd);
	if ((use->reads && mode == O_WRONLY) || (use->writes && mode == O_RDONLY))
		return problems_add(problems, ERROR_CODE_RESOURCE_UNREADABLE, EBADF, field,
		                    "fd %d is open, but cannot be %s", fd, use->verb);
	return 0;
}

/* A descriptor, or -errno; -EISDIR of a directory, which opens for reading and would be told as an
 * fd that is no file. */
static int open_path(const char *path, const struct use_row *use)
{
	const int always = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	_cleanup_close_ int fd = open(path, use->open_flags | always, 0600);
	struct stat st;

	/* The path is a FIFO that nobody reads yet. */
	if (fd < 0 && errno == ENXIO && use->writes)
		fd = open(path, O_RDWR | always);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? -EISDIR : take_fd(&fd);
}

int resource_take(const struct spec_resource *resource, enum resource_use use, const char *field,
                  int *ret_fd, struct problems *problems)
{
	const struct use_row *row = &uses[use];
	int fd = -1;

	if (resource->kind == RESOURCE_SOURCE_FD) {
		int r = check_fd(resource->fd, row, field, problems);

		if (r < 0)
			return r;
		fd = resource->fd;
	} else if (resource->kind == RESOURCE_SOURCE_PATH) {
		fd = open_path(resource->path, row);
		if (fd == -EISDIR)
			return problems_add(problems, ERROR_CODE_RESOURCE_WRONG_KIND, EISDIR, field,
			                    "\"%s\" is a directory: name a file, such as one in it",
			                    resource->path);
		if (fd < 0)
			return problems_add(problems,
			                    fd == -ENOENT ? ERROR_CODE_RESOURCE_MISSING
			                                  : ERROR_CODE_RESOURCE_UNREADABLE,
			                    -fd, field, "cannot open \"%s\": %s", resource->path,
			                    errno_text(-fd));
	}
	*ret_fd = fd;
	return 0;
}

/* A pipe that has a name, so that others can open it. */
static bool is_fifo(int fd)
{
	struct stat st;
	struct statfs fs;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && fstatfs(fd, &fs) == 0 &&
	       fs.f_type != PIPEFS_MAGIC;
}

/* On Linux a FIFO can be opened for both directions (fifo(7)). */
static int hold_fifo(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	_cleanup_close_ int both = -1;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	both = open(path, O_RDWR | O_CLOEXEC | (flags & O_NONBLOCK));
	if (both < 0)
		return -errno;
	return dup3(both, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int resource_hold_open(int fd, const char *field, struct problems *problems)
{
	unsigned number;
	int r;

	if (is_fifo(fd)) {
		r = hold_fifo(fd);
		return r == 0 ? 0
		              : problems_add(
					problems, ERROR_CODE_RESOURCE_UNREADABLE, -r, field,
					"the FIFO cannot be opened for both directions, so that its "
					"clients may come and go: %s; give the shim's user "
					"permission to read and write it",
					errno_text(-r));
	}
	/* Only a PTY's master has the number of its slave. The slave stays open for the VM's life:
	 * that holds the terminal open. */
	if (ioctl(fd, TIOCGPTN, &number) == 0 &&
	    ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC) < 0)
		return problems_add(
			problems, ERROR_CODE_RESOURCE_UNREADABLE, errno, field,
			"the slave of the PTY cannot be opened, so that its clients may come "
			"and go: %s; unlock it (unlockpt)",
			errno_text(errno));
	return 0;
}

/* A block device has one number and may have several names, each with an inode of its own. */
static bool is_one(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode))
		return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Of what is no file and no block device, or is not there, one may be in several places. */
static bool identify(struct resource_claim *claim, struct problems *problems)
{
	if (claim->fd < 0)
		return false;
	if (fstat(claim->fd, &claim->st) < 0) {
		(void)problems_add(problems, ERROR_CODE_OS_FAILED, errno, claim->field,
		                   "cannot be examined (fstat): %s", errno_text(errno));
		return false;
	}
	return S_ISREG(claim->st.st_mode) || S_ISBLK(claim->st.st_mode);
}

void resource_claim(struct resource_claims *claims, int fd, bool written, const char *format, ...)
{
	struct resource_claim *claim = &claims->list[claims->count];
	va_list args;

	assert(claims->count < ARRAY_SIZE(claims->list));
	claims->count++;
	claim->fd = fd;
	claim->written = written;
	va_start(args, format);
	(void)vsnprintf(claim->field, sizeof(claim->field), format, args);
	va_end(args);
}

static void check_pair(const struct resource_claim *claim, const struct resource_claim *earlier,
                       struct problems *problems)
{
	const struct resource_claim *writer = claim->written ? claim : earlier;
	const struct resource_claim *reader = writer == claim ? earlier : claim;

	if (writer->written && earlier->is_file && is_one(&claim->st, &earlier->st))
		(void)problems_add(problems, ERROR_CODE_SPEC_INVALID, EINVAL, writer->field,
		                   "is the same %s as %s, and the guest's writes would change "
		                   "both: give each its own",
		                   S_ISBLK(writer->st.st_mode) ? "block device" : "file",
		                   reader->field);
}

void resource_check_claims(struct resource_claims *claims, struct problems *problems)
{
	for (size_t i = 0; i < claims->count; i++) {
		struct resource_claim *claim = &claims->list[i];

		claim->is_file = identify(claim, problems);
		for (size_t k = 0; claim->is_file && k < i; k++)
			check_pair(claim, &claims->list[k], problems);
	}
}
