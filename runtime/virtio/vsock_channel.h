/* SPDX-License-Identifier: MIT */
/* The channel of a vsock device: the messages between shim and orchestrator about connections. For
 * authors of orchestrators; `axvm run` is an example.
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
 * - Answers may come in any order. If the guest has given up before an ACCEPT arrives, the shim
 *   closes the socket that came with it.
 * - A connection without an answer keeps one of VSOCK_CONNECTIONS places; when all are taken, the
 *   shim gives up the ASK that has waited longest.
 * - To cancel a CONNECT, close the socket's other end; no answer comes then.
 * - VSOCK_ANNOUNCE on a CONNECT: the shim writes "OK <host_port>\n" into the socket when the guest
 *   has accepted, before the guest's first byte.
 * - The shim passes on end of file in one direction (half-close). Closing the socket ends the
 *   connection.
 * - A message with another version, kind or length, or with the wrong number of descriptors, is
 *   dropped with an event; an ACCEPT without its descriptor counts as a REFUSE. When the channel
 *   ends, open connections go on, and new ones are refused. */
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
