/* SPDX-License-Identifier: MIT */
/* Stream sockets packet by packet (VIRTIO 1.2 §5.10), both ways, with tests/system/vsock_channel.py
 * as the orchestrator: its ports say what it does. Echoes with little credit on the guest's side
 * and all of it on the host's, as many connections as there are places, refusals, questions that
 * nobody answers, a reader that stalls, packets that fit no connection or break one, connections
 * from the host, a reset amid all that, and the end of the channel. */
#define GUEST_HAS_APIC
#include "lib/virtio.h"

#define CID 3u
#define HOST 2u
#define HEADER 44u
#define CHUNK 4096u
#define BUFFERS 32u
#define BUFFER_BYTES (2 * CHUNK) /* a packet begins anywhere in a page */
#define ROOM 16384u              /* the credit the guest gives */
#define PLACES 256u
#define RESETS 256u /* that the device keeps for a guest without receive buffers */
#define BULK (64 * CHUNK)
#define AT_A_TIME (BUFFERS + RESETS - 8) /* and the rest of them together */
#define STRAYS (BUFFERS + RESETS + 40)
#define IDLE_ROUNDS 8u
#define FIRST_PORT 1024u
#define DIALLED_MAX 1024u

/* What the orchestrator does at them. */
enum {
	ECHO = 7000,
	STALL = 7001,
	REFUSE = 7002,
	RELEASE = 7003,
	CROWD = 7005,
	SILENCE = 7009, /* nobody answers */
	DIAL = 7010,
	LEAVE = 7011,
	DIAL_AND_WAIT = 7012,
	END = 7013,
};
/* Where the guest listens; at SLOW it does not answer. */
enum { LISTEN = 5000, SLOW = 5001 };
enum { INVALID, REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct header {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port, length;
	uint16_t type, op;
	uint32_t flags, room, forwarded;
} __attribute__((packed));

struct connection {
	uint32_t port, host_port;
	uint32_t peer_room, peer_forwarded, sent, taken;
	uint32_t shut; /* by the host */
	bool open, over;
};

static struct virtio device;
static struct queue rx, tx;
static uint64_t buffers;
static struct {
	struct header header;
	uint8_t data[CHUNK];
} __attribute__((packed, aligned(8))) packet;
/* Of the guest's making, in the order of their ports; and those to LISTEN and SLOW. */
static struct connection connections[DIALLED_MAX], invited, slow;
static uint32_t strays, credit_requests, dialled;

/* ---- packets --------------------------------------------------------------------------------- */

static struct header header_of(const struct connection *c, uint16_t op, uint32_t length)
{
	return (struct header){
		CID, HOST, c->port, c->host_port, length, 1, op, 0, ROOM, c->taken
	};
}

static void transmit(uint32_t bytes)
{
	const struct part part = { &packet, bytes, false };
	uint32_t written;

	(void)queue_add(&tx, &part, 1);
	queue_kick(&tx);
	(void)queue_wait(&tx, &written);
}

static void send(const struct connection *c, uint16_t op, uint32_t flags)
{
	packet.header = header_of(c, op, 0);
	packet.header.flags = flags;
	transmit(HEADER);
}

/* A word of a stream says whose it is, and where. */
static uint64_t word_at(const struct connection *c, uint32_t at)
{
	return (uint64_t)c->port << 32 | at;
}

static void send_words(struct connection *c, uint32_t length)
{
	packet.header = header_of(c, RW, length);
	for (uint32_t at = 0; at < length; at += 8)
		write64((uint64_t)packet.data + at, word_at(c, c->sent + at));
	c->sent += length;
	transmit(HEADER + length);
}

static uint32_t credit(const struct connection *c)
{
	return c->peer_room - (c->sent - c->peer_forwarded);
}

static void take_words(struct connection *c, uint64_t data, uint32_t length)
{
	for (uint32_t at = -c->taken & 7; at + 8 <= length; at += 8)
		check_equal(read64(data + at), word_at(c, c->taken + at));
	c->taken += length;
}

/* What the host sends to where the guest listens goes back. */
static void echo_back(struct connection *c, uint64_t data, uint32_t length)
{
	uint64_t to = (uint64_t)packet.data, count = length;

	check(length <= CHUNK && length <= credit(c));
	c->taken += length;
	c->sent += length;
	packet.header = header_of(c, RW, length);
	__asm__ volatile("cld; rep movsb" : "+D"(to), "+S"(data), "+c"(count) : : "memory");
	transmit(HEADER + length);
}

static struct connection *by_port(uint32_t port)
{
	if (port == LISTEN)
		return &invited;
	if (port == SLOW)
		return &slow;
	return port - FIRST_PORT < dialled ? &connections[port - FIRST_PORT] : NULL;
}

static void answer(const struct header *h)
{
	struct connection c = { h->to_port, h->from_port, .peer_room = h->room, .open = true };

	if (h->to_port == LISTEN)
		invited = c;
	if (h->to_port == SLOW)
		slow = c;
	else
		send(&c, h->to_port == LISTEN ? RESPONSE : RST, 0);
}

static void act(struct connection *c, const struct header *h)
{
	uint64_t data = (uint64_t)h + HEADER;

	c->peer_room = h->room;
	c->peer_forwarded = h->forwarded;
	c->open |= h->op == RESPONSE;
	c->over |= h->op == RST;
	if (h->op == SHUTDOWN)
		c->shut |= h->flags;
	if (h->op == RW && c == &invited)
		echo_back(c, data, h->length);
	else if (h->op == RW)
		take_words(c, data, h->length);
	if (h->op == CREDIT_REQUEST) {
		credit_requests++;
		send(c, CREDIT_UPDATE, 0);
	}
}

static void offer(uint32_t i)
{
	queue_describe(&rx, (uint16_t)i, buffers + i * BUFFER_BYTES, HEADER + CHUNK, DESC_WRITE, 0);
	queue_offer(&rx, (uint16_t)i);
	queue_kick(&rx);
}

/* Takes the next packet. */
static void receive(void)
{
	uint32_t length, i = queue_wait(&rx, &length);
	const struct header *h = (const struct header *)(buffers + i * BUFFER_BYTES);
	struct connection *c = by_port(h->to_port);

	check(i < BUFFERS);
	check_equal(length, HEADER + h->length);
	check_equal(h->to_cid, CID);
	if (h->op == REQUEST)
		answer(h);
	else if (c && c->host_port == h->from_port)
		act(c, h);
	else
		strays += h->op == RST;
	offer(i);
}

#define receive_until(condition)                                                                   \
	do                                                                                         \
		while (!(condition))                                                               \
			receive();                                                                 \
	while (0)

/* ---- connections ----------------------------------------------------------------------------- */

static struct connection *ask(uint32_t host_port)
{
	struct connection *c = &connections[dialled];

	check(dialled < DIALLED_MAX);
	*c = (struct connection){ .port = FIRST_PORT + dialled++, .host_port = host_port };
	send(c, REQUEST, 0);
	return c;
}

static struct connection *dial(uint32_t host_port)
{
	struct connection *c = ask(host_port);

	receive_until(c->open || c->over);
	check(c->open);
	return c;
}

static void want_refused(uint32_t host_port)
{
	struct connection *c = ask(host_port);

	receive_until(c->open || c->over);
	check(c->over);
}

static void prove(struct connection *c)
{
	uint32_t wanted = c->taken + 64;

	send_words(c, 64);
	receive_until(c->taken >= wanted);
	check_equal(c->taken, wanted);
}

/* The guest will neither send nor receive. */
static void hang_up(struct connection *c)
{
	send(c, SHUTDOWN, 3);
	receive_until(c->over);
}

/* ---- what is seen ---------------------------------------------------------------------------- */

/* More than either side has room for. The guest tells of its room only when it sends, or is
 * asked. */
static void bulk(void)
{
	struct connection *c = dial(ECHO);

	while (c->taken < BULK) {
		if (c->sent < BULK && credit(c) >= CHUNK)
			send_words(c, CHUNK);
		else
			receive();
	}
	check_equal(c->taken, BULK);
	check(credit_requests > 0);
	/* Half-close: the echo's end of file comes back. */
	send(c, SHUTDOWN, 2);
	receive_until(c->shut & 2);
	hang_up(c);
}

/* The host, which has accepted them all, is refused one more, and so is the guest. */
static void many(void)
{
	struct connection *first = &connections[dialled];

	for (uint32_t i = 0; i < PLACES; i++)
		(void)dial(CROWD);
	want_refused(CROWD);
	for (uint32_t i = 0; i < PLACES; i++)
		send_words(&first[i], 8);
	for (uint32_t i = 0; i < PLACES; i++) {
		receive_until(first[i].taken == 8);
		hang_up(&first[i]);
	}
}

/* The one that has waited longest makes room. The host answers them all, too late. */
static void unanswered(void)
{
	struct connection *first = &connections[dialled];

	for (uint32_t i = 0; i < PLACES; i++)
		(void)ask(SILENCE);
	hang_up(dial(ECHO));
	for (uint32_t i = 0; i < PLACES; i++)
		send(&first[i], RST, 0);
	hang_up(dial(RELEASE));
}

/* As much as the host's socket and the device's buffer hold; others go on. */
static void fill_up(struct connection *c, struct connection *other)
{
	for (uint32_t idle = 0; idle < IDLE_ROUNDS; idle++) {
		while (credit(c) >= CHUNK) {
			send_words(c, CHUNK);
			idle = 0;
		}
		prove(other);
	}
	check(c->sent >= 65536);
}

static void stalled(void)
{
	struct connection *c = dial(STALL), *other = dial(ECHO);

	fill_up(c, other);
	hang_up(dial(RELEASE));
	receive_until(credit(c) >= CHUNK);
	hang_up(c); /* the host compares what it got */
	/* More than there is room for ends it. */
	c = dial(STALL);
	fill_up(c, other);
	while (!c->over) {
		send_words(c, CHUNK);
		while (queue_used_idx(&rx) != rx.used_idx)
			receive();
	}
	prove(other);
	hang_up(other);
}

/* Nothing is received meanwhile: the device keeps as many answers as it can, and then takes no
 * more. */
static void packets_of_no_connection(void)
{
	const struct connection none = { .port = 1, .host_port = 2 };
	const struct part part = { &packet, HEADER, false };
	uint32_t written, taken = 0;

	packet.header = header_of(&none, RW, 0);
	for (uint32_t i = 0; i < STRAYS; i++) {
		(void)queue_add(&tx, &part, 1);
		if (i >= AT_A_TIME)
			continue;
		queue_kick(&tx);
		(void)queue_wait(&tx, &written);
		taken++;
	}
	queue_kick(&tx);
	for (; taken < BUFFERS + RESETS; taken++)
		(void)queue_wait(&tx, &written);
	for (unsigned i = 0; i < 100; i++)
		(void)virtio_status(&device);
	check_equal(queue_used_idx(&tx), tx.used_idx);
	strays = 0;
	receive_until(strays == STRAYS);
	for (; taken < STRAYS; taken++)
		(void)queue_wait(&tx, &written);
	send(&none, RST, 0); /* has no answer */
	strays = 0;
	packet.header = header_of(&none, REQUEST, 0);
	packet.header.to_cid = 7;
	transmit(HEADER);
	receive_until(strays == 1);
	packet.header = header_of(&none, REQUEST, 0);
	packet.header.type = 2; /* SEQPACKET */
	transmit(HEADER);
	receive_until(strays == 2);
	packet.header.from_cid = 4; /* has no answer either, but an event */
	transmit(HEADER);
}

/* Those that a connection does not survive: open, and asked for. */
static void packets_out_of_place(void)
{
	static const uint16_t open[] = { INVALID, REQUEST, RESPONSE, 99 };
	struct connection *c = dial(ECHO);

	send(c, CREDIT_REQUEST, 0);
	prove(c);
	send(c, RST, 0);
	for (unsigned i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		c = dial(ECHO);
		send(c, open[i], 0);
		receive_until(c->over);
	}
	c = ask(SILENCE);
	send(c, RW, 0);
	receive_until(c->over);
}

/* The host says what it wants; one that it leaves before the answer is over. */
static void from_host(void)
{
	struct connection *guide = dial(DIAL);

	receive_until(invited.shut & 2);
	hang_up(&invited);
	receive_until(slow.open);
	want_refused(LEAVE);
	receive_until(slow.over);
	hang_up(guide);
}

static void begin(void)
{
	guest_pages_reset();
	virtio_begin(&device, F_EVENT_IDX);
	queue_begin(&rx, &device, 0, BUFFERS);
	queue_begin(&tx, &device, 1, 64);
	buffers = guest_pages(BUFFERS * BUFFER_BYTES);
	virtio_start(&device);
	for (uint32_t i = 0; i < BUFFERS; i++)
		offer(i);
}

/* With connections in every state: open, with bytes on their way, asked for, wanted by the host. */
static void reset(void)
{
	struct connection *c = dial(ECHO);

	send_words(dial(STALL), CHUNK);
	(void)ask(SILENCE);
	slow.open = false;
	want_refused(DIAL_AND_WAIT);
	receive_until(slow.open);
	send_words(c, CHUNK);
	virtio_reset(&device);
	begin();
	prove(dial(ECHO));
}

static void end_of_the_channel(void)
{
	struct connection *c = dial(ECHO), *last = dial(END);

	prove(c);
	prove(last);
	want_refused(ECHO);
	prove(c);
	hang_up(last);
}

void guest_main(uint64_t index, uint64_t count, uint64_t ram, uint64_t stack)
{
	irq_begin();
	virtio_find(VIRTIO_VSOCK, 0, &device);
	check_equal(read64(device.specific), CID);
	begin();
	bulk();
	many();
	want_refused(REFUSE);
	unanswered();
	stalled();
	packets_of_no_connection();
	packets_out_of_place();
	from_host();
	reset();
	end_of_the_channel();
	check(!(virtio_status(&device) & STATUS_NEEDS_RESET));
	guest_power_off(GUEST_PASS, dialled);
}
