/* SPDX-License-Identifier: MIT */
/* A guest's vsock driver, packet by packet, and the orchestrator's end of the channel. */
#ifndef AXVM_TESTS_VSOCK_GUEST_H
#define AXVM_TESTS_VSOCK_GUEST_H

#include <linux/virtio_vsock.h>

#include "rig/virtio_driver.h"
#include "virtio/vsock.h"

#define GUEST_CID 7
#define GUEST_BUFFER 262144u

struct packet {
	struct virtio_vsock_hdr header;
	uint8_t data[4096];
};

struct vsock_guest {
	struct test_machine m;
	struct vsock vsock;
	struct driver driver;
	struct ring rings[VSOCK_QUEUES];
	uint16_t received;  /* packets taken from the receive queue */
	uint32_t forwarded; /* what its packets say it has taken of a connection */
	int channel;        /* the orchestrator's end */
};

/* Everything up, with `buffers` receive buffers (at most 16) there. */
void guest_start(struct vsock_guest *g, uint16_t buffers, int channel_flags);
void guest_stop(struct vsock_guest *g);
/* The driver starts over. */
void guest_bring_up(struct vsock_guest *g, uint16_t buffers);
void guest_offer_buffer(struct vsock_guest *g, uint16_t slot, uint32_t length);

/* A packet of a connection's, with credit for GUEST_BUFFER bytes. */
struct virtio_vsock_hdr guest_header(uint16_t op, uint32_t guest_port, uint32_t host_port);
/* Sends; the second one waits until the device has taken it. */
void guest_offer_packet(struct vsock_guest *g, const void *bytes, uint32_t length);
void guest_send_raw(struct vsock_guest *g, const void *bytes, uint32_t length);
void guest_send(struct vsock_guest *g, uint16_t op, uint32_t guest_port, uint32_t host_port,
                const void *data, uint32_t length);
/* The next packet for the guest; its buffer is offered again. */
void guest_receive(struct vsock_guest *g, struct packet *packet);
/* The same, and it must be this one; updates of credit may come before it at any time. */
void guest_expect(struct vsock_guest *g, uint16_t op, uint32_t guest_port, struct packet *packet);
bool guest_has_packet(struct vsock_guest *g);

/* Sends a message with up to two descriptors (-1: none), which stay the caller's. */
void host_send(struct vsock_guest *g, uint16_t kind, uint64_t id, uint32_t guest_port,
               uint32_t flags, int fd);
void host_send_raw(struct vsock_guest *g, const void *bytes, size_t length, const int *fds,
                   size_t count);
void host_receive(struct vsock_guest *g, uint16_t kind, struct vsock_channel_message *message);

/* An open connection: the guest's port is given; the host's is returned, and the host's socket. */
uint32_t open_from_host(struct vsock_guest *g, uint32_t guest_port, int *ret_socket);
void open_from_guest(struct vsock_guest *g, uint32_t guest_port, uint32_t host_port,
                     int *ret_socket);
/* Reads exactly that many bytes, or fewer at the end of file. */
size_t read_all(int fd, void *data, size_t length);
void await_places(struct vsock_guest *g, uint32_t taken);

#endif
