/* SPDX-License-Identifier: MIT */
/* A guest's program: writes numbered blocks, says which ones are safe, and checks them later.
 *
 *   sequence write DEVICE     writes block 1, 2, 3 … each to a place of its own, with O_DIRECT or
 *                             through the cache in turn, flushes, and then prints "SAFE n"
 *   sequence check DEVICE N   status 0 when blocks 1 to N are all there, whole
 *
 * What was printed was on the disk: it must be there after any crash of the host's side. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
#define WORDS (BLOCK / sizeof(uint64_t))
#define STRIDE 7919 /* a prime: neighbours in time are not neighbours on the disk */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15u;
	return x ^ x >> 29;
}

static void fill(uint64_t *block, uint64_t number)
{
	block[0] = number;
	for (size_t i = 1; i < WORDS; i++)
		block[i] = mix(number * WORDS + i);
}

static off_t place(uint64_t number, uint64_t blocks)
{
	return (off_t)(number * STRIDE % blocks * BLOCK);
}

static int write_for_ever(int cached, int direct, uint64_t blocks, uint64_t *block)
{
	for (uint64_t n = 1; n < blocks; n++) {
		fill(block, n);
		if (pwrite(n % 2 ? cached : direct, block, BLOCK, place(n, blocks)) != BLOCK ||
		    fdatasync(cached) < 0)
			return 1;
		printf("SAFE %llu\n", (unsigned long long)n);
		fflush(stdout);
	}
	return 0;
}

static int check(int direct, uint64_t blocks, uint64_t last, uint64_t *block)
{
	uint64_t *expected = malloc(BLOCK);
	uint64_t missing = 0;

	for (uint64_t n = 1; n <= last; n++) {
		fill(expected, n);
		if (pread(direct, block, BLOCK, place(n, blocks)) != BLOCK ||
		    memcmp(block, expected, BLOCK) != 0)
			missing++;
	}
	free(expected);
	printf("sequence: %llu of %llu blocks are missing\n", (unsigned long long)missing,
	       (unsigned long long)last);
	return missing > 0;
}

int main(int argc, char **argv)
{
	int cached = argc > 2 ? open(argv[2], O_RDWR) : -1;
	int direct = argc > 2 ? open(argv[2], O_RDWR | O_DIRECT) : -1;
	uint64_t *block = aligned_alloc(BLOCK, BLOCK);
	off_t size = lseek(cached, 0, SEEK_END);

	if (cached < 0 || direct < 0 || !block || size < BLOCK) {
		fprintf(stderr, "usage: sequence write|check DEVICE [N]: %s\n", errno_text(errno));
		return 2;
	}
	if (!strcmp(argv[1], "write"))
		return write_for_ever(cached, direct, (uint64_t)size / BLOCK, block);
	return check(direct, (uint64_t)size / BLOCK, argc > 3 ? strtoull(argv[3], NULL, 10) : 0,
	             block);
}
