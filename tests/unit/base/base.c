/* SPDX-License-Identifier: MIT */
/* The foundations: lists of problems, SHA-256, the gate, the program's own pages, the small
 * helpers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sysexits.h>
#include <time.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/gate.h"
#include "base/image_pages.h"
#include "base/problem.h"
#include "base/sha256.h"
#include "base/varint.h"
#include "base/wake.h"

/* ---- problems ------------------------------------------------------------------------------ */

Test(base, a_list_of_problems_takes_its_bound_and_counts_the_rest)
{
	static struct problems problems;

	for (size_t i = 0; i < PROBLEMS_MAX + 3; i++) {
		char field[16];

		snprintf(field, sizeof(field), "f%zu", i);
		cr_assert_eq(problems_add(&problems, ERROR_CODE_SPEC_INVALID, (int)i, field, "m%zu",
		                          i),
		             i ? -(int)i : -EINVAL);
		cr_assert_eq(problems.count, MIN(i + 1, (size_t)PROBLEMS_MAX));
		cr_assert_eq(problems.not_listed, i < PROBLEMS_MAX ? 0 : i + 1 - PROBLEMS_MAX);
	}
	/* The first ones stand, each whole. */
	for (size_t i = 0; i < PROBLEMS_MAX; i++) {
		char text[16];

		snprintf(text, sizeof(text), "f%zu", i);
		cr_assert_str_eq(problems.list[i].field, text);
		text[0] = 'm';
		cr_assert_str_eq(problems.list[i].message, text);
		cr_assert_eq(problems.list[i].error_number, (int)i);
		cr_assert_eq(problems.list[i].code, ERROR_CODE_SPEC_INVALID);
	}
}

Test(base, a_problem_without_field_or_errno_and_one_too_long)
{
	struct problems problems = { 0 };
	char text[PROBLEM_MESSAGE_MAX + 10];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_assert_eq(problems_add(&problems, ERROR_CODE_INTERNAL, -EIO, NULL, "%s", text), -EINVAL);
	cr_assert_str_eq(problems.list[0].field, "");
	cr_assert_eq(strlen(problems.list[0].message), PROBLEM_MESSAGE_MAX - 1);
	(void)problems_add(&problems, ERROR_CODE_INTERNAL, 0, text, "m");
	cr_assert_eq(strlen(problems.list[1].field), PROBLEM_FIELD_MAX - 1);
}

/* A code that is none is a bug of ours, in every respect. */
/* A line for a person has the field, once. */
Test(base, the_line_of_a_problem_names_its_field)
{
	char line[PROBLEM_LINE_MAX], field[PROBLEM_FIELD_MAX], message[PROBLEM_MESSAGE_MAX];

	cr_expect_str_eq(problem_line("cpus.pins[1]", "host CPU 9 is offline", line),
	                 "cpus.pins[1]: host CPU 9 is offline");
	cr_expect_str_eq(problem_line("cpus.count", "launch.cpus.count is 0", line),
	                 "launch.cpus.count is 0");
	cr_expect_str_eq(problem_line("", "no room", line), "no room");
	cr_expect_str_eq(problem_line(NULL, "no room", line), "no room");
	memset(field, 'f', sizeof(field));
	memset(message, 'm', sizeof(message));
	field[sizeof(field) - 1] = message[sizeof(message) - 1] = '\0';
	cr_expect_eq(strlen(problem_line(field, message, line)), PROBLEM_LINE_MAX - 1,
	             "nothing is cut off");
}

Test(base, an_unknown_code_is_a_bug_in_the_shim)
{
	static const enum axvm_error_code unknown[] = {
		ERROR_CODE_UNSPECIFIED, (enum axvm_error_code)4, (enum axvm_error_code)51,
		(enum axvm_error_code)9999, (enum axvm_error_code) - 1
	};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		const struct problem_class *class = problem_class_of(unknown[i]);

		cr_assert_not_null(class);
		cr_assert_eq(class->code, ERROR_CODE_INTERNAL);
		cr_assert_eq(class->exit_status, EX_SOFTWARE);
	}
}

/* sysexits.h and no other status; what a command gets as an answer ends nothing. */
Test(base, classes_are_sorted_whole_and_within_sysexits)
{
	size_t count;
	const struct problem_class *classes = problem_classes(&count);

	for (size_t i = 0; i < count; i++) {
		cr_assert(i == 0 || classes[i].code > classes[i - 1].code, "%s", classes[i].name);
		cr_assert(classes[i].exit_status >= EX__BASE && classes[i].exit_status <= EX__MAX,
		          "%s", classes[i].name);
		cr_assert(*classes[i].name && *classes[i].meaning);
		cr_assert_eq(problem_class_of(classes[i].code), &classes[i]);
		cr_assert_eq(classes[i].severity == SEVERITY_FATAL,
		             classes[i].code != ERROR_CODE_COMMAND_INVALID &&
		                     classes[i].code != ERROR_CODE_COMMAND_WRONG_STATE &&
		                     classes[i].code != ERROR_CODE_GUEST_FAILED &&
		                     classes[i].code != ERROR_CODE_DEVICE_FAILED,
		             "%s", classes[i].name);
	}
}

/* ---- SHA-256 --------------------------------------------------------------------------------- */

static const char *digest_of(const void *bytes, size_t length, size_t step)
{
	static char text[SHA256_HEX_SIZE];
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;

	sha256_begin(&hash);
	for (size_t at = 0; at < length; at += step)
		sha256_add(&hash, (const char *)bytes + at, MIN(step, length - at));
	sha256_end(&hash, digest);
	sha256_hex(digest, text);
	return text;
}

/* Examples of FIPS 180-4 and of the Secure Hash Standard's validation list. */
Test(base, sha256_of_the_standards_examples)
{
	static char million[1000000];

	memset(million, 'a', sizeof(million));
	cr_assert_str_eq(digest_of("", 0, 1),
	                 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	cr_assert_str_eq(digest_of("abc", 3, 3),
	                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	cr_assert_str_eq(digest_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
	                           7),
	                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	cr_assert_str_eq(digest_of(million, sizeof(million), 4096),
	                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void digest_by_coreutils(const uint8_t *bytes, size_t length,
                                char text[static SHA256_HEX_SIZE])
{
	char path[] = "/tmp/axvm-sha-XXXXXX", line[64];
	int fd = mkostemp(path, O_CLOEXEC);
	FILE *out;

	cr_assert_eq(write(fd, bytes, length), (ssize_t)length);
	snprintf(line, sizeof(line), "sha256sum %s", path);
	out = popen(line, "re");
	cr_assert_eq(fread(text, 1, SHA256_HEX_SIZE - 1, out), SHA256_HEX_SIZE - 1);
	text[SHA256_HEX_SIZE - 1] = '\0';
	pclose(out);
	unlink(path);
	close(fd);
}

/* Lengths around the two block boundaries, where padding changes, against another
 * implementation. */
Test(base, sha256_around_block_boundaries)
{
	static const size_t lengths[] = { 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129 };
	uint8_t bytes[129];
	char wanted[SHA256_HEX_SIZE];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + 3);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		digest_by_coreutils(bytes, lengths[i], wanted);
		cr_assert_str_eq(digest_of(bytes, lengths[i], 64), wanted, "%zu bytes", lengths[i]);
		cr_assert_str_eq(digest_of(bytes, lengths[i], 1), wanted, "%zu bytes one by one",
		                 lengths[i]);
	}
}

/* ---- the gate -------------------------------------------------------------------------------- */

#define THREADS 8

static struct gate gate;
static _Atomic uint32_t through, last;

/* The deadline of a wait here; far beyond what any of them takes. */
static bool comes_to(const _Atomic uint32_t *word, uint32_t value)
{
	for (int i = 0; i < 20000 && atomic_load(word) != value; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	return atomic_load(word) == value;
}

static void *walk_through(void *context)
{
	(void)context;
	(void)gate_count(&gate);
	gate_pass(&gate, 1);
	atomic_fetch_add(&through, 1);
	gate_pass(&gate, 2);
	atomic_fetch_add(&last, 1);
	return NULL;
}

/* All are counted, none is through before its step is open, and then every one of them. */
Test(base, a_gate_holds_all_and_lets_all_go, .timeout = 120)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, walk_through, NULL), 0);
	cr_assert(comes_to(&gate.arrived, THREADS));
	cr_assert(gate_reached(&gate, THREADS) && gate_reached(&gate, THREADS - 1));
	cr_assert_not(gate_reached(&gate, THREADS + 1));
	/* Let them come to their wait: who is woken there needs the wake-up. */
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	cr_assert_eq(atomic_load(&through), 0, "through a gate that is shut");
	gate_open(&gate, 1);
	cr_assert(comes_to(&through, THREADS), "%u of %d are through", atomic_load(&through),
	          THREADS);
	nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	cr_assert_eq(atomic_load(&last), 0, "the first step opened the second");
	gate_open(&gate, 2);
	cr_assert(comes_to(&last, THREADS), "%u of %d are through", atomic_load(&last), THREADS);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* Who comes late to an open gate does not wait. */
	gate_pass(&gate, 1);
	gate_pass(&gate, 2);
}

/* ---- the program's own pages ----------------------------------------------------------------- */

/* KiB of this program's code that are in memory here: Rss of its executable mapping, by
 * /proc/self/smaps. */
static unsigned long resident_code(void)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	unsigned long from, to, kib, sum = 0, own = (unsigned long)(uintptr_t)resident_code;
	bool inside = false;
	char line[512], x;

	cr_assert_not_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx %*c%*c%c", &from, &to, &x) == 3)
			inside = x == 'x' && own >= from && own < to;
		else if (inside && sscanf(line, "Rss: %lu kB", &kib) == 1)
			sum += kib;
	}
	fclose(file);
	return sum;
}

/* Touches every page of that mapping; returns its size in KiB. */
static unsigned long touch_code(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned long from, to, size = 0, own = (unsigned long)(uintptr_t)touch_code;
	char line[512];

	cr_assert_not_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && own >= from && own < to) {
			for (unsigned long at = from; at < to; at += 4096)
				(void)*(const volatile char *)at;
			size = (to - from) / 1024;
		}
	fclose(file);
	return size;
}

/* What is given back comes from the file again, and nothing that was written is lost. */
Test(base, pages_of_the_program_are_given_back)
{
	static int written = 1;
	unsigned long size = touch_code(), after;

	written = 4711;
	cr_assert_geq(resident_code(), size - size / 8, "not all was touched");
	image_forget_pages();
	after = resident_code();
	cr_assert_lt(after, size / 2, "%lu of %lu KiB are still there", after, size);
	cr_assert_eq(written, 4711);
}

Test(base, variables_are_given_back_by_whole_pages)
{
	static _Alignas(4096) char variables[4 * 4096];

	memset(variables, 'v', sizeof(variables));
	image_forget_variables(&variables[100], &variables[3 * 4096 + 100]);
	for (size_t i = 0; i < sizeof(variables); i++)
		cr_assert_eq(variables[i], i / 4096 == 1 || i / 4096 == 2 ? 0 : 'v', "%zu", i);
	image_forget_variables(&variables[10], &variables[4000]);
	cr_assert_eq(variables[2000], 'v');
}

#define STACK_PAGES 64u

static size_t resident_pages(void *start)
{
	unsigned char resident[STACK_PAGES];
	size_t count = 0;

	cr_assert_eq(mincore(start, STACK_PAGES * 4096, resident), 0);
	for (size_t i = 0; i < STACK_PAGES; i++)
		count += resident[i] & 1;
	return count;
}

static __attribute__((noinline)) int go_deep(void)
{
	volatile char deep[STACK_PAGES / 2 * 4096];

	for (size_t i = 0; i < sizeof(deep); i += 512)
		deep[i] = 1;
	return deep[512];
}

static void *forget_on_its_stack(void *stack)
{
	size_t mine[8] = { 4711, [7] = 4712 };
	size_t before, after;

	cr_assert_eq(go_deep(), 1);
	before = resident_pages(stack);
	cr_assert_geq(before, STACK_PAGES / 2);
	stack_forget_pages(STACK_PAGES / 2 * 4096);
	after = resident_pages(stack);
	cr_assert_leq(after, before - STACK_PAGES / 2 + 2, "%zu of %zu pages are still there",
	              after, before);
	cr_assert_eq(mine[0] + mine[7], 4711 + 4712);
	return stack;
}

/* ... and what the caller has in its own frame stays. */
Test(base, what_deep_calls_used_of_a_stack_is_given_back)
{
	void *returned = NULL;
	void *stack = mmap(NULL, STACK_PAGES * 4096, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t attributes;
	pthread_t thread;

	cr_assert_neq(stack, MAP_FAILED);
	pthread_attr_init(&attributes);
	cr_assert_eq(pthread_attr_setstack(&attributes, stack, STACK_PAGES * 4096), 0);
	cr_assert_eq(pthread_create(&thread, &attributes, forget_on_its_stack, stack), 0);
	cr_assert_eq(pthread_join(thread, &returned), 0);
	cr_assert_eq(returned, stack);
	pthread_attr_destroy(&attributes);
	munmap(stack, STACK_PAGES * 4096);
}

/* ---- helpers --------------------------------------------------------------------------------- */

/* A full counter is readable, which is what a signal is for; what is no eventfd is told. */
Test(base, an_eventfd_is_signalled)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count = 0;

	cr_assert_eq(wake_eventfd(fd), 0);
	cr_assert_eq(wake_eventfd(fd), 0);
	cr_assert_eq(read(fd, &count, sizeof(count)), sizeof(count));
	cr_assert_eq(count, 2);
	count = UINT64_MAX - 1;
	cr_assert_eq(write(fd, &count, sizeof(count)), sizeof(count));
	cr_assert_eq(wake_eventfd(fd), 0);
	cr_assert_eq(read(fd, &count, sizeof(count)), sizeof(count));
	cr_assert_eq(count, UINT64_MAX - 1);
	close(fd);
	cr_assert_eq(wake_eventfd(fd), -EBADF);
}

/* Protocol Buffers encoding: seven bits a byte, the lowest first, the top bit where more follow. */
Test(base, varints_are_written_as_protobuf_does)
{
	static const struct {
		uint64_t value;
		const char *bytes;
		size_t count;
	} rows[] = {
		{ 0, "\x00", 1 },
		{ 1, "\x01", 1 },
		{ 127, "\x7f", 1 },
		{ 128, "\x80\x01", 2 },
		{ 150, "\x96\x01", 2 },
		{ 16383, "\xff\x7f", 2 },
		{ 16384, "\x80\x80\x01", 3 },
		{ UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", VARINT_BYTES_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t bytes[VARINT_BYTES_MAX];

		cr_assert_eq(varint_put(bytes, rows[i].value), rows[i].count, "row %zu", i);
		cr_assert_eq(memcmp(bytes, rows[i].bytes, rows[i].count), 0, "row %zu", i);
	}
}

Test(base, clock_ns_reads_the_clock_asked_for)
{
	struct timespec before, after;
	uint64_t between;

	cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &before), 0);
	between = monotonic_ns();
	cr_assert_eq(clock_gettime(CLOCK_MONOTONIC, &after), 0);
	cr_assert_geq(between, (uint64_t)before.tv_sec * 1000000000 + (uint64_t)before.tv_nsec);
	cr_assert_leq(between, (uint64_t)after.tv_sec * 1000000000 + (uint64_t)after.tv_nsec);
	cr_assert_geq((uint64_t)monotonic_ms(), between / 1000000);
	/* Another clock than that: a host's wall is later than its last start. */
	cr_assert_gt(clock_ns(CLOCK_REALTIME), between);
}

Test(base, cleanup_and_arithmetic_helpers_work)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd, taken;
	_Atomic uint64_t counter = UINT64_MAX - 1;
	void *memory = malloc(1);

	errno = ENOTTY;
	close_ptr(&fd);
	cr_assert_eq(fd, -1);
	cr_assert_eq(fcntl(number, F_GETFD), -1, "closed");
	close_ptr(&fd);
	free_ptr(&memory);
	cr_assert_null(memory);
	taken = 5;
	cr_assert_eq(take_fd(&taken), 5);
	cr_assert_eq(taken, -1);
	counter_add(&counter, 3);
	cr_assert_eq(counter_read(&counter), 1);
	cr_assert_eq(ALIGN_UP(0x1001u, 0x1000u), 0x2000);
	cr_assert_eq(ALIGN_UP(0x1000u, 0x1000u), 0x1000);
	cr_assert_eq(ALIGN_DOWN(0x1fffu, 0x1000u), 0x1000);
	cr_assert_eq(ALIGN_UP(0xffffffff1ULL, 0x1000u), 0x1000000000ULL, "the wider type counts");
	cr_assert_eq(MIN(-1, 1), -1);
	cr_assert_eq(MAX(-1, 1), 1);
}
