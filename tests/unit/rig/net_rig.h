/* SPDX-License-Identifier: MIT */
/* A virtio-net whose TAP is a socket pair for each queue, and the driver of a guest on it. */
#ifndef AXVM_TESTS_NET_RIG_H
#define AXVM_TESTS_NET_RIG_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "rig/virtio_driver.h"
#include "virtio/net.h"

#define NET_RIG_PAIRS 4
#define NET_RIG_SIZE 128
#define NET_RIG_BUFFER 4096u
#define NET_RIG_HEADER 12u
#define NET_RIG_BASIC                                                                              \
	(VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_MAC) |                   \
	 VIRTIO_FEATURE(VIRTIO_NET_F_STATUS) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) |              \
	 VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_RX) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR) |       \
	 VIRTIO_FEATURE(VIRTIO_F_RING_RESET))
#define NET_RIG_MERGED (NET_RIG_BASIC | VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF))
#define NET_RIG_OFFLOADS                                                                           \
	(VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) |       \
	 VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) | VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4))

struct net_rig {
	struct test_machine m;
	struct net *net;
	struct driver driver;
	uint16_t pairs;
	int wire[NET_RIG_PAIRS];   /* the world's end of each queue */
	int device[NET_RIG_PAIRS]; /* the device's end */
	struct ring rings[2 * NET_RIG_PAIRS + 1];
	uint16_t seen[2 * NET_RIG_PAIRS + 1]; /* used entries taken */
};

/* Builds and runs one device; the driver has probed it. `spec` gives limits, mtu, offloads. */
void net_rig_start(struct net_rig *rig, uint16_t pairs, const struct net_spec *spec);
void net_rig_stop(struct net_rig *rig);
/* Reset, negotiation, rings of NET_RIG_SIZE, DRIVER_OK. */
void net_rig_up(struct net_rig *rig, uint64_t features);
uint16_t net_rig_control(const struct net_rig *rig);

/* A buffer of `length` bytes (at most NET_RIG_BUFFER) for the receive queue, at its own address. */
void net_rig_give(struct net_rig *rig, uint16_t queue, uint16_t index, uint32_t length);
uint64_t net_rig_rx_address(uint16_t queue, uint16_t index);
/* Sends a frame of `length` bytes beside its header, filled with `seed`, into queue `pair`. */
void net_rig_send(struct net_rig *rig, uint16_t pair, const struct virtio_net_hdr_v1 *header,
                  uint32_t length, uint8_t seed);
/* Waits for the next used entry of a queue. */
struct virtq_used net_rig_used(struct net_rig *rig, uint16_t queue);
/* Transmits the bytes (header included) in descriptors of at most `piece` bytes; waits. */
void net_rig_transmit(struct net_rig *rig, uint16_t queue, const void *data, uint32_t length,
                      uint32_t piece);
/* The byte that net_rig_send puts at `offset` of a frame. */
uint8_t net_rig_byte(uint32_t offset, uint8_t seed);
struct net_stats net_rig_stats(const struct net_rig *rig);

/* Runs a control command and gives the answer; `room` is the answer's, in bytes. */
uint8_t net_rig_command(struct net_rig *rig, uint8_t class, uint8_t command, const void *data,
                        uint32_t length);

#endif
