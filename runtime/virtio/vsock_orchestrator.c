/* SPDX-License-Identifier: MIT */
/* The vsock device's channel to the orchestrator.
 *
 * One message is received at a time, through the ring (RECVMSG), with at most one descriptor, which
 * arrives in the I/O thread's own table. Messages to the orchestrator wait in a bounded queue, one
 * write in flight. The queue cannot overflow: no ASK is sent while it is a quarter full, and
 * nothing is received while it is half full; at most one answer for each connection is still due
 * then. */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <string.h>

#include "io/op.h"
#include "virtio/vsock_connection.h"

#define ASK_PLACE_BITS 16
#define HOST_PORT_FIRST 0x40000000u
#define HOST_PORT_LAST 0x7fffffffu
#define QUEUE_EVENT_NONE (-1)

static_assert(VSOCK_MESSAGES / 2 >= 2 * VSOCK_CONNECTIONS, "answers that are due always fit");

/* -------------------------------------------------------------------------- to the orchestrator */

/* The channel has ended: refuses new connections; open ones go on. */
static void lose_channel(struct vsock *vsock, int error, const char *message)
{
	if (vsock->channel_gone)
		return;
	vsock->channel_gone = true;
	vsock->message_count = 0;
	virtio_report(&vsock->device, QUEUE_EVENT_NONE, error, message);
	for (size_t i = 0; i < VSOCK_CONNECTIONS; i++)
		if (vsock->connections[i].state == VSOCK_ASKING)
			vsock_end(&vsock->connections[i], true, false);
}

static void send_first(struct vsock *vsock)
{
	if (vsock->sending || vsock->channel_gone || vsock->message_count == 0)
		return;
	vsock->sending = io_write(vsock->device.loop, &vsock->send_op, vsock->channel_file,
	                          &vsock->messages[vsock->message_head], sizeof(vsock->messages[0]),
	                          IO_CURRENT_POSITION);
}

static void receive_next(struct vsock *vsock);

static void send_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock *vsock = CONTAINER_OF(op, struct vsock, send_op);
	bool polled = vsock->send_polls;

	(void)flags;
	vsock->sending = vsock->send_polls = false;
	if (vsock->channel_gone || result == -ECANCELED)
		return;
	if (!polled && result == -EAGAIN) {
		vsock->sending = vsock->send_polls =
			io_poll(vsock->device.loop, op, vsock->channel_file, POLLOUT);
		return;
	}
	if (!polled && result < 0 && result != -EINTR) {
		lose_channel(vsock, result,
		             "the vsock channel cannot be written: no connections "
		             "from now on");
		vsock_deliver(vsock);
		return;
	}
	if (!polled && result > 0) {
		vsock->message_head = (vsock->message_head + 1) % VSOCK_MESSAGES;
		vsock->message_count--;
	}
	send_first(vsock);
	receive_next(vsock);
}

static void send_message(struct vsock *vsock, const struct vsock_channel_message *message)
{
	uint32_t at = (vsock->message_head + vsock->message_count) % VSOCK_MESSAGES;

	if (vsock->channel_gone || vsock->message_count == VSOCK_MESSAGES)
		return;
	vsock->messages[at] = *message;
	vsock->messages[at].version = htole16(VSOCK_CHANNEL_VERSION);
	vsock->message_count++;
	send_first(vsock);
}

bool vsock_channel_ask(struct vsock_connection *c)
{
	struct vsock *vsock = c->vsock;
	uint64_t place = (uint64_t)(c - vsock->connections);
	struct vsock_channel_message message = {
		.kind = htole16(VSOCK_ASK),
		.guest_port = htole32(c->guest_port),
		.host_port = htole32(c->host_port),
	};

	if (vsock->channel_gone || vsock->message_count >= VSOCK_MESSAGES / 4)
		return false;
	c->id = vsock->next_ask++ << ASK_PLACE_BITS | place;
	message.id = htole64(c->id);
	send_message(vsock, &message);
	return true;
}

static void answer(struct vsock *vsock, enum vsock_channel_kind kind, uint64_t id,
                   uint32_t guest_port, uint32_t host_port, enum vsock_channel_reason reason)
{
	const struct vsock_channel_message message = {
		.kind = htole16(kind),
		.id = htole64(id),
		.guest_port = htole32(guest_port),
		.host_port = htole32(host_port),
		.reason = htole32(reason),
	};

	send_message(vsock, &message);
}

void vsock_channel_answer(struct vsock_connection *c, enum vsock_channel_kind kind,
                          enum vsock_channel_reason reason)
{
	answer(c->vsock, kind, c->id, c->guest_port, c->host_port, reason);
}

/* ------------------------------------------------------------------------ from the orchestrator */

/* Chooses a host port that no connection to this guest port has. */
static uint32_t choose_host_port(struct vsock *vsock, uint32_t guest_port)
{
	do {
		vsock->next_port++;
		if (vsock->next_port < HOST_PORT_FIRST || vsock->next_port > HOST_PORT_LAST)
			vsock->next_port = HOST_PORT_FIRST;
	} while (vsock_find(vsock, guest_port, vsock->next_port));
	return vsock->next_port;
}

/* Each of these returns whether the connection has taken over the descriptor. */

static bool on_connect(struct vsock *vsock, const struct vsock_channel_message *message, int fd)
{
	uint32_t guest_port = le32toh(message->guest_port);
	enum vsock_channel_reason reason = VSOCK_REASON_NO_DRIVER;
	struct vsock_connection *c = NULL;

	if (vsock->device.negotiated != 0) {
		c = vsock_open(vsock, guest_port, choose_host_port(vsock, guest_port),
		               VSOCK_INVITED);
		reason = VSOCK_REASON_FULL;
	}
	if (!c) {
		answer(vsock, VSOCK_REFUSED, le64toh(message->id), guest_port, 0, reason);
		return false;
	}
	c->id = le64toh(message->id);
	c->announce = le32toh(message->flags) & VSOCK_ANNOUNCE;
	c->todo = TODO_REQUEST;
	vsock_ready(c);
	vsock_attach(c, fd);
	return true;
}

static struct vsock_connection *asking(struct vsock *vsock, uint64_t id)
{
	uint64_t place = id & ((1u << ASK_PLACE_BITS) - 1);
	struct vsock_connection *c;

	if (place >= VSOCK_CONNECTIONS)
		return NULL;
	c = &vsock->connections[place];
	return c->state == VSOCK_ASKING && c->id == id ? c : NULL;
}

static bool on_answer(struct vsock *vsock, const struct vsock_channel_message *message, int fd)
{
	struct vsock_connection *c = asking(vsock, le64toh(message->id));

	if (!c)
		return false;
	if (fd < 0 || le16toh(message->kind) == VSOCK_REFUSE) {
		vsock_end(c, true, false);
		return false;
	}
	c->state = VSOCK_OPEN;
	c->todo = TODO_RESPONSE;
	vsock_ready(c);
	vsock_attach(c, fd);
	vsock_flow(c);
	return true;
}

/* By kind. A CONNECT must have its descriptor; an answer without one refuses. */
static const struct message_row {
	bool (*handle)(struct vsock *vsock, const struct vsock_channel_message *message, int fd);
	bool needs_fd;
} message_rows[] = {
	[VSOCK_CONNECT] = { on_connect, true },
	[VSOCK_ACCEPT] = { on_answer, false },
	[VSOCK_REFUSE] = { on_answer, false },
};

static bool handle(struct vsock *vsock, int length, int fd)
{
	const struct vsock_channel_message *message = &vsock->incoming;
	uint16_t kind = le16toh(message->kind);
	const struct message_row *row =
		kind < ARRAY_SIZE(message_rows) ? &message_rows[kind] : NULL;

	if (length != (int)sizeof(*message) || (vsock->header.msg_flags & MSG_TRUNC) ||
	    (vsock->header.msg_flags & MSG_CTRUNC) ||
	    le16toh(message->version) != VSOCK_CHANNEL_VERSION || !row || !row->handle ||
	    (row->needs_fd && fd < 0)) {
		virtio_report(&vsock->device, QUEUE_EVENT_NONE, EPROTO,
		              "a message of the vsock channel is malformed: it is dropped");
		return false;
	}
	return row->handle(vsock, message, fd);
}

static int received_fd(struct vsock *vsock)
{
	const struct cmsghdr *control = CMSG_FIRSTHDR(&vsock->header);
	int fd = -1;

	if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS &&
	    control->cmsg_len >= CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(control), sizeof(fd));
	return fd;
}

static void receive_next(struct vsock *vsock)
{
	if (vsock->receiving || vsock->channel_gone || vsock->message_count >= VSOCK_MESSAGES / 2)
		return;
	vsock->packet = (struct iovec){ &vsock->incoming, sizeof(vsock->incoming) };
	vsock->header = (struct msghdr){
		.msg_iov = &vsock->packet,
		.msg_iovlen = 1,
		.msg_control = vsock->control,
		/* Room for one descriptor; the kernel closes any more. */
		.msg_controllen = CMSG_LEN(sizeof(int)),
	};
	vsock->receiving = io_recvmsg(vsock->device.loop, &vsock->receive_op, vsock->channel_file,
	                              &vsock->header, MSG_CMSG_CLOEXEC);
}

static void drop_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock *vsock = CONTAINER_OF(op, struct vsock, drop_op);

	(void)result;
	(void)flags;
	vsock->receiving = false;
	receive_next(vsock);
}

static void take_message(struct vsock *vsock, int length)
{
	int fd = received_fd(vsock);

	if (handle(vsock, length, fd) || fd < 0)
		return;
	vsock->receiving = io_close(vsock->device.loop, &vsock->drop_op, IO_DESCRIPTOR(fd));
}

static void receive_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock *vsock = CONTAINER_OF(op, struct vsock, receive_op);
	bool polled = vsock->receive_polls;

	(void)flags;
	vsock->receiving = vsock->receive_polls = false;
	if (vsock->channel_gone || result == -ECANCELED)
		return;
	if (polled || result == -EINTR) {
		receive_next(vsock);
		return;
	}
	if (result == -EAGAIN) {
		vsock->receiving = vsock->receive_polls =
			io_poll(vsock->device.loop, op, vsock->channel_file, POLLIN);
		return;
	}
	if (result <= 0)
		lose_channel(vsock, result,
		             "the vsock channel has ended: no connections from now on");
	else
		take_message(vsock, result);
	receive_next(vsock);
	vsock_deliver(vsock);
}

int vsock_channel_init(struct vsock *vsock, int fd)
{
	vsock->send_op.done = send_done;
	vsock->receive_op.done = receive_done;
	vsock->drop_op.done = drop_done;
	return io_loop_add_file(vsock->device.loop, fd, &vsock->channel_file);
}

void vsock_channel_start(struct vsock *vsock)
{
	receive_next(vsock);
}
