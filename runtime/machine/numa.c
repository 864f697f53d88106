/* SPDX-License-Identifier: MIT */
/* Memory policy, parallel population and the read-back of placement; numa_room.c finds free memory.
 *
 * Population: a worker is a thread bound to the CPUs of a node. The workers of a range take chunks
 * of it from an atomic counter, so a slow one does not delay the others. Each worker is bound to
 * all CPUs of the node and not to one: two launches at once would choose the same CPUs beside idle
 * ones, while the kernel balances. All threads are created before the first one starts to work,
 * since creating a thread's stack and a page fault need the same mmap lock. If a range has fewer
 * threads, it only takes longer: ram.c reads back that every page is there. */
#include "machine/numa.h"

#include <errno.h>
#include <numaif.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "host/placement.h"

#define PAGE_4K 4096ULL
#define PAGE_2M (2 * MIB)
#define PAGE_1G GIB
#define CHUNK (64 * MIB) /* bytes that a worker takes at a time */
#define LOOK (16 * MIB)  /* after so many bytes it checks that the rest still fits */
#define PIECE (2 * MIB)  /* bytes that are populated and counted at a time */
#define WORKERS_PER_NODE_MAX 16u
#define WORKERS_MAX 256
#define NODE_MASK_BITS 1024

/* The kernel reads maxnode - 1 bits of a mask, hence one word more than is used. */
struct node_mask {
	unsigned long words[NODE_MASK_BITS / 64 + 1];
};

static int mask_of(int host_node, struct node_mask *ret)
{
	struct node_mask mask = { { 0 } };

	if (host_node < 0 || host_node >= NODE_MASK_BITS)
		return -EINVAL;
	mask.words[host_node / 64] = 1UL << (host_node % 64);
	*ret = mask;
	return 0;
}

int numa_bind_memory(void *start, size_t length, int host_node)
{
	struct node_mask mask;
	int r = mask_of(host_node, &mask);

	if (r < 0)
		return r;
	if (syscall(SYS_mbind, start, length, MPOL_BIND, mask.words, NODE_MASK_BITS + 1, 0) < 0)
		return -errno;
	return 0;
}

int numa_prefer(int host_node)
{
	struct node_mask mask;
	int r;

	if (host_node < 0)
		return syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0) < 0 ? -errno : 0;
	r = mask_of(host_node, &mask);
	if (r < 0)
		return r;
	if (syscall(SYS_set_mempolicy, MPOL_PREFERRED, mask.words, NODE_MASK_BITS + 1) < 0)
		return -errno;
	return 0;
}

/* ---------------------------------------------------------------------------------- populating */

struct jobs;

struct job {
	const struct jobs *jobs;
	const struct numa_range *range;
	struct cpu_bitmap cpus; /* the CPUs of its workers; empty: those of the caller */
	size_t workers;
	_Atomic size_t next; /* offset of the first chunk that nobody has claimed */
	_Atomic size_t done; /* bytes */
	_Atomic int error;   /* the first one, positive */
};

struct jobs {
	const char *root;
	size_t count;
	struct job list[NUMA_RANGES_MAX];
};

struct worker {
	pthread_t thread;
	struct job *job;
	pthread_mutex_t *start;
};

/* Kernels before 5.14 have no MADV_POPULATE_WRITE. A locked OR of 0 writes without changing what a
 * neighbour may be storing; in C, clang makes a load of it. */
static void touch(char *start, size_t length, uint64_t page_size)
{
	for (size_t at = 0; at < length; at += page_size)
		__asm__ volatile("lock orb $0, %0" : "+m"(start[at]));
}

static int populate_piece(const struct numa_range *range, size_t offset, size_t length)
{
	char *start = (char *)range->start + offset;

	for (;;) {
		if (madvise(start, length, MADV_POPULATE_WRITE) == 0)
			return 0;
		if (errno == EINVAL && range->page_size == PAGE_4K) {
			touch(start, length, range->page_size);
			return 0;
		}
		if (errno != EINTR && errno != EAGAIN)
			return errno;
	}
}

static void bind_self(const struct cpu_bitmap *cpus)
{
	/* CPUs that just went away cost speed, not correctness: the memory is bound. */
	if (cpu_bitmap_count(cpus) > 0)
		(void)sched_setaffinity(0, sizeof(cpus->words),
		                        (const cpu_set_t *)(const void *)cpus->words);
}

/* Whether the job's node still has as many ordinary pages as this launch still needs. Another
 * process may take them at the same time: two launches may both have found enough. To go on then
 * would bring the OOM killer. Huge pages need no check: a missing one is an error. */
static bool still_fits(const struct job *job)
{
	const struct jobs *jobs = job->jobs;
	uint64_t rest = 0;

	if (job->range->page_size != PAGE_4K)
		return true;
	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->list[i].range->host_node == job->range->host_node &&
		    jobs->list[i].range->page_size == PAGE_4K)
			rest += jobs->list[i].range->size - atomic_load(&jobs->list[i].done);
	return numa_room(jobs->root, job->range->host_node, PAGE_4K, NUMA_SHARE_MEANWHILE) >= rest;
}

/* Populates a chunk, piece by piece. */
static int populate_chunk(struct job *job, size_t from, size_t to)
{
	size_t piece = MAX((size_t)PIECE, (size_t)job->range->page_size), length;

	for (size_t at = from; at < to; at += length) {
		int error = at % LOOK == 0 && !still_fits(job) ? ENOMEM : 0;

		length = MIN(piece, to - at);
		if (error == 0)
			error = populate_piece(job->range, at, length);
		if (error != 0)
			return error;
		atomic_fetch_add_explicit(&job->done, length, memory_order_relaxed);
	}
	return 0;
}

static void work(struct job *job)
{
	const struct numa_range *range = job->range;
	/* A chunk is never less than a page. */
	size_t chunk = MAX((size_t)CHUNK, (size_t)range->page_size);

	while (atomic_load_explicit(&job->error, memory_order_relaxed) == 0) {
		size_t offset = atomic_fetch_add_explicit(&job->next, chunk, memory_order_relaxed);
		int error, none = 0;

		if (offset >= range->size)
			return;
		error = populate_chunk(job, offset, offset + MIN(chunk, range->size - offset));
		if (error)
			atomic_compare_exchange_strong(&job->error, &none, error);
	}
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	bind_self(&worker->job->cpus);
	pthread_mutex_lock(worker->start);
	pthread_mutex_unlock(worker->start);
	work(worker->job);
	return NULL;
}

/* Creates a job's workers and returns their number. If a thread cannot be started, the job's other
 * workers do its work, or the caller if there are none. */
static size_t staff(struct job *job, unsigned int most, struct worker *workers, size_t room,
                    pthread_mutex_t *start)
{
	size_t chunks = job->range->size / MAX((size_t)CHUNK, (size_t)job->range->page_size) + 1;
	size_t limit = most && most < WORKERS_PER_NODE_MAX ? most : WORKERS_PER_NODE_MAX;
	size_t wanted = MAX(cpu_bitmap_count(&job->cpus), (size_t)1), count = 0;

	wanted = MIN(wanted, limit);
	wanted = MIN(wanted, chunks);
	for (size_t i = 0; i < MIN(wanted, room); i++) {
		workers[count] = (struct worker){ .job = job, .start = start };
		if (pthread_create(&workers[count].thread, NULL, worker_main, &workers[count]) == 0)
			count++;
	}
	return count;
}

static int refuse(const struct job *job, struct problems *problems)
{
	const struct numa_range *range = job->range;
	int error = atomic_load(&job->error);
	uint64_t free_now =
		numa_room(job->jobs->root, range->host_node, range->page_size, NUMA_SHARE_BEFORE);
	char field[PROBLEM_FIELD_MAX], where[48] = "";

	snprintf(field, sizeof(field), "memory.nodes[%u]", range->guest_node);
	if (range->host_node >= 0)
		snprintf(where, sizeof(where), " on host node %d", range->host_node);
	if (range->page_size == PAGE_4K)
		return problems_add(
			problems, ERROR_CODE_MEMORY_UNAVAILABLE, error, field,
			"cannot populate %llu MiB%s, %llu MiB are free there now: %s; ask for less",
			(unsigned long long)(range->size / MIB), where,
			(unsigned long long)(free_now / MIB), errno_text(error));
	return problems_add(
		problems, ERROR_CODE_MEMORY_UNAVAILABLE, error, field,
		"cannot populate %llu huge pages of %llu KiB%s, %llu are free there now: %s; reserve "
		"more (nr_hugepages), or ask for less",
		(unsigned long long)(range->size / range->page_size),
		(unsigned long long)(range->page_size / KIB), where,
		(unsigned long long)(free_now / range->page_size), errno_text(error));
}

int numa_populate(const struct numa_range *ranges, size_t count, const struct host_facts *facts,
                  unsigned int threads_per_node, const char *root, struct problems *problems)
{
	pthread_mutex_t start = PTHREAD_MUTEX_INITIALIZER;
	_cleanup_free_ struct worker *workers = calloc(WORKERS_MAX, sizeof(*workers));
	struct jobs jobs = { .root = root, .count = count };
	size_t threads = 0;
	int r = 0;

	if (count > NUMA_RANGES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		jobs.list[i].jobs = &jobs;
		jobs.list[i].range = &ranges[i];
		if (facts)
			placement_cpus(facts, ranges[i].host_node, &jobs.list[i].cpus);
	}
	pthread_mutex_lock(&start);
	for (size_t i = 0; workers && i < count; i++) {
		jobs.list[i].workers = staff(&jobs.list[i], threads_per_node, workers + threads,
		                             WORKERS_MAX - threads, &start);
		threads += jobs.list[i].workers;
	}
	pthread_mutex_unlock(&start);
	/* The caller populates a range for which no thread could be started. The memory is bound,
	 * so a thread off its node is only slower. */
	for (size_t i = 0; i < count; i++)
		if (jobs.list[i].workers == 0)
			work(&jobs.list[i]);
	for (size_t i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	for (size_t i = 0; i < count; i++)
		if (atomic_load(&jobs.list[i].error) != 0)
			r = refuse(&jobs.list[i], problems);
	return r;
}

/* -------------------------------------------------------------------------------- reading back */

#define BATCH 4096

static int count_nodes(const struct numa_range *range, struct numa_counts *counts)
{
	_cleanup_free_ void **pages = malloc(BATCH * sizeof(void *));
	_cleanup_free_ int *status = malloc(BATCH * sizeof(int));
	size_t total = range->size / range->page_size;

	if (!pages || !status)
		return -ENOMEM;
	for (size_t first = 0; first < total; first += BATCH) {
		size_t n = MIN((size_t)BATCH, total - first);

		for (size_t i = 0; i < n; i++)
			pages[i] = (char *)range->start + (first + i) * range->page_size;
		/* Without a list of nodes nothing moves: status tells where each page is. */
		if (syscall(SYS_move_pages, 0, n, pages, NULL, status, 0) < 0)
			return -errno;
		for (size_t i = 0; i < n; i++) {
			counts->absent_pages += status[i] < 0;
			counts->remote_pages += status[i] >= 0 && range->host_node >= 0 &&
			                        status[i] != range->host_node;
		}
	}
	return 0;
}

/* Bytes of each range that transparent huge pages hold: AnonHugePages of its mappings. One walk for
 * all, since each reads the page tables of the whole process. */
static void count_thp(const struct numa_range *ranges, size_t count, uint64_t *ret_bytes)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long from, to, kib;
	size_t inside = count;
	char line[512];

	memset(ret_bytes, 0, count * sizeof(*ret_bytes));
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "AnonHugePages: %lu kB", &kib) == 1) {
			if (inside < count)
				ret_bytes[inside] += kib * KIB;
		} else if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
			for (inside = 0; inside < count; inside++) {
				uint64_t first = (uint64_t)(uintptr_t)ranges[inside].start;

				if (from >= first && to <= first + ranges[inside].size)
					break;
			}
		}
	}
	if (file)
		fclose(file);
}

/* Whether mappings lie in the range without a gap and none reaches beyond it. */
static bool mappings_tile(const struct numa_range *range)
{
	uint64_t at = (uint64_t)(uintptr_t)range->start, end = at + range->size;
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char line[512];

	while (file && at < end && fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && from == at)
			at = to;
	if (file)
		fclose(file);
	return at == end;
}

/* The kernel's own count for a mapping, " N0=512 N1=3 …", in pages of its kind. */
static void add_numa_maps_line(const struct numa_range *range, const char *line, uint64_t *present,
                               uint64_t *remote)
{
	for (const char *at = strstr(line, " N"); at; at = strstr(at + 1, " N")) {
		unsigned long pages;
		int node;

		if (sscanf(at, " N%d=%lu", &node, &pages) != 2)
			continue;
		*present += pages;
		*remote += range->host_node >= 0 && node != range->host_node ? pages : 0;
	}
}

/* Counts by /proc/self/numa_maps: one walk of the page tables, which for huge mappings is a hundred
 * times cheaper than asking page by page. -ENODATA if the file does not list the range apart from
 * its neighbours. */
static int count_by_numa_maps(const struct numa_range *range, struct numa_counts *counts)
{
	uint64_t start = (uint64_t)(uintptr_t)range->start, present = 0, remote = 0;
	uint64_t total = range->size / range->page_size;
	unsigned long from;
	char line[1024];
	FILE *file;
	int broken;

	if (!mappings_tile(range))
		return -ENODATA;
	file = fopen("/proc/self/numa_maps", "re");
	if (!file)
		return -ENODATA;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx ", &from) == 1 && from >= start && from - start < range->size)
			add_numa_maps_line(range, line, &present, &remote);
	/* A file that was read in part would make present pages look absent. */
	broken = ferror(file);
	fclose(file);
	if (broken || present > total)
		return -ENODATA;
	counts->absent_pages = total - present;
	counts->remote_pages = remote;
	return 0;
}

static int read_back(const struct numa_range *range, uint64_t thp, struct numa_counts *ret)
{
	struct numa_counts counts = { 0 };
	int r = count_by_numa_maps(range, &counts);
	uint64_t pages, huge;

	if (r < 0)
		r = count_nodes(range, &counts);
	if (r < 0)
		return r;
	pages = range->size / range->page_size - counts.absent_pages;
	if (range->page_size == PAGE_1G) {
		counts.pages_1g = pages;
	} else if (range->page_size == PAGE_2M) {
		counts.pages_2m = pages;
	} else {
		huge = MIN(thp, range->size) / PAGE_2M;
		counts.pages_2m = huge;
		counts.pages_4k = pages - MIN(pages, huge * (PAGE_2M / PAGE_4K));
	}
	*ret = counts;
	return 0;
}

int numa_read_back(const struct numa_range *ranges, size_t count, struct numa_counts *ret)
{
	uint64_t thp[NUMA_RANGES_MAX] = { 0 };
	struct numa_counts counts[NUMA_RANGES_MAX];
	bool ordinary = false;
	int r = 0;

	if (count > NUMA_RANGES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		ordinary = ordinary || ranges[i].page_size == PAGE_4K;
	if (ordinary)
		count_thp(ranges, count, thp);
	for (size_t i = 0; i < count && r == 0; i++)
		r = read_back(&ranges[i], thp[i], &counts[i]);
	if (r == 0)
		memcpy(ret, counts, count * sizeof(*ret));
	return r;
}
