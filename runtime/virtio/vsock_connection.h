/* SPDX-License-Identifier: MIT */
/* The vsock device's inside: what vsock.c (packets), vsock_connection.c (places and sockets) and
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
/* Hands the guest what it has room for. At the end of whatever made something ready. */
void vsock_deliver(struct vsock *vsock);

/* ---- vsock_connection.c */
void vsock_connections_init(struct vsock *vsock);
struct vsock_connection *vsock_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port);
/* A free place, entered under its ports in `state`; NULL: none left. */
struct vsock_connection *vsock_open(struct vsock *vsock, uint32_t guest_port, uint32_t host_port,
                                    enum vsock_state state);
/* The connection has something for the guest, or could have. */
void vsock_ready(struct vsock_connection *c);
/* It is over. `reset`: the guest is to be told; `drain`: what it sent is still written to the
 * host. */
void vsock_end(struct vsock_connection *c, bool reset, bool drain);
/* The guest has been told, or has forgotten by itself. */
void vsock_forget(struct vsock_connection *c);
/* Gives it its socket; the fd becomes the connection's. Until the connection is open the socket is
 * only watched for its peer's leaving. */
void vsock_attach(struct vsock_connection *c, int fd);
/* Bytes begin to flow. */
void vsock_flow(struct vsock_connection *c);
/* Reads more, when the last bytes have been delivered. */
void vsock_read(struct vsock_connection *c);
/* Writes what is in `output`. */
void vsock_write(struct vsock_connection *c);
/* Does to the socket what the guest's `guest_shutdown` asks for. */
void vsock_shut(struct vsock_connection *c);

/* ---- vsock_orchestrator.c */
int vsock_channel_init(struct vsock *vsock, int fd);
void vsock_channel_start(struct vsock *vsock);
/* Asks the orchestrator for a connection; false: it cannot be asked. */
bool vsock_channel_ask(struct vsock_connection *c);
/* Answers the CONNECT that an invited connection stands for. */
void vsock_channel_answer(struct vsock_connection *c, enum vsock_channel_kind kind,
                          enum vsock_channel_reason reason);

#endif
