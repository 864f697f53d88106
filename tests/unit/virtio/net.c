/* SPDX-License-Identifier: MIT */
/* virtio-net: frames both ways through a real ring and a socket pair in the TAP's place. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "rig/net_rig.h"
#include "virtio/net_parts.h"

#define RX 0
#define TX 1

static struct net_rig rig;

static void set_up(void)
{
	net_rig_start(&rig, 1, NULL);
}

static void tear_down(void)
{
	net_rig_stop(&rig);
}

/* What came out of the device, or -1 when nothing did within a moment. */
static ssize_t receive(uint16_t pair, void *data, size_t length, int wait_ms)
{
	struct pollfd poll_fd = { .fd = rig.wire[pair], .events = POLLIN };

	if (poll(&poll_fd, 1, wait_ms) <= 0)
		return -1;
	return recv(rig.wire[pair], data, length, 0);
}

static void expect_frame(uint64_t address, uint32_t offset, uint32_t length, uint8_t seed)
{
	for (uint32_t i = 0; i < length; i++) {
		uint8_t byte;

		cr_assert_eq(guest_memory_read(&rig.m.memory, GPA(address + i), &byte, 1), 0);
		cr_assert_eq(byte, net_rig_byte(offset + i, seed), "byte %u", offset + i);
	}
}

static struct virtio_net_hdr_v1 header_at(uint64_t address)
{
	struct virtio_net_hdr_v1 header;

	cr_assert_eq(guest_memory_read(&rig.m.memory, GPA(address), &header, sizeof(header)), 0);
	return header;
}

/* ------------------------------------------------------------------------------------ transmit */

TestSuite(net, .timeout = 60);

Test(net, what_is_transmitted_arrives_however_it_is_cut, .init = set_up, .fini = tear_down)
{
	static const uint32_t pieces[] = { 2000, 12, 5, 13, 30, 11 };
	uint8_t frame[NET_RIG_HEADER + 300] = { 0 };
	uint8_t got[2000];

	net_rig_up(&rig, NET_RIG_BASIC);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		for (size_t at = NET_RIG_HEADER; at < sizeof(frame); at++)
			frame[at] = (uint8_t)(at * 3 + i);
		net_rig_transmit(&rig, TX, frame, pieces[i] == 5 ? 60 : sizeof(frame), pieces[i]);
		cr_assert_eq(receive(0, got, sizeof(got), 5000),
		             pieces[i] == 5 ? 60 : (ssize_t)sizeof(frame));
		cr_assert_eq(memcmp(got, frame, 60), 0, "in pieces of %u", pieces[i]);
	}
	cr_assert_eq(net_rig_stats(&rig).tx_frames, ARRAY_SIZE(pieces));
	cr_assert_eq(net_rig_stats(&rig).tx_dropped, 0);
}

Test(net, frames_that_are_none_are_dropped_and_counted, .init = set_up, .fini = tear_down)
{
	static const struct {
		const char *what;
		struct virtio_net_hdr_v1 header;
		uint32_t length;
	} bad[] = {
		{ "shorter than a header", { 0 }, 5 },
		{ "a header alone", { 0 }, 12 },
		{ "a runt", { 0 }, 25 },
		{ "longer than any packet", { 0 }, 12 + 65535 + 18 + 1 },
		{ "unknown flags", { .flags = 0x80 }, 100 },
		{ "a checksum not negotiated", { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM }, 100 },
		{ "segmentation not negotiated",
		  { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		    .gso_size = 1400 },
		  100 },
		{ "congestion without segmentation", { .gso_type = VIRTIO_NET_HDR_GSO_ECN }, 100 },
		{ "a type that there is not", { .gso_type = 0x7f }, 100 },
	};
	static uint8_t frame[70000];
	uint8_t got[200];

	net_rig_up(&rig, NET_RIG_BASIC);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(frame, &bad[i].header, sizeof(bad[i].header));
		net_rig_transmit(&rig, TX, frame, bad[i].length, 4096);
		cr_assert_eq(net_rig_stats(&rig).tx_dropped, i + 1, "%s", bad[i].what);
	}
	memset(frame, 0, sizeof(frame));
	net_rig_transmit(&rig, TX, frame, 100, 100);
	cr_assert_eq(receive(0, got, sizeof(got), 5000), 100);
	cr_assert_eq(receive(0, got, sizeof(got), 0), -1);
	cr_assert_eq(rig.m.event_count, 0);
}

/* 14 bytes of Ethernet header are the least, 64 KiB of packet, that header and a VLAN tag the
 * most. */
Test(net, the_shortest_and_the_longest_frame_sent, .init = set_up, .fini = tear_down)
{
	static const struct {
		uint32_t length;
		bool passes;
	} rows[] = { { 12 + 13, false },
		     { 12 + 14, true },
		     { 12 + 65535 + 18, true },
		     { 12 + 65535 + 19, false } };
	static uint8_t frame[70000], got[70000];
	uint64_t frames = 0, bytes = 0, dropped = 0;

	net_rig_up(&rig, NET_RIG_BASIC);
	/* What the guest says about a number of buffers is its own (§5.1.6.2: it is unused
	 * here). */
	frame[10] = frame[11] = 0xff;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		net_rig_transmit(&rig, TX, frame, rows[i].length, 1024);
		frames += rows[i].passes;
		dropped += !rows[i].passes;
		bytes += rows[i].passes ? rows[i].length - 12 : 0;
		cr_assert_eq(net_rig_stats(&rig).tx_frames, frames, "%u bytes", rows[i].length);
		cr_assert_eq(net_rig_stats(&rig).tx_dropped, dropped, "%u bytes", rows[i].length);
		cr_assert_eq(net_rig_stats(&rig).tx_bytes, bytes);
		cr_assert_eq(receive(0, got, sizeof(got), rows[i].passes ? 5000 : 0),
		             rows[i].passes ? (ssize_t)rows[i].length : -1);
		if (rows[i].passes)
			cr_assert(got[10] == 0 && got[11] == 0);
	}
}

Test(net, the_shortest_and_the_longest_frame_received, .init = set_up, .fini = tear_down)
{
	static const uint32_t lengths[] = { 13, 14, 1514 };
	uint64_t bytes = 0;

	net_rig_up(&rig, NET_RIG_MERGED);
	for (uint16_t i = 0; i < 40; i++)
		net_rig_give(&rig, RX, i, 4096);
	for (uint16_t i = 0; i < ARRAY_SIZE(lengths); i++)
		net_rig_send(&rig, 0, NULL, lengths[i], 3);
	for (uint16_t i = 1; i < ARRAY_SIZE(lengths); i++) {
		cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + lengths[i]);
		bytes += lengths[i];
	}
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, 1, "the runt");
	cr_assert_eq(net_rig_stats(&rig).rx_frames, 2);
	cr_assert_eq(net_rig_stats(&rig).rx_bytes, bytes);
	/* The longest comes in as many buffers as it needs, which its header counts. */
	net_rig_send(&rig, 0, NULL, 65535 + 18, 3);
	cr_assert_eq(header_at(net_rig_rx_address(RX, (uint16_t)net_rig_used(&rig, RX).id))
	                     .num_buffers,
	             17);
	for (uint16_t i = 1; i < 17; i++)
		(void)net_rig_used(&rig, RX);
	cr_assert_eq(net_rig_stats(&rig).rx_frames, 3);
	cr_assert_eq(net_rig_stats(&rig).rx_bytes, bytes + 65535 + 18);
}

/* §5.1.6.4.1: flags that belong to a feature only to a driver that has it. */
Test(net, flags_reach_only_a_driver_that_knows_them, .init = set_up, .fini = tear_down)
{
	const struct virtio_net_hdr_v1 valid = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };

	for (int with = 0; with < 2; with++) {
		struct virtio_net_hdr_v1 header;

		net_rig_up(&rig, with ? NET_RIG_BASIC | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM)
		                      : NET_RIG_BASIC);
		net_rig_give(&rig, RX, 0, 4096);
		net_rig_send(&rig, 0, &valid, 100, 3);
		(void)net_rig_used(&rig, RX);
		header = header_at(net_rig_rx_address(RX, 0));
		cr_assert_eq(header.flags, with ? 2 : 0);
		cr_assert_eq(header.num_buffers, 1);
	}
}

Test(net, a_transmit_chain_with_a_writable_part_is_dropped, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_BASIC);
	ring_desc(&rig.rings[TX], 0, 0x70000, 100, VRING_DESC_F_NEXT, 1);
	ring_desc(&rig.rings[TX], 1, 0x71000, 100, VRING_DESC_F_WRITE, 0);
	ring_offer(&rig.rings[TX], 0);
	driver_kick(&rig.driver, TX);
	cr_assert_eq(net_rig_used(&rig, TX).length, 0);
	cr_assert_eq(net_rig_stats(&rig).tx_dropped, 1);
}

Test(net, a_segment_that_was_negotiated_passes_with_its_header, .init = set_up, .fini = tear_down)
{
	const struct virtio_net_hdr_v1 header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
		.num_buffers = 0,
	};
	static uint8_t frame[60000], got[65536];

	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	memcpy(frame, &header, sizeof(header));
	net_rig_transmit(&rig, TX, frame, sizeof(frame), 4096);
	cr_assert_eq(receive(0, got, sizeof(got), 5000), (ssize_t)sizeof(frame));
	cr_assert_eq(memcmp(got, &header, sizeof(header)), 0);
}

Test(net, more_frames_than_writes_all_arrive_in_order, .init = set_up, .fini = tear_down)
{
	uint8_t got[200];
	uint32_t next = 0;

	net_rig_up(&rig, NET_RIG_BASIC);
	for (int round = 0; round < 10; round++) {
		for (uint16_t i = 0; i < NET_RIG_SIZE; i++) {
			uint32_t number = (uint32_t)round * NET_RIG_SIZE + i;
			uint64_t address = 0x70000 + i * 256u;

			cr_assert_eq(guest_memory_write(&rig.m.memory, GPA(address + 12), &number,
			                                4),
			             0);
			ring_desc(&rig.rings[TX], i, address, 100, 0, 0);
			ring_offer(&rig.rings[TX], i);
		}
		driver_kick(&rig.driver, TX);
		for (uint16_t i = 0; i < NET_RIG_SIZE; i++, next++) {
			uint32_t number;

			cr_assert_eq(receive(0, got, sizeof(got), 5000), 100);
			memcpy(&number, got + 12, sizeof(number));
			cr_assert_eq(number, next);
			(void)net_rig_used(&rig, TX);
		}
	}
}

/* ------------------------------------------------------------------------------------- receive */

Test(net, a_frame_goes_into_one_buffer, .init = set_up, .fini = tear_down)
{
	struct virtq_used used;

	net_rig_up(&rig, NET_RIG_BASIC);
	net_rig_give(&rig, RX, 0, 1526);
	net_rig_send(&rig, 0, NULL, 1514, 1);
	used = net_rig_used(&rig, RX);
	cr_assert_eq(used.id, 0);
	cr_assert_eq(used.length, 1526);
	cr_assert_eq(header_at(net_rig_rx_address(RX, 0)).num_buffers, 1);
	expect_frame(net_rig_rx_address(RX, 0) + NET_RIG_HEADER, 0, 1514, 1);
	cr_assert_eq(net_rig_stats(&rig).rx_bytes, 1514);
}

Test(net, frames_wait_for_buffers_and_then_go_on, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_MERGED);
	for (uint8_t i = 0; i < 20; i++)
		net_rig_send(&rig, 0, NULL, 100u + i, i);
	/* One after the other: each time the queue is empty when the next comes. */
	for (uint8_t i = 0; i < 20; i++) {
		net_rig_give(&rig, RX, i, 2048);
		cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + 100u + i);
		expect_frame(net_rig_rx_address(RX, i) + NET_RIG_HEADER, 0, 100u + i, i);
	}
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, 0);
}

Test(net, a_large_frame_is_spread_over_merged_buffers, .init = set_up, .fini = tear_down)
{
	static const uint32_t lengths[] = { 1536, 1536, 1536, 1536 };

	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	for (uint16_t i = 0; i < 50; i++)
		net_rig_give(&rig, RX, i, 1536);
	net_rig_send(&rig, 0, NULL, 4 * 1536 - 12 - 100, 9);
	for (uint16_t i = 0; i < 4; i++) {
		struct virtq_used used = net_rig_used(&rig, RX);
		uint32_t skip = i == 0 ? NET_RIG_HEADER : 0;

		cr_assert_eq(used.id, i);
		cr_assert_eq(used.length, i < 3 ? lengths[i] : 1436);
		expect_frame(net_rig_rx_address(RX, i) + skip, i * 1536u + skip - NET_RIG_HEADER,
		             used.length - skip, 9);
	}
	cr_assert_eq(header_at(net_rig_rx_address(RX, 0)).num_buffers, 4);
	/* The other buffers take the next frames. */
	for (uint16_t i = 4; i < 10; i++) {
		uint64_t address;

		net_rig_send(&rig, 0, NULL, 600, (uint8_t)i);
		/* Which of them is the device's choice. */
		address = net_rig_rx_address(RX, (uint16_t)net_rig_used(&rig, RX).id);
		cr_assert_eq(header_at(address).num_buffers, 1);
		expect_frame(address + NET_RIG_HEADER, 0, 600, (uint8_t)i);
	}
}

Test(net, a_frame_waits_for_the_buffers_it_lacks, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	net_rig_give(&rig, RX, 0, 2048);
	net_rig_give(&rig, RX, 1, 2048);
	net_rig_send(&rig, 0, NULL, 7000, 5);
	net_rig_send(&rig, 0, NULL, 64, 6);
	for (uint16_t i = 2; i < 5; i++)
		net_rig_give(&rig, RX, i, 2048);
	for (uint16_t i = 0; i < 4; i++) {
		struct virtq_used used = net_rig_used(&rig, RX);
		uint32_t skip = i == 0 ? NET_RIG_HEADER : 0;

		cr_assert_eq(used.id, i);
		cr_assert_eq(used.length, i < 3 ? 2048 : 7012 - 3 * 2048);
		expect_frame(net_rig_rx_address(RX, i) + skip, i * 2048u + skip - NET_RIG_HEADER,
		             used.length - skip, 5);
	}
	cr_assert_eq(header_at(net_rig_rx_address(RX, 0)).num_buffers, 4);
	cr_assert_eq(net_rig_used(&rig, RX).id, 4);
	expect_frame(net_rig_rx_address(RX, 4) + NET_RIG_HEADER, 0, 64, 6);
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, 0);
}

Test(net, frames_behind_one_that_waits_keep_their_order, .init = set_up, .fini = tear_down)
{
	/* A small one first: it makes the next batch one of two reads, with a buffer each. */
	enum { SMALL = 1, LARGE = 6 };
	uint16_t given = 0;
	uint8_t seed = 0;

	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	for (int i = 0; i < SMALL; i++)
		net_rig_send(&rig, 0, NULL, 100, seed++);
	for (int i = 0; i < LARGE; i++)
		net_rig_send(&rig, 0, NULL, 6000, seed++);
	for (; given < 3; given++) {
		ring_desc(&rig.rings[RX], given, net_rig_rx_address(RX, given), 2048,
		          VRING_DESC_F_WRITE, 0);
		ring_offer(&rig.rings[RX], given);
	}
	driver_kick(&rig.driver, RX);
	for (uint8_t next = 0; next < SMALL + LARGE; next++) {
		uint32_t length = next < SMALL ? 100 : 6000, at = 0;

		while (at < NET_RIG_HEADER + length) {
			struct virtq_used used;
			uint64_t address;
			uint32_t skip = at == 0 ? NET_RIG_HEADER : 0;

			if (ring_used_idx(&rig.rings[RX]) == rig.seen[RX]) {
				if ((uint16_t)(given - rig.seen[RX]) < 100)
					net_rig_give(&rig, RX, given++ % 128, 2048);
				pause_a_little();
				continue;
			}
			used = net_rig_used(&rig, RX);
			address = net_rig_rx_address(RX, (uint16_t)used.id);
			expect_frame(address + skip, at + skip - NET_RIG_HEADER, used.length - skip,
			             next);
			at += used.length;
		}
		cr_assert_eq(at, NET_RIG_HEADER + length);
	}
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, 0);
}

/* Takes frames of `length` bytes as they come, and gives each buffer back at once. */
static void take_frames(uint8_t first, int count, uint32_t length)
{
	for (int i = 0; i < count; i++)
		for (uint32_t at = 0; at < NET_RIG_HEADER + length;) {
			uint32_t skip = at == 0 ? NET_RIG_HEADER : 0;
			struct virtq_used used = net_rig_used(&rig, RX);

			expect_frame(net_rig_rx_address(RX, (uint16_t)used.id) + skip,
			             at + skip - NET_RIG_HEADER, used.length - skip,
			             (uint8_t)(first + i));
			at += used.length;
			cr_assert_leq(at, NET_RIG_HEADER + length);
			net_rig_give(&rig, RX, (uint16_t)used.id, 2048);
		}
}

/* Frames grow while reads hold all that the driver has: what one holds for later, and what a frame
 * has half filled, must go to the frame that is next. Of the large ones each fits, but no two. */
Test(net, all_buffers_are_in_stock_when_frames_grow, .init = set_up, .fini = tear_down)
{
	uint8_t seed = 0;

	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	for (; seed < 3; seed++)
		net_rig_send(&rig, 0, NULL, 6000, seed);
	for (; seed < 9; seed++)
		net_rig_send(&rig, 0, NULL, 30000, seed);
	for (uint16_t i = 0; i < 16; i++) {
		ring_desc(&rig.rings[RX], i, net_rig_rx_address(RX, i), 2048, VRING_DESC_F_WRITE,
		          0);
		ring_offer(&rig.rings[RX], i);
	}
	driver_kick(&rig.driver, RX);
	take_frames(0, 3, 6000);
	take_frames(3, 6, 30000);
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, 0);
}

Test(net, a_frame_that_no_buffer_holds_is_dropped_and_counted, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_BASIC);
	net_rig_give(&rig, RX, 0, 1000);
	net_rig_send(&rig, 0, NULL, 989, 1);
	net_rig_send(&rig, 0, NULL, 988, 2);
	cr_assert_eq(net_rig_used(&rig, RX).length, 1000);
	expect_frame(net_rig_rx_address(RX, 0) + NET_RIG_HEADER, 0, 988, 2);
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, 1);
}

Test(net, what_was_not_negotiated_never_arrives, .init = set_up, .fini = tear_down)
{
	static const struct virtio_net_hdr_v1 foreign[] = {
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1400 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV6, .gso_size = 1400 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1400 },
	};
	const struct virtio_net_hdr_v1 valid = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };

	net_rig_up(&rig, NET_RIG_MERGED);
	net_rig_give(&rig, RX, 0, 2048);
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
		net_rig_send(&rig, 0, &foreign[i], 100, 1);
	net_rig_send(&rig, 0, NULL, 5, 1);
	net_rig_send(&rig, 0, &valid, 200, 2);
	cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + 200);
	cr_assert_eq(header_at(net_rig_rx_address(RX, 0)).flags, 0);
	cr_assert_eq(net_rig_stats(&rig).rx_dropped, ARRAY_SIZE(foreign) + 1);
}

Test(net, a_receive_buffer_that_cannot_be_written_fails_the_device, .init = set_up,
     .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_MERGED);
	net_rig_send(&rig, 0, NULL, 100, 1);
	ring_desc(&rig.rings[RX], 0, 0x70000, 2048, 0, 0);
	ring_offer(&rig.rings[RX], 0);
	driver_kick(&rig.driver, RX);
	machine_await_events(&rig.m, 1);
	cr_assert(rig.m.events[0].needs_reset);
	cr_assert(driver_status(&rig.driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	net_rig_up(&rig, NET_RIG_MERGED);
	net_rig_give(&rig, RX, 0, 2048);
	cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + 100);
}

/* ------------------------------------------------------------------------- resets and pauses */

static atomic_bool flooding;

static void *flood(void *context)
{
	static uint8_t frame[NET_RIG_HEADER + 1000];

	(void)context;
	while (atomic_load(&flooding))
		if (send(rig.wire[0], frame, sizeof(frame), 0) < 0)
			pause_a_little();
	return NULL;
}

Test(net, a_reset_under_traffic_leaves_nothing_behind, .init = set_up, .fini = tear_down)
{
	pthread_t thread;
	uint8_t got[2000];

	atomic_store(&flooding, true);
	cr_assert_eq(pthread_create(&thread, NULL, flood, NULL), 0);
	for (int round = 0; round < 50; round++) {
		net_rig_up(&rig, round % 2 ? NET_RIG_MERGED : NET_RIG_MERGED | NET_RIG_OFFLOADS);
		for (uint16_t i = 0; i < 30; i++)
			net_rig_give(&rig, RX, i, 2048);
		for (int i = 0; i < round % 20; i++)
			cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + 1000);
	}
	atomic_store(&flooding, false);
	wait_join(thread, NULL);
	driver_reset(&rig.driver);
	cr_assert_eq(rig.m.event_count, 0);
	memset(got, 0, sizeof(got));
	net_rig_up(&rig, NET_RIG_BASIC);
	net_rig_transmit(&rig, TX, got, 100, 100);
	cr_assert_eq(receive(0, got, sizeof(got), 5000), 100);
}

Test(net, a_queue_can_be_reset_alone, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_MERGED);
	for (uint16_t i = 0; i < 8; i++)
		net_rig_give(&rig, RX, i, 2048);
	net_rig_send(&rig, 0, NULL, 100, 1);
	(void)net_rig_used(&rig, RX);
	common_out(&rig.driver, VIRTIO_PCI_COMMON_Q_SELECT, RX, 2);
	common_out(&rig.driver, VIRTIO_PCI_COMMON_Q_RESET, 1, 2);
	WAIT_UNTIL(common_in(&rig.driver, VIRTIO_PCI_COMMON_Q_RESET, 2) == 0);
	ring_init(&rig.rings[RX], &rig.m.memory, NET_RIG_SIZE, rig.rings[RX].desc);
	rig.seen[RX] = 0;
	driver_queue(&rig.driver, RX, &rig.rings[RX]);
	net_rig_give(&rig, RX, 9, 2048);
	net_rig_send(&rig, 0, NULL, 200, 1);
	cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + 200);
}

Test(net, a_pause_keeps_the_guests_buffers, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_MERGED | NET_RIG_OFFLOADS);
	for (uint16_t i = 0; i < 50; i++)
		net_rig_give(&rig, RX, i, 2048);
	net_rig_send(&rig, 0, NULL, 100, 1);
	cr_assert_eq(net_rig_used(&rig, RX).id, 0);
	io_loop_pause(&rig.m.loop);
	cr_assert_eq(io_loop_await(&rig.m.loop, IO_PARKED), IO_PARKED);
	net_rig_send(&rig, 0, NULL, 300, 2);
	for (int i = 0; i < 20; i++)
		pause_a_little();
	cr_assert_eq(ring_used_idx(&rig.rings[RX]), 1, "paused, but frames arrive");
	io_loop_resume(&rig.m.loop);
	cr_assert_eq(net_rig_used(&rig, RX).length, NET_RIG_HEADER + 300);
}

Test(net, a_tap_that_goes_is_one_event_and_the_link_is_down, .init = set_up, .fini = tear_down)
{
	uint8_t frame[100] = { 0 };

	net_rig_up(&rig, NET_RIG_MERGED);
	cr_assert_eq(mmio_in(&rig.m, rig.driver.bar + VIRTIO_BAR_DEVICE + 6, 2),
	             VIRTIO_NET_S_LINK_UP);
	net_rig_give(&rig, RX, 0, 2048);
	close_ptr(&rig.wire[0]);
	machine_await_events(&rig.m, 1);
	cr_assert(!rig.m.events[0].needs_reset);
	WAIT_UNTIL(mmio_in(&rig.m, rig.driver.bar + VIRTIO_BAR_DEVICE + 6, 2) == 0);
	WAIT_UNTIL(driver_interrupts(&rig.driver, 3) != 0);
	net_rig_transmit(&rig, TX, frame, sizeof(frame), 100);
	cr_assert_eq(net_rig_stats(&rig).tx_dropped, 1);
	cr_assert_eq(rig.m.event_count, 1);
}

/* The same found out in sending: EBADFD is what a queue without its TAP says. The loop has ended,
 * so that what its thread would do is done here. */
Test(net, a_tap_that_is_gone_shows_in_sending_too, .init = set_up, .fini = tear_down)
{
	static const int errors[] = { -EIO, -EAGAIN, -EBADFD, -EBADFD };

	net_rig_up(&rig, NET_RIG_BASIC);
	cr_assert_eq(net_rig_command(&rig, 0, 0, "\1", 1), VIRTIO_NET_OK);
	machine_stop(&rig.m, 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct net_write *write = &rig.net->senders[0].writes[0];

		cr_assert_eq(mmio_in(&rig.m, rig.driver.bar + VIRTIO_BAR_DEVICE + 6, 2), i <= 2);
		write->op.done(&write->op, errors[i], 0);
		cr_assert_eq(rig.m.event_count, i >= 2);
		cr_assert_eq(mmio_in(&rig.m, rig.driver.bar + VIRTIO_BAR_DEVICE + 6, 2), i < 2);
		cr_assert_eq(net_rig_stats(&rig).tx_dropped, i + 1);
		cr_assert_eq(net_rig_stats(&rig).tx_frames, 0);
	}
	cr_assert_eq(rig.m.events[0].error, EBADFD);
}
