/* SPDX-License-Identifier: MIT */
/* Programs of the host that a guest talks with over vsock, in one: it listens for the ports that
 * tests/guests/linux/vsock_guest.c wants, beside the socket that `axvm run` serves, and connects to
 * the guest through it when the guest is ready.
 *
 * Usage: vsock_peer PATH      (says "LISTENING"; ends when the guest is done; 0 when all was
 *                             well) */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../guests/linux/stream.h"

#define LISTEN_PORT 5000
#define UNUSED_PORT 5999
#define FROM_HOST 51
#define FDS_MAX 512

enum { ECHO, STALLED, RELEASE, READY, LISTENERS };
static const unsigned ports[LISTENERS] = { 7000, 7001, 7003, 7010 };

static const char *path;
static int failures;
static int stalled = -1;
static struct pollfd fds[FDS_MAX]; /* the listeners, then sockets to be echoed */
static size_t fd_count = LISTENERS;
static int guest = -1; /* the connection that lasts as long as the guest's program */

static void check(const char *what, bool ok)
{
	printf("CHECK %s host: %s\n", ok ? "ok" : "FAILED", what);
	fflush(stdout);
	failures += !ok;
}

static struct sockaddr_un address_of(const char *suffix)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", path, suffix);
	return address;
}

static int listen_for(unsigned port)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	char suffix[16];

	snprintf(suffix, sizeof(suffix), "_%u", port);
	address = address_of(suffix);
	unlink(address.sun_path);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 256) < 0) {
		perror(address.sun_path);
		exit(71);
	}
	return fd;
}

/* A connection to the guest, with `more` sent right behind the line; -1: refused. */
static int dial(unsigned port, const char *more)
{
	struct sockaddr_un address = address_of("");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char line[64];
	size_t n = 0;

	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	snprintf(line, sizeof(line), "CONNECT %u\n%s", port, more);
	if (!write_all(fd, line, strlen(line)))
		return -1;
	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n++] != '\n')
		;
	line[n] = '\0';
	if (n > 4 && strncmp(line, "OK ", 3) == 0 && atoi(line + 3) > 0)
		return fd;
	close(fd);
	return -1;
}

static void half_close(void)
{
	char bytes[64] = { 0 };
	int fd = dial(LISTEN_PORT, "hello");
	bool ok = fd >= 0 && shutdown(fd, SHUT_WR) == 0 &&
	          read_all(fd, bytes, sizeof(bytes)) == 5 && strcmp(bytes, "hello") == 0;

	check("a connection to the guest, with half-close", ok);
	close(fd);
}

static void to_guest(void)
{
	static char out[20000], in[sizeof(out)];
	int echoed = 0;

	half_close();
	for (int i = 1; i < FROM_HOST; i++) {
		int fd = dial(LISTEN_PORT, "");

		memset(out, i, sizeof(out));
		if (fd >= 0 && write_all(fd, out, sizeof(out)) &&
		    read_all(fd, in, sizeof(in)) == sizeof(in) && !memcmp(out, in, sizeof(in)))
			echoed++;
		close(fd);
		/* While the guest still listens elsewhere. */
		if (i == FROM_HOST / 2)
			check("a port where the guest does not listen", dial(UNUSED_PORT, "") < 0);
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

static void on_connection(int which)
{
	int fd = accept(fds[which].fd, NULL, NULL);

	if (fd < 0)
		return;
	if (which == STALLED)
		stalled = fd;
	else if (fd_count < FDS_MAX)
		fds[fd_count++] = (struct pollfd){ fd, POLLIN, 0 };
	if (which == RELEASE)
		release();
	if (which == READY) {
		guest = fd;
		to_guest();
	}
}

static void echo(size_t i)
{
	static char buffer[16384];
	ssize_t n = read(fds[i].fd, buffer, sizeof(buffer));

	if (n > 0 && write_all(fds[i].fd, buffer, (size_t)n))
		return;
	if (fds[i].fd == guest)
		exit(failures != 0);
	close(fds[i].fd);
	fds[i] = fds[--fd_count];
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 64;
	path = argv[1];
	for (int i = 0; i < LISTENERS; i++)
		fds[i] = (struct pollfd){ listen_for(ports[i]), POLLIN, 0 };
	puts("LISTENING");
	fflush(stdout);
	while (poll(fds, fd_count, -1) >= 0 || errno == EINTR) {
		for (size_t i = fd_count - 1; i >= LISTENERS; i--)
			if (fds[i].revents)
				echo(i);
		for (int i = 0; i < LISTENERS; i++)
			if (fds[i].revents)
				on_connection(i);
	}
	return 71;
}
