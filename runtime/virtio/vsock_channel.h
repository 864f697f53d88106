/* SPDX-License-Identifier: MIT */
/* The channel of a vsock device: what the shim and the orchestrator say to each other about
 * connections. For the author of an orchestrator; `axvm run` is an example of one.
 *
 * The channel is a connected UNIX socket of type SOCK_SEQPACKET, one end of which the launch names
 * (vsock { channel { fd: N } }). Every packet is one struct vsock_channel_message, little-endian,
 * 32 bytes. Where the table says "fd", exactly one descriptor goes with it (SCM_RIGHTS): the
 * orchestrator's end of a connected stream socket, from then on the shim's. The orchestrator should
 * close its own copy. The bytes of a connection go through that socket and never through the
 * channel.
 *
 *   kind      sent by       fd   means
 *   CONNECT   orchestrator  yes  connect this socket to `guest_port` of the guest; `id` is the
 *                                orchestrator's, and comes back in the answer
 *   CONNECTED shim               answer to CONNECT: the guest accepted; `host_port` is the number
 *                                that the guest sees as the host's
 *   REFUSED   shim answer to CONNECT: it did not, `reason` says why; the socket is closed
 *   ASK       shim               the guest wants to connect to `host_port`; `guest_port` is its own
 *                                number; `id` is the shim's, and is to be given back
 *   ACCEPT    orchestrator  yes  answer to ASK: connect the guest to this socket
 *   REFUSE    orchestrator       answer to ASK: nobody listens there; the guest is told so
 *
 * - Answers may come in any order. An ACCEPT whose guest has lost patience has its socket closed.
 * - A connection that is not answered keeps one of VSOCK_CONNECTIONS places; when all are taken,
 *   the ASK that has waited longest makes room.
 * - To give up a CONNECT, close the socket's other end; there is no answer then.
 * - VSOCK_ANNOUNCE on a CONNECT: the shim writes "OK <host_port>\n" into the socket when the guest
 *   has accepted, before the guest's first byte.
 * - End of file in a socket's one direction is passed on (half-close). Closing it ends the
 *   connection.
 * - A message with another version, kind or length, or with a descriptor too many or too few, is
 *   dropped with an event; an answer that lacks its descriptor is a REFUSE. When the channel ends,
 *   connections go on, and new ones are refused. */
#ifndef AXVM_VIRTIO_VSOCK_CHANNEL_H
#define AXVM_VIRTIO_VSOCK_CHANNEL_H

#include <assert.h>
#include <stdint.h>

#define VSOCK_CHANNEL_VERSION 1
#define VSOCK_CONNECTIONS 256 /* at once, both ways together */

enum vsock_channel_kind {
	VSOCK_CONNECT = 1,
	VSOCK_CONNECTED = 2,
	VSOCK_REFUSED = 3,
	VSOCK_ASK = 4,
	VSOCK_ACCEPT = 5,
	VSOCK_REFUSE = 6,
};

enum vsock_channel_flags {
	VSOCK_ANNOUNCE = 1,
};

enum vsock_channel_reason {
	VSOCK_REASON_NONE = 0,
	VSOCK_REASON_GUEST = 1,     /* nobody listens there, or the guest has no room */
	VSOCK_REASON_NO_DRIVER = 2, /* the guest's driver is not up, or was reset meanwhile */
	VSOCK_REASON_FULL = 3,      /* VSOCK_CONNECTIONS */
};

struct vsock_channel_message {
	uint16_t version; /* VSOCK_CHANNEL_VERSION */
	uint16_t kind;    /* enum vsock_channel_kind */
	uint32_t flags;   /* enum vsock_channel_flags; 0 but for CONNECT */
	uint64_t id;
	uint32_t guest_port;
	uint32_t host_port;
	uint32_t reason;   /* enum vsock_channel_reason; 0 but for REFUSED */
	uint32_t reserved; /* 0 */
};

static_assert(sizeof(struct vsock_channel_message) == 32, "as it is on the wire");

#endif
