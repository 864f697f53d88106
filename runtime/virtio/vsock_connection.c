/* SPDX-License-Identifier: MIT */
/* Connections of the vsock device: their places, and the host's sockets.
 *
 * A place is free again when the guest has forgotten the connection (VSOCK_NONE), no operation on
 * the socket is in flight, and the socket is closed. Each socket has at most one read, one write,
 * one shutdown and one poll for its peer's leaving in flight; `busy` has a bit for each. A read or
 * write that a non-blocking socket refuses becomes a poll, under the same bit. */
#include "virtio/vsock_connection.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "io/op.h"

#define BUSY_READ 0x1u
#define BUSY_WRITE 0x2u
#define BUSY_WATCH 0x4u
#define BUSY_SHUT 0x8u
#define BUSY_CLOSE 0x10u
#define SHUT_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define OUTPUT_CAPACITY (VSOCK_BUFFER + VSOCK_GREETING_MAX)

static uint16_t place_of(const struct vsock_connection *c)
{
	return (uint16_t)(c - c->vsock->connections);
}

static struct io_loop *loop_of(const struct vsock_connection *c)
{
	return c->vsock->device.loop;
}

/* ------------------------------------------------------------------------------------- places */

static uint16_t *bucket_of(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	return &vsock->buckets[(guest_port * 31 + host_port) % VSOCK_BUCKETS];
}

struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	uint16_t at = *bucket_of(vsock, guest_port, host_port);

	while (at != 0) {
		struct vsock_connection *c = &vsock->connections[at - 1];

		if (c->guest_port == guest_port && c->host_port == host_port)
			return c;
		at = c->next;
	}
	return NULL;
}

static void unlink_ports(struct vsock_connection *c)
{
	uint16_t *at = bucket_of(c->vsock, c->guest_port, c->host_port);

	while (*at != place_of(c) + 1)
		at = &c->vsock->connections[*at - 1].next;
	*at = c->next;
	c->next = 0;
}

/* Resets a connection to its first state. Operations, buffers and its place in the list of ready
 * ones stay. */
static void clear(struct vsock_connection *c)
{
	c->id = 0;
	c->announce = false;
	c->todo = 0;
	c->input_head = c->input_used = 0;
	c->sent = c->peer_buffer = c->peer_forwarded = 0;
	c->asked_credit = c->host_ended = c->host_gone = false;
	c->told_shutdown = c->guest_shutdown = 0;
	c->output_head = c->output_used = c->greeting = 0;
	c->received = c->forwarded = c->told_forwarded = 0;
	c->fd = -1;
	c->drain = false;
	c->shut = 0;
}

struct vsock_connection *vsock_open(struct vsock *vsock, uint32_t guest_port, uint32_t host_port,
                                    enum vsock_state state)
{
	uint32_t taken = atomic_load_explicit(&vsock->places_taken, memory_order_relaxed);
	struct vsock_connection *c;
	uint16_t *bucket = bucket_of(vsock, guest_port, host_port);

	if (taken == VSOCK_CONNECTIONS)
		return NULL;
	c = &vsock->connections[vsock->free[taken]];
	atomic_store_explicit(&vsock->places_taken, taken + 1, memory_order_relaxed);
	clear(c);
	c->taken = true;
	c->state = state;
	c->guest_port = guest_port;
	c->host_port = host_port;
	c->next = *bucket;
	*bucket = (uint16_t)(place_of(c) + 1);
	return c;
}

static void give_place_back(struct vsock_connection *c)
{
	struct vsock *vsock = c->vsock;
	uint32_t taken = atomic_load_explicit(&vsock->places_taken, memory_order_relaxed) - 1;

	c->taken = false;
	vsock->free[taken] = place_of(c);
	atomic_store_explicit(&vsock->places_taken, taken, memory_order_relaxed);
}

void vsock_ready(struct vsock_connection *c)
{
	struct vsock *vsock = c->vsock;
	uint16_t link = (uint16_t)(place_of(c) + 1);

	if (c->ready)
		return;
	c->ready = true;
	c->next_ready = 0;
	if (vsock->first_ready == 0)
		vsock->first_ready = link;
	else
		vsock->connections[vsock->last_ready - 1].next_ready = link;
	vsock->last_ready = link;
}

/* ---------------------------------------------------------------------------------------- end */

static void cancel(struct vsock_connection *c, uint32_t bit, struct io_op *op)
{
	if (!(c->busy & bit) || (c->cancelled & bit))
		return;
	c->cancelled |= bit;
	(void)io_cancel(loop_of(c), op);
}

/* Continues the end of a connection, as far as possible now. */
static void settle(struct vsock_connection *c)
{
	if (!c->taken || (c->state != VSOCK_NONE && c->state != VSOCK_RESETTING))
		return;
	if (c->fd >= 0) {
		cancel(c, BUSY_READ, &c->read_op);
		cancel(c, BUSY_WATCH, &c->watch_op);
		if (c->drain && c->output_used > 0) {
			vsock_write(c);
			return;
		}
		cancel(c, BUSY_WRITE, &c->write_op);
		if (c->busy != 0)
			return;
		if (io_close(loop_of(c), &c->close_op, IO_DESCRIPTOR(c->fd)))
			c->busy |= BUSY_CLOSE;
		c->fd = -1;
	}
	if (c->busy == 0 && c->state == VSOCK_NONE)
		give_place_back(c);
}

void vsock_end(struct vsock_connection *c, bool reset, bool drain)
{
	c->drain = drain;
	c->todo = 0;
	c->input_used = 0;
	if (!drain)
		c->output_used = 0;
	if (!reset) {
		vsock_forget(c);
		return;
	}
	c->state = VSOCK_RESETTING;
	c->todo = TODO_RESET;
	vsock_ready(c);
	settle(c);
}

void vsock_forget(struct vsock_connection *c)
{
	if (c->state == VSOCK_NONE)
		return;
	unlink_ports(c);
	c->state = VSOCK_NONE;
	c->todo = 0;
	settle(c);
}

/* Notes that the operation of `bit` has ended. True if its connection goes on. */
static bool ended(struct vsock_connection *c, uint32_t bit)
{
	c->busy &= ~bit;
	c->cancelled &= ~bit;
	return c->state == VSOCK_OPEN || c->state == VSOCK_INVITED;
}

/* The host's side has failed: nothing can be written or read any more. */
static void lose_host(struct vsock_connection *c)
{
	if (c->state == VSOCK_OPEN || c->state == VSOCK_INVITED) {
		vsock_end(c, true, false);
	} else {
		c->output_used = 0;
		settle(c);
	}
}

/* ------------------------------------------------------------------------------ host to guest */

void vsock_read(struct vsock_connection *c)
{
	if (c->state != VSOCK_OPEN || c->fd < 0 || (c->busy & BUSY_READ) || c->input_used > 0 ||
	    c->host_ended || (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV))
		return;
	if (io_read(loop_of(c), &c->read_op, IO_DESCRIPTOR(c->fd), c->input, VSOCK_INPUT,
	            IO_CURRENT_POSITION))
		c->busy |= BUSY_READ;
}

/* Waits for the peer to close both directions. Multishot, because the ring also reports the end of
 * one direction, which persists: a poll that is armed again each time would fire without end. */
static void watch(struct vsock_connection *c)
{
	if (!(c->busy & BUSY_WATCH) &&
	    io_poll_multishot(loop_of(c), &c->watch_op, IO_DESCRIPTOR(c->fd), 0))
		c->busy |= BUSY_WATCH;
}

static void watch_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock_connection *c = CONTAINER_OF(op, struct vsock_connection, watch_op);
	bool over = c->state == VSOCK_NONE || c->state == VSOCK_RESETTING;
	bool left = result > 0 && (result & (POLLHUP | POLLERR));

	if (!(flags & IORING_CQE_F_MORE)) {
		(void)ended(c, BUSY_WATCH);
		if (!over && !left && result >= 0)
			watch(c);
	}
	if (over) {
		settle(c);
	} else if (left && c->state == VSOCK_INVITED) {
		vsock_end(c, true, false);
	} else if (left && !c->host_gone) {
		c->host_gone = true;
		vsock_ready(c);
	}
	vsock_deliver(c->vsock);
}

static void take_input(struct vsock_connection *c, int result)
{
	if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
		return;
	if (result > 0) {
		c->input_head = 0;
		c->input_used = (uint32_t)result;
		vsock_ready(c);
	} else if (result == 0) {
		c->host_ended = true;
		vsock_ready(c);
		watch(c);
	} else if (result == -EAGAIN) {
		if (io_poll(loop_of(c), &c->read_op, IO_DESCRIPTOR(c->fd), POLLIN)) {
			c->busy |= BUSY_READ;
			c->polling |= BUSY_READ;
		}
	} else if (result == -EINTR) {
		vsock_read(c);
	} else if (result != -ECANCELED) {
		lose_host(c);
	}
}

static void read_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock_connection *c = CONTAINER_OF(op, struct vsock_connection, read_op);
	bool polled = c->polling & BUSY_READ;

	(void)flags;
	c->polling &= ~BUSY_READ;
	if (!ended(c, BUSY_READ))
		settle(c);
	else if (polled)
		vsock_read(c);
	else
		take_input(c, result);
	vsock_deliver(c->vsock);
}

/* ------------------------------------------------------------------------------ guest to host */

void vsock_write(struct vsock_connection *c)
{
	uint32_t length = MIN(c->output_used, OUTPUT_CAPACITY - c->output_head);

	if (c->fd < 0 || (c->busy & BUSY_WRITE) || length == 0)
		return;
	if (io_write(loop_of(c), &c->write_op, IO_DESCRIPTOR(c->fd), c->output + c->output_head,
	             length, IO_CURRENT_POSITION))
		c->busy |= BUSY_WRITE;
	else
		c->output_used = 0;
}

static void take_written(struct vsock_connection *c, uint32_t written)
{
	uint32_t greeting;
	uint32_t unknown;

	written = MIN(written, c->output_used);
	c->output_head = (c->output_head + written) % OUTPUT_CAPACITY;
	c->output_used -= written;
	greeting = MIN(written, c->greeting);
	c->greeting -= greeting;
	c->forwarded += written - greeting;
	counter_add(&c->vsock->to_host, written - greeting);
	/* Tell the guest of its room when by its knowledge it has less than half. */
	unknown = c->received - c->told_forwarded;
	if (c->state == VSOCK_OPEN && unknown >= VSOCK_BUFFER / 2 && written > 0) {
		c->todo |= TODO_CREDIT;
		vsock_ready(c);
	}
}

static void after_write(struct vsock_connection *c, int result)
{
	if (result > 0) {
		take_written(c, (uint32_t)result);
		vsock_write(c);
		vsock_shut(c);
	} else if (result == -EAGAIN) {
		if (io_poll(loop_of(c), &c->write_op, IO_DESCRIPTOR(c->fd), POLLOUT)) {
			c->busy |= BUSY_WRITE;
			c->polling |= BUSY_WRITE;
		}
	} else if (result == -EINTR) {
		vsock_write(c);
	} else {
		lose_host(c);
	}
}

static void write_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock_connection *c = CONTAINER_OF(op, struct vsock_connection, write_op);
	bool polled = c->polling & BUSY_WRITE;
	bool open = ended(c, BUSY_WRITE);

	(void)flags;
	c->polling &= ~BUSY_WRITE;
	if (polled)
		vsock_write(c);
	else if (open || c->drain)
		after_write(c, result);
	settle(c);
	vsock_deliver(c->vsock);
}

static bool shut_direction(struct vsock_connection *c, int how)
{
	if (c->shut & 1u << how)
		return false;
	c->shut |= 1u << how;
	if (io_shutdown(loop_of(c), &c->shut_op, IO_DESCRIPTOR(c->fd), how))
		c->busy |= BUSY_SHUT;
	return true;
}

void vsock_shut(struct vsock_connection *c)
{
	if (c->state != VSOCK_OPEN || c->fd < 0 || (c->busy & BUSY_SHUT))
		return;
	if (c->guest_shutdown == SHUT_BOTH) {
		if (c->output_used == 0)
			vsock_end(c, true, false);
		return;
	}
	if ((c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) && shut_direction(c, SHUT_RD))
		return;
	if ((c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) && c->output_used == 0)
		(void)shut_direction(c, SHUT_WR);
}

static void shut_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock_connection *c = CONTAINER_OF(op, struct vsock_connection, shut_op);

	(void)flags;
	if (ended(c, BUSY_SHUT)) {
		/* Other errors do not matter: the peer has left already. But a peer that is still
		 * there would wait for ever. */
		if (result == -IO_NO_WORKER) {
			virtio_report(
				&c->vsock->device, -1, result,
				"a connection cannot be shut down in one direction: it is reset");
			lose_host(c);
		}
		vsock_shut(c);
	}
	settle(c);
	vsock_deliver(c->vsock);
}

static void close_done(struct io_op *op, int result, uint32_t flags)
{
	struct vsock_connection *c = CONTAINER_OF(op, struct vsock_connection, close_op);

	(void)result;
	(void)flags;
	(void)ended(c, BUSY_CLOSE);
	settle(c);
}

/* ---------------------------------------------------------------------------------- beginning */

void vsock_attach(struct vsock_connection *c, int fd)
{
	c->fd = fd;
	if (c->state == VSOCK_INVITED)
		watch(c);
}

void vsock_flow(struct vsock_connection *c)
{
	int length;

	counter_add(&c->vsock->opened, 1);
	if (c->announce) {
		length = snprintf((char *)c->output, VSOCK_GREETING_MAX, "OK %u\n", c->host_port);
		c->greeting = c->output_used = (uint32_t)length;
		vsock_write(c);
	}
	vsock_read(c);
}

void vsock_connections_init(struct vsock *vsock)
{
	uint8_t *buffer = vsock->buffers;

	for (uint16_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &vsock->connections[i];

		c->vsock = vsock;
		c->fd = -1;
		c->output = buffer;
		c->input = buffer + OUTPUT_CAPACITY;
		buffer += OUTPUT_CAPACITY + VSOCK_INPUT;
		c->read_op.done = read_done;
		c->write_op.done = write_done;
		c->watch_op.done = watch_done;
		c->shut_op.done = shut_done;
		c->close_op.done = close_done;
		vsock->free[i] = (uint16_t)(VSOCK_CONNECTIONS - 1 - i);
	}
}
