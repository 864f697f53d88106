/* SPDX-License-Identifier: MIT */
/* The guest's side of the vsock case of tests/system/lab-cases-net: AF_VSOCK as programs use it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "stream.h"

#define ECHO_PORT 7000
#define STALLED_PORT 7001
#define REFUSED_PORT 7002
#define RELEASE_PORT 7003
#define READY_PORT 7010
#define LISTEN_PORT 5000
#define CONNECTIONS 200
#define FROM_HOST 51
#define BULK (1024 * 1024)

static int failures;

static void check(const char *what, bool ok)
{
	printf("CHECK %s guest: %s\n", ok ? "ok" : "FAILED", what);
	fflush(stdout);
	failures += !ok;
}

static struct sockaddr_vm address_of(unsigned cid, unsigned port)
{
	return (struct sockaddr_vm){
		.svm_family = AF_VSOCK,
		.svm_cid = cid,
		.svm_port = port,
	};
}

/* A connected socket, or -errno. */
static int dial(unsigned port)
{
	struct sockaddr_vm address = address_of(VMADDR_CID_HOST, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* Sends and receives at the same time, as an echo needs once no buffer holds all of it. */
static bool exchange(int fd, const uint8_t *out, uint8_t *in, size_t length)
{
	size_t sent = 0;
	size_t got = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (got < length) {
		struct pollfd p = { fd, (short)(POLLIN | (sent < length ? POLLOUT : 0)), 0 };
		ssize_t n;

		if (poll(&p, 1, -1) < 0)
			return false;
		if (sent < length && (n = write(fd, out + sent, length - sent)) > 0)
			sent += (size_t)n;
		n = read(fd, in + got, length - got);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return false;
		got += n > 0 ? (size_t)n : 0;
	}
	return memcmp(out, in, length) == 0;
}

static void bulk(void)
{
	static uint8_t out[BULK], in[BULK];
	int fd = dial(ECHO_PORT);

	for (size_t i = 0; i < BULK; i++)
		out[i] = (uint8_t)(i * 31 + i / 1021);
	check("1 MiB to the host comes back", fd >= 0 && exchange(fd, out, in, BULK));
	close(fd);
}

static void many(void)
{
	static int fds[CONNECTIONS];
	int opened = 0;
	int echoed = 0;

	for (int i = 0; i < CONNECTIONS; i++)
		opened += (fds[i] = dial(ECHO_PORT)) >= 0;
	check("200 connections open at once", opened == CONNECTIONS);
	for (int i = 0; i < CONNECTIONS; i++)
		write_all(fds[i], &i, sizeof(i));
	for (int i = 0; i < CONNECTIONS; i++) {
		int back = -1;

		echoed += read_all(fds[i], &back, sizeof(back)) == sizeof(back) && back == i;
		close(fds[i]);
	}
	check("each of 200 has its own echo", echoed == CONNECTIONS);
}

/* The host does not read until it is told to; everything else goes on. */
static void stalled(void)
{
	static uint8_t block[4096];
	uint64_t sent = 0;
	uint64_t got = 0;
	int fd = dial(STALLED_PORT);
	int other;
	int release;
	struct pollfd p = { fd, POLLOUT, 0 };

	check("the stalled connection opens", fd >= 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	/* Until nothing more goes for a while: the device hands on as long as the host's socket
	 * takes. */
	while (poll(&p, 1, 300) > 0) {
		ssize_t n = write(fd, block, sizeof(block));

		if (n < 0 && errno != EAGAIN)
			break;
		sent += n > 0 ? (uint64_t)n : 0;
	}
	other = dial(ECHO_PORT);
	check("beside a stalled reader, others go on",
	      other >= 0 && exchange(other, (const uint8_t *)"beside", block, 6));
	close(other);
	release = dial(RELEASE_PORT);
	fcntl(fd, F_SETFL, 0);
	shutdown(fd, SHUT_WR);
	/* The host says how much it got. */
	check("the stalled reader reads all of it in the end",
	      read_all(fd, &got, sizeof(got)) == sizeof(got) && got == sent && sent > 65536);
	printf("FIGURE %llu bytes before the stalled reader stopped the writer\n",
	       (unsigned long long)sent);
	close(release);
	close(fd);
}

static void refused(void)
{
	int r = dial(REFUSED_PORT);

	check("a port that the host refuses", r == -ECONNRESET);
}

static void echo_until_end(int fd)
{
	static uint8_t buffer[16384];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		if (!write_all(fd, buffer, (size_t)n))
			break;
	close(fd);
}

static void serve(void)
{
	struct sockaddr_vm address = address_of(VMADDR_CID_ANY, LISTEN_PORT);
	int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ready;
	int served = 0;

	check("the guest listens",
	      bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	              listen(listener, FROM_HOST) == 0);
	ready = dial(READY_PORT);
	while (served < FROM_HOST) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			break;
		served++;
		echo_until_end(fd);
	}
	check("51 connections from the host", served == FROM_HOST);
	close(ready);
	close(listener);
}

int main(void)
{
	bulk();
	many();
	stalled();
	refused();
	serve();
	return failures != 0;
}
