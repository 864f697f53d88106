/* SPDX-License-Identifier: MIT */
/* vsock from both sides: any packets of the guest's, any messages of the channel's, with and
 * without descriptors, any bytes on the sockets. */
#include "lib/driver_script.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/socket.h>

#include "rig/vsock_guest.h"

#define SOCKETS 8

static struct vsock_guest guest;
static int sockets[SOCKETS]; /* the host's ends of connections */
static unsigned next_socket;

static void bring_up(void *context)
{
	(void)context;
	guest_bring_up(&guest, 8);
}

/* A message of `length` bytes with up to two descriptors; what the channel has no room for is
 * lost. */
static void send_message(const void *bytes, size_t length, unsigned descriptors)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = length };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	int pair[2] = { -1, -1 };

	if (descriptors > 0) {
		struct cmsghdr *c;
		int *fds;

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		                        pair),
		             0);
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
		c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		fds = (int *)(void *)CMSG_DATA(c);
		for (unsigned i = 0; i < descriptors; i++)
			fds[i] = pair[0];
	}
	(void)!sendmsg(guest.channel, &header, MSG_DONTWAIT);
	close_ptr(&pair[0]);
	if (pair[1] >= 0) {
		close_ptr(&sockets[next_socket % SOCKETS]);
		sockets[next_socket++ % SOCKETS] = pair[1];
	}
}

static void backend(struct input *input, void *context)
{
	struct vsock_channel_message message = { .version = VSOCK_CHANNEL_VERSION };
	uint8_t what = (uint8_t)take(input, 1), bytes[1024] = { 0 };
	const uint8_t *from;
	int fd = sockets[what >> 4 & (SOCKETS - 1)];
	size_t length;

	(void)context;
	switch (what & 7) {
	case 0:
	case 1:
		message.kind = (uint16_t)(1 + take(input, 1) % 6);
		message.flags = what >> 7;
		message.id = take(input, 1);
		message.guest_port = (uint32_t)take(input, 1);
		message.host_port = (uint32_t)take(input, 1);
		send_message(&message, sizeof(message), 1);
		break;
	case 2:
		from = take_bytes(input, sizeof(message) + (what >> 7), &length);
		send_message(from, length, what >> 4 & 3 ? 2 - (what >> 4 & 1) : 0);
		break;
	case 3:
		(void)!send(fd, bytes, take(input, 2) % sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 4:
		(void)!recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		break;
	case 5:
		(void)shutdown(fd, what >> 6 & 1 ? SHUT_WR : SHUT_RD);
		break;
	case 6:
		close_ptr(&sockets[what >> 4 & (SOCKETS - 1)]);
		break;
	default:
		while (recv(guest.channel, &message, sizeof(message), MSG_DONTWAIT) > 0)
			;
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	for (int i = 0; i < SOCKETS; i++)
		sockets[i] = -1;
	guest_start(&guest, 8, 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script script = {
		.driver = &guest.driver,
		.rings = guest.rings,
		.queues = VSOCK_QUEUES,
		.bring_up = bring_up,
		.backend = backend,
	};
	struct vsock_channel_message message;

	script_run(&script, data, size);
	for (int i = 0; i < SOCKETS; i++)
		close_ptr(&sockets[i]);
	while (recv(guest.channel, &message, sizeof(message), MSG_DONTWAIT) > 0)
		;
	/* The next input starts without connections. */
	await_places(&guest, 0);
	return 0;
}
