/* SPDX-License-Identifier: MIT */
/* Populating guest memory before it is used: all threads that the shim would take against one of
 * them.
 *
 * Usage: populate MIB ROUNDS
 *
 * Maps MIB of 4 KiB pages and lets the shim's own numa_populate() touch them, by one thread and by
 * all, in turn; the memory is given back each time. Prints samples of tests/bench/run, microseconds
 * of the wall; the first round is not counted. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "machine/numa.h"

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* `threads` a node, 0: all. Negative: it could not be done. */
static double once(size_t size, const struct host_facts *facts, unsigned int threads)
{
	struct problems problems = { 0 };
	struct numa_range range = {
		.start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		              0),
		.size = size,
		.page_size = 4 * KIB,
		.host_node = -1,
	};
	double start = now_us(), spent;
	int r;

	if (range.start == MAP_FAILED)
		return -1;
	r = numa_populate(&range, 1, facts, threads, NULL, &problems);
	spent = now_us() - start;
	munmap(range.start, size);
	return r < 0 ? -1 : spent;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		unsigned int threads;
	} sides[] = { { "all", 0 }, { "one", 1 } };
	size_t size = argc == 3 ? (size_t)strtoul(argv[1], NULL, 10) * MIB : 0;
	int rounds = argc == 3 ? atoi(argv[2]) : 0;
	struct host_facts *facts = facts_new();

	if (size == 0 || rounds <= 0 || !facts || facts_probe_quick(facts, NULL) < 0) {
		fputs("usage: populate MIB ROUNDS\n", stderr);
		return 64;
	}
	for (int round = 0; round <= rounds; round++)
		for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
			size_t side = (i + (size_t)round) % ARRAY_SIZE(sides);
			double spent = once(size, facts, sides[side].threads);

			if (spent < 0) {
				fputs("populate: the memory cannot be had\n", stderr);
				return 71;
			}
			if (round > 0)
				printf("populate.wall\t%s\t%d\t%.3f\n", sides[side].name, round,
				       spent);
		}
	free(facts);
	return 0;
}
