/* SPDX-License-Identifier: MIT */
/* What libaxvm knows of the schema, by number: held against the schema, and at work on messages
 * of any kind. */
#include "launch/by_number.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/varint.h"
#include "proto/axvm.pb-c.h"

#define UNUSED (1ULL << 32)

Test(launch_by_number, the_numbers_are_the_schemas)
{
	static const struct {
		const ProtobufCMessageDescriptor *message;
		const char *name;
		unsigned number;
		ProtobufCType type;
	} rows[] = {
		{ &axvm__v1__control_stream__descriptor, "launch", FIELD_LAUNCH,
		  PROTOBUF_C_TYPE_MESSAGE },
		{ &axvm__v1__control_stream__descriptor, "commands", FIELD_COMMANDS,
		  PROTOBUF_C_TYPE_MESSAGE },
		{ &axvm__v1__command__descriptor, "request_id", FIELD_REQUEST_ID,
		  PROTOBUF_C_TYPE_UINT64 },
		{ &axvm__v1__event_stream__descriptor, "events", FIELD_EVENTS,
		  PROTOBUF_C_TYPE_MESSAGE },
		{ &axvm__v1__event__descriptor, "terminal", FIELD_TERMINAL,
		  PROTOBUF_C_TYPE_MESSAGE },
		{ &axvm__v1__terminal__descriptor, "exit_status", FIELD_EXIT_STATUS,
		  PROTOBUF_C_TYPE_UINT32 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field_by_name(rows[i].message,
		                                                        rows[i].name);

		cr_assert_not_null(field, "%s", rows[i].name);
		cr_expect_eq(field->id, rows[i].number, "%s: %u", rows[i].name, field->id);
		cr_expect_eq(field->type, rows[i].type, "%s", rows[i].name);
	}
}

/* The id that is put in as it is encoded. */
#define NEW "\x08\x80\x80\x80\x80\x10"
#define BYTES(text) (text), sizeof(text) - 1

/* An id that is there stays where it is, and all else stays beside it, known or not; 0 and none
 * make way for a new one. */
Test(launch_by_number, commands_get_an_id)
{
	static const struct {
		const char *in;
		size_t in_size;
		const char *out;
		size_t out_size;
		uint64_t id;
	} rows[] = {
		{ BYTES("\x08\x07\x1a\x00"), BYTES("\x08\x07\x1a\x00"), 7 },
		{ BYTES("\x1a\x00\x08\x07"), BYTES("\x1a\x00\x08\x07"), 7 },
		{ BYTES("\x1a\x00"), BYTES(NEW "\x1a\x00"), UNUSED },
		{ BYTES("\x08\x00\x1a\x00"), BYTES(NEW "\x1a\x00"), UNUSED },
		{ BYTES("\x1a\x00\x08\x00"), BYTES(NEW "\x1a\x00"), UNUSED },
		{ BYTES("\x1a\x00\x08\x80\x00\xf8\x3f\x05"), BYTES(NEW "\x1a\x00\xf8\x3f\x05"),
		  UNUSED },
		{ BYTES("\xf8\x3f\x05"), BYTES(NEW "\xf8\x3f\x05"), UNUSED },
		{ BYTES(""), BYTES(NEW), UNUSED },
		{ NULL, 0, BYTES(NEW), UNUSED },
		{ BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		  BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t to[AXVM_COMMAND_MAX];
		uint64_t id = 1;
		ssize_t n = command_with_id(rows[i].in, rows[i].in_size, UNUSED, to, &id);

		cr_assert_eq(n, (ssize_t)rows[i].out_size, "row %zu: %zd", i, n);
		cr_expect_eq(memcmp(to, rows[i].out, rows[i].out_size), 0, "row %zu", i);
		cr_expect_eq(id, rows[i].id, "row %zu", i);
	}
}

/* What is no message, and what the shim would refuse as twice the same. */
Test(launch_by_number, bytes_that_are_no_command_are_refused)
{
	static const struct {
		const char *in;
		size_t in_size;
	} rows[] = {
		{ BYTES("\x08\x07\x08\x08") },
		{ BYTES("\x08\x00\x08\x07") },
		{ BYTES("\x08\x07\x1a\x00\x08\x00") },
		{ BYTES("\x0a\x01\x07") }, /* an id of another kind */
		{ BYTES("\x1a\x05\x00") }, /* cut off */
		{ BYTES("\x08\x07\x1a") },
		{ BYTES("\x08\xff") },
		{ BYTES("\x02\x00") }, /* number 0 */
		{ BYTES("\x0b\x0c") }, /* a group */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t to[AXVM_COMMAND_MAX];
		uint64_t id;

		cr_expect_eq(command_with_id(rows[i].in, rows[i].in_size, UNUSED, to, &id),
		             -EBADMSG, "row %zu", i);
	}
}

/* Up to the byte, without and with the id that is put in. */
Test(launch_by_number, a_command_of_the_largest_size_is_taken_and_no_longer_one)
{
	static uint8_t bytes[AXVM_COMMAND_MAX + 1], to[AXVM_COMMAND_MAX];
	const size_t id_size = sizeof(NEW) - 1;
	uint64_t id;

	/* A field 3 of that many bytes less its own head of three. */
	bytes[0] = 0x1a;
	(void)varint_put(bytes + 1, AXVM_COMMAND_MAX - 3 - id_size);
	cr_expect_eq(command_with_id(bytes, AXVM_COMMAND_MAX - id_size, UNUSED, to, &id),
	             AXVM_COMMAND_MAX);
	(void)varint_put(bytes + 1, AXVM_COMMAND_MAX - 2 - id_size);
	cr_expect_eq(command_with_id(bytes, AXVM_COMMAND_MAX + 1 - id_size, UNUSED, to, &id),
	             -EMSGSIZE);
	memcpy(bytes, "\x08\x07\x1a", 3);
	(void)varint_put(bytes + 3, AXVM_COMMAND_MAX - 5);
	cr_expect_eq(command_with_id(bytes, AXVM_COMMAND_MAX, UNUSED, to, &id), AXVM_COMMAND_MAX);
	cr_expect_eq(command_with_id(bytes, AXVM_COMMAND_MAX + 1, UNUSED, to, &id), -EMSGSIZE);
}

Test(launch_by_number, the_end_is_known_by_its_number)
{
	static const struct {
		const char *in;
		size_t in_size;
		int r;
		uint32_t status;
	} rows[] = {
		{ BYTES("\xb2\x01\x02\x10\x05"), 1, 5 },
		{ BYTES("\x08\x07\xb2\x01\x04\x10\x46\x78\x01\xf8\x3f\x05"), 1, 70 },
		{ BYTES("\xb2\x01\x00"), 1, 0 },
		{ BYTES("\xb2\x01\x02\x08\x05"), 1, 0 },
		{ BYTES("\xb2\x01\x04\x10\x05\x10\x06"), 1, 6 },
		{ BYTES("\x08\x07"), 0, 0 },
		{ BYTES(""), 0, 0 },
		{ BYTES("\xb0\x01\x05"), 0, 0 },         /* of another kind */
		{ BYTES("\xaa\x01\x02\x10\x05"), 0, 0 }, /* field 21 */
		{ BYTES("\xb2\x01\x02\x10"), -EBADMSG, 0 },
		{ BYTES("\xb2\x01\x02\x10\xff"), -EBADMSG, 0 },
		{ BYTES("\x0a\x02\x05"), -EBADMSG, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t status = 0;

		cr_expect_eq(event_is_end(rows[i].in, rows[i].in_size, &status), rows[i].r,
		             "row %zu", i);
		if (rows[i].r == 1)
			cr_expect_eq(status, rows[i].status, "row %zu: %u", i, status);
	}
}
