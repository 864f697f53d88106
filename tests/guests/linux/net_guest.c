/* SPDX-License-Identifier: MIT */
/* TCP with checksums, and speeds without, for both sides of a TAP: tests/system/lab-cases-net and
 * tests/bench/lab_net run one on the host and one in the guest.
 *
 * Usage: net_guest serve                        on every address, port 5000, until it is killed
 *        net_guest transfer ADDRESS KIB STREAMS both ways; stream n on CPU n; 0 when all sums are
 *                                               right
 *        net_guest speed ADDRESS KIB PACKETS    seconds of KIB down and up by TCP, and of so many
 *                                               small packets there and back, 32 at a time
 *        net_guest channels INTERFACE N         queue pairs in use (ETHTOOL_SCHANNELS)
 *        net_guest rings INTERFACE N            0 when each ring has so many entries
 *                                               (ETHTOOL_GRINGPARAM) */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stream.h"

#define PORT 5000
#define PACKET_PORT 5001 /* UDP: what comes goes back */
#define PACKET_BYTES 64
#define WINDOW 32 /* packets under way */
#define BLOCK 65536

/* What goes first over a connection, client to server; both sides know by it what the bytes are. */
struct order {
	uint64_t bytes;
	uint32_t seed;
	uint32_t upload; /* to the server; the server then answers with its sum */
	uint32_t plain;  /* the bytes and the sum are zeroes: what counts is the speed */
	uint32_t unused;
};

/* The block at a position; a byte lost, doubled or moved changes the sum. */
static void fill(uint32_t *block, uint32_t seed, uint64_t position)
{
	uint32_t x = seed ^ (uint32_t)(position / BLOCK * 2654435761u) ^ 0x9e3779b9u;

	for (size_t i = 0; i < BLOCK / 4; i++)
		block[i] = x = x * 1664525u + 1013904223u;
}

static uint64_t sum_of(const uint32_t *block, size_t words, uint64_t sum)
{
	for (size_t i = 0; i < words; i++)
		sum = (sum ^ block[i]) * 0x100000001b3u;
	return sum;
}

static bool send_data(int fd, const struct order *order, uint64_t *ret_sum)
{
	static uint32_t block[BLOCK / 4];

	*ret_sum = 0;
	for (uint64_t at = 0; at < order->bytes; at += BLOCK) {
		if (!order->plain) {
			fill(block, order->seed, at);
			*ret_sum = sum_of(block, BLOCK / 4, *ret_sum);
		}
		if (!write_all(fd, block, BLOCK))
			return false;
	}
	return true;
}

static bool receive_data(int fd, const struct order *order, uint64_t *ret_sum)
{
	static uint32_t block[BLOCK / 4];

	*ret_sum = 0;
	for (uint64_t at = 0; at < order->bytes; at += BLOCK) {
		if (read_all(fd, block, BLOCK) < BLOCK)
			return false;
		if (!order->plain)
			*ret_sum = sum_of(block, BLOCK / 4, *ret_sum);
	}
	return true;
}

/* ----------------------------------------------------------------------------------- the server */

static void answer(int fd)
{
	struct order order;
	uint64_t sum;

	if (read_all(fd, &order, sizeof(order)) == sizeof(order) &&
	    (order.upload ? receive_data : send_data)(fd, &order, &sum))
		(void)write_all(fd, &sum, sizeof(sum));
}

static void echo(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PACKET_PORT) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char packet[PACKET_BYTES];

	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("net_guest: bind");
		return;
	}
	for (;;) {
		socklen_t length = sizeof(address);
		ssize_t n = recvfrom(fd, packet, sizeof(packet), 0, (struct sockaddr *)&address,
		                     &length);

		if (n > 0)
			(void)sendto(fd, packet, (size_t)n, 0, (const struct sockaddr *)&address,
			             length);
	}
}

static int serve(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	const int on = 1;

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 16) < 0) {
		perror("net_guest: listen");
		return 71;
	}
	signal(SIGCHLD, SIG_IGN);
	if (fork() == 0) {
		/* It is to end with the server. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		echo();
		_exit(71);
	}
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0 && fork() == 0) {
			answer(fd);
			_exit(0);
		}
		close(fd);
	}
}

/* ----------------------------------------------------------------------------------- the client */

static bool one_way(const char *host, struct order order)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t ours = 0, theirs = 1;
	bool ok;

	inet_pton(AF_INET, host, &address.sin_addr);
	ok = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	     write_all(fd, &order, sizeof(order)) &&
	     (order.upload ? send_data : receive_data)(fd, &order, &ours) &&
	     read_all(fd, &theirs, sizeof(theirs)) == sizeof(theirs);
	if (!ok)
		perror("net_guest: transfer");
	close(fd);
	return ok && ours == theirs;
}

static int transfer(const char *host, uint64_t bytes, int streams)
{
	int bad = 0, status;

	for (int i = 0; i < streams; i++)
		if (fork() == 0) {
			cpu_set_t cpu;

			CPU_ZERO(&cpu);
			CPU_SET(i, &cpu);
			(void)sched_setaffinity(0, sizeof(cpu), &cpu);
			_exit(!(one_way(host,
			                (struct order){ .bytes = bytes, .seed = (uint32_t)i }) &&
			        one_way(host, (struct order){ .bytes = bytes,
			                                      .seed = (uint32_t)i + 100,
			                                      .upload = 1 })));
		}
	for (int i = 0; i < streams; i++)
		bad += wait(&status) < 0 || status != 0;
	return bad != 0;
}

/* Packets there and back, a window after the other; false when one is lost for a second. */
static bool packets(const char *host, unsigned count)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PACKET_PORT) };
	const struct timeval patience = { .tv_sec = 1 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char packet[PACKET_BYTES] = { 0 };
	bool ok;

	inet_pton(AF_INET, host, &address.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ok = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
	for (unsigned sent = 0; ok && sent < count; sent += WINDOW) {
		for (unsigned i = 0; ok && i < WINDOW; i++)
			ok = send(fd, packet, sizeof(packet), 0) == PACKET_BYTES;
		for (unsigned i = 0; ok && i < WINDOW; i++)
			ok = recv(fd, packet, sizeof(packet), 0) == PACKET_BYTES;
	}
	if (!ok)
		perror("net_guest: packets");
	close(fd);
	return ok;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int speed(const char *host, uint64_t bytes, unsigned count)
{
	struct order order = { .bytes = bytes, .plain = 1 };
	double at = now();
	bool ok = one_way(host, order);

	if (ok)
		printf("NET down %.6f\n", now() - at);
	order.upload = 1;
	at = now();
	ok = ok && one_way(host, order);
	if (ok)
		printf("NET up %.6f\n", now() - at);
	at = now();
	ok = ok && packets(host, count);
	if (ok)
		printf("NET small %.6f\n", now() - at);
	return !ok;
}

static bool ethtool(const char *interface, void *command)
{
	struct ifreq request = { .ifr_data = command };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCETHTOOL, &request) == 0)
		return true;
	perror("net_guest: ethtool");
	return false;
}

static int channels(const char *interface, unsigned count)
{
	struct ethtool_channels wanted = { .cmd = ETHTOOL_SCHANNELS, .combined_count = count };

	return !ethtool(interface, &wanted);
}

static int rings(const char *interface, unsigned entries)
{
	struct ethtool_ringparam seen = { .cmd = ETHTOOL_GRINGPARAM };

	if (!ethtool(interface, &seen))
		return 1;
	printf("rings of %s: %u to receive, %u to transmit\n", interface, seen.rx_pending,
	       seen.tx_pending);
	return seen.rx_pending != entries || seen.tx_pending != entries;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc == 5 && !strcmp(argv[1], "transfer"))
		return transfer(argv[2], strtoull(argv[3], NULL, 10) * 1024, atoi(argv[4]));
	if (argc == 5 && !strcmp(argv[1], "speed"))
		return speed(argv[2], strtoull(argv[3], NULL, 10) * 1024, (unsigned)atoi(argv[4]));
	if (argc == 4 && !strcmp(argv[1], "channels"))
		return channels(argv[2], (unsigned)atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "rings"))
		return rings(argv[2], (unsigned)atoi(argv[3]));
	return 64;
}
