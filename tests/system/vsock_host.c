/* SPDX-License-Identifier: MIT */
/* The orchestrator's side of tests/system/lab_vsock.sh: starts a shim with a vsock channel at fd 10 and
 * answers for the ports that tests/guests/linux/vsock_guest.c wants.
 *
 * Usage: vsock_host COMMAND [ARGUMENT]...      (exits with the command's status, or 1) */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "virtio/vsock_channel.h"

#define CHANNEL_FD 10
#define ECHO_PORT 7000
#define STALLED_PORT 7001
#define RELEASE_PORT 7003
#define READY_PORT 7010
#define LISTEN_PORT 5000
#define UNUSED_PORT 5999
#define FROM_HOST 51
#define FDS_MAX 512

static int channel;
static int failures;
static int stalled = -1;
static struct pollfd fds[FDS_MAX]; /* the channel, then sockets to be echoed */
static size_t fd_count = 1;

static void check(const char *what, bool ok)
{
	printf("CHECK %s host: %s\n", ok ? "ok" : "FAILED", what);
	fflush(stdout);
	failures += !ok;
}

static void say(uint16_t kind, uint64_t id, uint32_t port, uint32_t flags, int fd)
{
	struct vsock_channel_message message = {
		.version = htole16(VSOCK_CHANNEL_VERSION),
		.kind = htole16(kind),
		.flags = htole32(flags),
		.id = htole64(id),
		.guest_port = htole32(port),
	};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		header.msg_control = control.bytes;
		header.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&header);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(channel, &header, 0) < 0)
		perror("vsock_host: sendmsg");
	if (fd >= 0)
		close(fd);
}

static bool write_all(int fd, const void *data, size_t length)
{
	const char *at = data;

	while (length > 0) {
		ssize_t n = write(fd, at, length);

		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

static size_t read_all(int fd, void *data, size_t length)
{
	size_t have = 0;

	while (have < length) {
		ssize_t n = read(fd, (char *)data + have, length - have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

static bool receive(struct vsock_channel_message *message)
{
	return recv(channel, message, sizeof(*message), 0) == sizeof(*message);
}

/* The answer to a CONNECT; the guest asks for nothing meanwhile. */
static bool connected(uint64_t id, uint32_t port, uint32_t flags, int *ret_socket,
                      struct vsock_channel_message *answer)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	say(VSOCK_CONNECT, id, port, flags, pair[0]);
	*ret_socket = pair[1];
	return receive(answer) && le64toh(answer->id) == id &&
	       le16toh(answer->kind) == VSOCK_CONNECTED;
}

static void announced(void)
{
	struct vsock_channel_message answer;
	char expected[64], bytes[64] = { 0 };
	int fd;
	int length;
	bool ok = connected(1, LISTEN_PORT, VSOCK_ANNOUNCE, &fd, &answer);

	length = snprintf(expected, sizeof(expected), "OK %u\nhello", le32toh(answer.host_port));
	ok = ok && write_all(fd, "hello", 5) && shutdown(fd, SHUT_WR) == 0 &&
	     read_all(fd, bytes, sizeof(bytes)) == (size_t)length && !strcmp(bytes, expected);
	check("an announced connection, with half-close", ok);
	close(fd);
}

static void to_guest(void)
{
	static char out[20000], in[sizeof(out)];
	struct vsock_channel_message answer;
	int echoed = 0;
	int fd;

	announced();
	for (int i = 1; i < FROM_HOST; i++) {
		memset(out, i, sizeof(out));
		if (connected(100u + (unsigned)i, LISTEN_PORT, 0, &fd, &answer) &&
		    write_all(fd, out, sizeof(out)) &&
		    read_all(fd, in, sizeof(in)) == sizeof(in) && !memcmp(out, in, sizeof(in)))
			echoed++;
		close(fd);
		/* While the guest still listens elsewhere. */
		if (i == FROM_HOST / 2) {
			bool refused = !connected(999, UNUSED_PORT, 0, &fd, &answer) &&
			               le16toh(answer.kind) == VSOCK_REFUSED &&
			               le32toh(answer.reason) == VSOCK_REASON_GUEST;

			check("a port where the guest does not listen", refused);
			close(fd);
		}
	}
	check("50 echoes of 20,000 bytes by the guest", echoed == FROM_HOST - 1);
}

/* Reads what waited, says how much it was. */
static void release(void)
{
	static char buffer[65536];
	uint64_t got = 0;
	ssize_t n;

	while ((n = read(stalled, buffer, sizeof(buffer))) > 0)
		got += (uint64_t)n;
	(void)write_all(stalled, &got, sizeof(got));
	close(stalled);
}

static void on_ask(const struct vsock_channel_message *ask)
{
	uint32_t port = le32toh(ask->host_port);
	int pair[2];

	if ((port != ECHO_PORT && port != STALLED_PORT && port != RELEASE_PORT &&
	     port != READY_PORT) ||
	    fd_count == FDS_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		say(VSOCK_REFUSE, le64toh(ask->id), 0, 0, -1);
		return;
	}
	say(VSOCK_ACCEPT, le64toh(ask->id), 0, 0, pair[0]);
	if (port == STALLED_PORT)
		stalled = pair[1];
	else
		fds[fd_count++] = (struct pollfd){ pair[1], POLLIN, 0 };
	if (port == RELEASE_PORT)
		release();
	if (port == READY_PORT)
		to_guest();
}

static void echo(size_t i)
{
	static char buffer[16384];
	ssize_t n = read(fds[i].fd, buffer, sizeof(buffer));

	if (n > 0 && write_all(fds[i].fd, buffer, (size_t)n))
		return;
	close(fds[i].fd);
	fds[i] = fds[--fd_count];
}

static void serve(void)
{
	struct vsock_channel_message message;

	fds[0] = (struct pollfd){ channel, POLLIN, 0 };
	for (;;) {
		if (poll(fds, fd_count, -1) < 0 && errno != EINTR)
			return;
		for (size_t i = fd_count - 1; i > 0; i--)
			if (fds[i].revents)
				echo(i);
		if (!fds[0].revents)
			continue;
		/* The shim has ended. */
		if (!receive(&message))
			return;
		if (le16toh(message.kind) == VSOCK_ASK)
			on_ask(&message);
	}
}

int main(int argc, char **argv)
{
	int pair[2];
	int status = 0;
	pid_t child;

	if (argc < 2 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return 64;
	child = fork();
	if (child < 0)
		return 71;
	if (child == 0) {
		dup2(pair[0], CHANNEL_FD);
		execvp(argv[1], argv + 1);
		_exit(127);
	}
	close(pair[0]);
	channel = pair[1];
	serve();
	waitpid(child, &status, 0);
	return failures ? 1 : WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
