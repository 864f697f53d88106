/* SPDX-License-Identifier: MIT */
/* The control socket.
 *
 * A client's bytes go through the shim's own reader of command streams, so its bounds hold here
 * too. A client that sends something else, or does not take its replies, is disconnected. Request
 * ids are replaced by unused ones on the way in and put back on the way out.
 *
 * A client may have SERVER_PENDING_EACH commands under way; further ones stay in its socket until
 * one of them has its reply. So no client can fill the queue to the shim or keep others from it. A
 * client whose replies do not come blocks only itself, and when it leaves its places are used
 * again. If all places are taken, a new client gets the place of the one without commands under way
 * that has been silent longest. */
#include "launch/cli/server.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/varint.h"

#define TAG_EVENTS 0x0a
#define HEADER_MAX 6
#define SEND_BUFFER (512 * 1024)

static_assert(AXVM_COMMAND_MAX == STREAM_COMMAND_MAX && AXVM_MESSAGE_MAX == STREAM_MESSAGE_MAX,
              "the library sends what the shim takes");

int server_open(struct server *server, const char *path, struct axvm_vm *vm)
{
	int r = sockets_listen(path, SERVER_CLIENTS_MAX, &server->fd, &server->id);

	if (r < 0)
		return r;
	strcpy(server->path, path);
	server->vm = vm;
	server->open = true;
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		server->clients[i].fd = -1;
	return 0;
}

static void drop_client(struct server *server, int index)
{
	close_ptr(&server->clients[index].fd);
	for (size_t i = 0; i < SERVER_PENDING_MAX; i++)
		if (server->pending[i].request_id && server->pending[i].client == index)
			server->pending[i].client = -1;
}

void server_close(struct server *server)
{
	if (!server->open)
		return;
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		drop_client(server, i);
	sockets_remove(server->path, &server->id);
	close_ptr(&server->fd);
	server->open = false;
}

void server_watch(const struct server *server, struct pollfd fds[SERVER_POLLFDS])
{
	bool held;

	for (size_t i = 0; i < SERVER_POLLFDS; i++)
		fds[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	if (!server->open)
		return;
	/* If the shim does not read, its commands wait here, and no client may send more until it
	 * has taken them. */
	held = axvm_vm_flush(server->vm) == -EAGAIN;
	fds[0].fd = held ? -1 : server->fd;
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++) {
		fds[1 + i].fd = server->clients[i].fd;
		/* poll(2) still reports that the client has left. */
		if (held || server->clients[i].stream.stopped)
			fds[1 + i].events = 0;
	}
}

/* A free place, or the place of the oldest command whose client has left. There is always one,
 * since each client's commands are bounded. */
static struct server_pending *place_for_command(struct server *server)
{
	struct server_pending *oldest = NULL;

	for (size_t i = 0; i < SERVER_PENDING_MAX; i++) {
		struct server_pending *pending = &server->pending[i];

		if (pending->request_id == 0)
			return pending;
		if (pending->client < 0 && (!oldest || pending->request_id < oldest->request_id))
			oldest = pending;
	}
	return oldest;
}

static unsigned count_pending(const struct server *server, int client)
{
	unsigned count = 0;

	for (size_t i = 0; i < SERVER_PENDING_MAX; i++)
		count += server->pending[i].request_id != 0 && server->pending[i].client == client;
	return count;
}

/* A free place, or the place of the client that has been silent longest among those that wait for
 * no reply; -1: each waits for one. */
static int place_for_client(struct server *server)
{
	int oldest = -1;

	for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
		const struct server_client *client = &server->clients[i];

		if (client->fd < 0)
			return i;
		if (count_pending(server, i) == 0 &&
		    (oldest < 0 || client->heard < server->clients[oldest].heard))
			oldest = i;
	}
	if (oldest >= 0)
		drop_client(server, oldest);
	return oldest;
}

static void accept_client(struct server *server)
{
	int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int size = SEND_BUFFER, place = fd < 0 ? -1 : place_for_client(server);

	if (place < 0) {
		close_ptr(&fd);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	server->clients[place] = (struct server_client){
		.fd = fd, .heard = ++server->turns, .stream = { .parser = { .launched = true } }
	};
}

struct serving {
	struct server *server;
	int index;
	bool failed;
};

static void on_command(const struct stream_command *raw, void *context)
{
	struct serving *serving = context;
	struct server *server = serving->server;
	struct server_pending *pending = place_for_command(server);
	Axvm__V1__Command *command = NULL;
	uint64_t theirs;

	if (pending && raw->length == raw->full_length)
		command = axvm__v1__command__unpack(NULL, raw->length, raw->bytes);
	if (!command) {
		serving->failed = true;
		return;
	}
	theirs = command->request_id;
	command->has_request_id = 0;
	if (vm_send_command(server->vm, command, &pending->request_id) < 0)
		serving->failed = true;
	pending->theirs = theirs;
	pending->client = serving->index;
	axvm__v1__command__free_unpacked(command, NULL);
	server->clients[serving->index].stream.stopped =
		count_pending(server, serving->index) == SERVER_PENDING_EACH;
}

/* Takes a client's commands, as many as it may send: those that were read before if `again`, else
 * from its socket. */
static void take_commands(struct server *server, int index, bool again)
{
	struct server_client *client = &server->clients[index];
	struct serving serving = { .server = server, .index = index };
	struct problems problems = { 0 };
	int r = again ? stream_drain(&client->stream, on_command, &serving, &problems)
	              : stream_read(&client->stream, client->fd, on_command, &serving, &problems);
	bool ended = !again && r == 0;

	client->heard = ++server->turns;
	if ((r < 0 && r != -EAGAIN) || ended || serving.failed)
		drop_client(server, index);
}

static void serve_client(struct server *server, int index)
{
	if (server->clients[index].stream.stopped)
		drop_client(server, index); /* nothing else wakes us for it */
	else
		take_commands(server, index, false);
}

void server_serve(struct server *server, const struct pollfd fds[SERVER_POLLFDS])
{
	if (!server->open)
		return;
	for (int i = 0; i < SERVER_CLIENTS_MAX; i++)
		if (fds[1 + i].revents && fds[1 + i].fd == server->clients[i].fd)
			serve_client(server, i);
	if (fds[0].revents)
		accept_client(server);
}

static void send_event(struct server *server, int index, const Axvm__V1__Event *event)
{
	size_t size = axvm__v1__event__get_packed_size(event), n = 0;
	_cleanup_free_ uint8_t *bytes = malloc(size + HEADER_MAX);

	if (!bytes)
		return;
	bytes[n++] = TAG_EVENTS;
	n += varint_put(bytes + n, size);
	n += axvm__v1__event__pack(event, bytes + n);
	if (send(server->clients[index].fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)n)
		drop_client(server, index);
}

static void answer(struct server *server, int index, const Axvm__V1__Event *event)
{
	struct stream *stream = &server->clients[index].stream;

	send_event(server, index, event);
	if (server->clients[index].fd < 0 || !stream->stopped)
		return;
	stream->stopped = false;
	take_commands(server, index, true);
}

bool server_reply(struct server *server, const Axvm__V1__Event *event)
{
	for (size_t i = 0; i < SERVER_PENDING_MAX; i++) {
		struct server_pending *pending = &server->pending[i];
		Axvm__V1__Event copy = *event;
		Axvm__V1__Reply reply = *event->reply;

		if (pending->request_id == 0 || pending->request_id != reply.request_id)
			continue;
		reply.request_id = pending->theirs;
		copy.reply = &reply;
		pending->request_id = 0;
		if (pending->client >= 0)
			answer(server, pending->client, &copy);
		return true;
	}
	return false;
}
