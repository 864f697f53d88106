/* SPDX-License-Identifier: MIT */
/* The control socket of `axvm run`: passes commands of several clients to the shim, and each reply
 * back to its client. */
#ifndef AXVM_CLI_SERVER_H
#define AXVM_CLI_SERVER_H

#include <poll.h>

#include "interface/stream.h"
#include "launch/axvm.h"
#include "launch/cli/sockets.h"

#define SERVER_CLIENTS_MAX 8
#define SERVER_PENDING_EACH 8 /* commands of one client that wait for their replies */
#define SERVER_PENDING_MAX (SERVER_CLIENTS_MAX * SERVER_PENDING_EACH)
#define SERVER_POLLFDS (1 + SERVER_CLIENTS_MAX)

struct server_client {
	int fd;         /* -1: free */
	uint64_t heard; /* number of the last turn in which it sent something */
	struct stream stream;
};

/* Zeroed but for what server_open() fills in. */
struct server {
	bool open;
	int fd;
	char path[SOCKET_PATH_MAX];
	struct socket_id id;
	struct axvm_vm *vm; /* borrowed */
	uint64_t turns;
	struct server_client clients[SERVER_CLIENTS_MAX];
	/* Commands that the VM has not replied to yet; a client's request ids are its own. */
	struct server_pending {
		uint64_t request_id; /* 0: free */
		uint64_t theirs;
		int client; /* -1: it has left */
	} pending[SERVER_PENDING_MAX];
};

/* Listens at `path`, as sockets_listen() does. `vm` must outlive it. */
int server_open(struct server *server, const char *path, struct axvm_vm *vm);

/* Removes the socket and closes it. Accepts a zeroed one. */
void server_close(struct server *server);

/* Fills in what to poll, SERVER_POLLFDS entries; -1 for an unused one. While axvm_vm_flush()
 * returns -EAGAIN no client is read. */
void server_watch(const struct server *server, struct pollfd fds[SERVER_POLLFDS]);

/* Handles the results of poll(2). */
void server_serve(struct server *server, const struct pollfd fds[SERVER_POLLFDS]);

/* Sends a reply event to the client that asked, and goes on with that client's further commands.
 * False if no client asked for it. */
bool server_reply(struct server *server, const Axvm__V1__Event *event);

#endif
