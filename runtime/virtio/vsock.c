/* SPDX-License-Identifier: MIT */
/* virtio-vsock, stream sockets (VIRTIO 1.2 §5.10): queue 0 receives, 1 transmits, 2 has events.
 *
 * A packet from the guest is copied out of its chain, checked, and completed at once. Its data goes
 * into its connection's own buffer, whose size is the guest's credit, so a host that does not read
 * stops its own connection and no other. Packets due to the guest (data, answers, credit) are noted
 * in their connection; connections with packets stand in a list and are served one packet each in
 * turn, as long as the guest has receive buffers. A socket is read again when the guest has taken
 * the last bytes. No chain is ever kept: a reset or a pause waits for nothing.
 *
 * A table says what a packet does, by operation and state. A packet that does not fit is answered
 * with RST. An RST for a packet that belongs to no connection is kept in a bounded list, and while
 * that is full nothing is taken from the transmit queue (§5.10.6.1 allows that, and only that, to
 * wait for room in the receive queue).
 *
 * The event queue stays untouched: it would report a change of the guest's CID, which does not
 * change while the VM lives. */
#include "virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "virtio/vsock_connection.h"

#define QUEUE_RECEIVE 0
#define QUEUE_TRANSMIT 1
#define PCI_CLASS_OTHER 0xff0000
#define COPIED_A_UNIT 256u /* bytes that cost a unit of virtio_work */
#define F_STREAM 0         /* VIRTIO_VSOCK_F_STREAM, VIRTIO 1.2 §5.10.3 */
#define OUTPUT_CAPACITY (VSOCK_BUFFER + VSOCK_GREETING_MAX)
#define BUFFER_BYTES ((size_t)VSOCK_CONNECTIONS * (OUTPUT_CAPACITY + VSOCK_INPUT))
#define SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
/* In flight for a connection: a read, a write, a poll, a shutdown or a close; cancellations. */
#define OPERATIONS_EACH 6
#define OPERATIONS_CHANNEL 3

static const uint16_t queue_sizes[VSOCK_QUEUES] = { VSOCK_QUEUE_SIZE, VSOCK_QUEUE_SIZE,
	                                            VSOCK_QUEUE_SIZE };

static struct vsock *vsock_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct vsock, device);
}

/* ------------------------------------------------------------------------------ host to guest */

/* The bytes that the guest has room for. A wrong claim hurts only the guest; at most all of its
 * buffer counts. */
static uint32_t credit(const struct vsock_connection *c)
{
	uint32_t in_flight = c->sent - c->peer_forwarded;

	return in_flight < c->peer_buffer ? c->peer_buffer - in_flight : 0;
}

/* The directions that the host has shut down, once all that it sent has been read. */
static uint32_t host_shutdown(const struct vsock_connection *c)
{
	if (!c->host_ended && !(c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV))
		return 0;
	if (c->host_gone)
		return SHUTDOWN_BOTH;
	return c->host_ended ? VIRTIO_VSOCK_SHUTDOWN_SEND : 0;
}

/* The packet that is due next, or VIRTIO_VSOCK_OP_INVALID. */
static uint16_t next_packet(const struct vsock_connection *c)
{
	if (c->todo & TODO_RESET)
		return VIRTIO_VSOCK_OP_RST;
	if (c->todo & TODO_REQUEST)
		return VIRTIO_VSOCK_OP_REQUEST;
	if (c->todo & TODO_RESPONSE)
		return VIRTIO_VSOCK_OP_RESPONSE;
	if (c->state != VSOCK_OPEN)
		return VIRTIO_VSOCK_OP_INVALID;
	if (c->input_used > 0 && credit(c) > 0)
		return VIRTIO_VSOCK_OP_RW;
	if (c->input_used == 0 && host_shutdown(c) != c->told_shutdown)
		return VIRTIO_VSOCK_OP_SHUTDOWN;
	if (c->todo & TODO_CREDIT)
		return VIRTIO_VSOCK_OP_CREDIT_UPDATE;
	if (c->input_used > 0 && !c->asked_credit)
		return VIRTIO_VSOCK_OP_CREDIT_REQUEST;
	return VIRTIO_VSOCK_OP_INVALID;
}

static struct virtio_vsock_hdr header_of(struct vsock_connection *c, uint16_t op)
{
	c->told_forwarded = c->forwarded;
	c->todo &= ~TODO_CREDIT;
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(VMADDR_CID_HOST),
		.dst_cid = htole64(c->vsock->cid),
		.src_port = htole32(c->host_port),
		.dst_port = htole32(c->guest_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.buf_alloc = htole32(VSOCK_BUFFER),
		.fwd_cnt = htole32(c->forwarded),
	};
}

/* Puts the next packet of a connection into a receive buffer; returns its length. */
static uint32_t fill(struct vsock_connection *c, uint16_t op, const struct virtq_chain *chain)
{
	struct virtio_vsock_hdr header = header_of(c, op);
	uint32_t length = 0;

	if (op == VIRTIO_VSOCK_OP_RW) {
		length = MIN(c->input_used, credit(c));
		length = MIN(length, chain->writable_bytes - (uint32_t)sizeof(header));
		header.len = htole32(length);
		(void)virtq_copy_to(chain, sizeof(header), c->input + c->input_head, length);
		c->input_head += length;
		c->input_used -= length;
		c->sent += length;
		counter_add(&c->vsock->to_guest, length);
	} else if (op == VIRTIO_VSOCK_OP_SHUTDOWN) {
		c->told_shutdown = host_shutdown(c);
		header.flags = htole32(c->told_shutdown);
	} else if (op == VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
		c->asked_credit = true;
	}
	(void)virtq_copy_to(chain, 0, &header, sizeof(header));
	return (uint32_t)sizeof(header) + length;
}

/* Updates the connection after a packet was delivered. */
static void after(struct vsock_connection *c, uint16_t op)
{
	if (op == VIRTIO_VSOCK_OP_RST) {
		counter_add(&c->vsock->resets_sent, 1);
		vsock_forget(c);
	} else if (op == VIRTIO_VSOCK_OP_REQUEST) {
		c->todo &= ~TODO_REQUEST;
	} else if (op == VIRTIO_VSOCK_OP_RESPONSE) {
		c->todo &= ~TODO_RESPONSE;
	} else if (op == VIRTIO_VSOCK_OP_RW) {
		vsock_read(c);
	}
}

static uint32_t fill_reset(struct vsock *vsock, const struct virtq_chain *chain)
{
	const struct vsock_reset *reset = &vsock->resets[vsock->reset_head];
	const struct virtio_vsock_hdr header = {
		.src_cid = htole64(reset->source_cid),
		.dst_cid = htole64(vsock->cid),
		.src_port = htole32(reset->source_port),
		.dst_port = htole32(reset->destination_port),
		.type = htole16(reset->type),
		.op = htole16(VIRTIO_VSOCK_OP_RST),
	};

	(void)virtq_copy_to(chain, 0, &header, sizeof(header));
	vsock->reset_head = (vsock->reset_head + 1) % VSOCK_RESETS;
	vsock->reset_count--;
	counter_add(&vsock->resets_sent, 1);
	return sizeof(header);
}

/* The first connection of the list with a packet for the guest; those before it leave the list. */
static struct vsock_connection *first_ready(struct vsock *vsock)
{
	while (vsock->first_ready != 0) {
		struct vsock_connection *c = &vsock->connections[vsock->first_ready - 1];

		if (next_packet(c) != VIRTIO_VSOCK_OP_INVALID)
			return c;
		vsock->first_ready = c->next_ready;
		c->ready = false;
	}
	return NULL;
}

/* Takes a receive buffer; false if there is none, or if it is not a valid one. */
static bool pop_buffer(struct vsock *vsock, struct virtq_chain *chain)
{
	if (!virtio_pop(&vsock->device, QUEUE_RECEIVE, chain))
		return false;
	if (chain->writable_bytes > sizeof(struct virtio_vsock_hdr))
		return true;
	virtio_fail(&vsock->device, QUEUE_RECEIVE, EPROTO,
	            "a receive buffer has no room for a packet");
	virtio_push(&vsock->device, QUEUE_RECEIVE, chain->head, 0);
	return false;
}

/* Delivers one packet; false if none is due, or there is no buffer for it. */
static bool deliver_one(struct vsock *vsock, bool *ret_more)
{
	struct virtq_chain chain = { .iov = vsock->iov, .iov_max = ARRAY_SIZE(vsock->iov) };
	struct vsock_connection *c = first_ready(vsock);
	uint32_t length;
	uint16_t op;

	*ret_more = c || vsock->reset_count > 0;
	if (!*ret_more || !pop_buffer(vsock, &chain))
		return false;
	if (!c || vsock->reset_count > 0) {
		length = fill_reset(vsock, &chain);
		virtio_push(&vsock->device, QUEUE_RECEIVE, chain.head, length);
		return true;
	}
	op = next_packet(c);
	length = fill(c, op, &chain);
	virtio_push(&vsock->device, QUEUE_RECEIVE, chain.head, length);
	/* It goes to the end of the list if it has more, so that connections take turns. */
	vsock->first_ready = c->next_ready;
	c->ready = false;
	after(c, op);
	if (next_packet(c) != VIRTIO_VSOCK_OP_INVALID)
		vsock_ready(c);
	return true;
}

void vsock_deliver(struct vsock *vsock)
{
	bool more;

	do {
		while (deliver_one(vsock, &more))
			;
	} while (more && virtio_want_kicks(&vsock->device, QUEUE_RECEIVE));
}

/* ------------------------------------------------------------------------------ guest to host */

enum action {
	REJECT, /* RST, and it belongs to no connection */
	IGNORE,
	ABORT, /* the connection ends, with an RST */
	OPEN,
	ACCEPTED,
	GONE, /* the guest has ended it */
	SHUTDOWN,
	DATA,
	TELL_CREDIT,
};

/* By operation and state; an unknown operation counts as INVALID. */
static const uint8_t actions[][VSOCK_STATES] = {
	/*                                     NONE    ASKING INVITED   OPEN         RESETTING */
	[VIRTIO_VSOCK_OP_INVALID] = { REJECT, ABORT, ABORT, ABORT, IGNORE },
	[VIRTIO_VSOCK_OP_REQUEST] = { OPEN, ABORT, ABORT, ABORT, IGNORE },
	[VIRTIO_VSOCK_OP_RESPONSE] = { REJECT, ABORT, ACCEPTED, ABORT, IGNORE },
	[VIRTIO_VSOCK_OP_RST] = { IGNORE, GONE, GONE, GONE, GONE },
	[VIRTIO_VSOCK_OP_SHUTDOWN] = { REJECT, ABORT, ABORT, SHUTDOWN, IGNORE },
	[VIRTIO_VSOCK_OP_RW] = { REJECT, ABORT, ABORT, DATA, IGNORE },
	[VIRTIO_VSOCK_OP_CREDIT_UPDATE] = { REJECT, ABORT, ABORT, IGNORE, IGNORE },
	[VIRTIO_VSOCK_OP_CREDIT_REQUEST] = { REJECT, ABORT, ABORT, TELL_CREDIT, IGNORE },
};

static_assert(ARRAY_SIZE(actions) == VIRTIO_VSOCK_OP_CREDIT_REQUEST + 1, "a row an operation");

static void reject(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	uint32_t at = (vsock->reset_head + vsock->reset_count) % VSOCK_RESETS;

	vsock->resets[at] = (struct vsock_reset){
		.source_cid = le64toh(header->dst_cid),
		.source_port = le32toh(header->dst_port),
		.destination_port = le32toh(header->src_port),
		.type = le16toh(header->type),
	};
	vsock->reset_count++;
}

/* Ends a connection, and answers the orchestrator if it waits for an answer. */
static void stop(struct vsock_connection *c, bool reset, bool drain,
                 enum vsock_channel_reason reason)
{
	if (c->state == VSOCK_INVITED)
		vsock_channel_answer(c, VSOCK_REFUSED, reason);
	vsock_end(c, reset, drain);
}

/* Gives up the connection whose ASK has waited longest. Its place is free at once, since it has no
 * socket yet. The guest has probably given up; it gets an RST if it sends more. */
static void evict(struct vsock *vsock)
{
	struct vsock_connection *oldest = NULL;

	for (size_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &vsock->connections[i];

		if (c->state == VSOCK_ASKING && (!oldest || c->id < oldest->id))
			oldest = c;
	}
	if (oldest)
		vsock_end(oldest, false, false);
}

static void open_connection(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	uint32_t guest_port = le32toh(header->src_port);
	uint32_t host_port = le32toh(header->dst_port);
	struct vsock_connection *c = vsock_open(vsock, guest_port, host_port, VSOCK_ASKING);

	if (!c) {
		evict(vsock);
		c = vsock_open(vsock, guest_port, host_port, VSOCK_ASKING);
	}
	if (!c) {
		reject(vsock, header);
		return;
	}
	c->peer_buffer = le32toh(header->buf_alloc);
	c->peer_forwarded = le32toh(header->fwd_cnt);
	if (!vsock_channel_ask(c))
		vsock_end(c, true, false);
}

/* Copies the bytes of a packet to its connection; false if the guest had no credit for them. */
static bool take_data(struct vsock_connection *c, const struct virtq_chain *chain, uint32_t length)
{
	uint32_t tail = (c->output_head + c->output_used) % OUTPUT_CAPACITY;
	uint32_t first = MIN(length, OUTPUT_CAPACITY - tail);
	const size_t at = sizeof(struct virtio_vsock_hdr);

	if (length > VSOCK_BUFFER - (c->received - c->forwarded) ||
	    (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND))
		return false;
	(void)virtq_copy_from(chain, at, c->output + tail, first);
	(void)virtq_copy_from(chain, at + first, c->output, length - first);
	/* Every connection can take a buffer in a turn, so the copying counts as work. */
	(void)virtio_work(&c->vsock->device, QUEUE_TRANSMIT, length / COPIED_A_UNIT);
	c->output_used += length;
	c->received += length;
	vsock_write(c);
	return true;
}

static void accepted(struct vsock_connection *c)
{
	c->state = VSOCK_OPEN;
	vsock_channel_answer(c, VSOCK_CONNECTED, VSOCK_REASON_NONE);
	vsock_flow(c);
}

static void guest_shutdown(struct vsock_connection *c, uint32_t flags)
{
	c->guest_shutdown |= flags & SHUTDOWN_BOTH;
	if (c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
		c->input_used = 0;
	vsock_shut(c);
}

static void act(struct vsock *vsock, struct vsock_connection *c, enum action action,
                const struct virtio_vsock_hdr *header, const struct virtq_chain *chain)
{
	/* The actions of VSOCK_NONE touch no connection, whatever the guest has sent. */
	if (!c && action != REJECT && action != OPEN)
		return;
	switch (action) {
	case REJECT:
		reject(vsock, header);
		break;
	case IGNORE:
		break;
	case ABORT:
		stop(c, true, false, VSOCK_REASON_GUEST);
		break;
	case OPEN:
		open_connection(vsock, header);
		break;
	case ACCEPTED:
		accepted(c);
		break;
	case GONE:
		stop(c, false, c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND, VSOCK_REASON_GUEST);
		break;
	case SHUTDOWN:
		guest_shutdown(c, le32toh(header->flags));
		break;
	case DATA:
		if (!take_data(c, chain, le32toh(header->len)))
			stop(c, true, false, VSOCK_REASON_GUEST);
		break;
	case TELL_CREDIT:
		c->todo |= TODO_CREDIT;
		vsock_ready(c);
		break;
	}
}

static void route(struct vsock *vsock, const struct virtio_vsock_hdr *header,
                  const struct virtq_chain *chain)
{
	uint16_t op = le16toh(header->op);
	struct vsock_connection *c;

	if (le16toh(header->type) != VIRTIO_VSOCK_TYPE_STREAM ||
	    le64toh(header->dst_cid) != VMADDR_CID_HOST) {
		if (op != VIRTIO_VSOCK_OP_RST)
			reject(vsock, header);
		return;
	}
	c = vsock_find(vsock, le32toh(header->src_port), le32toh(header->dst_port));
	if (c) {
		c->peer_buffer = le32toh(header->buf_alloc);
		c->peer_forwarded = le32toh(header->fwd_cnt);
		c->asked_credit = false;
		if (c->input_used > 0)
			vsock_ready(c);
	}
	if (op >= ARRAY_SIZE(actions))
		op = VIRTIO_VSOCK_OP_INVALID;
	act(vsock, c, (enum action)actions[op][c ? c->state : VSOCK_NONE], header, chain);
}

/* Checks the form of a packet before acting on it. */
static void take_packet(struct vsock *vsock, const struct virtq_chain *chain)
{
	struct virtio_vsock_hdr header;

	if (virtq_copy_from(chain, 0, &header, sizeof(header)) < sizeof(header) ||
	    le32toh(header.len) > chain->readable_bytes - sizeof(header)) {
		virtio_fail(
			&vsock->device, QUEUE_TRANSMIT, EPROTO,
			"a packet is shorter than its header, or than the length in its header");
	} else if (le64toh(header.src_cid) != vsock->cid) {
		/* There is nobody to answer. */
		counter_add(&vsock->dropped, 1);
		if (!vsock->told_source)
			virtio_report(&vsock->device, QUEUE_TRANSMIT, EPROTO,
			              "the guest sends under a CID that is not its own");
		vsock->told_source = true;
	} else {
		route(vsock, &header, chain);
	}
	virtio_push(&vsock->device, QUEUE_TRANSMIT, chain->head, 0);
}

static void transmit(struct vsock *vsock)
{
	struct virtq_chain chain = { .iov = vsock->iov, .iov_max = ARRAY_SIZE(vsock->iov) };

	do {
		while (vsock->reset_count < VSOCK_RESETS &&
		       virtio_pop(&vsock->device, QUEUE_TRANSMIT, &chain))
			take_packet(vsock, &chain);
		vsock_deliver(vsock);
		vsock->transmit_blocked = vsock->reset_count == VSOCK_RESETS;
		if (vsock->transmit_blocked)
			return;
	} while (virtio_want_kicks(&vsock->device, QUEUE_TRANSMIT));
}

/* ------------------------------------------------------------------------------- as a device */

static void vsock_kick(struct virtio_device *device, uint16_t queue)
{
	struct vsock *vsock = vsock_of(device);

	if (queue == QUEUE_RECEIVE)
		vsock_deliver(vsock);
	if (queue == QUEUE_TRANSMIT || (queue == QUEUE_RECEIVE && vsock->transmit_blocked))
		transmit(vsock);
}

static void vsock_start(struct virtio_device *device)
{
	vsock_channel_start(vsock_of(device));
}

static void vsock_reset_all(struct virtio_device *device)
{
	struct vsock *vsock = vsock_of(device);

	for (size_t i = 0; i < VSOCK_CONNECTIONS; i++) {
		struct vsock_connection *c = &vsock->connections[i];

		if (c->state != VSOCK_NONE)
			stop(c, false, c->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND,
			     VSOCK_REASON_NO_DRIVER);
	}
	vsock->reset_count = 0;
	vsock->transmit_blocked = false;
	vsock->told_source = false;
}

/* Whether a host socket may still take bytes that the guest has sent. */
static bool vsock_lingers(const struct virtio_device *device)
{
	const char *at = (const char *)device - offsetof(struct vsock, device);
	const struct vsock *vsock = (const struct vsock *)(const void *)at;

	for (size_t i = 0; i < VSOCK_CONNECTIONS; i++)
		if (vsock->connections[i].taken && vsock->connections[i].output_used > 0)
			return true;
	return false;
}

static const struct virtio_device_ops vsock_ops = {
	.name = "vsock",
	.device_id = VIRTIO_ID_VSOCK,
	.pci_class = PCI_CLASS_OTHER,
	.start = vsock_start,
	.kick = vsock_kick,
	.reset = vsock_reset_all,
	.lingers = vsock_lingers,
};

int vsock_create(struct vsock *vsock, const struct vsock_spec *spec, const struct virtio_host *host)
{
	int r;

	vsock->buffers = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vsock->buffers == MAP_FAILED) {
		vsock->buffers = NULL;
		return -ENOMEM;
	}
	/* A connection touches little of its buffers, and must not cost 2 MiB on a host that gives
	 * huge pages to all memory. */
	(void)madvise(vsock->buffers, BUFFER_BYTES, MADV_NOHUGEPAGE);
	vsock_connections_init(vsock);
	vsock->cid = spec->cid;
	vsock->config.guest_cid = htole64(spec->cid);
	vsock->device.ops = &vsock_ops;
	vsock->device.id = "vsock";
	vsock->device.features = VIRTIO_FEATURE(F_STREAM);
	vsock->device.queue_count = VSOCK_QUEUES;
	vsock->device.queue_sizes = queue_sizes;
	vsock->device.config = &vsock->config;
	vsock->device.config_size = sizeof(vsock->config);
	vsock->device.loop = host->loop;
	io_loop_uses(host->loop, IO_USE_DESCRIPTORS);
	r = vsock_channel_init(vsock, spec->channel_fd);
	if (r == 0)
		r = io_loop_reserve(host->loop,
		                    VSOCK_CONNECTIONS * OPERATIONS_EACH + OPERATIONS_CHANNEL);
	if (r == 0)
		r = virtio_pci_attach(&vsock->device, host);
	if (r < 0)
		vsock_destroy(vsock);
	return r;
}

void vsock_destroy(struct vsock *vsock)
{
	if (!vsock->buffers)
		return;
	virtio_pci_detach(&vsock->device);
	munmap(vsock->buffers, BUFFER_BYTES);
	memset(vsock, 0, sizeof(*vsock));
}

void vsock_get_stats(const struct vsock *vsock, struct vsock_stats *ret_stats)
{
	*ret_stats = (struct vsock_stats){
		.connections = atomic_load_explicit(&vsock->opened, memory_order_relaxed),
		.to_guest = atomic_load_explicit(&vsock->to_guest, memory_order_relaxed),
		.to_host = atomic_load_explicit(&vsock->to_host, memory_order_relaxed),
		.resets = atomic_load_explicit(&vsock->resets_sent, memory_order_relaxed),
		.dropped = atomic_load_explicit(&vsock->dropped, memory_order_relaxed),
		.places_taken = atomic_load_explicit(&vsock->places_taken, memory_order_relaxed),
	};
}
