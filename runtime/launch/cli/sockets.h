/* SPDX-License-Identifier: MIT */
/* Where control sockets are, and the client's side of one.
 *
 * A control socket speaks as fds 3 and 4 do: the client sends a ControlStream of commands only, and
 * gets an EventStream of the replies to them. */
#ifndef AXVM_CLI_SOCKETS_H
#define AXVM_CLI_SOCKETS_H

#include <sys/stat.h>
#include <sys/un.h>

#include "launch/cli/messages.h"

#define SOCKET_PATH_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

/* The folder of this user's sockets: $AXVM_RUNTIME_DIR, or $XDG_RUNTIME_DIR/axvm, or /run/axvm for
 * root without one. 0, -ENOENT when there is neither, -ENAMETOOLONG. */
int sockets_folder(char path[SOCKET_PATH_MAX]);

#define SOCKETS_SYSTEM_FOLDER "/run/axvm"

/* Where VMs that run here have their sockets: this user's folder, then the system's, in which
 * services have theirs whatever XDG_RUNTIME_DIR is of who asks. $AXVM_RUNTIME_DIR alone where it is
 * set. One or two, different. */
struct sockets_places {
	size_t count;
	char folders[2][SOCKET_PATH_MAX];
};
void sockets_places(struct sockets_places *ret);

/* What follows a VM's id in the names of its sockets. */
#define SOCKET_CONTROL ".sock"
#define SOCKET_VSOCK ".vsock"

/* A socket of a VM by its id, or the path itself when `vm` has a slash. 0, -EINVAL when it can be
 * no id, or as above. */
int sockets_path(const char *vm, const char *suffix, char path[SOCKET_PATH_MAX]);

/* What tells a socket's file from another that has taken its name. */
struct socket_id {
	dev_t dev;
	ino_t ino;
};

/* Listens at `path`, mode 0600, without blocking; makes its folder, mode 0700 (the system's 0755).
 * What is there already stays, but for a socket on which nobody listens, which is replaced when it
 * and its folder are the user's or root's and nobody else can write the folder (a sticky one: when
 * the socket is the user's). 0 or -errno: -EADDRINUSE when somebody listens there, -EEXIST when it
 * is no socket (a symbolic link is none), -EPERM when nobody listens but it may not be replaced, or
 * another holds the lock on the folder that this is done under. `ret_id` may be NULL. */
int sockets_listen(const char *path, int backlog, int *ret_fd, struct socket_id *ret_id);

/* Removes the socket from its path, before its descriptor is closed; something else that is there
 * by now stays. */
void sockets_remove(const char *path, const struct socket_id *id);

/* An error of sockets_listen(), positive, in words, with what to do. */
const char *sockets_listen_error(int error);

/* Fills in the address. 0 or -ENAMETOOLONG. */
int sockets_address(const char *path, struct sockaddr_un *ret);

struct client;

/* Connects to a VM by its id in whichever of the places it is, or by its socket's path. 0 with the
 * path; -EINVAL: it can be no id; -ENOENT: nobody listens, `path` being where one would first;
 * -EACCES: the same, but a place may not be looked into, which `path` is then; -EEXIST: it is in
 * both, `path` being the second; -ENAMETOOLONG, -errno. */
int sockets_find(const struct sockets_places *places, const char *vm, struct client *client,
                 char path[SOCKET_PATH_MAX]);

struct client {
	int fd;
	/* for connecting, when so many wait there that no more may; 0: without limit */
	int patience_ms;
	struct axvm_decoder *decoder;
	struct held_event held;
};

/* Connects. 0 or -errno: -ENOENT and -ECONNREFUSED when nobody listens; -EAGAIN: who listens has
 * not taken those that wait in `patience_ms`. */
int client_open(struct client *client, const char *path);
void client_close(struct client *client);

/* The process at the other end, which is the shim's parent; -1 when unknown. */
pid_t client_peer(const struct client *client);

/* Sends a command and waits for its reply, which is valid until the next call. 0 or -errno:
 * -ETIMEDOUT, -ECONNRESET when the VM has ended. */
int client_ask(struct client *client, const Axvm__V1__Command *command, int timeout_ms,
               const Axvm__V1__Reply **ret_reply);

/* The same for a metrics command with that request id, which the client has not used before. */
int client_ask_metrics(struct client *client, uint64_t request_id, int timeout_ms,
                       const Axvm__V1__Reply **ret_reply);

#endif
