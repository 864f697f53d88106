/* SPDX-License-Identifier: MIT */
/* The state of the vsock device and its connections that its files share. */
#ifndef AXVM_VIRTIO_VSOCK_STATE_H
#define AXVM_VIRTIO_VSOCK_STATE_H

#include <stdalign.h>
#include <sys/socket.h>

#include "virtio/device.h"
#include "virtio/vsock_channel.h"

#define VSOCK_QUEUES 3
#define VSOCK_QUEUE_SIZE 256
#define VSOCK_BUFFER 65536u /* bytes a guest may have in flight to one host socket */
#define VSOCK_GREETING_MAX 16u
#define VSOCK_INPUT 16384u /* bytes read at a time from one host socket */
#define VSOCK_BUCKETS 256
#define VSOCK_RESETS 256
#define VSOCK_MESSAGES 1024
/* Descriptors that the I/O thread can hold at once: one for each connection, one of the next
 * message, and those that are being closed. */
#define VSOCK_DESCRIPTORS (VSOCK_CONNECTIONS + 64)

/* Where a connection is, as the guest knows it. */
enum vsock_state {
	VSOCK_NONE,
	VSOCK_ASKING,  /* the guest asked, the orchestrator has not answered */
	VSOCK_INVITED, /* the orchestrator asked, the guest has not answered */
	VSOCK_OPEN,
	VSOCK_RESETTING, /* ended, and the guest has not been told yet */
	VSOCK_STATES,
};

struct vsock_connection {
	struct vsock *vsock;
	enum vsock_state state;
	bool taken; /* not in the list of free places */
	uint32_t guest_port, host_port;
	uint64_t id; /* of the ASK or the CONNECT */
	bool announce;
	uint16_t next;       /* with the same hash: place + 1, or 0 */
	uint16_t next_ready; /* the same */
	bool ready;          /* in the list of connections with packets for the guest */
	uint32_t todo;
	/* From host to guest. */
	uint8_t *input;
	uint32_t input_head, input_used;
	uint32_t sent, peer_buffer, peer_forwarded; /* §5.10.6.3, modulo 2^32 */
	bool asked_credit;
	bool host_ended, host_gone; /* end of file; both directions closed */
	uint32_t told_shutdown;
	/* From guest to host: a ring of bytes. */
	uint8_t *output;
	uint32_t output_head, output_used;
	uint32_t greeting; /* bytes at its start that are the greeting, not the guest's */
	uint32_t received, forwarded, told_forwarded;
	uint32_t guest_shutdown;
	/* The socket. */
	int fd;        /* in the I/O thread's own table, or -1 */
	bool drain;    /* ended, but bytes that the guest sent are still to be written */
	uint32_t shut; /* directions shut down: 1 << SHUT_RD, 1 << SHUT_WR */
	uint32_t busy, polling, cancelled; /* bits of operations */
	struct io_op read_op, write_op, watch_op, shut_op, close_op;
};

/* An answer to a packet that belongs to no connection. */
struct vsock_reset {
	uint64_t source_cid;
	uint32_t source_port, destination_port;
	uint16_t type;
};

struct vsock {
	struct virtio_device device;
	struct {
		uint64_t guest_cid;
	} config; /* §5.10.4, little-endian */
	uint64_t cid;
	struct vsock_connection connections[VSOCK_CONNECTIONS];
	uint8_t *buffers; /* owned, mapped; a page costs nothing before its first use */
	uint16_t free[VSOCK_CONNECTIONS];
	uint16_t buckets[VSOCK_BUCKETS];
	uint16_t first_ready, last_ready;
	uint32_t next_port;
	uint64_t next_ask;
	bool transmit_blocked; /* `resets` is full */
	bool told_source;
	struct vsock_reset resets[VSOCK_RESETS];
	uint32_t reset_head, reset_count;
	/* The channel. */
	uint32_t channel_file;
	bool channel_gone, sending, send_polls, receiving, receive_polls;
	struct io_op send_op, receive_op, drop_op;
	struct vsock_channel_message messages[VSOCK_MESSAGES], incoming;
	uint32_t message_head, message_count;
	struct msghdr header;
	struct iovec packet;
	alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))];
	struct iovec iov[VIRTQ_IOV_MAX(VSOCK_QUEUE_SIZE)];
	_Atomic uint64_t opened, to_guest, to_host, resets_sent, dropped;
	_Atomic uint32_t places_taken;
};

#endif
