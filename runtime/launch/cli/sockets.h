/* SPDX-License-Identifier: MIT */
/* Where control sockets are, and the client's side of one.
 *
 * A control socket speaks as fds 3 and 4 do: the client sends a ControlStream of commands only, and
 * gets an EventStream of the replies to them. */
#ifndef AXVM_CLI_SOCKETS_H
#define AXVM_CLI_SOCKETS_H

#include <sys/un.h>

#include "launch/axvm.h"

#define SOCKET_PATH_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

/* The folder of this user's sockets: $XDG_RUNTIME_DIR/axvm, or /run/axvm for root without one.
 * 0, -ENOENT when there is neither, -ENAMETOOLONG. */
int sockets_folder(char path[SOCKET_PATH_MAX]);

/* What follows a VM's id in the names of its sockets. */
#define SOCKET_CONTROL ".sock"
#define SOCKET_VSOCK ".vsock"

/* A socket of a VM by its id, or the path itself when `vm` has a slash. 0, -EINVAL when it can be
 * no id, or as above. */
int sockets_path(const char *vm, const char *suffix, char path[SOCKET_PATH_MAX]);

/* Listens at `path`, mode 0600, without blocking; makes its folder, mode 0700. A socket that nobody
 * listens on any more is replaced: -EADDRINUSE is one that somebody does. 0 or -errno. */
int sockets_listen(const char *path, int backlog, int *ret_fd);

/* Fills in the address. 0 or -ENAMETOOLONG. */
int sockets_address(const char *path, struct sockaddr_un *ret);

struct client {
	int fd;
	struct axvm_decoder *decoder;
};

/* Connects. 0 or -errno: -ENOENT and -ECONNREFUSED when nobody listens. */
int client_open(struct client *client, const char *path);
void client_close(struct client *client);

/* The process at the other end, which is the shim's parent; -1 when unknown. */
pid_t client_peer(const struct client *client);

/* Sends a command and waits for its reply, which is valid until the next call. 0 or -errno:
 * -ETIMEDOUT, -ECONNRESET when the VM has ended. */
int client_ask(struct client *client, const Axvm__V1__Command *command, int timeout_ms,
               const Axvm__V1__Reply **ret_reply);

#endif
