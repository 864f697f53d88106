/* SPDX-License-Identifier: MIT */
/* A virtio-net on socket pairs, and the driver of a guest on it. Guest memory: rings from 32 KiB
 * on, commands at 0x60000, transmit data at 0x70000, receive buffers from 0xc0000 (the regions'
 * border, at 1 MiB, runs through them). */
#include "rig/net_rig.h"

#include <criterion/criterion.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <sys/socket.h>

#define RINGS 0x8000u
#define RING_STEP 0x8000u
#define COMMAND 0x60000u
#define TX_DATA 0x70000u
#define RX_DATA 0xc0000u

void net_rig_start(struct net_rig *rig, uint16_t pairs, const struct net_spec *wanted)
{
	struct net_spec spec = wanted ? *wanted : (struct net_spec){ .offloads = true };

	memset(rig, 0, sizeof(*rig));
	rig->pairs = pairs;
	machine_init(&rig->m);
	for (uint16_t i = 0; i < pairs; i++) {
		int ends[2];
		int size = 1 << 20;

		cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		                        ends),
		             0);
		setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		rig->device[i] = ends[0];
		rig->wire[i] = ends[1];
	}
	spec.id = "net0";
	spec.fds = rig->device;
	spec.tap_fd = -1;
	spec.pairs = pairs;
	spec.queue_size = NET_RIG_SIZE;
	memcpy(spec.mac, "\x02\x11\x22\x33\x44\x55", 6);
	cr_assert_eq(net_create(&spec, &rig->m.host, &rig->net), 0);
	machine_start(&rig->m);
	driver_probe(&rig->driver, &rig->m, 1);
}

void net_rig_stop(struct net_rig *rig)
{
	machine_stop(&rig->m, 100);
	net_destroy(rig->net);
	machine_done(&rig->m);
	for (uint16_t i = 0; i < rig->pairs; i++) {
		close_ptr(&rig->device[i]);
		close_ptr(&rig->wire[i]);
	}
}

uint16_t net_rig_control(const struct net_rig *rig)
{
	return (uint16_t)(2 * rig->pairs);
}

void net_rig_up(struct net_rig *rig, uint64_t features)
{
	driver_reset(&rig->driver);
	cr_assert(driver_negotiate(&rig->driver, features));
	common_out(&rig->driver, VIRTIO_PCI_COMMON_MSIX, 2u * rig->pairs + 1, 2);
	for (uint16_t i = 0; i <= 2 * rig->pairs; i++) {
		ring_init(&rig->rings[i], &rig->m.memory, NET_RIG_SIZE, RINGS + RING_STEP * i);
		rig->seen[i] = 0;
		driver_queue(&rig->driver, i, &rig->rings[i]);
	}
	driver_ok(&rig->driver);
}

uint64_t net_rig_rx_address(uint16_t queue, uint16_t index)
{
	return RX_DATA + (queue / 2u * 32 + index) * NET_RIG_BUFFER;
}

void net_rig_give(struct net_rig *rig, uint16_t queue, uint16_t index, uint32_t length)
{
	ring_desc(&rig->rings[queue], index, net_rig_rx_address(queue, index), length,
	          VRING_DESC_F_WRITE, 0);
	ring_offer(&rig->rings[queue], index);
	driver_kick(&rig->driver, queue);
}

uint8_t net_rig_byte(uint32_t offset, uint8_t seed)
{
	return (uint8_t)(offset * 7 + (offset >> 8) + seed);
}

void net_rig_send(struct net_rig *rig, uint16_t pair, const struct virtio_net_hdr_v1 *header,
                  uint32_t length, uint8_t seed)
{
	uint8_t frame[NET_RIG_HEADER + 70000] = { 0 };

	if (header)
		memcpy(frame, header, sizeof(*header));
	for (uint32_t i = 0; i < length; i++)
		frame[NET_RIG_HEADER + i] = net_rig_byte(i, seed);
	cr_assert_eq(send(rig->wire[pair], frame, NET_RIG_HEADER + length, 0),
	             (ssize_t)(NET_RIG_HEADER + length));
}

struct virtq_used net_rig_used(struct net_rig *rig, uint16_t queue)
{
	WAIT_UNTIL(ring_used_idx(&rig->rings[queue]) != rig->seen[queue]);
	return ring_used(&rig->rings[queue], rig->seen[queue]++);
}

void net_rig_transmit(struct net_rig *rig, uint16_t queue, const void *data, uint32_t length,
                      uint32_t piece)
{
	struct ring *ring = &rig->rings[queue];
	uint16_t n = 0;

	cr_assert_eq(guest_memory_write(&rig->m.memory, GPA(TX_DATA), data, length), 0);
	for (uint32_t at = 0; at < length; at += piece, n++) {
		bool last = at + piece >= length;

		ring_desc(ring, n, TX_DATA + at, MIN(piece, length - at),
		          last ? 0 : VRING_DESC_F_NEXT, (uint16_t)(n + 1));
	}
	ring_offer(ring, 0);
	driver_kick(&rig->driver, queue);
	cr_assert_eq(net_rig_used(rig, queue).length, 0);
}

struct net_stats net_rig_stats(const struct net_rig *rig)
{
	struct net_stats stats;

	net_get_stats(rig->net, &stats);
	return stats;
}

uint8_t net_rig_command(struct net_rig *rig, uint8_t class, uint8_t command, const void *data,
                        uint32_t length)
{
	uint16_t queue = net_rig_control(rig);
	struct ring *ring = &rig->rings[queue];
	uint8_t header[2] = { class, command };
	uint8_t answer = 0x55;

	cr_assert_eq(guest_memory_write(&rig->m.memory, GPA(COMMAND), header, 2), 0);
	if (length > 0)
		cr_assert_eq(guest_memory_write(&rig->m.memory, GPA(COMMAND + 16), data, length),
		             0);
	cr_assert_eq(guest_memory_write(&rig->m.memory, GPA(COMMAND + 4096), &answer, 1), 0);
	ring_desc(ring, 0, COMMAND, 2, VRING_DESC_F_NEXT, length > 0 ? 1 : 2);
	ring_desc(ring, 1, COMMAND + 16, length, VRING_DESC_F_NEXT, 2);
	ring_desc(ring, 2, COMMAND + 4096, 1, VRING_DESC_F_WRITE, 0);
	ring_offer(ring, 0);
	driver_kick(&rig->driver, queue);
	cr_assert_eq(net_rig_used(rig, queue).length, 1);
	cr_assert_eq(guest_memory_read(&rig->m.memory, GPA(COMMAND + 4096), &answer, 1), 0);
	return answer;
}
