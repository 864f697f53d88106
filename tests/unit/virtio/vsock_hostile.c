/* SPDX-License-Identifier: MIT */
/* virtio-vsock against drivers and orchestrators that break the rules. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdatomic.h>
#include <string.h>

#include "rig/vsock_guest.h"

#define OP(name) VIRTIO_VSOCK_OP_##name

static struct vsock_guest g;

static void set_up(void)
{
	guest_start(&g, 16, 0);
}

static void set_up_without_buffers(void)
{
	guest_start(&g, 0, 0);
}

static void tear_down(void)
{
	guest_stop(&g);
}

TestSuite(vsock_hostile, .timeout = 30, .fini = tear_down);

static void works(void)
{
	char bytes[4];
	int fd;

	open_from_guest(&g, 40000, 80, &fd);
	guest_send(&g, OP(RW), 40000, 80, "well", 4);
	cr_assert_eq(read_all(fd, bytes, 4), 4);
	guest_send(&g, OP(RST), 40000, 80, NULL, 0);
	cr_assert_eq(read_all(fd, bytes, 1), 0);
	close(fd);
}

static void expect_needs_reset(uint32_t events)
{
	machine_await_events(&g.m, events);
	cr_assert(g.m.events[events - 1].needs_reset);
	cr_assert(driver_status(&g.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	guest_bring_up(&g, 16);
	works();
}

Test(vsock_hostile, packets_shorter_than_they_say, .init = set_up)
{
	struct virtio_vsock_hdr header = guest_header(OP(RW), 1, 2);
	uint8_t bytes[sizeof(header) + 10] = { 0 };

	guest_offer_packet(&g, &header, sizeof(header) - 1);
	expect_needs_reset(1);
	guest_offer_packet(&g, &header, 1);
	expect_needs_reset(2);
	header.len = htole32(11);
	memcpy(bytes, &header, sizeof(header));
	guest_offer_packet(&g, bytes, sizeof(bytes));
	expect_needs_reset(3);
	header.len = htole32(0xffffffff);
	memcpy(bytes, &header, sizeof(header));
	guest_offer_packet(&g, bytes, sizeof(bytes));
	expect_needs_reset(4);
	for (int i = 0; i < 4; i++)
		cr_assert(g.m.events[i].error == EPROTO && g.m.events[i].queue == 1);
}

/* A length that lies on an open connection copies nothing. */
Test(vsock_hostile, a_lying_length_on_an_open_connection, .init = set_up)
{
	struct virtio_vsock_hdr header = guest_header(OP(RW), 50000, 80);
	char byte;
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	header.len = htole32(65536);
	guest_offer_packet(&g, &header, sizeof(header));
	expect_needs_reset(1);
	cr_assert_eq(read_all(fd, &byte, 1), 0);
	close(fd);
}

Test(vsock_hostile, receive_buffers_without_room, .init = set_up_without_buffers)
{
	struct virtio_vsock_hdr header = guest_header(OP(RW), 1, 2);

	guest_offer_buffer(&g, 0, sizeof(struct virtio_vsock_hdr));
	guest_offer_packet(&g, &header, sizeof(header));
	expect_needs_reset(1);
}

/* Whatever belongs to no connection is answered with RST, but for an RST. */
Test(vsock_hostile, packets_of_no_connection, .init = set_up)
{
	static const uint16_t ops[] = {
		0, OP(RESPONSE), OP(SHUTDOWN), OP(RW), OP(CREDIT_UPDATE), OP(CREDIT_REQUEST),
		8, 0xffff
	};
	struct packet packet;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		guest_send(&g, ops[i], 50000, 80, "data", 4);
		guest_expect(&g, OP(RST), 50000, &packet);
		cr_assert_eq(le32toh(packet.header.src_port), 80);
	}
	guest_send(&g, OP(RST), 50000, 80, NULL, 0);
	works();
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
}

Test(vsock_hostile, operations_that_do_not_fit_the_state, .init = set_up)
{
	static const uint16_t on_open[] = { 0, OP(REQUEST), OP(RESPONSE), 9 };
	static const uint16_t on_asking[] = {
		0,      OP(REQUEST),       OP(RESPONSE),      OP(SHUTDOWN),
		OP(RW), OP(CREDIT_UPDATE), OP(CREDIT_REQUEST)
	};
	struct vsock_channel_message message;
	char byte;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(on_open); i++) {
		open_from_guest(&g, 50000, 80, &fd);
		guest_send(&g, on_open[i], 50000, 80, NULL, 0);
		guest_expect(&g, OP(RST), 50000, NULL);
		cr_assert_eq(read_all(fd, &byte, 1), 0);
		close(fd);
	}
	for (size_t i = 0; i < ARRAY_SIZE(on_asking); i++) {
		guest_send(&g, OP(REQUEST), 50000, 80, NULL, 0);
		host_receive(&g, VSOCK_ASK, &message);
		guest_send(&g, on_asking[i], 50000, 80, NULL, 0);
		guest_expect(&g, OP(RST), 50000, NULL);
	}
	works();
}

Test(vsock_hostile, operations_on_an_invitation, .init = set_up)
{
	static const uint16_t ops[] = { 0,      OP(REQUEST),       OP(RST),           OP(SHUTDOWN),
		                        OP(RW), OP(CREDIT_UPDATE), OP(CREDIT_REQUEST) };
	struct vsock_channel_message message;
	struct packet packet;
	int pair[2];

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		host_send(&g, VSOCK_CONNECT, i, 1234, 0, pair[0]);
		guest_expect(&g, OP(REQUEST), 1234, &packet);
		guest_send(&g, ops[i], 1234, le32toh(packet.header.src_port), NULL, 0);
		host_receive(&g, VSOCK_REFUSED, &message);
		cr_assert_eq(le64toh(message.id), i);
		if (ops[i] != OP(RST))
			guest_expect(&g, OP(RST), 1234, NULL);
		close(pair[0]);
		close(pair[1]);
	}
	await_places(&g, 0);
	works();
}

Test(vsock_hostile, other_types_and_addresses, .init = set_up)
{
	struct virtio_vsock_hdr header = guest_header(OP(REQUEST), 50000, 80);
	struct packet packet;

	header.type = htole16(77);
	guest_send_raw(&g, &header, sizeof(header));
	guest_expect(&g, OP(RST), 50000, &packet);
	cr_assert_eq(le16toh(packet.header.type), 77);
	header = guest_header(OP(REQUEST), 50000, 80);
	header.dst_cid = htole64(12345);
	guest_send_raw(&g, &header, sizeof(header));
	guest_expect(&g, OP(RST), 50000, &packet);
	cr_assert_eq(le64toh(packet.header.src_cid), 12345);
	/* Under another's name: dropped, with one event. */
	header = guest_header(OP(REQUEST), 50000, 80);
	header.src_cid = htole64(GUEST_CID + (1ULL << 32));
	guest_send_raw(&g, &header, sizeof(header));
	guest_send_raw(&g, &header, sizeof(header));
	machine_await_events(&g.m, 1);
	works();
	cr_assert_eq(atomic_load(&g.m.event_count), 1);
	cr_assert(!g.m.events[0].needs_reset);
	cr_assert_eq(atomic_load(&g.vsock.dropped), 2);
}

/* CVE-2020-16843: a receive queue without room must not stop the device for good. */
Test(vsock_hostile, answers_without_receive_buffers, .init = set_up_without_buffers)
{
	struct packet packet;

	for (uint32_t i = 0; i < VSOCK_RESETS; i++)
		guest_send(&g, OP(RW), i, 80, NULL, 0);
	for (uint16_t i = 0; i < 16; i++)
		guest_offer_buffer(&g, i, 4096);
	for (uint32_t i = 0; i < VSOCK_RESETS; i++)
		guest_expect(&g, OP(RST), i, &packet);
	works();
}

Test(vsock_hostile, questions_that_nobody_answers, .init = set_up)
{
	struct vsock_channel_message first, message;
	int pair[2];
	char byte;

	guest_send(&g, OP(REQUEST), 1, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &first);
	for (uint32_t i = 2; i <= VSOCK_CONNECTIONS; i++) {
		guest_send(&g, OP(REQUEST), i, 80, NULL, 0);
		host_receive(&g, VSOCK_ASK, &message);
	}
	await_places(&g, VSOCK_CONNECTIONS);
	/* The oldest makes room. */
	guest_send(&g, OP(REQUEST), VSOCK_CONNECTIONS + 1, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &message);
	cr_assert_eq(le32toh(message.guest_port), VSOCK_CONNECTIONS + 1);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_ACCEPT, le64toh(first.id), 0, 0, pair[0]);
	close(pair[0]);
	cr_assert_eq(read_all(pair[1], &byte, 1), 0);
	close(pair[1]);
	/* No place for what the orchestrator wants. */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_CONNECT, 9, 1234, 0, pair[0]);
	host_receive(&g, VSOCK_REFUSED, &message);
	cr_assert_eq(le32toh(message.reason), VSOCK_REASON_FULL);
	close(pair[0]);
	close(pair[1]);
}

Test(vsock_hostile, an_orchestrator_that_reads_nothing, .init = set_up)
{
	struct packet packet;

	/* Asked far more often than the channel and the queue take: refused, and nothing is
	 * lost. */
	for (uint32_t i = 0; i < 2000; i++) {
		guest_send(&g, OP(REQUEST), i, 80, NULL, 0);
		while (guest_has_packet(&g))
			guest_receive(&g, &packet);
	}
	cr_assert_eq(atomic_load(&g.m.event_count), 0);
	cr_assert_leq(atomic_load(&g.vsock.places_taken), VSOCK_CONNECTIONS);
}

Test(vsock_hostile, a_reset_ends_all_connections, .init = set_up)
{
	struct vsock_channel_message message;
	int fds[3], pair[2];
	char byte;

	for (int round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < 3; i++)
			open_from_guest(&g, 50000 + i, 80, &fds[i]);
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		host_send(&g, VSOCK_CONNECT, 9, 1234, 0, pair[0]);
		close(pair[0]);
		guest_expect(&g, OP(REQUEST), 1234, NULL);
		guest_bring_up(&g, 16);
		host_receive(&g, VSOCK_REFUSED, &message);
		cr_assert_eq(le32toh(message.reason), VSOCK_REASON_NO_DRIVER);
		for (uint32_t i = 0; i < 3; i++) {
			cr_assert_eq(read_all(fds[i], &byte, 1), 0);
			close(fds[i]);
		}
		close(pair[1]);
		await_places(&g, 0);
		works();
	}
	driver_reset(&g.driver);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(&g, VSOCK_CONNECT, 9, 1234, 0, pair[0]);
	host_receive(&g, VSOCK_REFUSED, &message);
	cr_assert_eq(le32toh(message.reason), VSOCK_REASON_NO_DRIVER);
}

Test(vsock_hostile, the_channel_ends, .init = set_up)
{
	struct vsock_channel_message message;
	char bytes[4];
	int fd;

	open_from_guest(&g, 50000, 80, &fd);
	guest_send(&g, OP(REQUEST), 50001, 80, NULL, 0);
	host_receive(&g, VSOCK_ASK, &message);
	close_ptr(&g.channel);
	guest_expect(&g, OP(RST), 50001, NULL);
	machine_await_events(&g.m, 1);
	cr_assert(!g.m.events[0].needs_reset);
	guest_send(&g, OP(REQUEST), 50002, 80, NULL, 0);
	guest_expect(&g, OP(RST), 50002, NULL);
	guest_send(&g, OP(RW), 50000, 80, "well", 4);
	cr_assert_eq(read_all(fd, bytes, 4), 4);
	close(fd);
}

Test(vsock_hostile, malformed_channel_messages_are_dropped, .init = set_up)
{
	struct vsock_channel_message message = {
		.version = htole16(VSOCK_CHANNEL_VERSION),
		.kind = htole16(VSOCK_CONNECT),
	};
	uint8_t bytes[64] = { 0 };
	uint32_t events = 0;
	int pair[2];
	char byte;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	/* Without a descriptor; with two. */
	host_send_raw(&g, &message, sizeof(message), NULL, 0);
	machine_await_events(&g.m, ++events);
	host_send_raw(&g, &message, sizeof(message), (int[]){ pair[0], pair[0] }, 2);
	machine_await_events(&g.m, ++events);
	/* Too short, too long. */
	host_send_raw(&g, &message, sizeof(message) - 1, &pair[0], 1);
	machine_await_events(&g.m, ++events);
	memcpy(bytes, &message, sizeof(message));
	host_send_raw(&g, bytes, sizeof(bytes), &pair[0], 1);
	machine_await_events(&g.m, ++events);
	/* Another version, another kind, a kind that is the shim's. */
	message.version = htole16(VSOCK_CHANNEL_VERSION + 1);
	host_send_raw(&g, &message, sizeof(message), &pair[0], 1);
	machine_await_events(&g.m, ++events);
	message.version = htole16(VSOCK_CHANNEL_VERSION);
	message.kind = htole16(99);
	host_send_raw(&g, &message, sizeof(message), &pair[0], 1);
	machine_await_events(&g.m, ++events);
	message.kind = htole16(VSOCK_CONNECTED);
	host_send_raw(&g, &message, sizeof(message), &pair[0], 1);
	machine_await_events(&g.m, ++events);
	/* None of the descriptors is kept. */
	close(pair[0]);
	cr_assert_eq(read_all(pair[1], &byte, 1), 0);
	close(pair[1]);
	works();
	cr_assert_eq(atomic_load(&g.m.event_count), events);
}
