/* SPDX-License-Identifier: MIT */
/* Control sockets: their paths, and asking one. */
#include "launch/cli/sockets.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/varint.h"

#define TAG_COMMANDS 0x12 /* field 2, length-prefixed */

static int copy_path(const char *from, char path[SOCKET_PATH_MAX])
{
	return snprintf(path, SOCKET_PATH_MAX, "%s", from) < (int)SOCKET_PATH_MAX ? 0
	                                                                          : -ENAMETOOLONG;
}

/* The value of AXVM_RUNTIME_DIR; NULL: not set. */
static const char *one_folder(void)
{
	const char *folder = getenv("AXVM_RUNTIME_DIR");

	return folder && folder[0] == '/' ? folder : NULL;
}

int sockets_folder(char path[SOCKET_PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (one_folder())
		return copy_path(one_folder(), path);
	if (!runtime || runtime[0] != '/') {
		if (geteuid() != 0)
			return -ENOENT;
		runtime = "/run";
	}
	return snprintf(path, SOCKET_PATH_MAX, "%s/axvm", runtime) < (int)SOCKET_PATH_MAX
	               ? 0
	               : -ENAMETOOLONG;
}

void sockets_places(struct sockets_places *ret)
{
	*ret = (struct sockets_places){ 0 };
	ret->count += sockets_folder(ret->folders[0]) == 0;
	if (!one_folder() &&
	    (ret->count == 0 || strcmp(ret->folders[0], SOCKETS_SYSTEM_FOLDER) != 0))
		strcpy(ret->folders[ret->count++], SOCKETS_SYSTEM_FOLDER);
}

static bool is_id(const char *vm)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789._-";

	return vm[0] != '\0' && vm[0] != '.' && vm[0] != '-' && !vm[strspn(vm, alphabet)];
}

static int path_in(const char *folder, const char *vm, const char *suffix,
                   char path[SOCKET_PATH_MAX])
{
	return snprintf(path, SOCKET_PATH_MAX, "%s/%s%s", folder, vm, suffix) < (int)SOCKET_PATH_MAX
	               ? 0
	               : -ENAMETOOLONG;
}

int sockets_path(const char *vm, const char *suffix, char path[SOCKET_PATH_MAX])
{
	char folder[SOCKET_PATH_MAX];
	int r;

	if (strchr(vm, '/'))
		return copy_path(vm, path);
	if (!is_id(vm))
		return -EINVAL;
	r = sockets_folder(folder);
	return r < 0 ? r : path_in(folder, vm, suffix, path);
}

/* Whether an error means only that the VM may be elsewhere. */
static bool is_elsewhere(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -EACCES || r == -ENOTDIR;
}

int sockets_find(const struct sockets_places *places, const char *vm, struct client *client,
                 char path[SOCKET_PATH_MAX])
{
	int r = -ENOENT, first = -1;
	bool found = false;

	if (strchr(vm, '/')) {
		r = copy_path(vm, path);
		return r < 0 ? r : client_open(client, path);
	}
	if (!is_id(vm))
		return -EINVAL;
	for (size_t i = 0; i < places->count; i++) {
		struct client other = { .fd = -1, .patience_ms = client->patience_ms };
		char here[SOCKET_PATH_MAX];
		int now = path_in(places->folders[i], vm, SOCKET_CONTROL, here);

		now = now < 0 ? now : client_open(found ? &other : client, here);
		client_close(&other);
		if (now < 0 && !is_elsewhere(now))
			return now;
		/* If nobody listens, the VM may be in a place that this user may not read. */
		if (first < 0 || now == 0 || (!found && now == -EACCES && r != -EACCES)) {
			first = (int)i;
			strcpy(path, here);
			r = now == -EACCES ? now : -ENOENT;
		}
		if (now == 0 && found)
			return -EEXIST;
		found |= now == 0;
	}
	return found ? 0 : r;
}

int sockets_address(const char *path, struct sockaddr_un *ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	*ret = address;
	return 0;
}

int client_open(struct client *client, const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval patience = { client->patience_ms / 1000,
		                          client->patience_ms % 1000 * 1000 };
	struct sockaddr_un address;
	int r = sockets_address(path, &address);

	if (fd < 0)
		return -errno;
	if (r < 0)
		return r;
	/* A stopped listener's queue has room for a few connections; all others would wait for as
	 * long as it is stopped. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	client->decoder = axvm_decoder_new();
	client->held = (struct held_event){ 0 };
	if (!client->decoder)
		return -ENOMEM;
	client->fd = take_fd(&fd);
	return 0;
}

void client_close(struct client *client)
{
	if (!client->decoder)
		return;
	close_ptr(&client->fd);
	axvm_decoder_free(client->decoder);
	held_event_release(&client->held);
	client->decoder = NULL;
}

pid_t client_peer(const struct client *client)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? -1 : peer.pid;
}

static int send_command(const struct client *client, const Axvm__V1__Command *command)
{
	uint8_t bytes[AXVM_COMMAND_MAX + 4];
	size_t size = axvm__v1__command__get_packed_size(command), n = 0;

	if (size > AXVM_COMMAND_MAX)
		return -EMSGSIZE;
	bytes[n++] = TAG_COMMANDS;
	n += varint_put(bytes + n, size);
	n += axvm__v1__command__pack(command, bytes + n);
	return send(client->fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -EPIPE;
}

int client_ask(struct client *client, const Axvm__V1__Command *command, int timeout_ms,
               const Axvm__V1__Reply **ret_reply)
{
	int64_t until = monotonic_ms() + timeout_ms;
	const Axvm__V1__Event *event;
	uint8_t bytes[4096];
	int r = send_command(client, command);

	if (r < 0)
		return r == -EPIPE ? -ECONNRESET : r;
	for (;;) {
		struct pollfd readable = { .fd = client->fd, .events = POLLIN };
		ssize_t n;

		while ((r = decoder_next_event(client->decoder, &client->held, &event)) > 0)
			if (event->body_case == AXVM__V1__EVENT__BODY_REPLY &&
			    event->reply->request_id == command->request_id) {
				*ret_reply = event->reply;
				return 0;
			}
		if (r != -EAGAIN)
			return r;
		r = poll(&readable, 1, (int)MAX(until - monotonic_ms(), (int64_t)0));
		if (r == 0)
			return -ETIMEDOUT;
		n = r < 0 ? -1 : recv(client->fd, bytes, sizeof(bytes), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		r = axvm_decoder_feed(client->decoder, bytes, (size_t)n);
		if (r < 0)
			return r;
	}
}

int client_ask_metrics(struct client *client, uint64_t request_id, int timeout_ms,
                       const Axvm__V1__Reply **ret_reply)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__MetricsCommand metrics = AXVM__V1__METRICS_COMMAND__INIT;

	command.has_request_id = 1;
	command.request_id = request_id;
	command.what_case = AXVM__V1__COMMAND__WHAT_METRICS;
	command.metrics = &metrics;
	return client_ask(client, &command, timeout_ms, ret_reply);
}
