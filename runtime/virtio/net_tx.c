/* SPDX-License-Identifier: MIT */
/* virtio-net, transmitting: from the guest's buffers straight to the TAP.
 *
 * Only the header of a frame is copied. The copy is checked against the negotiated features, and
 * the TAP gets the copy; the guest may change the rest of the frame until it is sent. All writes of
 * a turn leave in one io_uring_enter and are done with it, since the TAP does not block. A frame
 * that the TAP refuses (its interface is down, its queue is full, the header is invalid) is dropped
 * and counted, as a switch would do. */
#include <errno.h>

#include "virtio/net_parts.h"

static bool header_is_sound(const struct net *net, const struct virtio_net_hdr_v1 *header)
{
	const struct virtio_device *device = &net->device;
	uint8_t type = header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN;

	if (header->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM)
		return false;
	if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !virtio_has(device, VIRTIO_NET_F_CSUM))
		return false;
	if ((header->gso_type & VIRTIO_NET_HDR_GSO_ECN) &&
	    !virtio_has(device, VIRTIO_NET_F_HOST_ECN))
		return false;
	if (type == VIRTIO_NET_HDR_GSO_NONE)
		return header->gso_type == VIRTIO_NET_HDR_GSO_NONE;
	/* A frame to be segmented has no checksum yet (§5.1.6.2). */
	return (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && header->gso_size > 0 &&
	       ((type == VIRTIO_NET_HDR_GSO_TCPV4 && virtio_has(device, VIRTIO_NET_F_HOST_TSO4)) ||
	        (type == VIRTIO_NET_HDR_GSO_TCPV6 && virtio_has(device, VIRTIO_NET_F_HOST_TSO6)));
}

/* Replaces the guest's header by our copy. The guest's segments begin at iov[1], so there is always
 * one before the first that remains. Returns the first of the segments to write. */
static struct iovec *replace_header(struct net_write *write)
{
	size_t left = NET_HEADER_BYTES;
	struct iovec *iov = write->iov + 1;

	while (iov->iov_len <= left)
		left -= (iov++)->iov_len;
	iov->iov_base = (uint8_t *)iov->iov_base + left;
	iov->iov_len -= left;
	iov--;
	*iov = (struct iovec){ .iov_base = &write->header, .iov_len = NET_HEADER_BYTES };
	return iov;
}

static void write_done(struct io_op *op, int result, uint32_t flags);

/* Starts the write of a frame; false: the frame is invalid. */
static bool start_write(struct net_sender *tx, struct net_write *write,
                        const struct virtq_chain *chain)
{
	struct net *net = tx->net;
	const struct net_source *tap = &net->sources[tx->pair];
	struct iovec *iov;

	if (net->tap_gone || chain->writable > 0 ||
	    chain->readable_bytes < NET_HEADER_BYTES + NET_FRAME_MIN ||
	    chain->readable_bytes > NET_HEADER_BYTES + NET_FRAME_MAX)
		return false;
	virtq_copy_from(chain, 0, &write->header, sizeof(write->header));
	if (!header_is_sound(net, &write->header))
		return false;
	write->header.num_buffers = 0;
	write->head = chain->head;
	write->bytes = chain->readable_bytes - (uint32_t)NET_HEADER_BYTES;
	iov = replace_header(write);
	return io_send(net->device.loop, &write->op, tap->file, iov,
	               (uint32_t)(write->iov + 1 + chain->readable - iov), tap->nowait);
}

/* Whether a frame may go now; otherwise the gate's timer is set. */
static bool pass_gate(struct net *net, uint32_t bytes)
{
	uint64_t wait_ns;

	if (!rate_limit_is_set(&net->tx_gate.limit))
		return true;
	wait_ns = rate_limit_take(&net->tx_gate.limit, io_now_ns(), bytes, 1);
	if (wait_ns > 0)
		net_wait(net, &net->tx_gate, wait_ns);
	return wait_ns == 0;
}

/* Sends all available frames. False: a limit, or the number of writes, has stopped it. */
static bool send_all(struct net_sender *tx)
{
	struct virtio_device *device = &tx->net->device;

	for (;;) {
		struct net_write *write;
		struct virtq_chain chain;

		if (tx->free == 0)
			return false;
		/* The lowest, and filled in only here: more than are ever under way at once
		 * are never touched. */
		write = &tx->writes[__builtin_ctzll(tx->free)];
		write->op.done = write_done;
		write->sender = tx;
		chain = (struct virtq_chain){ .iov = write->iov + 1, .iov_max = NET_SEGMENTS };
		if (!virtio_pop(device, tx->queue, &chain))
			return true;
		if (!pass_gate(tx->net, chain.readable_bytes)) {
			virtio_unpop(device, tx->queue);
			return false;
		}
		if (start_write(tx, write, &chain)) {
			tx->free &= tx->free - 1;
		} else {
			counter_add(&tx->net->tx_dropped, 1);
			virtio_push(device, tx->queue, chain.head, 0);
		}
	}
}

void net_transmit(struct net_sender *tx)
{
	do {
		/* While writes are under way it asks for no kicks: when they are done it looks at
		 * the ring again, so a driver that goes on sending causes no exit. */
		if (!send_all(tx) || tx->free != NET_ALL_FREE)
			return;
	} while (virtio_want_kicks(&tx->net->device, tx->queue));
}

static void write_done(struct io_op *op, int result, uint32_t flags)
{
	struct net_write *write = CONTAINER_OF(op, struct net_write, op);
	struct net_sender *tx = write->sender;
	struct net *net = tx->net;

	(void)flags;
	if (result >= 0) {
		counter_add(&net->tx_frames, 1);
		counter_add(&net->tx_bytes, write->bytes);
	} else {
		counter_add(&net->tx_dropped, 1);
		if (result == -EBADFD)
			net_lose_tap(net, result);
	}
	virtio_push(&net->device, tx->queue, write->head, 0);
	tx->free |= 1ULL << (write - tx->writes);
	/* The whole batch is done in one turn. */
	if (tx->free == NET_ALL_FREE)
		net_transmit(tx);
}
