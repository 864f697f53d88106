/* SPDX-License-Identifier: MIT */
/* Commands: every kind arrives; what is wrong gives one error and keeps the request's id. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "interface/command.h"
#include "tests/unit/rig/protoc.h"

static struct arena arena;

static void map_arena(void)
{
	cr_assert_eq(command_arena_map(&arena), 0);
}

static void unmap_arena(void)
{
	arena_unmap(&arena);
}

TestSuite(command, .init = map_arena, .fini = unmap_arena);

static int parse_bytes(const uint8_t *bytes, size_t n, uint64_t full, struct command *command,
                       struct problem *error)
{
	struct stream_command raw = { .bytes = bytes, .length = n, .full_length = full };

	*command = (struct command){ 0 };
	*error = (struct problem){ 0 };
	return command_parse(&arena, &raw, command, error);
}

static struct command parsed(const char *text)
{
	struct command command;
	struct problem error;
	uint8_t bytes[512];
	size_t n = protoc_encode("Command", text, bytes, sizeof(bytes));

	cr_assert_eq(parse_bytes(bytes, n, n, &command, &error), 0, "%s: %s", text, error.message);
	return command;
}

Test(command, every_kind_arrives)
{
	static const struct {
		const char *name;
		enum axvm_command_what kind;
	} plain[] = {
		{ "shutdown", COMMAND_WHAT_SHUTDOWN }, { "stop", COMMAND_WHAT_STOP },
		{ "pause", COMMAND_WHAT_PAUSE },       { "resume", COMMAND_WHAT_RESUME },
		{ "status", COMMAND_WHAT_STATUS },     { "metrics", COMMAND_WHAT_METRICS },
		{ "nmi", COMMAND_WHAT_NMI },
	};
	struct command c;

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		char text[64];

		snprintf(text, sizeof(text), "request_id: %zu %s {}", i + 100, plain[i].name);
		c = parsed(text);
		cr_assert_eq(c.request_id, i + 100);
		cr_assert_eq(c.kind, plain[i].kind);
	}
	c = parsed("request_id: 0 shutdown {}");
	cr_assert(c.request_id == 0 && !c.shutdown.has_timeout);
	c = parsed("request_id: 1 shutdown { timeout_ms: 0 }");
	cr_assert(c.shutdown.has_timeout && c.shutdown.timeout_ms == 0);
	c = parsed("request_id: 18446744073709551615 balloon { target_mib: 512 }");
	cr_assert(c.request_id == UINT64_MAX && c.kind == COMMAND_WHAT_BALLOON);
	cr_assert_eq(c.balloon.target_mib, 512);
	c = parsed("request_id: 1 limit { device_id: 'eth0' transmit: true limit { bytes_per_s: 1 "
	           "bytes_burst: 2 ops_per_s: 3 ops_burst: 4 } }");
	cr_assert(c.kind == COMMAND_WHAT_LIMIT && c.limit.transmit);
	cr_assert_str_eq(c.limit.device_id, "eth0");
	cr_assert(c.limit.limit.bytes_per_s == 1 && c.limit.limit.bytes_burst == 2);
	cr_assert(c.limit.limit.ops_per_s == 3 && c.limit.limit.ops_burst == 4);
	c = parsed("request_id: 1 resize { disk_id: 'root' }");
	cr_assert_eq(c.kind, COMMAND_WHAT_RESIZE);
	cr_assert_str_eq(c.resize.disk_id, "root");
	c = parsed("request_id: 1 console_size { columns: 132 rows: 43 }");
	cr_assert(c.kind == COMMAND_WHAT_CONSOLE_SIZE && c.console_size.columns == 132);
	cr_assert_eq(c.console_size.rows, 43);
}

/* The ends of each range, and that a limit's direction is not always set. */
Test(command, values_at_their_bounds_are_taken)
{
	struct command c = parsed("request_id: 1 shutdown { timeout_ms: 86400000 }");
	char text[200], id[SPEC_ID_MAX + 2];

	cr_assert(c.shutdown.has_timeout && c.shutdown.timeout_ms == 86400000);
	c = parsed("request_id: 1 console_size { columns: 65535 rows: 65535 }");
	cr_assert(c.console_size.columns == 65535 && c.console_size.rows == 65535);
	c = parsed("request_id: 1 console_size { columns: 1 rows: 1 }");
	cr_assert(c.console_size.columns == 1 && c.console_size.rows == 1);
	c = parsed("request_id: 1 balloon { target_mib: 1 }");
	cr_assert_eq(c.balloon.target_mib, 1);
	c = parsed("request_id: 1 limit { device_id: 'eth0' limit {} }");
	cr_assert(!c.limit.transmit && c.limit.limit.bytes_per_s == 0 &&
	          c.limit.limit.ops_burst == 0);
	memset(id, 'x', SPEC_ID_MAX);
	id[SPEC_ID_MAX] = '\0';
	snprintf(text, sizeof(text), "request_id: 1 resize { disk_id: '%s' }", id);
	c = parsed(text);
	cr_assert_str_eq(c.resize.disk_id, id);
}

static void refused(const uint8_t *bytes, size_t n, uint64_t full, uint64_t id, const char *says)
{
	struct command command;
	struct problem error;

	cr_assert_eq(parse_bytes(bytes, n, full, &command, &error), -EINVAL, "%s", says);
	cr_assert_eq(error.code, ERROR_CODE_COMMAND_INVALID);
	cr_assert_eq(command.request_id, id, "%s", error.message);
	cr_assert(strstr(error.message, says), "%s", error.message);
}

static void text_refused(const char *text, uint64_t id, const char *says)
{
	uint8_t bytes[512];
	size_t n = protoc_encode("Command", text, bytes, sizeof(bytes));

	refused(bytes, n, n, id, says);
}

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1, sizeof(s) - 1

Test(command, malformed_and_unknown_commands_are_refused)
{
	static const uint8_t big[STREAM_COMMAND_MAX] = { 0x08, 0x2a };

	text_refused("", 0, "request_id is missing; give each command a number for its reply");
	text_refused("pause {}", 0, "request_id is missing");
	text_refused("request_id: 9", 9, "the command has no body; set one of");
	text_refused("request_id: 9 shutdown { timeout_ms: 86400001 }", 9, "shutdown.timeout_ms");
	text_refused("request_id: 9 balloon {}", 9, "balloon.target_mib");
	text_refused("request_id: 9 limit { limit {} }", 9, "limit.device_id");
	text_refused("request_id: 9 limit { device_id: '../x' limit {} }", 9, "limit.device_id");
	text_refused("request_id: 9 limit { device_id: 'x' }", 9, "limit.limit");
	text_refused("request_id: 9 resize {}", 9, "resize.disk_id");
	text_refused("request_id: 9 console_size { columns: 65536 rows: 1 }", 9, "console_size");
	text_refused("request_id: 9 console_size { columns: 1 rows: 65536 }", 9, "console_size");
	text_refused("request_id: 9 console_size { columns: 1 }", 9, "console_size");
	text_refused("request_id: 9 console_size { rows: 1 }", 9, "console_size");
	text_refused("request_id: 9 resize { disk_id: '' }", 9, "resize.disk_id");
	text_refused("request_id: 9 resize { disk_id: 'a/b' }", 9, "resize.disk_id");
	text_refused("request_id: 9 balloon { target_mib: 0 }", 9, "balloon.target_mib");
	refused(BYTES("\x08\x09\x6a\x00"), 9, "unknown field 13");
	refused(BYTES("\x08\x09\x22\x02\x08\x01"), 9, "command.pause: unknown field 1");
	refused(BYTES("\x08\x09\x22\x00\x1a\x00"), 9, "its alternative pause");
	refused(BYTES("\x08\x09\x22\x00\x22\x00"), 9, "command.pause is there twice");
	refused(BYTES("\x08\x09\x22\x05"), 9, "not the start of a whole field");
	refused(BYTES("\xff\xff"), 0, "byte 0");
	refused(big, sizeof(big), sizeof(big) + 1, 42, "4097 bytes");
}

/* Whatever one can hold has room to be unpacked: it is refused for what it says. */
Test(command, the_largest_is_read)
{
	static uint8_t bytes[STREAM_COMMAND_MAX];
	const size_t name = sizeof(bytes) - 8;

	memcpy(bytes, "\x08\x2a", 2); /* request_id: 42, limit { device_id: ... } */
	bytes[2] = 9 << 3 | 2;
	bytes[3] = (uint8_t)((name + 3) | 0x80);
	bytes[4] = (uint8_t)((name + 3) >> 7);
	bytes[5] = 1 << 3 | 2;
	bytes[6] = (uint8_t)(name | 0x80);
	bytes[7] = (uint8_t)(name >> 7);
	memset(bytes + 8, 'x', name);
	refused(bytes, sizeof(bytes), sizeof(bytes), 42, "limit.device_id");
}

/* The arena behind it: aligned, to its last byte and no further, whole again after a reset. */
Test(command, an_arena_gives_what_it_has)
{
	struct arena small;
	ProtobufCAllocator allocator;
	uint8_t *first, *second;

	cr_assert_eq(arena_map(&small, 4096), 0);
	allocator = arena_allocator(&small);
	for (int round = 0; round < 2; round++) {
		first = allocator.alloc(allocator.allocator_data, 1);
		cr_assert_eq(first, small.base);
		/* The next begins at 16: 4080 are left. */
		cr_assert_null(allocator.alloc(allocator.allocator_data, 4081));
		cr_assert(small.exhausted);
		second = allocator.alloc(allocator.allocator_data, 4080);
		cr_assert_eq(second, small.base + 16);
		cr_assert_null(allocator.alloc(allocator.allocator_data, 1));
		cr_assert_null(allocator.alloc(allocator.allocator_data, SIZE_MAX));
		allocator.free(allocator.allocator_data, second);
		arena_reset(&small);
		cr_assert_not(small.exhausted);
	}
	cr_assert_not_null(allocator.alloc(allocator.allocator_data, 4095));
	cr_assert_null(allocator.alloc(allocator.allocator_data, 1),
	               "aligned, it would begin behind the end");
	arena_unmap(&small);
	cr_assert(!small.base && !small.size);
}

Test(command, random_bytes_are_refused_without_harm)
{
	unsigned seed = (unsigned)time(NULL);
	uint8_t bytes[200];

	fprintf(stderr, "command/random_bytes_are_refused_without_harm: seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 10000; round++) {
		struct command command;
		struct problem error;
		size_t n = (size_t)random() % sizeof(bytes);
		int r;

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)random();
		if (n > 5 && (round & 1))
			memcpy(bytes, "\x08\x01\x4a", 3);
		r = parse_bytes(bytes, n, n, &command, &error);
		cr_assert_eq(r == 0, error.code == ERROR_CODE_UNSPECIFIED, "seed %u, round %d",
		             seed, round);
	}
}
