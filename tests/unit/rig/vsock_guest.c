/* SPDX-License-Identifier: MIT */
/* A guest's vsock driver, for tests (VIRTIO 1.2 §5.10). */
#include "rig/vsock_guest.h"

#include <criterion/criterion.h>
#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define RX 0
#define TX 1
#define EVENT 2
#define SIZE 16
#define RX_DATA 0x80000u
#define TX_DATA 0x100000u

void guest_offer_buffer(struct vsock_guest *g, uint16_t slot, uint32_t length)
{
	ring_desc(&g->rings[RX], slot, RX_DATA + slot * 4096u, length, VRING_DESC_F_WRITE, 0);
	ring_offer(&g->rings[RX], slot);
	driver_kick(&g->driver, RX);
}

void guest_bring_up(struct vsock_guest *g, uint16_t buffers)
{
	driver_reset(&g->driver);
	for (uint16_t i = 0; i < VSOCK_QUEUES; i++)
		ring_init(&g->rings[i], &g->m.memory, SIZE, 0x10000 + 0x10000u * i);
	cr_assert(driver_negotiate(&g->driver, VIRTIO_FEATURE(VIRTIO_F_VERSION_1) |
	                                               VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX)));
	common_out(&g->driver, VIRTIO_PCI_COMMON_MSIX, VSOCK_QUEUES, 2);
	for (uint16_t i = 0; i < VSOCK_QUEUES; i++)
		driver_queue(&g->driver, i, &g->rings[i]);
	driver_ok(&g->driver);
	g->received = 0;
	for (uint16_t i = 0; i < buffers; i++)
		guest_offer_buffer(g, i, 4096);
	/* The device hears of DRIVER_OK on its own thread. Once it has taken a packet, one that
	 * means nothing, a CONNECT is no longer answered with "no driver". */
	guest_send(g, VIRTIO_VSOCK_OP_RST, 1, 1, NULL, 0);
}

void guest_start(struct vsock_guest *g, uint16_t buffers, int channel_flags)
{
	struct vsock_spec spec = { .cid = GUEST_CID };
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	memset(g, 0, sizeof(*g));
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | channel_flags, 0, pair),
	             0);
	spec.channel_fd = pair[0];
	g->channel = pair[1];
	machine_init(&g->m);
	cr_assert_eq(vsock_create(&g->vsock, &spec, &g->m.host), 0);
	machine_start(&g->m);
	close(pair[0]);
	driver_probe(&g->driver, &g->m, 1);
	guest_bring_up(g, buffers);
}

void guest_stop(struct vsock_guest *g)
{
	machine_stop(&g->m, 0);
	vsock_destroy(&g->vsock);
	machine_done(&g->m);
	close_ptr(&g->channel);
}

struct virtio_vsock_hdr guest_header(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(GUEST_CID),
		.dst_cid = htole64(VMADDR_CID_HOST),
		.src_port = htole32(guest_port),
		.dst_port = htole32(host_port),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op),
		.buf_alloc = htole32(GUEST_BUFFER),
	};
}

void guest_offer_packet(struct vsock_guest *g, const void *bytes, uint32_t length)
{
	cr_assert_eq(guest_memory_write(&g->m.memory, GPA(TX_DATA), bytes, length), 0);
	ring_desc(&g->rings[TX], 0, TX_DATA, length, 0, 0);
	ring_offer(&g->rings[TX], 0);
	driver_kick(&g->driver, TX);
}

void guest_send_raw(struct vsock_guest *g, const void *bytes, uint32_t length)
{
	uint16_t done = ring_used_idx(&g->rings[TX]);

	guest_offer_packet(g, bytes, length);
	driver_await_used(&g->rings[TX], (uint16_t)(done + 1));
}

void guest_send(struct vsock_guest *g, uint16_t op, uint32_t guest_port, uint32_t host_port,
                const void *data, uint32_t length)
{
	static uint8_t bytes[sizeof(struct virtio_vsock_hdr) + VSOCK_BUFFER];
	struct virtio_vsock_hdr header = guest_header(op, guest_port, host_port);

	header.len = htole32(length);
	header.fwd_cnt = htole32(g->forwarded);
	memcpy(bytes, &header, sizeof(header));
	if (length > 0)
		memcpy(bytes + sizeof(header), data, length);
	guest_send_raw(g, bytes, (uint32_t)sizeof(header) + length);
}

bool guest_has_packet(struct vsock_guest *g)
{
	return ring_used_idx(&g->rings[RX]) != g->received;
}

void guest_receive(struct vsock_guest *g, struct packet *packet)
{
	struct virtq_used used;

	WAIT_UNTIL(guest_has_packet(g));
	used = ring_used(&g->rings[RX], g->received++);
	cr_assert_geq(used.length, sizeof(packet->header));
	cr_assert_leq(used.length, 4096);
	cr_assert_eq(guest_memory_read(&g->m.memory, GPA(RX_DATA + used.id * 4096u), packet,
	                               used.length),
	             0);
	cr_assert_eq(le32toh(packet->header.len), used.length - sizeof(packet->header));
	cr_assert_eq(le64toh(packet->header.dst_cid), GUEST_CID);
	guest_offer_buffer(g, (uint16_t)used.id, 4096);
}

void guest_expect(struct vsock_guest *g, uint16_t op, uint32_t guest_port, struct packet *packet)
{
	struct packet own;

	packet = packet ? packet : &own;
	do
		guest_receive(g, packet);
	while (le16toh(packet->header.op) == VIRTIO_VSOCK_OP_CREDIT_UPDATE &&
	       op != VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	cr_assert_eq(le16toh(packet->header.op), op, "op %u, not %u", le16toh(packet->header.op),
	             op);
	cr_assert_eq(le32toh(packet->header.dst_port), guest_port);
}

void host_send_raw(struct vsock_guest *g, const void *bytes, size_t length, const int *fds,
                   size_t count)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_len = length };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	memcpy(&iov.iov_base, &bytes, sizeof(bytes));
	if (count > 0) {
		struct cmsghdr *c;

		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	WAIT_UNTIL(sendmsg(g->channel, &header, 0) >= 0);
}

void host_send(struct vsock_guest *g, uint16_t kind, uint64_t id, uint32_t guest_port,
               uint32_t flags, int fd)
{
	const struct vsock_channel_message message = {
		.version = htole16(VSOCK_CHANNEL_VERSION),
		.kind = htole16(kind),
		.flags = htole32(flags),
		.id = htole64(id),
		.guest_port = htole32(guest_port),
	};

	host_send_raw(g, &message, sizeof(message), &fd, fd >= 0);
}

void host_receive(struct vsock_guest *g, uint16_t kind, struct vsock_channel_message *message)
{
	ssize_t n;

	WAIT_UNTIL((n = recv(g->channel, message, sizeof(*message), 0)) >= 0);
	cr_assert_eq(n, sizeof(*message));
	cr_assert_eq(le16toh(message->version), VSOCK_CHANNEL_VERSION);
	cr_assert_eq(le16toh(message->kind), kind, "kind %u, not %u", le16toh(message->kind), kind);
}

uint32_t open_from_host(struct vsock_guest *g, uint32_t guest_port, int *ret_socket)
{
	struct vsock_channel_message message;
	struct packet packet;
	uint32_t host_port;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	host_send(g, VSOCK_CONNECT, 1000 + guest_port, guest_port, 0, pair[0]);
	close(pair[0]);
	guest_expect(g, VIRTIO_VSOCK_OP_REQUEST, guest_port, &packet);
	host_port = le32toh(packet.header.src_port);
	guest_send(g, VIRTIO_VSOCK_OP_RESPONSE, guest_port, host_port, NULL, 0);
	host_receive(g, VSOCK_CONNECTED, &message);
	cr_assert_eq(le64toh(message.id), 1000 + guest_port);
	cr_assert_eq(le32toh(message.host_port), host_port);
	*ret_socket = pair[1];
	return host_port;
}

void open_from_guest(struct vsock_guest *g, uint32_t guest_port, uint32_t host_port,
                     int *ret_socket)
{
	struct vsock_channel_message message;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	guest_send(g, VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port, NULL, 0);
	host_receive(g, VSOCK_ASK, &message);
	cr_assert_eq(le32toh(message.guest_port), guest_port);
	cr_assert_eq(le32toh(message.host_port), host_port);
	host_send(g, VSOCK_ACCEPT, le64toh(message.id), 0, 0, pair[0]);
	close(pair[0]);
	guest_expect(g, VIRTIO_VSOCK_OP_RESPONSE, guest_port, NULL);
	*ret_socket = pair[1];
}

size_t read_all(int fd, void *data, size_t length)
{
	size_t have = 0;

	while (have < length) {
		ssize_t n = wait_read(fd, (uint8_t *)data + have, length - have);

		cr_assert_geq(n, 0);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return have;
}

void await_places(struct vsock_guest *g, uint32_t taken)
{
	struct vsock_stats stats;

	WAIT_UNTIL((vsock_get_stats(&g->vsock, &stats), stats.places_taken == taken));
}
