/* SPDX-License-Identifier: MIT */
/* Makes a listening socket at a path that a person has named, without destroying a file there.
 *
 * bind(2) replaces nothing. A socket that is there already and refuses connections is cleared away
 * if it is ours: it is held by a descriptor while it is asked, moved aside by a rename that
 * replaces nothing, and removed there only if it is still the one that was asked. Other files are
 * not moved. If another file takes the name between the check and the rename, it is moved back or,
 * if its name is taken again, reported. A socket that is bound but does not listen yet cannot be
 * removed by mistake: a process binds and listens under a lock on the folder, and removes nothing
 * without that lock. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/base.h"
#include "launch/cli/sockets.h"

#define NAME_OF_OURS 40 /* bytes of the name that are kept in the name of the file set aside */
#define ASIDE_MAX 16    /* such names, of which a run that was killed may have left some */
#define ASIDE_SIZE (NAME_OF_OURS + 32)
#define PLACE_TRIES 4 /* others may come and go meanwhile */
#define LOCK_TRIES 50 /* 0.5 s; in /tmp anybody can hold it for ever */
#define LOCK_WAIT_NS 10000000L
#define PATH_BY_FD "/proc/self/fd/%d"

struct place {
	int folder_fd;
	bool locked; /* as long as folder_fd is open */
	const char *folder, *name;
};

/* Renames within the folder; -EEXIST if the new name is taken. */
static int move(const struct place *place, const char *from, const char *to)
{
	int fd = place->folder_fd;

	if (renameat2(fd, from, fd, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A file system without RENAME_NOREPLACE: link(2) replaces nothing either. */
	if (linkat(fd, from, fd, to, 0) < 0)
		return -errno;
	return unlinkat(fd, from, 0) < 0 ? -errno : 0;
}

static bool is_there(const struct place *place, const char *name, const struct socket_id *id)
{
	struct stat st;

	return fstatat(place->folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_dev == id->dev && st.st_ino == id->ino;
}

/* Moves the file at the name to a free name of ours beside it. */
static int set_aside(const struct place *place, char aside[static ASIDE_SIZE])
{
	int r = -EEXIST;

	for (unsigned i = 0; r == -EEXIST && i < ASIDE_MAX; i++) {
		snprintf(aside, ASIDE_SIZE, ".%.*s.%d.%u.old", NAME_OF_OURS, place->name,
		         (int)getpid(), i);
		r = move(place, place->name, aside);
	}
	return r;
}

static int put_back(const struct place *place, const char *aside)
{
	int r = move(place, aside, place->name);

	if (r < 0)
		fprintf(stderr,
		        "axvm: %s/%s: another file had taken this name, and cannot have it back (%s); it "
		        "is %s/%s now, rename it\n",
		        place->folder, place->name, errno_text(-r), place->folder, aside);
	return r;
}

/* Removes the file at the name if it is that socket. 0, also if it has gone or is another file,
 * which stays. */
static int remove_exactly(const struct place *place, const struct socket_id *id)
{
	char aside[ASIDE_SIZE];
	int r;

	if (!is_there(place, place->name, id))
		return 0;
	r = set_aside(place, aside);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (is_there(place, aside, id))
		return unlinkat(place->folder_fd, aside, 0) < 0 ? -errno : 0;
	return put_back(place, aside);
}

/* Whether only this user (and root) can have put files into this folder, so that removing one is
 * safe. */
static bool is_safe_folder(int folder_fd, const struct stat *found)
{
	struct stat folder;

	if (fstat(folder_fd, &folder) < 0 || (folder.st_uid != geteuid() && folder.st_uid != 0))
		return false;
	if (!(folder.st_mode & (S_IWGRP | S_IWOTH)))
		return true;
	return (folder.st_mode & S_ISVTX) && found->st_uid == geteuid();
}

/* 0 if a connection is refused: nobody listens. -EADDRINUSE if a process listens. */
static int ask(int socket_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), PATH_BY_FD, socket_fd);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return -EADDRINUSE;
	/* EAGAIN: its queue is full. EPROTOTYPE: it is not a stream socket. */
	if (errno == EAGAIN || errno == EPROTOTYPE)
		return -EADDRINUSE;
	return errno == ECONNREFUSED ? 0 : -errno;
}

/* Removes a socket on which nobody listens, if it is ours. 0: try to bind again. Errors as of
 * sockets_listen(). */
static int clear(const struct place *place)
{
	_cleanup_close_ int fd =
		openat(place->folder_fd, place->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct socket_id id;
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	r = ask(fd);
	if (r < 0)
		return r;
	if ((st.st_uid != geteuid() && st.st_uid != 0) || !place->locked ||
	    !is_safe_folder(place->folder_fd, &st))
		return -EPERM;
	id = (struct socket_id){ st.st_dev, st.st_ino };
	return remove_exactly(place, &id);
}

static int bind_private(int fd, const struct sockaddr_un *address)
{
	mode_t before = umask(0177);
	int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;

	(void)umask(before);
	return r;
}

static int listen_in_place(int fd, const struct place *place, const struct sockaddr_un *address,
                           int backlog, struct socket_id *ret_id)
{
	struct socket_id id;
	struct stat st;
	int r = -EADDRINUSE;

	for (unsigned i = 0; r == -EADDRINUSE && i < PLACE_TRIES; i++) {
		r = bind_private(fd, address);
		if (r == -EADDRINUSE) {
			r = clear(place);
			if (r < 0)
				return r;
			r = -EADDRINUSE;
		}
	}
	if (r < 0)
		return r;
	if (fstatat(place->folder_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	id = (struct socket_id){ st.st_dev, st.st_ino };
	if (listen(fd, backlog) < 0) {
		r = -errno;
		(void)remove_exactly(place, &id);
		return r;
	}
	*ret_id = id;
	return 0;
}

static bool lock(int folder_fd)
{
	const struct timespec pause = { .tv_nsec = LOCK_WAIT_NS };

	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (flock(folder_fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK)
			return false;
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

/* The folder of a path, open and, if it can be, locked; its names point into `copies`. */
static int open_place(const char *path, char copies[2][SOCKET_PATH_MAX], struct place *ret)
{
	strcpy(copies[0], path);
	strcpy(copies[1], path);
	ret->folder = dirname(copies[0]);
	ret->name = basename(copies[1]);
	ret->folder_fd = open(ret->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ret->locked = ret->folder_fd >= 0 && lock(ret->folder_fd);
	/* O_PATH, since this user may not be able to list it */
	if (ret->folder_fd < 0 && errno == EACCES)
		ret->folder_fd = open(ret->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return ret->folder_fd < 0 ? -errno : 0;
}

/* The system's is for all to look into, since claims are in it too (host/claims.h); its sockets are
 * their owner's, mode 0600, wherever they are. */
static int make_folder(const char *folder)
{
	bool for_all = strcmp(folder, SOCKETS_SYSTEM_FOLDER) == 0 && geteuid() == 0;

	if (mkdir(folder, for_all ? 0755 : 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return for_all && chmod(folder, 0755) < 0 ? -errno : 0;
}

/* Whether it is one of the default folders of sockets. */
static bool is_our_folder(const char *folder)
{
	struct sockets_places places;
	bool ours = false;

	sockets_places(&places);
	for (size_t i = 0; i < places.count; i++) {
		char inside[SOCKET_PATH_MAX + 2];

		snprintf(inside, sizeof(inside), "%s/x", places.folders[i]);
		/* the same slashes are left out of both */
		ours |= strcmp(dirname(inside), folder) == 0;
	}
	return ours;
}

int sockets_listen(const char *path, int backlog, int *ret_fd, struct socket_id *ret_id)
{
	_cleanup_close_ int fd = -1;
	char copies[2][SOCKET_PATH_MAX];
	struct sockaddr_un address;
	struct socket_id id;
	const char *folder;
	struct place place;
	int r = sockets_address(path, &address);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	strcpy(copies[0], path);
	folder = dirname(copies[0]);
	r = is_our_folder(folder) ? make_folder(folder) : 0;
	if (r < 0)
		return r;
	r = open_place(path, copies, &place);
	if (r < 0)
		return r;
	r = listen_in_place(fd, &place, &address, backlog, &id);
	close_ptr(&place.folder_fd);
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	if (ret_id)
		*ret_id = id;
	return 0;
}

void sockets_remove(const char *path, const struct socket_id *id)
{
	char copies[2][SOCKET_PATH_MAX];
	struct place place;

	if (open_place(path, copies, &place) < 0)
		return;
	(void)remove_exactly(&place, id);
	close_ptr(&place.folder_fd);
}

const char *sockets_listen_error(int error)
{
	static const struct {
		int error;
		const char *text;
	} rows[] = {
		{ ENOENT,
		  "there is no such folder, and none is made but axvm's own; make it, or name "
		  "another path" },
		{ EADDRINUSE, "somebody listens there already; name another path" },
		{ EEXIST, "something is there that is no socket, and is left alone; name another "
		          "path, or remove it" },
		{ EPERM, "a socket is there on which nobody listens, but it is another user's, or "
		         "others can write or have locked its folder; name another path, or "
		         "remove it" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].error == error)
			return rows[i].text;
	return errno_text(error);
}
