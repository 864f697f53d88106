/* SPDX-License-Identifier: MIT */
/* The baseline of the disk: the same reads of the same file by a bare io_uring.
 *
 *   bare_block FILE DEPTH BYTES REQUESTS random|sequential
 *
 * Registered file and buffers, a batch submitted and waited for by one system call. Prints
 * "io MICROSECONDS", the CPU time of one request, and "elapsed MICROSECONDS", the wall time. */
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "guests/block.h"

static struct io_uring ring;
static struct iovec buffers[BLOCK_BATCH_MAX];

static void die(const char *what)
{
	fprintf(stderr, "bare_block: %s failed\n", what);
	exit(1);
}

static void batch(uint32_t first, uint32_t depth, uint32_t bytes, int random)
{
	struct io_uring_cqe *completed[BLOCK_BATCH_MAX];

	for (uint32_t i = 0; i < depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

		io_uring_prep_read_fixed(sqe, 0, buffers[i].iov_base, bytes,
		                         block_offset(first + i, bytes, random), (int)i);
		sqe->flags |= IOSQE_FIXED_FILE;
	}
	if (io_uring_submit_and_wait(&ring, depth) != (int)depth ||
	    io_uring_peek_batch_cqe(&ring, completed, depth) != depth)
		die("a batch");
	for (uint32_t i = 0; i < depth; i++)
		if (completed[i]->res != (int)bytes)
			die("a read");
	io_uring_cq_advance(&ring, depth);
}

static double cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	uint32_t depth, bytes, requests;
	double cpu, wall;
	int random, fd;

	if (argc != 6)
		return fprintf(stderr,
		               "usage: bare_block FILE DEPTH BYTES REQUESTS random|sequential\n"),
		       64;
	depth = (uint32_t)atoi(argv[2]);
	bytes = (uint32_t)atoi(argv[3]);
	requests = (uint32_t)atoi(argv[4]);
	random = strcmp(argv[5], "random") == 0;
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || depth < 1 || depth > BLOCK_BATCH_MAX || bytes < 512)
		die("the file");
	for (uint32_t i = 0; i < depth; i++) {
		buffers[i] = (struct iovec){ aligned_alloc(4096, bytes), bytes };
		memset(buffers[i].iov_base, 0, bytes);
	}
	if (io_uring_queue_init(BLOCK_BATCH_MAX, &ring, IORING_SETUP_SINGLE_ISSUER) < 0 ||
	    io_uring_register_files(&ring, &fd, 1) < 0 ||
	    io_uring_register_buffers(&ring, buffers, depth) < 0)
		die("the ring");
	batch(0, depth, bytes, random);
	cpu = cpu_us();
	wall = now_us();
	for (uint32_t n = 0; n < requests; n += depth)
		batch(n, depth, bytes, random);
	printf("io %.3f\nelapsed %.3f\n", (cpu_us() - cpu) / requests,
	       (now_us() - wall) / requests);
	return 0;
}
