/* SPDX-License-Identifier: MIT */
/* virtio-net: the control queue, several queue pairs, limits, features, addresses. */
#include <criterion/criterion.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#include "rig/net_rig.h"
#include "virtio/net_parts.h"

#define MQ (NET_RIG_MERGED | VIRTIO_FEATURE(VIRTIO_NET_F_MQ))
#define HOUR_S 3600u

static struct net_rig rig;

static void set_up(void)
{
	net_rig_start(&rig, 1, NULL);
}

static void set_up_four(void)
{
	net_rig_start(&rig, 4, NULL);
}

static void tear_down(void)
{
	net_rig_stop(&rig);
}

static bool frame_comes_out(uint16_t pair, int wait_ms)
{
	struct pollfd poll_fd = { .fd = rig.wire[pair], .events = POLLIN };
	uint8_t frame[2000];

	return poll(&poll_fd, 1, wait_ms) > 0 && recv(rig.wire[pair], frame, sizeof(frame), 0) > 0;
}

/* ------------------------------------------------------------------------------------- commands */

static const struct {
	const char *what;
	uint8_t class, command;
	const char *data;
	uint32_t length;
	uint8_t answer;
} commands[] = {
	{ "promiscuous", 0, 0, "\1", 1, VIRTIO_NET_OK },
	{ "all multicast off", 0, 1, "\0", 1, VIRTIO_NET_OK },
	{ "a receive mode of 2", 0, 0, "\2", 1, VIRTIO_NET_ERR },
	{ "a receive mode without a value", 0, 0, "", 0, VIRTIO_NET_ERR },
	{ "a receive mode too long", 0, 0, "\1\1", 2, VIRTIO_NET_ERR },
	{ "a receive mode not offered", 0, 2, "\1", 1, VIRTIO_NET_ERR },
	{ "an address", 1, 1, "\2\3\4\5\6\7", 6, VIRTIO_NET_OK },
	{ "a multicast address", 1, 1, "\1\3\4\5\6\7", 6, VIRTIO_NET_ERR },
	{ "half an address", 1, 1, "\2\3\4", 3, VIRTIO_NET_ERR },
	{ "empty tables", 1, 0, "\0\0\0\0\0\0\0\0", 8, VIRTIO_NET_OK },
	{ "a table of one", 1, 0, "\1\0\0\0\2\3\4\5\6\7\0\0\0\0", 14, VIRTIO_NET_OK },
	{ "a table cut short", 1, 0, "\1\0\0\0\2\3\4\5\6", 9, VIRTIO_NET_ERR },
	{ "a table of 2^32 - 1", 1, 0, "\377\377\377\377\0\0\0\0", 8, VIRTIO_NET_ERR },
	{ "one table", 1, 0, "\0\0\0\0", 4, VIRTIO_NET_ERR },
	{ "tables and more", 1, 0, "\0\0\0\0\0\0\0\0x", 9, VIRTIO_NET_ERR },
	{ "pairs, not negotiated", 4, 0, "\1\0", 2, VIRTIO_NET_ERR },
	{ "a VLAN, not offered", 2, 0, "\1\0", 2, VIRTIO_NET_ERR },
	{ "an unknown class", 77, 0, "\1\0", 2, VIRTIO_NET_ERR },
};

TestSuite(net_control, .timeout = 60);

Test(net_control, commands_are_answered, .init = set_up, .fini = tear_down)
{
	net_rig_up(&rig, NET_RIG_MERGED);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		cr_assert_eq(net_rig_command(&rig, commands[i].class, commands[i].command,
		                             commands[i].data, commands[i].length),
		             commands[i].answer, "%s", commands[i].what);
	cr_assert_eq(rig.m.event_count, 0);
}

Test(net_control, an_address_lasts_until_a_reset, .init = set_up, .fini = tear_down)
{
	uint64_t at = rig.driver.bar + VIRTIO_BAR_DEVICE;

	net_rig_up(&rig, NET_RIG_MERGED);
	cr_assert_eq(mmio_in(&rig.m, at, 4), 0x33221102);
	cr_assert_eq(net_rig_command(&rig, 1, 1, "\2\3\4\5\6\7", 6), VIRTIO_NET_OK);
	cr_assert_eq(mmio_in(&rig.m, at, 4), 0x05040302);
	driver_reset(&rig.driver);
	cr_assert_eq(mmio_in(&rig.m, at, 4), 0x33221102);
}

Test(net_control, a_command_without_room_for_an_answer_fails_the_device, .init = set_up,
     .fini = tear_down)
{
	struct ring *ring = &rig.rings[2];

	net_rig_up(&rig, NET_RIG_MERGED);
	ring_desc(ring, 0, 0x60000, 3, 0, 0);
	ring_offer(ring, 0);
	driver_kick(&rig.driver, 2);
	machine_await_events(&rig.m, 1);
	cr_assert(rig.m.events[0].needs_reset);
	cr_assert_eq(rig.m.events[0].queue, 2);
	net_rig_up(&rig, NET_RIG_MERGED);
	cr_assert_eq(net_rig_command(&rig, 0, 0, "\1", 1), VIRTIO_NET_OK);
}

/* ---------------------------------------------------------------------------------------- pairs */

Test(net_control, every_tap_queue_is_read_whatever_the_driver_uses, .init = set_up_four,
     .fini = tear_down)
{
	static const struct {
		uint16_t pairs;
		uint16_t feeds[4]; /* receive queue of each TAP queue */
	} steps[] = {
		{ 1, { 0, 0, 0, 0 } }, { 4, { 0, 2, 4, 6 } }, { 2, { 0, 2, 0, 2 } },
		{ 3, { 0, 2, 4, 0 } }, { 1, { 0, 0, 0, 0 } },
	};

	net_rig_up(&rig, MQ);
	for (uint16_t queue = 0; queue < 8; queue += 2)
		for (uint16_t i = 0; i < 20; i++)
			net_rig_give(&rig, queue, i, 2048);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		uint16_t pairs = steps[i].pairs;

		/* The first is what holds without a command (§5.1.6.5.5). */
		if (i > 0)
			cr_assert_eq(net_rig_command(&rig, 4, 0, &pairs, 2), VIRTIO_NET_OK);
		for (uint16_t tap = 0; tap < 4; tap++) {
			net_rig_send(&rig, tap, NULL, 100u + tap, 1);
			cr_assert_eq(net_rig_used(&rig, steps[i].feeds[tap]).length,
			             NET_RIG_HEADER + 100u + tap, "%u pairs, TAP queue %u", pairs,
			             tap);
		}
	}
}

Test(net_control, numbers_of_pairs_are_checked, .init = set_up_four, .fini = tear_down)
{
	static const struct {
		uint16_t pairs;
		uint8_t answer;
	} rows[] = { { 0, VIRTIO_NET_ERR },
		     { 5, VIRTIO_NET_ERR },
		     { 0xffff, VIRTIO_NET_ERR },
		     { 4, VIRTIO_NET_OK },
		     { 1, VIRTIO_NET_OK } };

	net_rig_up(&rig, MQ);
	cr_assert_eq(mmio_in(&rig.m, rig.driver.bar + VIRTIO_BAR_DEVICE + 8, 2), 4);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		cr_assert_eq(net_rig_command(&rig, 4, 0, &rows[i].pairs, 2), rows[i].answer, "%u",
		             rows[i].pairs);
	cr_assert_eq(net_rig_command(&rig, 4, 0, "\1", 1), VIRTIO_NET_ERR);
}

Test(net_control, each_transmit_queue_has_its_tap_queue, .init = set_up_four, .fini = tear_down)
{
	uint8_t frame[100] = { 0 };
	uint16_t pairs = 4;

	net_rig_up(&rig, MQ);
	cr_assert_eq(net_rig_command(&rig, 4, 0, &pairs, 2), VIRTIO_NET_OK);
	for (uint16_t i = 0; i < 4; i++) {
		net_rig_transmit(&rig, (uint16_t)(2 * i + 1), frame, sizeof(frame), 100);
		cr_assert(frame_comes_out(i, 5000));
	}
}

Test(net_control, without_multiple_queues_control_is_the_third, .init = set_up_four,
     .fini = tear_down)
{
	struct ring *ring = &rig.rings[2];

	net_rig_up(&rig, NET_RIG_MERGED);
	ring_desc(ring, 0, 0x60000, 3, VRING_DESC_F_NEXT, 1);
	ring_desc(ring, 1, 0x61000, 1, VRING_DESC_F_WRITE, 0);
	ring_offer(ring, 0);
	driver_kick(&rig.driver, 2);
	cr_assert_eq(net_rig_used(&rig, 2).length, 1);
}

/* ---------------------------------------------------------------------------- limits, features */

static void set_up_limited(void)
{
	const struct net_spec spec = {
		.rx_limit = { .ops_per_s = 1, .ops_burst = 2 * HOUR_S },
		.tx_limit = { .bytes_per_s = 1, .bytes_burst = 250 },
	};

	net_rig_start(&rig, 1, &spec);
}

Test(net_control, limits_hold_frames_until_they_are_lifted, .init = set_up_limited,
     .fini = tear_down)
{
	const struct rate_config none = { 0 };
	const struct rate_config slow = { .ops_per_s = 1, .ops_burst = 1 };
	struct ring *tx = &rig.rings[1];

	net_rig_up(&rig, NET_RIG_MERGED);
	for (uint16_t i = 0; i < 4; i++) {
		ring_desc(tx, i, 0x70000, 112, 0, 0);
		ring_offer(tx, i);
	}
	driver_kick(&rig.driver, 1);
	cr_assert(frame_comes_out(0, 5000));
	cr_assert(frame_comes_out(0, 5000));
	cr_assert(!frame_comes_out(0, 20), "250 bytes were allowed");
	net_set_limit(rig.net, true, &none);
	cr_assert(frame_comes_out(0, 5000));
	cr_assert(frame_comes_out(0, 5000));

	/* Two frames at once under a limit of one: the first passes, the second some time later. */
	net_set_limit(rig.net, false, &slow);
	for (uint16_t i = 0; i < 8; i++)
		net_rig_give(&rig, 0, i, 2048);
	for (uint8_t i = 0; i < 4; i++)
		net_rig_send(&rig, 0, NULL, 100, i);
	(void)net_rig_used(&rig, 0);
	net_set_limit(rig.net, false, &none);
	for (int i = 0; i < 3; i++)
		(void)net_rig_used(&rig, 0);
	cr_assert_eq(net_rig_stats(&rig).rx_frames, 4);
}

Test(net_control, a_limit_ends_with_its_time, .init = set_up, .fini = tear_down)
{
	const struct rate_config brisk = { .ops_per_s = 100, .ops_burst = 1 };

	net_rig_up(&rig, NET_RIG_MERGED);
	net_set_limit(rig.net, false, &brisk);
	for (uint16_t i = 0; i < 10; i++)
		net_rig_give(&rig, 0, i, 2048);
	for (uint8_t i = 0; i < 10; i++)
		net_rig_send(&rig, 0, NULL, 100, i);
	for (int i = 0; i < 10; i++)
		(void)net_rig_used(&rig, 0);
}

static void set_up_plain(void)
{
	const struct net_spec spec = { .offloads = false, .mtu = 9000 };

	net_rig_start(&rig, 1, &spec);
}

Test(net_control, features_follow_the_spec, .init = set_up_plain, .fini = tear_down)
{
	uint64_t offered = driver_offered(&rig.driver);

	cr_assert_eq(offered & NET_RIG_OFFLOADS, 0);
	cr_assert(offered & VIRTIO_FEATURE(VIRTIO_NET_F_MTU));
	cr_assert(!(offered & VIRTIO_FEATURE(VIRTIO_NET_F_MQ)));
	cr_assert_eq(mmio_in(&rig.m, rig.driver.bar + VIRTIO_BAR_DEVICE + 10, 2), 9000);
	/* The largest frame of that MTU arrives in one piece. */
	net_rig_up(&rig, NET_RIG_MERGED | VIRTIO_FEATURE(VIRTIO_NET_F_MTU));
	for (uint16_t i = 0; i < 8; i++)
		net_rig_give(&rig, 0, i, 2048);
	net_rig_send(&rig, 0, NULL, 9014, 1);
	for (uint16_t i = 0; i < 5; i++)
		cr_assert_eq(net_rig_used(&rig, 0).id, i);
}

/* What the TAP cannot hand over is not offered, nor what makes no sense without it; the way from
 * the guest is the host's own. */
Test(net_control, offloads_that_the_tap_lacks_are_not_offered)
{
	const uint64_t of_both =
		1 << 0 | 1 << 1 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 12 | 1 << 13;
	/* CSUM, HOST_TSO4, _TSO6, _ECN */
	const uint64_t from_guest = 1 << 0 | 1 << 11 | 1 << 12 | 1 << 13;
	static const struct {
		uint32_t missing;
		/* GUEST_CSUM 1, GUEST_TSO4 7, GUEST_TSO6 8, GUEST_ECN 9 (§5.1.3) */
		uint64_t offered;
	} towards[] = {
		{ 0, 1 << 1 | 1 << 7 | 1 << 8 | 1 << 9 },
		{ TUN_F_TSO4, 1 << 1 | 1 << 8 | 1 << 9 },
		{ TUN_F_TSO6 | TUN_F_TSO_ECN, 1 << 1 | 1 << 7 },
		{ TUN_F_TSO4 | TUN_F_TSO6, 1 << 1 },
		{ TUN_F_CSUM, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(towards); i++) {
		const struct net_spec spec = { .offloads = true,
			                       .missing_offloads = towards[i].missing };

		net_rig_start(&rig, 1, &spec);
		cr_assert_eq(driver_offered(&rig.driver) & of_both, towards[i].offered | from_guest,
		             "row %zu", i);
		net_rig_stop(&rig);
	}
}

/* linux/if_tun.h: TUN_F_CSUM 1, TSO4 2, TSO6 4, TSO_ECN 8. §5.1.3.1: none of them without
 * checksums, and ECN not without segmentation. */
Test(net_control, the_tap_is_asked_for_what_was_negotiated, .init = set_up, .fini = tear_down)
{
	static const struct {
		bool csum, tso4, tso6, ecn;
		uint32_t offloads;
	} rows[] = {
		{ 0, 0, 0, 0, 0 }, { 1, 0, 0, 0, 1 },  { 1, 1, 0, 0, 3 },  { 1, 0, 1, 0, 5 },
		{ 1, 1, 1, 0, 7 }, { 1, 1, 0, 1, 11 }, { 1, 0, 1, 1, 13 }, { 1, 1, 1, 1, 15 },
		{ 1, 0, 0, 1, 1 }, { 0, 1, 1, 1, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		net_rig_up(&rig, NET_RIG_MERGED | (uint64_t)rows[i].csum << 1 |
		                         (uint64_t)rows[i].tso4 << 7 | (uint64_t)rows[i].tso6 << 8 |
		                         (uint64_t)rows[i].ecn << 9);
		/* It has come up when it answers. */
		cr_assert_eq(net_rig_command(&rig, 0, 0, "\1", 1), VIRTIO_NET_OK);
		cr_assert_eq(atomic_load(&rig.net->offloads_wanted), rows[i].offloads, "row %zu",
		             i);
		cr_assert_eq(atomic_load(&rig.net->offloads_done), rows[i].offloads, "row %zu", i);
	}
}

Test(net_control, derived_addresses_are_stable_and_apart)
{
	/* As proto/axvm.proto documents it: printf vm-1/net0 | sha256sum, with the two low bits of
	 * the first octet set to 10. First octets of all four kinds are among them. */
	static const struct {
		const char *vm, *id;
		uint8_t mac[NET_MAC_BYTES];
	} rows[] = {
		{ "vm-1", "net0", { 0xae, 0x24, 0x18, 0x1e, 0x0c, 0xaf } },          /* ad */
		{ "a", "bc", { 0x5a, 0x24, 0x37, 0x79, 0x86, 0x9e } },               /* 59 */
		{ "vm-7", "eth1", { 0x32, 0x1c, 0x21, 0xf8, 0xd6, 0xf0 } },          /* 30 */
		{ "0123456789abcdef", "n", { 0xa2, 0xb7, 0x4c, 0xe3, 0x0c, 0xbf } }, /* a2 */
		{ "x", "y", { 0xbe, 0x3c, 0x90, 0x47, 0xd6, 0x81 } },                /* bd */
		{ "a", "n2", { 0x22, 0x5d, 0x50, 0x09, 0x44, 0x48 } },               /* 23 */
		{ "tenant-b.vm", "net30", { 0x1e, 0x98, 0x37, 0x88, 0x41, 0x98 } },  /* 1c */
	};
	uint8_t mac[NET_MAC_BYTES], other[NET_MAC_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		net_derive_mac(rows[i].vm, rows[i].id, mac);
		cr_assert_eq(memcmp(mac, rows[i].mac, sizeof(mac)), 0, "%s/%s", rows[i].vm,
		             rows[i].id);
		cr_assert_eq(mac[0] & 3, 2);
	}
	net_derive_mac("vm-1", "net0", mac);
	net_derive_mac("vm-1", "net1", other);
	cr_assert_neq(memcmp(mac, other, sizeof(mac)), 0);
	net_derive_mac("vm-2", "net0", other);
	cr_assert_neq(memcmp(mac, other, sizeof(mac)), 0);
}
