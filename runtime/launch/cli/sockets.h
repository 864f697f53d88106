/* SPDX-License-Identifier: MIT */
/* The paths of control sockets, and the client's side of one.
 *
 * A control socket uses the format of fds 3 and 4: the client sends a ControlStream of commands
 * only, and gets an EventStream of the replies to them. */
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

/* The folders in which VMs of this host have their sockets: this user's, then the system's, in
 * which services have theirs. If AXVM_RUNTIME_DIR is set, that folder only. One or two,
 * different. */
struct sockets_places {
	size_t count;
	char folders[2][SOCKET_PATH_MAX];
};
void sockets_places(struct sockets_places *ret);

/* The suffixes after a VM's id in the names of its sockets. */
#define SOCKET_CONTROL ".sock"
#define SOCKET_VSOCK ".vsock"

/* The path of a VM's socket by the VM's id, or `vm` itself if it has a slash. 0; -EINVAL: `vm`
 * cannot be an id; or as above. */
int sockets_path(const char *vm, const char *suffix, char path[SOCKET_PATH_MAX]);

/* Tells a socket's file from another file that has taken its name. */
struct socket_id {
	dev_t dev;
	ino_t ino;
};

/* Listens at `path`, mode 0600, non-blocking; makes its folder, mode 0700 (the system's: 0755). It
 * replaces nothing but a socket on which nobody listens, and that only if socket and folder belong
 * to the user or root and nobody else can write to the folder (in a sticky folder: if the socket is
 * the user's). 0 or -errno. -EADDRINUSE: a process listens there; -EEXIST: the file is not a socket
 * (a symbolic link is not); -EPERM: nobody listens but it may not be replaced, or another process
 * holds the lock on the folder. `ret_id` may be NULL. */
int sockets_listen(const char *path, int backlog, int *ret_fd, struct socket_id *ret_id);

/* Removes the socket from its path; call it before the descriptor is closed. Another file that is
 * there by now stays. */
void sockets_remove(const char *path, const struct socket_id *id);

/* An errno of sockets_listen(), positive, in words, with what to do. */
const char *sockets_listen_error(int error);

/* Fills in the address. 0 or -ENAMETOOLONG. */
int sockets_address(const char *path, struct sockaddr_un *ret);

struct client;

/* Connects to a VM by its id, in whichever place it is, or by its socket's path. 0 with the path;
 * -EINVAL: `vm` cannot be an id; -ENOENT: nobody listens, `path` is the first place looked at;
 * -EACCES: nobody listens, but the place `path` may not be read; -EEXIST: it is in both places,
 * `path` is the second; -ENAMETOOLONG, -errno. */
int sockets_find(const struct sockets_places *places, const char *vm, struct client *client,
                 char path[SOCKET_PATH_MAX]);

struct client {
	int fd;
	/* how long to try while the socket's queue is full; 0: without limit */
	int patience_ms;
	struct axvm_decoder *decoder;
	struct held_event held;
};

/* Connects. 0 or -errno. -ENOENT, -ECONNREFUSED: nobody listens; -EAGAIN: the listener's queue
 * stayed full for `patience_ms`. */
int client_open(struct client *client, const char *path);
void client_close(struct client *client);

/* The process at the other end, which is the shim's parent; -1: unknown. */
pid_t client_peer(const struct client *client);

/* Sends a command and waits for its reply, which is valid until the next call. 0 or -errno;
 * -ETIMEDOUT; -ECONNRESET: the VM has ended. */
int client_ask(struct client *client, const Axvm__V1__Command *command, int timeout_ms,
               const Axvm__V1__Reply **ret_reply);

/* The same for a metrics command with a request id that the client has not used before. */
int client_ask_metrics(struct client *client, uint64_t request_id, int timeout_ms,
                       const Axvm__V1__Reply **ret_reply);

#endif
