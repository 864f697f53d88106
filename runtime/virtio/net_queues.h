/* SPDX-License-Identifier: MIT */
/* The queues of virtio-net: the state of net_rx.c and net_tx.c. I/O thread. */
#ifndef AXVM_VIRTIO_NET_QUEUES_H
#define AXVM_VIRTIO_NET_QUEUES_H

#include <linux/virtio_net.h>

#include "io/op.h"
#include "virtio/queue.h"

struct net;

#define NET_HEADER_BYTES sizeof(struct virtio_net_hdr_v1)
#define NET_FRAME_MIN 14u
/* The largest IPv4 or IPv6 packet without extensions, Ethernet header and VLAN tag. */
#define NET_FRAME_MAX (65535u + 18)
#define NET_SPILL_BYTES (NET_HEADER_BYTES + NET_FRAME_MAX)

#define NET_READS 16  /* of a receive queue, at once */
#define NET_WRITES 64 /* of a transmit queue, at once */
#define NET_ALL_FREE UINT64_MAX
#define NET_SEGMENTS 128 /* of one chain */
#define NET_READ_SEGMENTS 256
#define NET_READ_CHAINS 64

/* One receive buffer of the guest's. */
struct net_chain {
	uint16_t head;
	uint16_t segments;
	uint32_t bytes;
};

/* Receive buffers in stock, in the order in which a frame fills them, and the read that fills
 * them. */
struct net_read {
	struct io_op op;
	struct net_receiver *receiver;
	uint16_t chain_count, segment_count, source;
	bool busy;
	uint32_t bytes;
	/* Of the frame that was read. */
	uint32_t frame;        /* its bytes */
	uint32_t spilled;      /* bytes of it in `spill` */
	uint32_t placed;       /* of those, bytes copied to the guest since */
	struct net_read *next; /* the read whose frame came next and waits too */
	uint8_t *spill;        /* NET_SPILL_BYTES */
	struct net_chain chains[NET_READ_CHAINS];
	struct iovec iov[NET_READ_SEGMENTS + 1]; /* one more for the bytes that do not fit */
};

struct net_receiver {
	struct net *net;
	uint16_t queue;
	uint16_t in_flight; /* reads */
	uint16_t depth;     /* reads of the next batch */
	uint16_t good;      /* reads of this batch that brought a frame */
	bool drained;       /* a read of this batch found nothing */
	uint16_t last_source;
	uint32_t sources;         /* TAP queues whose frames come here */
	uint32_t recent;          /* expected bytes of the next frame, by those before it */
	struct net_read *waiting; /* the first of the frames that were read and not delivered */
	uint8_t *spills;          /* owned */
	struct net_read *reads;   /* NET_READS; owned */
};

struct net_write {
	struct io_op op;
	struct net_sender *sender;
	uint16_t head;
	uint32_t bytes;
	struct virtio_net_hdr_v1 header;
	struct iovec iov[NET_SEGMENTS + 1];
};

struct net_sender {
	struct net *net;
	uint16_t queue, pair;
	uint64_t free;            /* writes */
	struct net_write *writes; /* NET_WRITES; owned */
};

/* One queue of the TAP. */
struct net_source {
	struct io_op poll_op;
	struct net *net;
	uint32_t file;
	uint16_t index;
	bool nowait;
	bool polling;
	uint64_t polled_at; /* turn of the loop in which the poll was armed */
};

/* net_rx.c */
void net_receive(struct net_receiver *rx);
void net_poll_done(struct io_op *op, int result, uint32_t flags);
void net_read_done(struct io_op *op, int result, uint32_t flags);
/* Gives every buffer in stock back, unused. */
void net_release(struct net_receiver *rx);
uint16_t net_held(const struct net_receiver *rx);

/* net_tx.c */
void net_transmit(struct net_sender *tx);

#endif
