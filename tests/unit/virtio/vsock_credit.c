/* SPDX-License-Identifier: MIT */
/* virtio-vsock's credit to the byte, both ways (VIRTIO 1.2 §5.10.6.3), its counters, and what a
 * connection leaves to the next one in its place: nothing. */
#include <criterion/criterion.h>
#include <endian.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "rig/vsock_guest.h"
#include "rig/wait.h"

#define OP(name) VIRTIO_VSOCK_OP_##name
#define BOTH 3
#define HEADER 44u    /* §5.10.6: a packet's header */
#define BUFFER 65536u /* what a guest may have in flight to one host socket */

static struct vsock_guest g;
static uint8_t data[BUFFER + 1];

static void set_up(void)
{
	guest_start(&g, 16, 0);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
}

static void tear_down(void)
{
	guest_stop(&g);
}

TestSuite(vsock_credit, .timeout = 30, .init = set_up, .fini = tear_down);

/* A packet of the guest's, of any length and with any credit for the host. */
static void packet_out(uint16_t op, uint32_t guest_port, uint32_t flags, uint32_t length,
                       uint32_t buffer, uint32_t taken)
{
	static uint8_t bytes[HEADER + BUFFER + 1];
	struct virtio_vsock_hdr header = guest_header(op, guest_port, 80);

	header.len = htole32(length);
	header.flags = htole32(flags);
	header.buf_alloc = htole32(buffer);
	header.fwd_cnt = htole32(taken);
	cr_assert_eq(sizeof(header), HEADER);
	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + HEADER, data, length);
	guest_send_raw(&g, bytes, HEADER + length);
}

static void send_data(uint32_t guest_port, uint32_t length)
{
	packet_out(OP(RW), guest_port, 0, length, GUEST_BUFFER, 0);
}

/* The next packet is this one, and not an update of credit before it. */
static struct packet expect(uint16_t op, uint32_t guest_port)
{
	struct packet packet;

	guest_receive(&g, &packet);
	cr_assert_eq(le16toh(packet.header.op), op, "op %u, not %u", le16toh(packet.header.op), op);
	cr_assert_eq(le32toh(packet.header.dst_port), guest_port);
	return packet;
}

static struct vsock_stats stats(void)
{
	struct vsock_stats s;

	vsock_get_stats(&g.vsock, &s);
	return s;
}

/* The guest is done with a connection, and the device with its socket. */
static void hang_up(uint32_t guest_port, int fd)
{
	packet_out(OP(RST), guest_port, 0, 0, GUEST_BUFFER, 0);
	close(fd);
	await_places(&g, 0);
}

/* ------------------------------------------------------------------------------- guest to host */

/* The whole buffer at once is allowed, a byte more is not. */
Test(vsock_credit, a_guest_sends_its_credit_and_not_a_byte_more)
{
	static uint8_t back[BUFFER];
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	send_data(50000, BUFFER);
	cr_assert_eq(read_all(fd, back, BUFFER), BUFFER);
	cr_assert_eq(memcmp(back, data, BUFFER), 0);
	hang_up(50000, fd);
	while (guest_has_packet(&g))
		guest_expect(&g, OP(CREDIT_UPDATE), 50000, NULL);
	open_from_guest(&g, 50001, 80, &fd);
	send_data(50001, BUFFER + 1);
	(void)expect(OP(RST), 50001);
	await_places(&g, 0);
	cr_assert_eq(read_all(fd, back, 1), 0, "and nothing of it arrives");
	close(fd);
}

/* With a reader that stalls: what the device says that there is room for can be sent, to the
 * byte. */
Test(vsock_credit, the_last_byte_of_a_stalled_connections_credit)
{
	struct vsock_channel_message message;
	struct packet packet;
	uint32_t sent = 0, room = BUFFER;
	int pair[2], one = 1;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof(one)), 0);
	guest_send(&g, OP(REQUEST), 50000, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &message);
	host_send(&g, VSOCK_ACCEPT, le64toh(message.id), 0, 0, pair[0]);
	close(pair[0]);
	(void)expect(OP(RESPONSE), 50000);
	/* Until the socket takes no more either. */
	while (room > 0) {
		send_data(50000, room);
		sent += room;
		packet_out(OP(CREDIT_REQUEST), 50000, 0, 0, GUEST_BUFFER, 0);
		guest_expect(&g, OP(CREDIT_UPDATE), 50000, &packet);
		while (guest_has_packet(&g))
			guest_expect(&g, OP(CREDIT_UPDATE), 50000, &packet);
		cr_assert_eq(le32toh(packet.header.buf_alloc), BUFFER);
		room = BUFFER - (sent - le32toh(packet.header.fwd_cnt));
	}
	send_data(50000, 1);
	packet_out(OP(CREDIT_REQUEST), 50000, 0, 0, GUEST_BUFFER, 0);
	(void)expect(OP(RST), 50000);
	close(pair[1]);
}

/* Half the buffer gone is when the guest hears of its room unasked; a byte less is not. */
Test(vsock_credit, when_the_guest_is_told_of_its_room)
{
	static uint8_t back[BUFFER];
	struct packet packet;
	uint32_t forwarded = 0;
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	send_data(50000, BUFFER / 2 - 1);
	cr_assert_eq(read_all(fd, back, BUFFER / 2 - 1), BUFFER / 2 - 1);
	packet_out(OP(CREDIT_REQUEST), 50000, 0, 0, GUEST_BUFFER, 0);
	packet = expect(OP(CREDIT_UPDATE), 50000);
	cr_assert_not(guest_has_packet(&g), "one, for the question");
	/* The write may just have ended: ask until all is known. */
	while (le32toh(packet.header.fwd_cnt) != BUFFER / 2 - 1) {
		packet_out(OP(CREDIT_REQUEST), 50000, 0, 0, GUEST_BUFFER, 0);
		packet = expect(OP(CREDIT_UPDATE), 50000);
	}
	cr_assert_not(guest_has_packet(&g));
	send_data(50000, BUFFER / 2);
	cr_assert_eq(read_all(fd, back, BUFFER / 2), BUFFER / 2);
	while (forwarded == 0 || forwarded == BUFFER / 2 - 1) {
		packet = expect(OP(CREDIT_UPDATE), 50000);
		forwarded = le32toh(packet.header.fwd_cnt);
	}
	cr_assert_leq(forwarded, BUFFER - 1);
	close(fd);
}

/* ------------------------------------------------------------------------------- host to guest */

/* The guest is sent all that it has room for, and not a byte more. */
Test(vsock_credit, the_host_sends_the_guests_credit_and_not_a_byte_more)
{
	static const uint32_t buffers[] = { 1, 2, 100, 4051, 4052, 4053 };
	uint32_t got = 0, written;
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++) {
		uint32_t end = got + buffers[i];
		struct packet packet;

		/* A byte more than there is room for, so that the device has to ask in the end. */
		packet_out(OP(CREDIT_UPDATE), 50000, 0, 0, 0, got);
		written = end + 1 - got;
		if (i > 0)
			written--; /* one is there still */
		cr_assert_eq(write(fd, data, written), written);
		packet_out(OP(CREDIT_UPDATE), 50000, 0, 0, buffers[i], got);
		for (;;) {
			guest_receive(&g, &packet);
			if (le16toh(packet.header.op) == OP(CREDIT_REQUEST) && got == end)
				break;
			if (le16toh(packet.header.op) == OP(CREDIT_REQUEST))
				continue;
			cr_assert_eq(le16toh(packet.header.op), OP(RW));
			got += le32toh(packet.header.len);
			cr_assert_leq(got, end, "buffer of %u", buffers[i]);
		}
	}
	close(fd);
}

/* Credit for two connections that both have much to say, in one kick: they take turns, packet by
 * packet. */
Test(vsock_credit, connections_take_turns)
{
	static const uint32_t ports[] = { 50000, 50001 };
	struct ring *tx = &g.rings[1];
	uint16_t done;
	int fds[2];

	for (size_t i = 0; i < 2; i++) {
		open_from_guest(&g, ports[i], 80, &fds[i]);
		packet_out(OP(CREDIT_UPDATE), ports[i], 0, 0, 0, 0);
		cr_assert_eq(write(fds[i], data, 16384), 16384);
		/* It has read its socket when it asks for room. */
		guest_expect(&g, OP(CREDIT_REQUEST), ports[i], NULL);
	}
	done = ring_used_idx(tx);
	for (uint16_t i = 0; i < 2; i++) {
		const struct virtio_vsock_hdr header =
			guest_header(OP(CREDIT_UPDATE), ports[i], 80);

		cr_assert_eq(guest_memory_write(&g.m.memory, GPA(0x100000 + i * HEADER), &header,
		                                HEADER),
		             0);
		ring_desc(tx, i, 0x100000 + i * HEADER, HEADER, 0, 0);
		ring_offer(tx, i);
	}
	driver_kick(&g.driver, 1);
	driver_await_used(tx, (uint16_t)(done + 2));
	for (int i = 0; i < 8; i++)
		(void)expect(OP(RW), ports[i % 2]);
	close(fds[0]);
	close(fds[1]);
}

/* ------------------------------------------------------------------------------------ counters */

Test(vsock_credit, it_counts_connections_bytes_and_resets)
{
	struct vsock_channel_message message;
	struct packet packet;
	char bytes[16];
	int fd, pair[2];

	open_from_guest(&g, 50000, 80, &fd);
	cr_assert_eq(stats().connections, 1);
	cr_assert_eq(stats().places_taken, 1);
	send_data(50000, 10);
	cr_assert_eq(read_all(fd, bytes, 10), 10);
	cr_assert_eq(write(fd, "123", 3), 3);
	packet = expect(OP(RW), 50000);
	cr_assert_eq(le32toh(packet.header.len), 3);
	/* From the host, with a greeting, which is nobody's bytes. */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_CONNECT, 5, 99, VSOCK_ANNOUNCE, pair[0]);
	close(pair[0]);
	guest_expect(&g, OP(REQUEST), 99, &packet);
	guest_send(&g, OP(RESPONSE), 99, le32toh(packet.header.src_port), NULL, 0);
	host_receive(&g, VSOCK_CONNECTED, &message);
	do
		cr_assert_eq(read(pair[1], bytes, 1), 1);
	while (bytes[0] != '\n');
	guest_send(&g, OP(RW), 99, le32toh(packet.header.src_port), "four", 4);
	cr_assert_eq(read_all(pair[1], bytes, 4), 4);
	WAIT_UNTIL(stats().to_host >= 14);
	cr_assert_eq(stats().connections, 2);
	cr_assert_eq(stats().to_host, 14);
	cr_assert_eq(stats().to_guest, 3);
	cr_assert_eq(stats().resets, 0);
	/* An RST of a connection, and one of none. */
	packet_out(OP(SHUTDOWN), 50000, BOTH, 0, GUEST_BUFFER, 0);
	guest_expect(&g, OP(RST), 50000, NULL);
	send_data(1, 1);
	guest_expect(&g, OP(RST), 1, NULL);
	WAIT_UNTIL(stats().resets >= 2);
	cr_assert_eq(stats().resets, 2);
	cr_assert_eq(stats().dropped, 0);
	close(fd);
	close(pair[1]);
}

/* ------------------------------------------------------------------------- one after the other */

/* The first free place is the one that was given back last, so all of these have the same one. */
Test(vsock_credit, a_connection_begins_with_nothing_of_the_one_before)
{
	static uint8_t back[BUFFER];
	struct packet packet;
	int fd;

	/* One with data both ways, both shutdowns and credit of the guest's. */
	open_from_guest(&g, 50000, 80, &fd);
	send_data(50000, 1000);
	cr_assert_eq(read_all(fd, back, 1000), 1000);
	cr_assert_eq(write(fd, data, 500), 500);
	(void)expect(OP(RW), 50000);
	packet_out(OP(SHUTDOWN), 50000, VIRTIO_VSOCK_SHUTDOWN_SEND, 0, GUEST_BUFFER, 500);
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	do
		packet = expect(OP(SHUTDOWN), 50000);
	while (le32toh(packet.header.flags) != VIRTIO_VSOCK_SHUTDOWN_SEND);
	hang_up(50000, fd);
	while (guest_has_packet(&g))
		guest_receive(&g, &packet);

	/* The next has all of its credit, and may send. */
	open_from_guest(&g, 50000, 80, &fd);
	packet_out(OP(CREDIT_REQUEST), 50000, 0, 0, 100, 0);
	packet = expect(OP(CREDIT_UPDATE), 50000);
	cr_assert_eq(le32toh(packet.header.fwd_cnt), 0);
	packet_out(OP(RW), 50000, 0, BUFFER, 100, 0);
	cr_assert_eq(read_all(fd, back, BUFFER), BUFFER);
	/* Exactly a hundred bytes reach the guest: nothing counts as sent yet. */
	cr_assert_eq(write(fd, data, 101), 101);
	guest_expect(&g, OP(RW), 50000, &packet);
	cr_assert_eq(le32toh(packet.header.len), 100);
	cr_assert_eq(memcmp(packet.data, data, 100), 0);
	packet_out(OP(CREDIT_UPDATE), 50000, 0, 0, GUEST_BUFFER, 100);
	do
		guest_receive(&g, &packet);
	while (le16toh(packet.header.op) != OP(RW));
	cr_assert_eq(le32toh(packet.header.len), 1);
	/* And it hears that the host has shut down. */
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	guest_expect(&g, OP(SHUTDOWN), 50000, &packet);
	cr_assert_eq(le32toh(packet.header.flags), VIRTIO_VSOCK_SHUTDOWN_SEND);
	close(fd);
}

/* A false source is told of once a driver. */
Test(vsock_credit, a_false_source_is_told_of_once_a_driver)
{
	for (uint32_t round = 1; round <= 3; round++) {
		struct virtio_vsock_hdr header = guest_header(OP(REQUEST), 50000, 80);

		header.src_cid = htole64(GUEST_CID + 1);
		guest_send_raw(&g, &header, sizeof(header));
		guest_send_raw(&g, &header, sizeof(header));
		cr_assert_eq(stats().dropped, 2 * round);
		machine_await_events(&g.m, round);
		cr_assert_eq(atomic_load(&g.m.event_count), round);
		guest_bring_up(&g, 16);
	}
}
