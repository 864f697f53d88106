/* SPDX-License-Identifier: MIT */
/* The host's side of vsock in `axvm run`, the test being the shim, its clients and its
 * listeners. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "launch/cli/vsock_host.h"
#include "tests/unit/rig/wait.h"

static struct vsock_host host;
static char folder[] = "/tmp/axvm-unit-XXXXXX", path[SOCKET_PATH_MAX];
static int shim = -1;

static void set_up(void)
{
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/v", folder);
	cr_assert_eq(vsock_host_open(&host, path, &shim), 0);
}

static void tear_down(void)
{
	vsock_host_close(&host);
	close_ptr(&shim);
	cr_assert_eq(rmdir(folder), 0, "a socket is left: %s", errno_text(errno));
}

TestSuite(launch_vsock, .init = set_up, .fini = tear_down);

/* Lets the host do all that it can do now. */
static void turn(void)
{
	struct pollfd fds[VSOCK_HOST_POLLFDS];

	for (int i = 0; i < 2000; i++) {
		vsock_host_watch(&host, fds);
		if (poll(fds, VSOCK_HOST_POLLFDS, 0) == 0)
			return;
		vsock_host_serve(&host, fds);
	}
	cr_assert_fail("the host is never idle");
}

static int client(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	cr_assert_eq(sockets_address(path, &address), 0);
	cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	turn();
}

/* The next message for the shim; its fd, or -1. False: there is none. */
static bool take(struct vsock_channel_message *message, int *ret_fd)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { message, sizeof(*message) };
	struct msghdr header = { .msg_iov = &iov,
		                 .msg_iovlen = 1,
		                 .msg_control = control.bytes,
		                 .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(shim, &header, MSG_DONTWAIT);

	*ret_fd = -1;
	if (n < 0)
		return false;
	cr_assert_eq(n, sizeof(*message));
	cr_assert_eq(le16toh(message->version), VSOCK_CHANNEL_VERSION);
	if (CMSG_FIRSTHDR(&header))
		memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&header)), sizeof(int));
	return true;
}

static void ask(uint64_t id, uint32_t port)
{
	const struct vsock_channel_message message = {
		.version = htole16(VSOCK_CHANNEL_VERSION),
		.kind = htole16(VSOCK_ASK),
		.id = htole64(id),
		.host_port = htole32(port),
		.guest_port = htole32(1234),
	};

	cr_assert_eq(send(shim, &message, sizeof(message), MSG_DONTWAIT), sizeof(message));
}

static bool ended(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static const char *const lines[] = { "CONNECT 1024\n", "connect 1024\n", "CONNECT 1024\nGET /" };

/* What follows the line stays in the socket, which goes to the shim. */
Test(launch_vsock, clients_go_to_the_shim)
{
	struct vsock_channel_message message;
	int fd, passed;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char rest[16] = "";

		fd = client();
		say(fd, lines[i]);
		cr_assert(take(&message, &passed), "%s", lines[i]);
		cr_assert_eq(le16toh(message.kind), VSOCK_CONNECT);
		cr_assert_eq(le32toh(message.guest_port), 1024);
		cr_assert_eq(le32toh(message.flags), VSOCK_ANNOUNCE);
		cr_assert_geq(passed, 0);
		(void)recv(passed, rest, sizeof(rest) - 1, MSG_DONTWAIT);
		cr_assert_str_eq(rest, strchr(lines[i], '\n') + 1);
		cr_assert_eq(send(passed, "OK", 2, 0), 2);
		cr_assert_eq(wait_read(fd, rest, 2), 2);
		close(passed);
		cr_assert(ended(fd), "the host has kept a copy");
		close(fd);
	}
}

Test(launch_vsock, a_line_in_pieces)
{
	struct vsock_channel_message message;
	int fd = client(), passed;

	for (const char *at = "CONNECT 4294967295\n"; *at; at++) {
		cr_assert_not(take(&message, &passed));
		say(fd, (char[]){ *at, '\0' });
	}
	cr_assert(take(&message, &passed));
	cr_assert_eq(le32toh(message.guest_port), UINT32_MAX);
	close(passed);
	close(fd);
}

Test(launch_vsock, what_is_no_connect_ends)
{
	static const char *const wrong[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT 4294967296\n",
		"CONNECT -1\n",
		"CONNECT 1 2\n",
		"GET / HTTP/1.0\r\n",
		"CONNECT                         ",
		"LISTEN 5\n",
	};
	struct vsock_channel_message message;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		int fd = client(), passed;

		say(fd, wrong[i]);
		cr_assert(ended(fd), "%s", wrong[i]);
		cr_assert_not(take(&message, &passed), "%s", wrong[i]);
		close(fd);
	}
}

/* More clients than places, none of which says anything: the first have to go, the last is
 * served. */
Test(launch_vsock, silent_clients_make_room)
{
	struct vsock_channel_message message;
	int fds[VSOCK_HOST_CLIENTS + 1], passed;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client();
		turn();
	}
	cr_assert(ended(fds[0]));
	cr_assert_not(ended(fds[1]));
	say(fds[VSOCK_HOST_CLIENTS], "CONNECT 7\n");
	cr_assert(take(&message, &passed));
	close(passed);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	turn();
}

Test(launch_vsock, the_guest_reaches_who_listens)
{
	struct vsock_channel_message message;
	char at[SOCKET_PATH_MAX + 8];
	int listener, fd, passed;

	snprintf(at, sizeof(at), "%s_80", path);
	cr_assert_eq(sockets_listen(at, 4, &listener, NULL), 0);
	ask(0x1234567890, 80);
	ask(2, 81);
	turn();
	cr_assert(take(&message, &passed));
	cr_assert_eq(le16toh(message.kind), VSOCK_ACCEPT);
	cr_assert_eq(le64toh(message.id), 0x1234567890);
	cr_assert_not(fcntl(passed, F_GETFL) & O_NONBLOCK, "the shim's ring waits by itself");
	wait_readable(listener);
	fd = accept(listener, NULL, NULL);
	cr_assert_eq(send(passed, "x", 1, 0), 1);
	cr_assert_eq(wait_read(fd, at + SOCKET_PATH_MAX, 1), 1);
	close(passed);
	close(fd);
	cr_assert(take(&message, &passed));
	cr_assert_eq(le16toh(message.kind), VSOCK_REFUSE);
	cr_assert_eq(le64toh(message.id), 2);
	cr_assert_lt(passed, 0);
	unlink(at);
	/* Nobody listens there any more. */
	close(listener);
	ask(3, 80);
	turn();
	cr_assert(take(&message, &passed) && le16toh(message.kind) == VSOCK_REFUSE);
}

/* A shim that does not read for a while gets each answer in the end, in order; clients wait. */
Test(launch_vsock, a_channel_that_is_full)
{
	const int small = 4096;
	struct vsock_channel_message message;
	int fd = client(), passed;

	cr_assert_eq(setsockopt(host.channel, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (uint64_t id = 0; id < VSOCK_CONNECTIONS; id++)
		ask(id, 9);
	for (int i = 0; i < 10; i++) {
		struct pollfd fds[VSOCK_HOST_POLLFDS];

		vsock_host_watch(&host, fds);
		if (poll(fds, VSOCK_HOST_POLLFDS, 0) > 0)
			vsock_host_serve(&host, fds);
	}
	cr_assert_gt(host.parcel_count, VSOCK_HOST_PARCELS / 2);
	cr_assert_gt(send(fd, "CONNECT 5\n", 10, 0), 0);
	for (uint64_t id = 0; id < VSOCK_CONNECTIONS; id++) {
		if (!take(&message, &passed)) {
			turn();
			cr_assert(take(&message, &passed));
		}
		/* Served once there was room: somewhere among the answers, not before half of
		 * them. */
		if (le16toh(message.kind) == VSOCK_CONNECT) {
			cr_assert_geq(id, VSOCK_HOST_PARCELS / 4);
			close_ptr(&passed);
			close_ptr(&fd);
			id--;
			continue;
		}
		cr_assert_eq(le64toh(message.id), id);
	}
	turn();
	cr_assert(fd < 0 || (take(&message, &passed) && le16toh(message.kind) == VSOCK_CONNECT));
	cr_assert_eq(host.parcel_count, 0);
}

Test(launch_vsock, what_is_no_message_is_passed_over)
{
	struct vsock_channel_message message = { .version = htole16(9),
		                                 .kind = htole16(VSOCK_ASK) };
	int passed;

	cr_assert_eq(send(shim, "short", 5, 0), 5);
	cr_assert_eq(send(shim, &message, sizeof(message), 0), sizeof(message));
	message.version = htole16(VSOCK_CHANNEL_VERSION);
	message.kind = htole16(VSOCK_REFUSED);
	cr_assert_eq(send(shim, &message, sizeof(message), 0), sizeof(message));
	turn();
	cr_assert_not(take(&message, &passed));
	ask(4, 9);
	turn();
	cr_assert(take(&message, &passed) && le64toh(message.id) == 4);
}

Test(launch_vsock, the_shim_ends)
{
	struct pollfd fds[VSOCK_HOST_POLLFDS];
	int fd = client();

	turn();
	close_ptr(&shim);
	turn();
	vsock_host_watch(&host, fds);
	for (size_t i = 0; i < VSOCK_HOST_POLLFDS; i++)
		cr_assert_lt(fds[i].fd, 0);
	vsock_host_close(&host);
	cr_assert(ended(fd));
	close(fd);
}

Test(launch_vsock, places_to_listen)
{
	struct vsock_host other = { .open = false };
	char longest[SOCKET_PATH_MAX];
	struct stat st;
	int fd;

	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600);
	cr_assert_eq(vsock_host_open(&other, path, &fd), -EADDRINUSE);
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 11] = '\0';
	cr_assert_eq(vsock_host_open(&other, longest, &fd), -ENAMETOOLONG);
	cr_assert_eq(vsock_host_open(&other, "/nonexistent/a/b", &fd), -ENOENT);
	/* One that was left behind is replaced. */
	close_ptr(&host.listener);
	close_ptr(&shim);
	cr_assert_eq(vsock_host_open(&other, path, &shim), 0);
	host.open = false;
	close_ptr(&host.channel);
	host = other;
}

/* Each id counts up, so that none of two at once is taken for the other. */
Test(launch_vsock, connections_have_numbers_of_their_own)
{
	struct vsock_channel_message message;
	uint64_t before = 0;
	int passed;

	for (int i = 0; i < 4; i++) {
		int fd = client();

		say(fd, "CONNECT 5\n");
		cr_assert(take(&message, &passed));
		cr_assert(i == 0 || le64toh(message.id) > before);
		before = le64toh(message.id);
		close(passed);
		close(fd);
	}
}

/* At its end nothing of it is open: neither the channel nor what was on its way to it. */
Test(launch_vsock, the_end_of_the_host)
{
	const int small = 4096;
	struct pollfd fds[VSOCK_HOST_POLLFDS];
	char at[SOCKET_PATH_MAX + 8];
	int listener, fd;
	char byte;

	snprintf(at, sizeof(at), "%s_80", path);
	cr_assert_eq(sockets_listen(at, 128, &listener, NULL), 0);
	cr_assert_eq(setsockopt(host.channel, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (uint64_t id = 0; id < 100; id++)
		ask(id, 80);
	vsock_host_watch(&host, fds);
	cr_assert_gt(poll(fds, VSOCK_HOST_POLLFDS, 0), 0);
	vsock_host_serve(&host, fds);
	cr_assert_gt(host.parcel_count, 0, "all of it was taken at once");
	vsock_host_close(&host);
	close_ptr(&shim);
	for (int i = 0; i < 100; i++) {
		wait_readable(listener);
		fd = accept(listener, NULL, NULL);
		cr_assert_geq(fd, 0);
		cr_assert(ended(fd), "connection %d is still open somewhere", i);
		close(fd);
	}
	cr_assert_eq(vsock_host_open(&host, path, &shim), 0, "the place is free again");
	vsock_host_close(&host);
	cr_assert_eq(recv(shim, &byte, 1, MSG_DONTWAIT), 0, "the channel is open");
	close(listener);
	unlink(at);
}

/* More sockets on their way to the shim than a process may have open: the guest is refused, and the
 * connection ends. */
Test(launch_vsock, too_many_on_their_way)
{
	struct vsock_channel_message message;
	char at[SOCKET_PATH_MAX + 8];
	int listener, passed, accepted = 0, refused = 0, at_end = 0;
	struct rlimit limit, low;

	snprintf(at, sizeof(at), "%s_80", path);
	cr_assert_eq(sockets_listen(at, 128, &listener, NULL), 0);
	cr_assert(chmod(folder, 0711) == 0 && chmod(at, 0666) == 0);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 64;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0); /* root may have any number of them on their way */
	for (uint64_t id = 0; id < 100; id++) {
		ask(id, 80);
		if (id % 10 == 9)
			turn();
	}
	if (getuid() == 0)
		cr_assert_eq(seteuid(0), 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (uint64_t id = 0; take(&message, &passed); id++) {
		cr_assert_eq(le64toh(message.id), id);
		cr_assert(le16toh(message.kind) == (passed >= 0 ? VSOCK_ACCEPT : VSOCK_REFUSE));
		*(passed >= 0 ? &accepted : &refused) += 1;
		close_ptr(&passed);
	}
	cr_assert_eq(accepted + refused, 100, "%d and %d", accepted, refused);
	cr_assert_gt(refused, 0);
	for (int i = 0; i < 100; i++) {
		int fd = accept(listener, NULL, NULL);

		cr_assert_geq(fd, 0);
		at_end += ended(fd);
		close(fd);
	}
	cr_assert_eq(at_end, 100);
	close(listener);
	unlink(at);
}

/* More answers than there is room for: what the guest asks waits in the channel, and each is
 * answered, once and in order. */
Test(launch_vsock, as_many_answers_as_there_is_room_for)
{
	enum { ASKED = VSOCK_HOST_PARCELS + 100 };
	const int small = 4096;
	struct vsock_channel_message message;
	int passed;

	cr_assert_eq(setsockopt(host.channel, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	for (uint64_t id = 0; id < ASKED; id++) {
		struct pollfd fds[VSOCK_HOST_POLLFDS];

		ask(id, 9);
		vsock_host_watch(&host, fds);
		if (poll(fds, VSOCK_HOST_POLLFDS, 0) > 0)
			vsock_host_serve(&host, fds);
		cr_assert_leq(host.parcel_count, VSOCK_HOST_PARCELS);
	}
	cr_assert_eq(host.parcel_count, VSOCK_HOST_PARCELS);
	for (uint64_t id = 0; id < ASKED; id++) {
		if (!take(&message, &passed)) {
			turn();
			cr_assert(take(&message, &passed));
		}
		cr_assert_eq(le64toh(message.id), id);
		cr_assert_eq(le16toh(message.kind), VSOCK_REFUSE);
	}
	cr_assert_eq(host.parcel_count, 0);
}
