/* SPDX-License-Identifier: MIT */
/* The host's side of a VM's vsock.
 *
 * The bytes of a connection do not pass through this process. It reads a client's first line and
 * not a byte more; then the socket itself goes to the shim, which writes the OK. For a connection
 * that the guest asks for, it connects a socket and passes that on. Nothing blocks: messages that
 * the channel does not take at once wait in a queue, and while that is half full no client is
 * served, so that there is room for the guest's requests. A client that does not name its port
 * keeps its place until another needs it. */
#include "launch/cli/vsock_host.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "launch/cli/flags.h"

#define BACKLOG 128
#define CONNECT_WORD "CONNECT "
#define LONGEST_PORT "_4294967295"

enum { POLL_LISTENER, POLL_CHANNEL, POLL_CLIENTS };

int vsock_host_open(struct vsock_host *host, const char *path, int *ret_shim_end)
{
	int ends[2], r;

	*host = (struct vsock_host){ 0 };
	if (strlen(path) + strlen(LONGEST_PORT) >= sizeof(host->path))
		return -ENAMETOOLONG;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	r = sockets_listen(path, BACKLOG, &host->listener, &host->id);
	if (r < 0) {
		close_ptr(&ends[0]);
		close_ptr(&ends[1]);
		return r;
	}
	strcpy(host->path, path);
	for (size_t i = 0; i < VSOCK_HOST_CLIENTS; i++)
		host->clients[i].fd = -1;
	host->channel = ends[0];
	host->open = true;
	*ret_shim_end = ends[1];
	return 0;
}

static struct vsock_host_parcel *first_parcel(struct vsock_host *host)
{
	return &host->parcels[host->first_parcel];
}

static void drop_first_parcel(struct vsock_host *host)
{
	close_ptr(&first_parcel(host)->fd);
	host->first_parcel = (host->first_parcel + 1) % VSOCK_HOST_PARCELS;
	host->parcel_count--;
}

void vsock_host_close(struct vsock_host *host)
{
	if (!host->open)
		return;
	sockets_remove(host->path, &host->id);
	while (host->parcel_count > 0)
		drop_first_parcel(host);
	for (size_t i = 0; i < VSOCK_HOST_CLIENTS; i++)
		close_ptr(&host->clients[i].fd);
	close_ptr(&host->listener);
	close_ptr(&host->channel);
	host->open = false;
}

void vsock_host_watch(const struct vsock_host *host, struct pollfd fds[VSOCK_HOST_POLLFDS])
{
	bool serves =
		host->open && host->channel >= 0 && host->parcel_count < VSOCK_HOST_PARCELS / 2;
	short channel_events = host->parcel_count > 0 ? POLLOUT : 0;

	if (host->parcel_count < VSOCK_HOST_PARCELS)
		channel_events |= POLLIN;
	fds[POLL_LISTENER] = (struct pollfd){ serves ? host->listener : -1, POLLIN, 0 };
	fds[POLL_CHANNEL] = (struct pollfd){ host->open ? host->channel : -1, channel_events, 0 };
	for (size_t i = 0; i < VSOCK_HOST_CLIENTS; i++)
		fds[POLL_CLIENTS + i] =
			(struct pollfd){ serves ? host->clients[i].fd : -1, POLLIN, 0 };
}

/* --------------------------------------------------------------------------------- to the shim */

/* Queues a message; its fd goes to the shim. There is always room: see vsock_host_watch(). */
static void put_parcel(struct vsock_host *host, enum vsock_channel_kind kind, uint32_t flags,
                       uint64_t id, uint32_t guest_port, int fd)
{
	size_t at = (host->first_parcel + host->parcel_count) % VSOCK_HOST_PARCELS;

	host->parcels[at] = (struct vsock_host_parcel){
		.message = {
			.version = htole16(VSOCK_CHANNEL_VERSION),
			.kind = htole16((uint16_t)kind),
			.flags = htole32(flags),
			.id = htole64(id),
			.guest_port = htole32(guest_port),
		},
		.fd = fd,
	};
	host->parcel_count++;
}

/* 0 or -errno. */
static int send_parcel(int channel, struct vsock_host_parcel *parcel)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &parcel->message, sizeof(parcel->message) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (parcel->fd >= 0) {
		struct cmsghdr *c;

		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &parcel->fd, sizeof(int));
	}
	return sendmsg(channel, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void send_parcels(struct vsock_host *host)
{
	while (host->parcel_count > 0 && host->channel >= 0) {
		struct vsock_host_parcel *parcel = first_parcel(host);
		int r = send_parcel(host->channel, parcel);

		if (r == -EAGAIN || r == -EINTR)
			return;
		if (r == -EPIPE || r == -ECONNRESET) {
			close_ptr(&host->channel);
		} else if (r < 0 && parcel->message.kind == htole16(VSOCK_ACCEPT)) {
			/* Too many sockets are in transit (ETOOMANYREFS): the guest is refused. */
			close_ptr(&parcel->fd);
			parcel->message.kind = htole16(VSOCK_REFUSE);
			continue;
		}
		drop_first_parcel(host);
	}
}

/* ------------------------------------------------------------------------------- from the guest */

/* Connects to the program that listens for the guest's connections to a port. The fd, or -errno. */
static int connect_to(const struct vsock_host *host, uint32_t port)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char path[SOCKET_PATH_MAX + sizeof(LONGEST_PORT)];
	struct sockaddr_un address;
	int r;

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "%s_%u", host->path, port);
	r = sockets_address(path, &address);
	if (r < 0)
		return r;
	/* With O_NONBLOCK a full backlog is a refusal. The shim's ring needs no O_NONBLOCK. */
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fcntl(fd, F_SETFL, 0) < 0)
		return -errno;
	return take_fd(&fd);
}

static void on_channel(struct vsock_host *host)
{
	while (host->parcel_count < VSOCK_HOST_PARCELS) {
		struct vsock_channel_message message;
		ssize_t n = recv(host->channel, &message, sizeof(message), MSG_DONTWAIT);
		int fd;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			close_ptr(&host->channel);
			return;
		}
		/* Answers to our CONNECTs reach the client through its socket. */
		if (n != sizeof(message) || message.version != htole16(VSOCK_CHANNEL_VERSION) ||
		    message.kind != htole16(VSOCK_ASK))
			continue;
		fd = connect_to(host, le32toh(message.host_port));
		put_parcel(host, fd < 0 ? VSOCK_REFUSE : VSOCK_ACCEPT, 0, le64toh(message.id), 0,
		           fd < 0 ? -1 : fd);
	}
}

/* -------------------------------------------------------------------------------- from the host */

/* A free place, or the place of the client that has been silent longest. */
static struct vsock_host_client *place_for_client(struct vsock_host *host)
{
	struct vsock_host_client *oldest = &host->clients[0];

	for (size_t i = 0; i < VSOCK_HOST_CLIENTS; i++) {
		if (host->clients[i].fd < 0)
			return &host->clients[i];
		if (host->clients[i].since < oldest->since)
			oldest = &host->clients[i];
	}
	close_ptr(&oldest->fd);
	return oldest;
}

static void accept_client(struct vsock_host *host)
{
	int fd = accept4(host->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		*place_for_client(host) =
			(struct vsock_host_client){ .fd = fd, .since = host->next_id++ };
}

/* Reads from the socket up to the end of the line, and no byte after it. 1: the line is complete;
 * 0: not yet; -errno. */
static int read_line(struct vsock_host_client *client)
{
	size_t room = sizeof(client->line) - client->length, take;
	char *to = client->line + client->length, *end;
	ssize_t n = recv(client->fd, to, room, MSG_PEEK | MSG_DONTWAIT);

	if (n <= 0)
		return n == 0 ? -EPIPE : errno == EAGAIN || errno == EINTR ? 0 : -errno;
	end = memchr(to, '\n', (size_t)n);
	take = end ? (size_t)(end - to) + 1 : (size_t)n;
	if (recv(client->fd, to, take, MSG_DONTWAIT) != (ssize_t)take)
		return -EPIPE;
	client->length += take;
	if (end)
		*end = '\0';
	return end ? 1 : client->length == sizeof(client->line) ? -EMSGSIZE : 0;
}

static void serve_client(struct vsock_host *host, struct vsock_host_client *client)
{
	const char *port_text = client->line + strlen(CONNECT_WORD);
	uint64_t port;
	int r = read_line(client);

	if (r == 0)
		return;
	if (r > 0 && strncasecmp(client->line, CONNECT_WORD, strlen(CONNECT_WORD)) == 0 &&
	    flags_number(port_text, 0, UINT32_MAX, &port) == 0)
		put_parcel(host, VSOCK_CONNECT, VSOCK_ANNOUNCE, host->next_id++, (uint32_t)port,
		           take_fd(&client->fd));
	close_ptr(&client->fd);
}

void vsock_host_serve(struct vsock_host *host, const struct pollfd fds[VSOCK_HOST_POLLFDS])
{
	if (!host->open)
		return;
	for (size_t i = 0; i < VSOCK_HOST_CLIENTS; i++)
		if (fds[POLL_CLIENTS + i].revents &&
		    fds[POLL_CLIENTS + i].fd == host->clients[i].fd)
			serve_client(host, &host->clients[i]);
	if (fds[POLL_LISTENER].revents)
		accept_client(host);
	if (fds[POLL_CHANNEL].revents)
		on_channel(host);
	send_parcels(host);
}
