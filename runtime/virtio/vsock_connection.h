/* SPDX-License-Identifier: MIT */
/* Private to the vsock device: what vsock.c (packets), vsock_connection.c (places and sockets) and
 * vsock_orchestrator.c (the channel) share. I/O thread. */
#ifndef AXVM_VIRTIO_VSOCK_CONNECTION_H
#define AXVM_VIRTIO_VSOCK_CONNECTION_H

#include "virtio/vsock_state.h"

/* Bits of `todo`: packets due to the guest. */
#define TODO_RESET 0x1u
#define TODO_REQUEST 0x2u
#define TODO_RESPONSE 0x4u
#define TODO_CREDIT 0x8u

/* ---- vsock.c */
/* Gives the guest as many due packets as it has buffers for. Called after anything that made a
 * packet ready. */
void vsock_deliver(struct vsock *vsock);

/* ---- vsock_connection.c */
void vsock_connections_init(struct vsock *vsock);
struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port);
/* Takes a free place and enters it under its ports in `state`; NULL: none left. */
struct vsock_connection *vsock_open(struct vsock *vsock, uint32_t guest_port, uint32_t host_port,
                                    enum vsock_state state);
/* Marks a connection that may have a packet for the guest. */
void vsock_ready(struct vsock_connection *c);
/* Ends a connection. `reset`: the guest gets an RST; `drain`: bytes that the guest sent are still
 * written to the host's socket. */
void vsock_end(struct vsock_connection *c, bool reset, bool drain);
/* Called when the guest has been told of the end, or was reset: frees the place once nothing is in
 * flight. */
void vsock_forget(struct vsock_connection *c);
/* Gives a connection its socket, and takes over the fd. Until the connection is open the shim only
 * watches whether the peer closes the socket. */
void vsock_attach(struct vsock_connection *c, int fd);
/* Starts to carry bytes, once the connection is open. */
void vsock_flow(struct vsock_connection *c);
/* Reads more from the socket, once the last bytes have been delivered. */
void vsock_read(struct vsock_connection *c);
/* Writes the bytes in `output` to the socket. */
void vsock_write(struct vsock_connection *c);
/* Shuts down the directions of the socket that `guest_shutdown` names. */
void vsock_shut(struct vsock_connection *c);

/* ---- vsock_orchestrator.c */
int vsock_channel_init(struct vsock *vsock, int fd);
void vsock_channel_start(struct vsock *vsock);
/* Sends the orchestrator an ASK for a connection; false: the channel cannot take it. */
bool vsock_channel_ask(struct vsock_connection *c);
/* Answers the CONNECT of a connection in state VSOCK_INVITED. */
void vsock_channel_answer(struct vsock_connection *c, enum vsock_channel_kind kind,
                          enum vsock_channel_reason reason);

#endif
