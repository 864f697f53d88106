/* SPDX-License-Identifier: MIT */
/* From the bytes of a command to struct command: the same walk, unpacking and checks as for the
 * launch, but it uses memory that was mapped before seal, and a wrong command gets an error reply
 * where a wrong launch ends the shim. */
#include "interface/command.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "interface/spec_check.h"
#include "interface/wire.h"
#include "proto/axvm.pb-c.h"

#define FIELD_REQUEST_ID 1
#define TIMEOUT_MS_MAX 86400000
#define CONSOLE_MAX 65535

#define INVALID(problems, field, ...)                                                              \
	problems_add((problems), ERROR_CODE_COMMAND_INVALID, 0, (field),                           \
	             "command." field " " __VA_ARGS__)

int command_arena_map(struct arena *arena)
{
	int r = arena_map(arena, COMMAND_ARENA_SIZE);

	if (r < 0)
		return r;
	memset(arena->base, 0, arena->size);
	return 0;
}

/* Finds the request's id where the bytes have one, even in a command that is otherwise wrong. */
static uint64_t find_request_id(const uint8_t *bytes, size_t n)
{
	struct wire_cursor cursor = { bytes, bytes + n };
	struct wire_field field;

	while (wire_next(&cursor, &field) > 0)
		if (field.number == FIELD_REQUEST_ID && field.type == PROTOBUF_C_WIRE_TYPE_VARINT)
			return field.value;
	return 0;
}

static void check_shutdown(const Axvm__V1__Command *from, struct command *to,
                           struct problems *problems)
{
	if (from->shutdown->timeout_ms > TIMEOUT_MS_MAX)
		INVALID(problems, "shutdown.timeout_ms", "is %" PRIu32 "; at most %d is possible",
		        from->shutdown->timeout_ms, TIMEOUT_MS_MAX);
	to->shutdown.has_timeout = from->shutdown->has_timeout_ms;
	to->shutdown.timeout_ms = from->shutdown->timeout_ms;
}

static void check_balloon(const Axvm__V1__Command *from, struct command *to,
                          struct problems *problems)
{
	if (from->balloon->target_mib == 0)
		INVALID(problems, "balloon.target_mib", "is 0 or missing; it must be at least 1");
	to->balloon.target_mib = from->balloon->target_mib;
}

static void check_limit(const Axvm__V1__Command *from, struct command *to,
                        struct problems *problems)
{
	const Axvm__V1__LimitCommand *limit = from->limit;

	if (!limit->device_id || !spec_is_id(limit->device_id))
		INVALID(problems, "limit.device_id",
		        "is \"%.40s\"; it must be the id of a disk or net",
		        limit->device_id ? limit->device_id : "");
	else
		snprintf(to->limit.device_id, sizeof(to->limit.device_id), "%s", limit->device_id);
	if (!limit->limit)
		INVALID(problems, "limit.limit", "is missing; an empty one lifts the limit");
	else
		to->limit.limit = (struct spec_limit){
			.bytes_per_s = limit->limit->bytes_per_s,
			.bytes_burst = limit->limit->bytes_burst,
			.ops_per_s = limit->limit->ops_per_s,
			.ops_burst = limit->limit->ops_burst,
		};
	to->limit.transmit = limit->transmit;
}

static void check_resize(const Axvm__V1__Command *from, struct command *to,
                         struct problems *problems)
{
	if (!from->resize->disk_id || !spec_is_id(from->resize->disk_id))
		INVALID(problems, "resize.disk_id", "is \"%.40s\"; it must be the id of a disk",
		        from->resize->disk_id ? from->resize->disk_id : "");
	else
		snprintf(to->resize.disk_id, sizeof(to->resize.disk_id), "%s",
		         from->resize->disk_id);
}

static void check_console_size(const Axvm__V1__Command *from, struct command *to,
                               struct problems *problems)
{
	uint32_t columns = from->console_size->columns, rows = from->console_size->rows;

	if (columns < 1 || columns > CONSOLE_MAX || rows < 1 || rows > CONSOLE_MAX)
		INVALID(problems, "console_size",
		        "is %" PRIu32 " x %" PRIu32 "; both must be from 1 to %d", columns, rows,
		        CONSOLE_MAX);
	to->console_size.columns = columns;
	to->console_size.rows = rows;
}

/* By kind; a command without a row has nothing to check or to copy. */
static void (*const checks[])(const Axvm__V1__Command *from, struct command *to,
                              struct problems *problems) = {
	[COMMAND_WHAT_SHUTDOWN] = check_shutdown,
	[COMMAND_WHAT_BALLOON] = check_balloon,
	[COMMAND_WHAT_LIMIT] = check_limit,
	[COMMAND_WHAT_RESIZE] = check_resize,
	[COMMAND_WHAT_CONSOLE_SIZE] = check_console_size,
};

static void parse(struct arena *arena, const struct stream_command *raw, struct command *to,
                  struct problems *problems)
{
	ProtobufCAllocator allocator = arena_allocator(arena);
	const Axvm__V1__Command *from;

	if (raw->full_length > raw->length) {
		problems_add(problems, ERROR_CODE_COMMAND_INVALID, 0, NULL,
		             "the command has %" PRIu64 " bytes; none needs more than %d",
		             raw->full_length, STREAM_COMMAND_MAX);
		return;
	}
	if (wire_check(&axvm__v1__command__descriptor, raw->bytes, raw->length, "command",
	               problems))
		return;
	arena_reset(arena);
	from = axvm__v1__command__unpack(&allocator, raw->length, raw->bytes);
	if (!from) {
		problems_add(
			problems, ERROR_CODE_COMMAND_INVALID, 0, NULL,
			"the command cannot be decoded as axvm.v1.Command; encode it by proto/axvm.proto");
		return;
	}
	if (!from->has_request_id)
		INVALID(problems, "request_id",
		        "is missing; give each command a number for its reply");
	if (from->what_case == AXVM__V1__COMMAND__WHAT__NOT_SET) {
		problems_add(
			problems, ERROR_CODE_COMMAND_INVALID, 0, NULL,
			"the command has no body; set one of its alternatives, such as pause or stop");
		return;
	}
	to->kind = (enum axvm_command_what)from->what_case;
	if ((size_t)to->kind < ARRAY_SIZE(checks) && checks[to->kind])
		checks[to->kind](from, to, problems);
}

int command_parse(struct arena *arena, const struct stream_command *raw, struct command *ret,
                  struct problem *ret_error)
{
	struct command command = { .request_id = find_request_id(raw->bytes, raw->length) };
	struct problems problems = { 0 };

	parse(arena, raw, &command, &problems);
	if (problems.count == 0) {
		*ret = command;
		return 0;
	}
	ret->request_id = command.request_id;
	*ret_error = problems.list[0];
	ret_error->code = ERROR_CODE_COMMAND_INVALID;
	return -EINVAL;
}
