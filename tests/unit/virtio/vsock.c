/* SPDX-License-Identifier: MIT */
/* virtio-vsock through a real io_uring: connections both ways, credit, half-close, stalled
 * readers. */
#include <criterion/criterion.h>
#include <endian.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rig/vsock_guest.h"

#define OP(name) VIRTIO_VSOCK_OP_##name
#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

static struct vsock_guest g;

static void set_up(void)
{
	guest_start(&g, 16, 0);
}

static void set_up_nonblocking(void)
{
	guest_start(&g, 16, SOCK_NONBLOCK);
}

static void tear_down(void)
{
	guest_stop(&g);
}

TestSuite(vsock, .timeout = 30, .fini = tear_down);

static void guest_shuts_down(uint32_t guest_port, uint32_t host_port, uint32_t flags)
{
	struct virtio_vsock_hdr header = guest_header(OP(SHUTDOWN), guest_port, host_port);

	header.flags = htole32(flags);
	guest_send_raw(&g, &header, sizeof(header));
}

static void guest_credit(uint32_t guest_port, uint32_t host_port, uint32_t buffer, uint32_t taken)
{
	struct virtio_vsock_hdr header = guest_header(OP(CREDIT_UPDATE), guest_port, host_port);

	header.buf_alloc = htole32(buffer);
	header.fwd_cnt = htole32(taken);
	guest_send_raw(&g, &header, sizeof(header));
}

/* The host's socket and the guest exchange a few bytes. */
static void echo(int fd, uint32_t guest_port, uint32_t host_port)
{
	struct packet packet;
	char bytes[16] = { 0 };

	guest_send(&g, OP(RW), guest_port, host_port, "to the host", 11);
	cr_assert_eq(read_all(fd, bytes, 11), 11);
	cr_assert_str_eq(bytes, "to the host");
	cr_assert_eq(write(fd, "to the guest", 12), 12);
	guest_expect(&g, OP(RW), guest_port, &packet);
	cr_assert_eq(le32toh(packet.header.len), 12);
	cr_assert_eq(le32toh(packet.header.src_port), host_port);
	cr_assert_eq(memcmp(packet.data, "to the guest", 12), 0);
}

Test(vsock, from_host_to_guest, .init = set_up)
{
	int fd;
	uint32_t port = open_from_host(&g, 1234, &fd);
	char byte;

	echo(fd, 1234, port);
	guest_shuts_down(1234, port, BOTH);
	guest_expect(&g, OP(RST), 1234, NULL);
	cr_assert_eq(wait_read(fd, &byte, 1), 0);
	await_places(&g, 0);
	close(fd);
}

Test(vsock, from_guest_to_host, .init = set_up)
{
	struct packet packet;
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	echo(fd, 50000, 80);
	close(fd);
	do
		guest_expect(&g, OP(SHUTDOWN), 50000, &packet);
	while (le32toh(packet.header.flags) != BOTH);
	guest_send(&g, OP(RST), 50000, 80, NULL, 0);
	await_places(&g, 0);
}

Test(vsock, non_blocking_sockets, .init = set_up_nonblocking)
{
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	/* The flag is the file's, which both ends' owners see; the pair's other end is ours. */
	cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);
	echo(fd, 50000, 80);
	close(fd);
}

Test(vsock, a_socket_that_does_not_block_is_polled, .init = set_up)
{
	struct vsock_channel_message message;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	guest_send(&g, OP(REQUEST), 50000, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &message);
	host_send(&g, VSOCK_ACCEPT, le64toh(message.id), 0, 0, pair[0]);
	guest_expect(&g, OP(RESPONSE), 50000, NULL);
	cr_assert_eq(fcntl(pair[1], F_SETFL, 0), 0);
	echo(pair[1], 50000, 80);
	echo(pair[1], 50000, 80);
	close(pair[0]);
	close(pair[1]);
}

Test(vsock, an_announced_connection_says_ok_first, .init = set_up)
{
	struct vsock_channel_message message;
	struct packet packet;
	char expected[32], bytes[32] = { 0 };
	int pair[2];
	int length;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_CONNECT, 5, 99, VSOCK_ANNOUNCE, pair[0]);
	guest_expect(&g, OP(REQUEST), 99, &packet);
	guest_send(&g, OP(RESPONSE), 99, le32toh(packet.header.src_port), NULL, 0);
	guest_send(&g, OP(RW), 99, le32toh(packet.header.src_port), "first", 5);
	host_receive(&g, VSOCK_CONNECTED, &message);
	length = snprintf(expected, sizeof(expected), "OK %u\nfirst", le32toh(message.host_port));
	cr_assert_eq(read_all(pair[1], bytes, (size_t)length), (size_t)length);
	cr_assert_str_eq(bytes, expected);
	/* Those bytes are not the guest's. */
	guest_send(&g, OP(CREDIT_REQUEST), 99, le32toh(packet.header.src_port), NULL, 0);
	guest_expect(&g, OP(CREDIT_UPDATE), 99, &packet);
	cr_assert_eq(le32toh(packet.header.fwd_cnt), 5);
	cr_assert_eq(le32toh(packet.header.buf_alloc), VSOCK_BUFFER);
	close(pair[0]);
	close(pair[1]);
}

Test(vsock, connections_nobody_takes_are_refused, .init = set_up)
{
	struct vsock_channel_message message;
	struct packet packet;
	int pair[2];
	char byte;

	/* By the orchestrator. */
	guest_send(&g, OP(REQUEST), 50000, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &message);
	host_send(&g, VSOCK_REFUSE, le64toh(message.id), 0, 0, -1);
	guest_expect(&g, OP(RST), 50000, NULL);
	/* An answer that comes twice: its socket is closed. */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_ACCEPT, le64toh(message.id), 0, 0, pair[0]);
	close(pair[0]);
	cr_assert_eq(wait_read(pair[1], &byte, 1), 0);
	close(pair[1]);
	/* By the guest. */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_CONNECT, 77, 1234, 0, pair[0]);
	close(pair[0]);
	guest_expect(&g, OP(REQUEST), 1234, &packet);
	guest_send(&g, OP(RST), 1234, le32toh(packet.header.src_port), NULL, 0);
	host_receive(&g, VSOCK_REFUSED, &message);
	cr_assert_eq(le64toh(message.id), 77);
	cr_assert_eq(le32toh(message.reason), VSOCK_REASON_GUEST);
	cr_assert_eq(wait_read(pair[1], &byte, 1), 0);
	close(pair[1]);
	await_places(&g, 0);
}

/* ------------------------------------------------------------------------------- on the wire */

/* A message of the channel in numbers: an orchestrator of one build serves shims of another. */
static void wire(uint8_t bytes[32], uint8_t kind, uint8_t flags, uint8_t id, uint8_t guest_port)
{
	memset(bytes, 0, 32);
	bytes[0] = 1;
	bytes[2] = kind;
	bytes[4] = flags;
	bytes[8] = id;
	bytes[16] = guest_port;
}

/* A message with a socket, whose other end is ours. */
static void host_brings(const uint8_t bytes[32], int *ret_socket)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send_raw(&g, bytes, 32, &pair[0], 1);
	close(pair[0]);
	*ret_socket = pair[1];
}

static void host_connects(uint8_t flags, uint8_t id, uint8_t guest_port, int *ret_socket)
{
	uint8_t bytes[32];

	wire(bytes, 1, flags, id, guest_port);
	host_brings(bytes, ret_socket);
}

/* What the device says: kind, id, the guest's port and a reason; the host's port may be any or
 * this. */
static void device_says(uint8_t kind, const uint8_t *id, uint8_t guest_port, int host_port,
                        uint8_t reason, uint8_t ret_bytes[32])
{
	uint8_t expected[32];

	WAIT_UNTIL(recv(g.channel, ret_bytes, 32, 0) == 32);
	wire(expected, kind, 0, 0, guest_port);
	memcpy(expected + 8, id ? id : ret_bytes + 8, 8);
	if (host_port < 0)
		memcpy(expected + 20, ret_bytes + 20, 4);
	else
		expected[20] = (uint8_t)host_port;
	expected[24] = reason;
	for (size_t i = 0; i < sizeof(expected); i++)
		cr_assert_eq(ret_bytes[i], expected[i], "byte %zu of kind %u: %u, not %u", i, kind,
		             ret_bytes[i], expected[i]);
}

Test(vsock, messages_of_the_channel_are_these_bytes, .init = set_up)
{
	static const uint8_t one[8] = { 1 }, two[8] = { 2 }, three[8] = { 3 };
	enum { CONNECTED = 2, REFUSED, ASK, ACCEPT, REFUSE, ANNOUNCE = 1 };
	uint8_t bytes[32], answer[32] = { 1, 0 };
	struct packet packet;
	int socket, refused, asked;
	char byte;

	/* CONNECT, CONNECTED. */
	host_connects(ANNOUNCE, 1, 99, &socket);
	guest_expect(&g, OP(REQUEST), 99, &packet);
	guest_send(&g, OP(RESPONSE), 99, le32toh(packet.header.src_port), NULL, 0);
	device_says(CONNECTED, one, 99, -1, 0, bytes);
	cr_assert_eq(memcmp(bytes + 20, &packet.header.src_port, 4), 0);
	cr_assert_eq(wait_read(socket, &byte, 1), 1);
	cr_assert_eq(byte, 'O');
	/* REFUSED by the guest. */
	host_connects(0, 2, 98, &refused);
	guest_expect(&g, OP(REQUEST), 98, &packet);
	guest_send(&g, OP(RST), 98, le32toh(packet.header.src_port), NULL, 0);
	device_says(REFUSED, two, 98, -1, 1, bytes);
	close(refused);
	/* ASK, REFUSE. */
	guest_send(&g, OP(REQUEST), 50, 80, NULL, 0);
	device_says(ASK, NULL, 50, 80, 0, bytes);
	memcpy(answer + 8, bytes + 8, 8);
	answer[2] = REFUSE;
	host_send_raw(&g, answer, sizeof(answer), NULL, 0);
	guest_expect(&g, OP(RST), 50, NULL);
	/* ASK, a REFUSE that brings a descriptor, which is closed. */
	guest_send(&g, OP(REQUEST), 52, 80, NULL, 0);
	device_says(ASK, NULL, 52, 80, 0, bytes);
	memcpy(answer + 8, bytes + 8, 8);
	host_brings(answer, &asked);
	guest_expect(&g, OP(RST), 52, NULL);
	cr_assert_eq(wait_read(asked, &byte, 1), 0);
	close(asked);
	/* ASK, ACCEPT. */
	guest_send(&g, OP(REQUEST), 51, 80, NULL, 0);
	device_says(ASK, NULL, 51, 80, 0, bytes);
	memcpy(answer + 8, bytes + 8, 8);
	answer[2] = ACCEPT;
	host_brings(answer, &asked);
	guest_expect(&g, OP(RESPONSE), 51, NULL);
	echo(asked, 51, 80);
	close(asked);
	close(socket);
	/* REFUSED without a driver. */
	driver_reset(&g.driver);
	host_connects(0, 3, 97, &refused);
	device_says(REFUSED, three, 97, 0, 2, bytes);
	close(refused);
}

Test(vsock, ports_of_the_hosts_side_go_round, .init = set_up)
{
	static const struct {
		uint32_t before, port;
	} cases[] = {
		{ 0, 0x40000000 },          { 0x3ffffffe, 0x40000000 }, { 0x3fffffff, 0x40000000 },
		{ 0x7ffffffe, 0x7fffffff }, { 0x7fffffff, 0x40000000 }, { 0xffffffff, 0x40000000 },
	};
	struct packet packet;
	int sockets[ARRAY_SIZE(cases) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		g.vsock.next_port = cases[i].before;
		/* The device's thread comes behind this. */
		guest_send(&g, OP(RST), 1, 1, NULL, 0);
		host_connects(0, (uint8_t)i, (uint8_t)(i + 1), &sockets[i]);
		guest_expect(&g, OP(REQUEST), (uint32_t)i + 1, &packet);
		cr_assert_eq(le32toh(packet.header.src_port), cases[i].port, "case %zu: %#x", i,
		             le32toh(packet.header.src_port));
	}
	/* One that is in use with this port of the guest's is left out. */
	g.vsock.next_port = 0x3fffffff;
	guest_send(&g, OP(RST), 1, 1, NULL, 0);
	host_connects(0, 9, 1, &sockets[ARRAY_SIZE(cases)]);
	guest_expect(&g, OP(REQUEST), 1, &packet);
	cr_assert_eq(le32toh(packet.header.src_port), 0x40000001);
	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++)
		close(sockets[i]);
}

Test(vsock, a_connect_that_is_given_up, .init = set_up)
{
	struct packet packet;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_CONNECT, 77, 1234, 0, pair[0]);
	close(pair[0]);
	guest_expect(&g, OP(REQUEST), 1234, &packet);
	close(pair[1]);
	guest_expect(&g, OP(RST), 1234, NULL);
	await_places(&g, 0);
}

Test(vsock, half_close_by_the_guest, .init = set_up)
{
	struct packet packet;
	char bytes[4];
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	guest_send(&g, OP(RW), 50000, 80, "last", 4);
	guest_shuts_down(50000, 80, VIRTIO_VSOCK_SHUTDOWN_SEND);
	cr_assert_eq(read_all(fd, bytes, 5), 4);
	cr_assert_eq(write(fd, "more", 4), 4);
	guest_expect(&g, OP(RW), 50000, &packet);
	/* It has said that it would not send. */
	guest_send(&g, OP(RW), 50000, 80, "lie", 3);
	guest_expect(&g, OP(RST), 50000, NULL);
	close(fd);
	await_places(&g, 0);
}

static void (*shut_done)(struct io_op *op, int result, uint32_t flags);

static void no_worker(struct io_op *op, int result, uint32_t flags)
{
	(void)result;
	shut_done(op, -IO_NO_WORKER, flags);
}

/* A worker of the kernel's shuts a socket; where it has none, a peer that goes on waiting would not
 * know. */
Test(vsock, half_close_without_a_worker_is_a_reset, .init = set_up)
{
	char bytes[4];
	int fd;

	shut_done = g.vsock.connections[0].shut_op.done;
	for (size_t i = 0; i < VSOCK_CONNECTIONS; i++)
		g.vsock.connections[i].shut_op.done = no_worker;
	open_from_guest(&g, 50000, 80, &fd);
	guest_shuts_down(50000, 80, VIRTIO_VSOCK_SHUTDOWN_RCV);
	guest_expect(&g, OP(RST), 50000, NULL);
	cr_assert_eq(read_all(fd, bytes, 1), 0);
	close(fd);
	await_places(&g, 0);
	cr_assert_eq(atomic_load(&g.m.event_count), 1);
	cr_assert_eq(g.m.events[0].error, IO_NO_WORKER);
}

Test(vsock, half_close_by_the_host, .init = set_up)
{
	struct packet packet;
	char bytes[5];
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	cr_assert_eq(write(fd, "last", 4), 4);
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	guest_expect(&g, OP(RW), 50000, &packet);
	guest_expect(&g, OP(SHUTDOWN), 50000, &packet);
	cr_assert_eq(le32toh(packet.header.flags), VIRTIO_VSOCK_SHUTDOWN_SEND);
	guest_send(&g, OP(RW), 50000, 80, "still", 5);
	cr_assert_eq(read_all(fd, bytes, 5), 5);
	guest_shuts_down(50000, 80, BOTH);
	guest_expect(&g, OP(RST), 50000, NULL);
	close(fd);
	await_places(&g, 0);
}

Test(vsock, the_guest_stops_reading, .init = set_up)
{
	char byte = 1;
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	guest_shuts_down(50000, 80, VIRTIO_VSOCK_SHUTDOWN_RCV);
	WAIT_UNTIL(write(fd, &byte, 1) != 1);
	guest_send(&g, OP(RW), 50000, 80, "x", 1);
	cr_assert_eq(read_all(fd, &byte, 1), 1);
	cr_assert_eq(byte, 'x');
	close(fd);
}

/* A socket pair whose shim end holds only few bytes. */
static void small_pair(int pair[2])
{
	int bytes = 1;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

static void open_small(uint32_t guest_port, int *ret_socket)
{
	struct vsock_channel_message message;
	int pair[2];

	small_pair(pair);
	guest_send(&g, OP(REQUEST), guest_port, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &message);
	host_send(&g, VSOCK_ACCEPT, le64toh(message.id), 0, 0, pair[0]);
	close(pair[0]);
	guest_expect(&g, OP(RESPONSE), guest_port, NULL);
	*ret_socket = pair[1];
}

/* The credit that the guest has, as the device says when asked. */
static uint32_t ask_credit(uint32_t guest_port, uint32_t sent)
{
	struct packet packet;

	guest_send(&g, OP(CREDIT_REQUEST), guest_port, 80, NULL, 0);
	guest_expect(&g, OP(CREDIT_UPDATE), guest_port, &packet);
	return le32toh(packet.header.buf_alloc) - (sent - le32toh(packet.header.fwd_cnt));
}

Test(vsock, a_stalled_reader_stops_its_own_connection, .init = set_up)
{
	static uint8_t data[VSOCK_BUFFER], back[VSOCK_BUFFER];
	struct packet packet;
	uint32_t sent = 32768;
	uint32_t more;
	int stalled, other;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	open_small(50000, &stalled);
	guest_send(&g, OP(RW), 50000, 80, data, sent);
	more = ask_credit(50000, sent);
	cr_assert_leq(more, VSOCK_BUFFER - 16384);
	guest_send(&g, OP(RW), 50000, 80, data + sent, MIN(more, VSOCK_BUFFER - sent));
	sent += MIN(more, VSOCK_BUFFER - sent);
	open_from_guest(&g, 50001, 81, &other);
	for (int i = 0; i < 20; i++)
		echo(other, 50001, 81);
	/* It is read at last: all is there, and the guest hears of its room. */
	cr_assert_eq(read_all(stalled, back, sent), sent);
	cr_assert_eq(memcmp(data, back, sent), 0);
	do
		guest_expect(&g, OP(CREDIT_UPDATE), 50000, &packet);
	while (sent - le32toh(packet.header.fwd_cnt) >= VSOCK_BUFFER / 2);
	close(stalled);
	close(other);
}

Test(vsock, more_than_the_credit_is_a_reset, .init = set_up)
{
	static uint8_t data[VSOCK_BUFFER];
	int fd;

	open_small(50000, &fd);
	guest_send(&g, OP(RW), 50000, 80, data, VSOCK_BUFFER);
	guest_send(&g, OP(RW), 50000, 80, data, VSOCK_BUFFER);
	guest_expect(&g, OP(RST), 50000, NULL);
	close(fd);
	await_places(&g, 0);
}

Test(vsock, what_was_sent_before_a_close_arrives, .init = set_up)
{
	static uint8_t data[VSOCK_BUFFER], back[VSOCK_BUFFER];
	int fd;

	memset(data, 0x5a, sizeof(data));
	open_small(50000, &fd);
	guest_send(&g, OP(RW), 50000, 80, data, VSOCK_BUFFER);
	guest_shuts_down(50000, 80, BOTH);
	/* As Linux does when no RST comes for 8 s. */
	guest_send(&g, OP(RST), 50000, 80, NULL, 0);
	cr_assert_eq(read_all(fd, back, sizeof(back)), sizeof(back));
	cr_assert_eq(memcmp(data, back, sizeof(back)), 0);
	cr_assert_eq(read_all(fd, back, 1), 0);
	close(fd);
	await_places(&g, 0);
}

/* A VM that ends waits, within its limit, for a host that still takes what the guest has sent. */
Test(vsock, a_stop_waits_for_what_the_guest_has_sent, .init = set_up)
{
	static uint8_t data[VSOCK_BUFFER], back[VSOCK_BUFFER];
	int fd;

	memset(data, 0xa5, sizeof(data));
	open_small(50000, &fd);
	guest_send(&g, OP(RW), 50000, 80, data, VSOCK_BUFFER);
	io_loop_stop(&g.m.loop, 60000);
	cr_assert_eq(io_loop_await(&g.m.loop, IO_LINGERING), IO_LINGERING, "nothing is waited for");
	cr_assert_eq(read_all(fd, back, sizeof(back)), sizeof(back));
	cr_assert_eq(memcmp(data, back, sizeof(back)), 0);
	close(fd);
	machine_stop(&g.m, 60000);
}

Test(vsock, the_guest_is_sent_no_more_than_it_has_room_for, .init = set_up)
{
	static uint8_t data[8192];
	struct packet packet;
	uint32_t got = 0;
	int fd;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 3);
	open_from_guest(&g, 50000, 80, &fd);
	guest_credit(50000, 80, 100, 0);
	cr_assert_eq(write(fd, data, sizeof(data)), sizeof(data));
	while (got < sizeof(data)) {
		uint32_t round = 0;

		for (;;) {
			guest_receive(&g, &packet);
			if (le16toh(packet.header.op) == OP(CREDIT_REQUEST))
				break;
			cr_assert_eq(le16toh(packet.header.op), OP(RW));
			cr_assert_eq(memcmp(packet.data, data + got, le32toh(packet.header.len)),
			             0);
			got += le32toh(packet.header.len);
			round += le32toh(packet.header.len);
			cr_assert_leq(round, 100);
			if (got == sizeof(data))
				break;
		}
		guest_credit(50000, 80, 100, got);
	}
	close(fd);
}

Test(vsock, a_lie_about_credit_harms_nobody_else, .init = set_up)
{
	int liar, other;

	open_from_guest(&g, 50000, 80, &liar);
	guest_credit(50000, 80, 0xffffffff, 0x80000000);
	cr_assert_eq(write(liar, "x", 1), 1);
	guest_expect(&g, OP(RW), 50000, NULL);
	/* More than was ever sent has been taken: no room, as far as one can tell. */
	guest_credit(50000, 80, 10, 1000);
	cr_assert_eq(write(liar, "x", 1), 1);
	guest_expect(&g, OP(CREDIT_REQUEST), 50000, NULL);
	open_from_guest(&g, 50001, 81, &other);
	echo(other, 50001, 81);
	close(liar);
	close(other);
}

Test(vsock, what_the_host_wrote_before_its_close_arrives, .init = set_up)
{
	static uint8_t data[120000];
	struct packet packet;
	uint32_t got = 0;
	int fd;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 11 + i / 256);
	open_from_guest(&g, 50000, 80, &fd);
	cr_assert_eq(write(fd, data, sizeof(data)), sizeof(data));
	close(fd);
	for (;;) {
		guest_receive(&g, &packet);
		if (le16toh(packet.header.op) != OP(RW))
			break;
		cr_assert_leq(le32toh(packet.header.len), sizeof(data) - got);
		cr_assert_eq(memcmp(packet.data, data + got, le32toh(packet.header.len)), 0);
		got += le32toh(packet.header.len);
	}
	cr_assert_eq(le16toh(packet.header.op), OP(SHUTDOWN));
	cr_assert_eq(got, sizeof(data));
}

Test(vsock, bulk_data_arrives_whole_both_ways, .init = set_up)
{
	static uint8_t data[65536], back[65536];
	struct packet packet;
	uint32_t taken = 0;
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	for (uint32_t round = 0; round < 32; round++) {
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)(i * (round + 3) + i / 251);
		cr_assert_eq(write(fd, data, sizeof(data)), sizeof(data));
		for (size_t at = 0; at < sizeof(data);) {
			guest_receive(&g, &packet);
			if (le16toh(packet.header.op) != OP(RW))
				continue;
			cr_assert_leq(le32toh(packet.header.len), sizeof(data) - at);
			cr_assert_eq(memcmp(packet.data, data + at, le32toh(packet.header.len)), 0);
			at += le32toh(packet.header.len);
			taken += le32toh(packet.header.len);
		}
		g.forwarded = taken;
		for (size_t at = 0; at < sizeof(data); at += 4000)
			guest_send(&g, OP(RW), 50000, 80, data + at,
			           (uint32_t)MIN(sizeof(data) - at, (size_t)4000));
		cr_assert_eq(read_all(fd, back, sizeof(back)), sizeof(back));
		cr_assert_eq(memcmp(data, back, sizeof(back)), 0);
	}
	close(fd);
}

Test(vsock, two_hundred_connections_carry_data_at_once, .init = set_up)
{
	static int fds[200];
	static uint32_t ports[200];

	for (uint32_t i = 0; i < 200; i++) {
		if (i % 2)
			ports[i] = open_from_host(&g, 2000 + i, &fds[i]);
		else
			open_from_guest(&g, 2000 + i, ports[i] = 80, &fds[i]);
	}
	for (uint32_t i = 0; i < 200; i++)
		echo(fds[i], 2000 + i, ports[i]);
	for (uint32_t i = 0; i < 200; i++) {
		guest_shuts_down(2000 + i, ports[i], BOTH);
		guest_expect(&g, OP(RST), 2000 + i, NULL);
		close(fds[i]);
	}
	await_places(&g, 0);
}
