/* SPDX-License-Identifier: MIT */
/* The reader of fd 3: split anywhere, cut anywhere, garbage, and every refusal. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "interface/stream.h"
#include "tests/unit/rig/protoc.h"
#include "tests/unit/rig/wait.h"

#define TEXT                                                                                       \
	"launch { vm_id: \"web-17\" profile: \"dev\" }"                                            \
	"commands { request_id: 1 pause {} }"                                                      \
	"commands { request_id: 2 limit { device_id: \"eth0\" limit { ops_per_s: 1000 } } }"

/* With what would be overwritten first if a command were larger than its place. */
static struct {
	struct stream stream;
	uint8_t after[1024];
} place;

static int file_with(const uint8_t *bytes, size_t n)
{
	int fd = memfd_create("spec", MFD_CLOEXEC);

	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Reads a launch out of a file with these bytes. */
static int read_launch(const uint8_t *bytes, size_t n, size_t *ret_length,
                       struct problems *problems)
{
	int fd = file_with(bytes, n), r;
	const uint8_t *launch;

	cr_assert_eq(stream_init(&place.stream), 0);
	r = stream_read_launch(&place.stream, fd, &launch, ret_length, problems);
	close(fd);
	return r;
}

struct heard {
	size_t count;
	size_t bytes;
	uint64_t full;
	uint8_t first[64];
};

static void hear(const struct stream_command *command, void *context)
{
	struct heard *heard = context;

	heard->count++;
	heard->bytes += command->length;
	heard->full = command->full_length;
	memcpy(heard->first, command->bytes, MIN(command->length, sizeof(heard->first)));
}

struct dripping {
	int fd;
	const uint8_t *bytes;
	size_t n, split;
};

static void *drip(void *context)
{
	const struct dripping *d = context;

	if (d->split == 0) {
		for (size_t i = 0; i < d->n; i++)
			cr_assert_eq(write(d->fd, d->bytes + i, 1), 1);
	} else {
		cr_assert_eq(write(d->fd, d->bytes, d->split), (ssize_t)d->split);
		cr_assert_eq(write(d->fd, d->bytes + d->split, d->n - d->split),
		             (ssize_t)(d->n - d->split));
	}
	close(d->fd);
	return NULL;
}

/* Split 0: byte by byte. */
static void through_a_pipe(const uint8_t *bytes, size_t n, size_t split)
{
	struct problems problems = { 0 };
	struct heard heard = { 0 };
	struct dripping d = { .bytes = bytes, .n = n, .split = split };
	const uint8_t *launch;
	pthread_t thread;
	size_t length;
	int fds[2], r;

	cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
	d.fd = fds[1];
	cr_assert_eq(pthread_create(&thread, NULL, drip, &d), 0);
	cr_assert_eq(stream_init(&place.stream), 0);
	r = stream_read_launch(&place.stream, fds[0], &launch, &length, &problems);
	cr_assert_eq(r, 0, "split at %zu: %s", split, problems.list[0].message);
	cr_assert_eq(length, bytes[1]);
	cr_assert_eq(memcmp(launch, bytes + 2, length), 0);
	stream_release_launch(&place.stream);
	cr_assert_eq(stream_drain(&place.stream, hear, &heard, &problems), 0);
	while ((r = stream_read(&place.stream, fds[0], hear, &heard, &problems)) > 0)
		;
	cr_assert_eq(r, 0);
	cr_assert_eq(heard.count, 2);
	cr_assert_eq(problems.count, 0);
	wait_join(thread, NULL);
	close(fds[0]);
	stream_done(&place.stream);
}

Test(stream, split_at_every_byte)
{
	uint8_t bytes[512];
	size_t n = protoc_encode("ControlStream", TEXT, bytes, sizeof(bytes));

	for (size_t split = 0; split < n; split++)
		through_a_pipe(bytes, n, split);
}

Test(stream, cut_at_every_byte)
{
	uint8_t bytes[512];
	size_t n = protoc_encode("ControlStream", TEXT, bytes, sizeof(bytes)), length;
	size_t whole = 0;

	for (size_t cut = 0; cut <= n; cut++) {
		struct problems problems = { 0 };
		int r = read_launch(bytes, cut, &length, &problems);

		if (r == 0) {
			struct heard heard = { 0 };

			/* The launch was whole; a cut command shows when the stream ends. */
			cr_assert_eq(stream_drain(&place.stream, hear, &heard, &problems), 0);
			r = stream_end(&place.stream, &problems);
		}
		whole += r == 0;
		cr_assert_eq(problems.count, r == 0 ? 0 : 1);
		if (r < 0)
			cr_assert_eq(problems.list[0].code,
			             cut == 0 ? ERROR_CODE_SPEC_EMPTY : ERROR_CODE_SPEC_TRUNCATED);
		stream_done(&place.stream);
	}
	/* Whole after the launch, after the first command, and after the second. */
	cr_assert_eq(whole, 3);
}

static void refused(const void *bytes, size_t n, enum axvm_error_code code, const char *says)
{
	struct problems problems = { 0 };
	size_t length;

	cr_assert_eq(read_launch(bytes, n, &length, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(problems.list[0].code, code, "%s", problems.list[0].message);
	cr_assert(strstr(problems.list[0].message, says), "%s", problems.list[0].message);
	stream_done(&place.stream);
}

#define REFUSED(bytes, code, says) refused((bytes), sizeof(bytes) - 1, ERROR_CODE_##code, (says))

Test(stream, bytes_that_are_no_stream_are_refused)
{
	REFUSED("", SPEC_EMPTY, "byte 0");
	REFUSED("\x0a\x00\x0a\x00", SPEC_DUPLICATE, "byte 2: a second launch");
	REFUSED("\x12\x00\x0a\x00", SPEC_MALFORMED, "byte 0: a command before the launch");
	REFUSED("\x22\x00", SPEC_UNKNOWN_FIELD, "no field 4");
	REFUSED("\x0a\x00\x22\x00", SPEC_UNKNOWN_FIELD, "byte 2: ControlStream has no field 4");
	REFUSED("\x0a\x00\x1a\x00", SPEC_DUPLICATE, "byte 2: a plan behind a launch");
	REFUSED("\x1a\x00\x0a\x00", SPEC_DUPLICATE, "byte 2: a launch behind a plan");
	REFUSED("\x1a\x00\x1a\x00", SPEC_DUPLICATE, "byte 2: a second plan");
	REFUSED("\x1a\x00\x12\x00\x1a\x00", SPEC_DUPLICATE, "byte 4: a second plan");
	REFUSED("\x18\x00", SPEC_MALFORMED, "wire type");
	REFUSED("\x1a\x81\x80\x80\x04", SPEC_TOO_LARGE,
	        "the plan has 8388609 bytes; at most 8388608");
	REFUSED("\x1a\x05 abc", SPEC_TRUNCATED, "ended at byte 6");
	REFUSED("\x02\x00", SPEC_MALFORMED, "field number 0");
	REFUSED("\x08\x00", SPEC_MALFORMED, "wire type");
	REFUSED("\x0b", SPEC_MALFORMED, "wire type");
	REFUSED("\x0e", SPEC_MALFORMED, "wire type");
	REFUSED("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", SPEC_MALFORMED, "tag");
	REFUSED("\xff\xff\xff\xff\x1f", SPEC_MALFORMED, "tag");
	REFUSED("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", SPEC_MALFORMED, "length");
	REFUSED("\x0a\x81\x80\x40", SPEC_TOO_LARGE, "1048577 bytes");
	REFUSED("\x0a\x05 abc", SPEC_TRUNCATED, "ended at byte 6");
	REFUSED("\x0a\x00\x12\x05 abc", SPEC_TRUNCATED, "begins at byte 2");
	REFUSED("\x0a\x00\x12", SPEC_TRUNCATED, "begins at byte 2");
}

/* What a person is likely to write to fd 3 by hand. */
Test(stream, text_and_a_bare_spec_are_told_what_to_do)
{
	uint8_t bytes[64];
	size_t n;

	REFUSED("launch { vm_id: \"a\" }", SPEC_MALFORMED,
	        "byte 0: this looks like text, and a ControlStream is bytes; encode it "
	        "(protoc --encode=axvm.v1.ControlStream axvm.proto), or start the VM with axvm run");
	REFUSED("# \xc3\xbc\nlaunch {}", SPEC_MALFORMED, "looks like text");
	REFUSED("\tlaunch\r\n{}", SPEC_MALFORMED, "looks like text");
	REFUSED("plan { }", SPEC_MALFORMED, "looks like text");
	/* A field of a schema to come, and too few bytes to say. */
	REFUSED("\"\x02\x0a\x00", SPEC_UNKNOWN_FIELD, "no field 4");
	REFUSED("\"\x02", SPEC_UNKNOWN_FIELD, "no field 4");
	n = protoc_encode("LaunchSpec", "vm_id: \"web\" cpus { count: 1 }", bytes, sizeof(bytes));
	refused(bytes, n, ERROR_CODE_SPEC_UNKNOWN_FIELD,
	        "byte 5: ControlStream has no field 4 (1 is launch, 2 is commands, 3 is plan); a bare "
	        "LaunchSpec goes into ControlStream.launch");
	/* A launch may begin with what would be text behind the newline that is its tag. */
	cr_expect_not(stream_looks_like_text((const uint8_t *)"\n launch", 8));
}

Test(stream, the_largest_launch_is_taken)
{
	struct problems problems = { 0 };
	size_t n = STREAM_MESSAGE_MAX + 4, length = 0;
	uint8_t *bytes = calloc(1, n);

	bytes[0] = 0x0a;
	bytes[1] = 0x80;
	bytes[2] = 0x80;
	bytes[3] = 0x40;
	bytes[n - 1] = 0x55;
	cr_assert_eq(read_launch(bytes, n, &length, &problems), 0);
	cr_assert_eq(length, STREAM_MESSAGE_MAX);
	cr_assert_eq(place.stream.launch[length - 1], 0x55);
	stream_done(&place.stream);
	free(bytes);
}

/* In place of a launch, and larger than one can be; commands behind it are none of its. */
Test(stream, the_largest_plan_is_taken)
{
	struct problems problems = { 0 };
	size_t n = STREAM_PLAN_MAX + 5, length = 0;
	uint8_t *bytes = calloc(1, n + 2);

	memcpy(bytes, "\x1a\x80\x80\x80\x04", 5);
	bytes[5] = 0x44;
	bytes[n - 1] = 0x55;
	bytes[n] = 0x12;
	for (size_t commands = 0; commands < 2; commands++) {
		cr_assert_eq(read_launch(bytes, n + 2 * commands, &length, &problems), 0);
		cr_assert_eq(length, STREAM_PLAN_MAX);
		cr_assert(place.stream.parser.planned);
		cr_assert_eq(place.stream.launch[0], 0x44);
		cr_assert_eq(place.stream.launch[length - 1], 0x55);
		stream_done(&place.stream);
	}
	cr_assert_eq(read_launch((const uint8_t *)"\x0a\x00", 2, &length, &problems), 0);
	cr_assert_not(place.stream.parser.planned);
	stream_done(&place.stream);
	free(bytes);
}

Test(stream, an_oversized_command_is_skipped)
{
	static uint8_t big[100 + 2 * STREAM_MESSAGE_MAX];
	/* 2 MiB of payload: 0x80 0x80 0x80 0x01. */
	static const uint8_t head[] = { 0x0a, 0, 0x12, 0x80, 0x80, 0x80, 0x01, 0x08, 0x2a };
	size_t n = 7 + 2 * STREAM_MESSAGE_MAX;
	struct problems problems = { 0 };
	struct heard heard = { 0 };
	size_t length;

	memset(big, 0x77, sizeof(big));
	memcpy(big, head, sizeof(head));
	memcpy(big + n, "\x12\x02\x08\x07", 4);
	cr_assert_eq(read_launch(big, 2, &length, &problems), 0);
	stream_release_launch(&place.stream);
	memset(place.after, 0x11, sizeof(place.after));
	for (size_t at = 2, part; at < n; at += part) {
		part = MIN(n - at, (size_t)777);
		cr_assert_eq(stream_feed(&place.stream, big + at, part, hear, &heard, &problems),
		             0);
	}
	cr_assert_eq(heard.count, 1);
	cr_assert_eq(heard.full, 2 * STREAM_MESSAGE_MAX);
	cr_assert_eq(heard.bytes, STREAM_COMMAND_MAX);
	cr_assert_eq(memcmp(heard.first, "\x08\x2a", 2), 0);
	for (size_t i = 0; i < sizeof(place.after); i++)
		cr_assert_eq(place.after[i], 0x11, "byte %zu behind it", i);
	/* The next command is found where it begins. */
	cr_assert_eq(stream_feed(&place.stream, big + n, 4, hear, &heard, &problems), 0);
	cr_assert_eq(heard.count, 2);
	cr_assert_eq(memcmp(heard.first, "\x08\x07", 2), 0);
	stream_done(&place.stream);
}

Test(stream, after_an_error_nothing_more_is_taken)
{
	struct problems problems = { 0 };
	struct heard heard = { 0 };
	size_t length;

	cr_assert_eq(read_launch((const uint8_t *)"\x0a\x00", 2, &length, &problems), 0);
	cr_assert_eq(stream_feed(&place.stream, (const uint8_t *)"\x0a\x00", 2, hear, &heard,
	                         &problems),
	             -EINVAL);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_SPEC_DUPLICATE);
	cr_assert_eq(stream_feed(&place.stream, (const uint8_t *)"\x12\x00", 2, hear, &heard,
	                         &problems),
	             -EINVAL);
	cr_assert_eq(stream_end(&place.stream, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(heard.count, 0);
	stream_done(&place.stream);
}

Test(stream, an_fd_that_cannot_be_read)
{
	struct problems problems = { 0 };
	const uint8_t *launch;
	size_t length;
	int fd = open("/", O_RDONLY | O_CLOEXEC);

	cr_assert_eq(stream_init(&place.stream), 0);
	cr_assert_eq(stream_read_launch(&place.stream, fd, &launch, &length, &problems), -EISDIR);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(place.stream.parser.state, STREAM_BROKEN);
	cr_assert_eq(stream_end(&place.stream, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1, "it is told once");
	cr_assert_eq(problems.list[0].code, ERROR_CODE_CONTROL_FD_UNUSABLE);
	stream_done(&place.stream);
	close(fd);
}

Test(stream, random_bytes_are_refused_without_harm)
{
	unsigned seed = (unsigned)time(NULL);
	uint8_t bytes[300];
	size_t launches = 0;

	fprintf(stderr, "stream/random_bytes_are_refused_without_harm: seed %u\n", seed);
	srandom(seed);
	cr_assert_eq(stream_init(&place.stream), 0);
	for (int round = 0; round < 10000; round++) {
		struct problems problems = { 0 };
		struct heard heard = { 0 };
		size_t n = (size_t)random() % sizeof(bytes);
		int r;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)random();
		/* Half of them begin as a ControlStream does. */
		if (round & 1)
			memcpy(bytes, "\x0a\x02\x08\x01", 4);
		place.stream.parser = (struct stream_parser){ .launched = (round & 3) == 1 };
		r = stream_feed(&place.stream, bytes, n, hear, &heard, &problems);
		if (r == 0)
			r = stream_end(&place.stream, &problems);
		launches += r == 0;
		cr_assert_eq(problems.count, r == 0 ? 0 : 1, "seed %u, round %d", seed, round);
	}
	/* Chance makes hardly any whole stream. */
	cr_assert(launches < 1000, "%zu", launches);
	stream_done(&place.stream);
}
