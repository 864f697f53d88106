/* SPDX-License-Identifier: MIT */
/* Checks of the two streams' fds, from the access mode and the file type alone: nothing is read
 * from or written to them. */
#include "shim/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* What makes an fd unfit for either stream, or NULL. */
static const char *unfit(int fd, mode_t mode)
{
	int type = 0;
	socklen_t size = sizeof(type);

	switch (mode & S_IFMT) {
	case S_IFIFO:
	case S_IFREG:
	case S_IFCHR:
		return NULL;
	case S_IFSOCK:
		if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM)
			return NULL;
		return "a socket, but not a stream socket; packets would be cut";
	case S_IFDIR:
		return "a directory";
	case S_IFBLK:
		return "a block device";
	default:
		return "neither a pipe, a stream socket nor a file";
	}
}

/* `wrong_way` is the access mode that cannot be used; `use` says what the fd is for. */
static int check(int fd, int wrong_way, enum axvm_error_code code, const char *use,
                 struct stat *ret_st, struct problems *problems)
{
	int flags = fcntl(fd, F_GETFL);
	const char *why;

	if (flags < 0)
		return problems_add(problems, code, errno, NULL,
		                    "fd %d is not open; the launcher must open it for %s", fd, use);
	if (flags & O_PATH)
		return problems_add(problems, code, EBADF, NULL,
		                    "fd %d was opened with O_PATH, which cannot be used for %s", fd,
		                    use);
	if ((flags & O_ACCMODE) == wrong_way)
		return problems_add(problems, code, EBADF, NULL,
		                    "fd %d is not open for %s; perhaps fds 3 and 4, or the ends of "
		                    "the pipe, are the wrong way round",
		                    fd, use);
	if (fstat(fd, ret_st) < 0)
		return problems_add(problems, code, errno, NULL, "fd %d cannot be used for %s: %s",
		                    fd, use, errno_text(errno));
	why = unfit(fd, ret_st->st_mode);
	if (why)
		return problems_add(problems, code, EINVAL, NULL,
		                    "fd %d cannot be used for %s: it is %s", fd, use, why);
	return 0;
}

int check_control_fd(int fd, struct problems *problems)
{
	struct stat st = { 0 };
	int r = check(fd, O_WRONLY, ERROR_CODE_CONTROL_FD_UNUSABLE, "reading the ControlStream",
	              &st, problems);

	if (r < 0)
		return r;
	if (S_ISCHR(st.st_mode) && isatty(fd))
		return problems_add(problems, ERROR_CODE_CONTROL_FD_UNUSABLE, EINVAL, NULL,
		                    "fd %d is a terminal; the ControlStream is binary (protoc "
		                    "--encode=axvm.v1.ControlStream makes one)",
		                    fd);
	return 0;
}

int check_event_fd(int fd, int control_fd, struct problems *problems)
{
	struct stat st = { 0 }, control;
	int r = check(fd, O_RDONLY, ERROR_CODE_EVENT_FD_UNUSABLE, "writing the EventStream", &st,
	              problems);

	if (r < 0)
		return r;
	/* A write to a terminal blocks whatever poll(2) has said, as soon as nobody reads it
	 * (event_writer.c). */
	if (S_ISCHR(st.st_mode) && isatty(fd))
		return problems_add(
			problems, ERROR_CODE_EVENT_FD_UNUSABLE, EINVAL, NULL,
			"fd %d is a terminal; the EventStream is binary, and a terminal that "
			"stalls would stall the VM: make fd %d a pipe, a stream socket or a file",
			fd, fd);
	if (S_ISFIFO(st.st_mode) && fstat(control_fd, &control) == 0 &&
	    control.st_dev == st.st_dev && control.st_ino == st.st_ino)
		return problems_add(
			problems, ERROR_CODE_EVENT_FD_UNUSABLE, EINVAL, NULL,
			"fds %d and %d are the two ends of one pipe, so events would come "
			"back as commands; give each a pipe of its own",
			control_fd, fd);
	return 0;
}

int fd_settle(int fd, int number)
{
	int error;

	if (fd < 0)
		return -errno;
	error = dup3(fd, number, O_CLOEXEC) < 0 ? errno : 0;
	close(fd);
	return error ? -error : number;
}
