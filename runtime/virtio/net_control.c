/* SPDX-License-Identifier: MIT */
/* virtio-net's control queue (VIRTIO 1.2 §5.1.6.5): one table of commands.
 *
 * A command that is unknown, was not negotiated, or has a wrong length is answered with an error;
 * one without room for an answer breaks the rules and fails the device. There is no receive filter:
 * every frame of the TAP reaches the guest, as the receive modes allow. */
#include <errno.h>
#include <string.h>

#include "virtio/net_parts.h"

/* Class and command. */
#define COMMAND_BYTES 2

static bool set_receive_mode(struct net *net, const struct virtq_chain *chain)
{
	uint8_t on;

	(void)net;
	return chain->readable_bytes == COMMAND_BYTES + 1 &&
	       virtq_copy_from(chain, COMMAND_BYTES, &on, 1) == 1 && on <= 1;
}

/* Two tables, unicast then multicast, each a count and its addresses. */
static bool set_mac_tables(struct net *net, const struct virtq_chain *chain)
{
	uint64_t at = COMMAND_BYTES;

	(void)net;
	for (int table = 0; table < 2; table++) {
		uint32_t entries;

		if (virtq_copy_from(chain, at, &entries, sizeof(entries)) != sizeof(entries))
			return false;
		at += sizeof(entries) + (uint64_t)entries * NET_MAC_BYTES;
	}
	return at == chain->readable_bytes;
}

static bool set_mac(struct net *net, const struct virtq_chain *chain)
{
	uint8_t mac[NET_MAC_BYTES];

	if (chain->readable_bytes != COMMAND_BYTES + sizeof(mac) ||
	    virtq_copy_from(chain, COMMAND_BYTES, mac, sizeof(mac)) != sizeof(mac) || (mac[0] & 1))
		return false;
	virtio_config_update(&net->device, offsetof(struct virtio_net_config, mac), mac,
	                     sizeof(mac));
	return true;
}

static bool set_pairs(struct net *net, const struct virtq_chain *chain)
{
	uint16_t pairs;

	if (chain->readable_bytes != COMMAND_BYTES + sizeof(pairs) ||
	    virtq_copy_from(chain, COMMAND_BYTES, &pairs, sizeof(pairs)) != sizeof(pairs) ||
	    pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN || pairs > net->pairs)
		return false;
	net_set_active(net, pairs);
	return true;
}

static const struct command {
	uint8_t class, command;
	uint8_t feature;
	bool (*run)(struct net *net, const struct virtq_chain *chain);
} commands[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, set_receive_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, set_receive_mode },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX,
	  set_mac_tables },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR, set_mac },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, set_pairs },
};

static bool run_command(struct net *net, const struct virtq_chain *chain)
{
	uint8_t header[COMMAND_BYTES];

	if (virtq_copy_from(chain, 0, header, sizeof(header)) != sizeof(header))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].class == header[0] && commands[i].command == header[1])
			return virtio_has(&net->device, commands[i].feature) &&
			       commands[i].run(net, chain);
	return false;
}

static bool reads_in_flight(const struct net *net)
{
	for (uint16_t i = 0; i < net->pairs; i++)
		if (net->receivers[i].in_flight > 0)
			return true;
	return false;
}

static void answer_commands(struct net *net, uint16_t queue)
{
	struct virtio_device *device = &net->device;
	struct virtq_chain chain = { .iov = net->control_iov, .iov_max = NET_SEGMENTS };

	do {
		while (virtio_pop(device, queue, &chain)) {
			uint8_t answer = VIRTIO_NET_ERR;

			if (chain.writable_bytes == 0) {
				virtio_push(device, queue, chain.head, 0);
				virtio_fail(
					device, queue, EBADMSG,
					"a control command has no writable buffer for its answer");
				return;
			}
			if (run_command(net, &chain))
				answer = VIRTIO_NET_OK;
			virtq_copy_to(&chain, 0, &answer, sizeof(answer));
			virtio_push(device, queue, chain.head, sizeof(answer));
		}
	} while (virtio_want_kicks(device, queue));
}

void net_serve_control(struct net *net)
{
	bool waited = net->control_waits;

	/* After a change of pairs is acknowledged, no frame may go to an unused queue. So it first
	 * waits for reads, which end within a turn. */
	net->control_waits = reads_in_flight(net);
	if (net->control_waits)
		return;
	if (virtio_has(&net->device, VIRTIO_NET_F_CTRL_VQ))
		answer_commands(net, net_control_queue(net));
	for (uint16_t i = 0; waited && i < net->pairs; i++)
		net_receive(&net->receivers[i]);
}
