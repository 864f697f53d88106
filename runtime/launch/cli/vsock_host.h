/* SPDX-License-Identifier: MIT */
/* The host's side of a VM's vsock, for `axvm run`: the orchestrator's end of the channel
 * (virtio/vsock_channel.h), for programs that know nothing of the channel.
 *
 * The convention is Firecracker's. From the host: connect to the UNIX socket PATH, send "CONNECT
 * <port>\n", read "OK <host's port>\n"; then it is the stream to the guest's port. End of file
 * instead of the OK is a refusal. From the guest: a program that listens at the UNIX socket
 * "PATH_<port>" gets the connections that the guest opens to that port of the host (cid 2); if
 * nobody listens, the guest is refused. */
#ifndef AXVM_CLI_VSOCK_HOST_H
#define AXVM_CLI_VSOCK_HOST_H

#include <poll.h>

#include "base/base.h"
#include "launch/cli/sockets.h"
#include "virtio/vsock_channel.h"

#define VSOCK_HOST_CLIENTS 32  /* that have not named their port yet */
#define VSOCK_HOST_PARCELS 256 /* waiting for the shim */
#define VSOCK_HOST_LINE_MAX 32 /* "CONNECT <port>\n" */
#define VSOCK_HOST_POLLFDS (2 + VSOCK_HOST_CLIENTS)

struct vsock_host {
	bool open;
	int listener;
	int channel; /* -1: the shim has closed its end */
	char path[SOCKET_PATH_MAX];
	struct socket_id id;
	uint64_t next_id;
	struct vsock_host_client {
		int fd; /* -1: free */
		uint64_t since;
		size_t length;
		char line[VSOCK_HOST_LINE_MAX];
	} clients[VSOCK_HOST_CLIENTS];
	/* First in, first out. A parcel's fd is owned; -1: none goes with it. */
	struct vsock_host_parcel {
		struct vsock_channel_message message;
		int fd;
	} parcels[VSOCK_HOST_PARCELS];
	size_t first_parcel, parcel_count;
};

/* Listens at `path` (sockets_listen()) and makes the channel. *ret_shim_end is the shim's end; the
 * caller closes it once the shim has it. 0 or -errno; -ENAMETOOLONG also if "PATH_<port>" would be
 * too long. */
int vsock_host_open(struct vsock_host *host, const char *path, int *ret_shim_end);

/* Removes the socket and closes it; connections that are open go on. Accepts a zeroed one. */
void vsock_host_close(struct vsock_host *host);

/* Fills in what to poll, VSOCK_HOST_POLLFDS entries; -1 for an unused one. */
void vsock_host_watch(const struct vsock_host *host, struct pollfd fds[VSOCK_HOST_POLLFDS]);

/* Handles the results of poll(2). Never waits. */
void vsock_host_serve(struct vsock_host *host, const struct pollfd fds[VSOCK_HOST_POLLFDS]);

#endif
