/* SPDX-License-Identifier: MIT */
/* What people read and write: numbers in protobuf text, events as lines, the picture of a
 * launch. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "launch/cli/event_text.h"
#include "launch/cli/run_parts.h"
#include "launch/cli/text.h"
#include "launch/cli/verb.h"
#include "tests/unit/rig/protoc.h"

#define CPUS                                                                                       \
	"count, pins, tenancy, paravirt, fifo_priority, core_scheduling, nodes, overcommit, claims"
#define ESCAPES                                                                                    \
	"an escape that is not known; there are \\n \\r \\t \\a \\b \\f \\v \\\\ \\' \\\" \\? and \\ooo"

/* ---- numbers and strings of protobuf text ---------------------------------------------------- */

/* 0 and the message, or -EINVAL. */
static int parse(const char *text, const ProtobufCMessageDescriptor *descriptor,
                 ProtobufCMessage **ret)
{
	struct text_error error = { 0 };
	int r = text_parse(text, strlen(text), descriptor, ret, &error);

	cr_assert(r == 0 || error.message[0], "a refusal without words: %s", text);
	return r;
}

static const struct {
	const char *text;
	int r;
	int64_t value;
} signed_32[] = {
	{ "0", 0, 0 },
	{ "-0", 0, 0 },
	{ "-1", 0, -1 },
	{ "2147483647", 0, INT32_MAX },
	{ "-2147483648", 0, INT32_MIN },
	{ "0x7fffffff", 0, INT32_MAX },
	{ "-0x80000000", 0, INT32_MIN },
	{ "010", 0, 8 },
	{ "2147483648", -EINVAL, 0 },
	{ "-2147483649", -EINVAL, 0 },
	{ "0x80000000", -EINVAL, 0 },
	{ "99999999999999999999", -EINVAL, 0 },
	{ "1x", -EINVAL, 0 },
	{ "--1", -EINVAL, 0 },
	{ "-+1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ "-", -EINVAL, 0 },
	{ "1.5", -EINVAL, 0 },
	{ "0x", -EINVAL, 0 },
	{ "08", -EINVAL, 0 },
	{ "true", -EINVAL, 0 },
};

Test(launch_text, signed_numbers_of_32_bits)
{
	for (size_t i = 0; i < ARRAY_SIZE(signed_32); i++) {
		ProtobufCMessage *message = NULL;
		char text[64];

		snprintf(text, sizeof(text), "landlock_abi: %s", signed_32[i].text);
		cr_assert_eq(parse(text, &axvm__v1__sealed__descriptor, &message), signed_32[i].r,
		             "%s", text);
		if (message) {
			cr_assert_eq(((Axvm__V1__Sealed *)message)->landlock_abi,
			             signed_32[i].value, "%s", text);
			protobuf_c_message_free_unpacked(message, NULL);
		}
	}
}

static const struct {
	const char *text;
	bool fits_32, fits_64;
	uint64_t value;
} unsigned_numbers[] = {
	{ "0", true, true, 0 },
	{ "4294967295", true, true, UINT32_MAX },
	{ "4294967296", false, true, 1ULL << 32 },
	{ "0xffffffff", true, true, UINT32_MAX },
	{ "18446744073709551615", false, true, UINT64_MAX },
	{ "0xffffffffffffffff", false, true, UINT64_MAX },
	{ "18446744073709551616", false, false, 0 },
	{ "-1", false, false, 0 },
	{ "-0", true, true, 0 },
	{ "0x1ffffffffffffffff", false, false, 0 },
};

/* As protoc reads the same text: of 32 and 64 bits, as varints and of fixed width. */
Test(launch_text, unsigned_numbers)
{
	for (size_t i = 0; i < ARRAY_SIZE(unsigned_numbers); i++) {
		ProtobufCMessage *narrow = NULL, *wide = NULL, *fixed = NULL;
		char text[96];

		snprintf(text, sizeof(text), "queue_size: %s", unsigned_numbers[i].text);
		cr_assert_eq(parse(text, &axvm__v1__disk__descriptor, &narrow) == 0,
		             unsigned_numbers[i].fits_32, "%s", text);
		snprintf(text, sizeof(text), "bytes_per_s: %s", unsigned_numbers[i].text);
		cr_assert_eq(parse(text, &axvm__v1__rate_limit__descriptor, &wide) == 0,
		             unsigned_numbers[i].fits_64, "%s", text);
		snprintf(text, sizeof(text), "lost_address: %s", unsigned_numbers[i].text);
		cr_assert_eq(parse(text, &axvm__v1__death_record__descriptor, &fixed) == 0,
		             unsigned_numbers[i].fits_64, "%s", text);
		if (narrow) {
			cr_assert_eq(((Axvm__V1__Disk *)narrow)->queue_size,
			             unsigned_numbers[i].value);
			protobuf_c_message_free_unpacked(narrow, NULL);
		}
		if (wide) {
			cr_assert_eq(((Axvm__V1__RateLimit *)wide)->bytes_per_s,
			             unsigned_numbers[i].value);
			cr_assert_eq(((Axvm__V1__DeathRecord *)fixed)->lost_address,
			             unsigned_numbers[i].value);
			protobuf_c_message_free_unpacked(wide, NULL);
			protobuf_c_message_free_unpacked(fixed, NULL);
		}
	}
}

/* Each escape, both quotes, strings side by side; what protoc makes of them is what we make of
 * them. */
Test(launch_text, strings_are_read_as_protoc_reads_them)
{
	static const char *const good[] = {
		"message: \"a\\n\\r\\t\\\\\\'\\\"\\?b\"",
		"message: 'single \"quoted\"'",
		"message: \"one \" 'two' \"three\"",
		"message: \"\\101\\102\\0613\"",
		"message: \"\"",
		"message: \"x\" # a comment\n",
		"message: \"\\a\\b\\f\\v\"",
		"message: \"\xc3\xa9\"",
	};
	static const char *const bad[] = {
		"message: \"no end",
		"message: \"a\nb\"",
		"message: \"\\q\"",
		"message: \"\\400\"",
		"message: x",
		"message \"x\"",
		"message: \"x\" message: \"y\"",
		"message: \"\\",
		"needs_reset: TRUE",
		"needs_reset: 2",
		"mess: \"x\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint8_t bytes[128], ours[128];
		size_t n = protoc_encode("DeviceFailed", good[i], bytes, sizeof(bytes));
		ProtobufCMessage *message = NULL;

		cr_assert_eq(parse(good[i], &axvm__v1__device_failed__descriptor, &message), 0,
		             "%s", good[i]);
		cr_assert_eq(protobuf_c_message_pack(message, ours), n, "%s", good[i]);
		cr_assert_arr_eq(ours, bytes, n, "%s", good[i]);
		protobuf_c_message_free_unpacked(message, NULL);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ProtobufCMessage *message = NULL;

		cr_assert_eq(parse(bad[i], &axvm__v1__device_failed__descriptor, &message), -EINVAL,
		             "%s", bad[i]);
	}
}

/* The line that an error names is the one it is in. */
Test(launch_text, errors_name_their_line)
{
	static const char text[] = "# one\nmessage: \"two\"\n\nqueue: 4 error_number: x\n";
	struct text_error error = { 0 };
	ProtobufCMessage *message = NULL;

	cr_assert_eq(text_parse(text, strlen(text), &axvm__v1__device_failed__descriptor, &message,
	                        &error),
	             -EINVAL);
	cr_assert_eq(error.line, 4);
	cr_assert_not_null(strstr(error.message, "\"x\" is not a whole number"), "%s",
	                   error.message);
}

/* Each way to write messages and lists: what protoc makes of it is what we make of it. */
Test(launch_text, messages_and_lists)
{
	static const char *const good[] = {
		"",
		"# only\n# comments",
		"cpus { count: 1 }",
		"cpus: { count: 1 }",
		"cpus < count: 1 >",
		"cpus{count:1}disks{id:'a'}",
		"cpus { count: 1, }",
		"cpus { count: 1; }",
		"vm_id: 'a', profile: 'b'; admission: ADMISSION_REPORT",
		"cpus { pins: [1, 2,3] }",
		"cpus { pins: [] }",
		"cpus { pins: 1 pins: [2] pins: 3 }",
		"memory { nodes: [{ size_mib: 1 }, < size_mib: 2 >] }",
		"memory { nodes [{ size_mib: 1 }] lock: true populate: false }",
		"disks { } disks {} rng {}",
		"\r\n\tvm_id\t:\r\n'a'#b\n#c\r\nprofile:'d'",
		"cpus { # }\n count: 1 }",
		"boot { linux_boot { kernel { fd: 4294967295 } } }",
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint8_t bytes[256], ours[256];
		size_t n = protoc_encode("LaunchSpec", good[i], bytes, sizeof(bytes));
		ProtobufCMessage *message = NULL;

		cr_assert_eq(parse(good[i], &axvm__v1__launch_spec__descriptor, &message), 0, "%s",
		             good[i]);
		cr_assert_eq(protobuf_c_message_pack(message, ours), n, "%s", good[i]);
		cr_assert_arr_eq(ours, bytes, n, "%s", good[i]);
		protobuf_c_message_free_unpacked(message, NULL);
	}
}

/* Each way to be wrong: the line and the column of what is wrong, counted in characters from 1, the
 * field by its path, the value that is there, and what would be right. */
static const struct {
	const char *text;
	unsigned line, column;
	const char *field, *says;
} wrong[] = {
	/* A name that is not there. */
	{ "cpus {\n\tcuont: 2\n}", 2, 2, "cpus.cuont", "there is no such field; Cpus has " CPUS },
	{ "cpus { nosuch {} }", 1, 8, "cpus.nosuch", "there is no such field; Cpus has " CPUS },
	{ "disks { } disks { image { file: 'a' } }", 1, 27, "disks[1].image.file",
	  "there is no such field; Resource has fd, path" },
	{ "a23456789012345678901234567890123456789012345678901234567890123456789", 1, 1,
	  "a23456789012345678901234567890123456789012345678901234567890123", NULL },
	/* A value of another type. */
	{ "cpus { count: x }", 1, 15, "cpus.count", "\"x\" is not a whole number" },
	{ "cpus { count: 1.5 }", 1, 15, "cpus.count", "\"1.5\" is not a whole number" },
	{ "cpus { count: 'two' }", 1, 15, "cpus.count", "a number is missing: here is '" },
	{ "cpus { count: { } }", 1, 15, "cpus.count", "a number is missing: here is {" },
	{ "cpus { count: }", 1, 15, "cpus.count", "a number is missing: here is }" },
	{ "cpus { count: [1] }", 1, 15, "cpus.count", "takes one value, not a list" },
	{ "cpus { pins: 1 pins: [2, x] }", 1, 26, "cpus.pins[2]", "\"x\" is not a whole number" },
	{ "memory { lock: yes }", 1, 16, "memory.lock", "\"yes\" is neither true nor false" },
	{ "memory { lock: { } }", 1, 16, "memory.lock", "true or false is missing: here is {" },
	{ "vm_id:\n\na", 3, 1, "vm_id", "a string in quotes is missing: here is a" },
	{ "vm_id: web-1 # no", 1, 8, "vm_id", "a string in quotes is missing: here is web-1" },
	{ "vm_id: {", 1, 8, "vm_id", "a string in quotes is missing: here is {" },
	{ "vm_id:", 1, 7, "vm_id", "a string in quotes is missing at the end of the text" },
	{ "disks { image: '/x' }", 1, 16, "disks[0].image",
	  "it is a message: { is missing: here is '" },
	{ "cpus count: 1", 1, 6, "cpus", "it is a message: { is missing: here is count" },
	/* An enum's value that is not known. */
	{ "admission: NOSUCH", 1, 12, "admission",
	  "\"NOSUCH\" is not one of ADMISSION_ENFORCE, ADMISSION_REPORT" },
	{ "memory { page_size: HUGE }", 1, 21, "memory.page_size",
	  "\"HUGE\" is not one of PAGE_SIZE_4K, PAGE_SIZE_THP, PAGE_SIZE_2M, PAGE_SIZE_1G" },
	{ "admission: 'REPORT'", 1, 12, "admission", "a name is missing: here is '" },
	/* Numbers out of range. */
	{ "cpus { count: -1 }", 1, 15, "cpus.count", "-1 is out of range: from 0 to 4294967295" },
	{ "cpus { count: 4294967296 }", 1, 15, "cpus.count",
	  "4294967296 is out of range: from 0 to 4294967295" },
	{ "memory { nodes { } nodes { size_mib: 18446744073709551616 } }", 1, 38,
	  "memory.nodes[1].size_mib",
	  "18446744073709551616 is out of range: from 0 to 18446744073709551615" },
	/* Braces, brackets, colons. */
	{ "cpus {\n count: 1", 1, 6, "cpus", "what begins here has no }" },
	{ "\nboot {\n  linux_boot {\n    cmdline: 'a'\n}\n", 2, 6, "boot",
	  "what begins here has no }" },
	{ "cpus <\n", 1, 6, "cpus", "what begins here has no >" },
	{ "cpus < count: 1 }", 1, 17, "cpus", "a field's name is missing: here is }" },
	{ "}", 1, 1, "", "a field's name is missing: here is }" },
	{ ",", 1, 1, "", "a field's name is missing: here is ," },
	{ "vm_id: 'a',, profile: 'b'", 1, 12, "", "a field's name is missing: here is ," },
	{ "\nvm_id 'a'", 2, 7, "vm_id", "a colon after the name is missing: here is '" },
	{ "cpus { pins: [1 2] }", 1, 17, "cpus.pins",
	  "a comma, or the ] of the list, is missing: here is 2" },
	{ "cpus { pins: [1,] }", 1, 17, "cpus.pins[1]", "a number is missing: here is ]" },
	/* Strings. */
	{ "vm_id: 'a\n'", 1, 8, "vm_id",
	  "a string does not end on its line; end it with ', and write a new line as \\n" },
	{ "profile: \"b\" vm_id: \"a", 1, 21, "vm_id",
	  "a string does not end on its line; end it with \", and write a new line as \\n" },
	{ "vm_id: 'a\"", 1, 8, "vm_id",
	  "a string does not end on its line; end it with ', and write a new line as \\n" },
	{ "vm_id: 'ab\\x41'", 1, 11, "vm_id", ESCAPES },
	{ "vm_id: 'a\\", 1, 10, "vm_id", ESCAPES },
	/* What is there twice. */
	{ "vm_id: 'a'\n  vm_id: 'b'", 2, 3, "vm_id", "is there twice; remove one of the two" },
	{ "cpus {} cpus {}", 1, 9, "cpus", "is there twice; remove one of the two" },
	{ "boot {\n  flat_boot {}\n  linux_boot {}\n}", 3, 3, "boot.linux_boot",
	  "is there beside flat_boot, of which there can be one; remove one of the two" },
	{ "disks { id: 'a' } disks { image { path: 'x' fd: 7 } }", 1, 45, "disks[1].image.fd",
	  "is there beside path, of which there can be one; remove one of the two" },
	{ "boot { flat_boot {} measure: true flat_boot {} }", 1, 35, "boot.flat_boot",
	  "is there twice; remove one of the two" },
	/* Characters are counted, not bytes; bytes that are no text are told by their number. */
	{ "vm_id: '\xc3\xa9\xe2\x82\xac' x: 1", 1, 13, "x", NULL },
	{ "\xc3\xa9: 1", 1, 1, "", "a field's name is missing: here is a byte 0xc3" },
	{ "vm_id: \x01", 1, 8, "vm_id", "a string in quotes is missing: here is a byte 0x01" },
};

Test(launch_text, errors_have_line_column_field_and_remedy)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct text_error error = { 0 };
		ProtobufCMessage *message = NULL;
		const char *text = wrong[i].text;

		cr_expect_eq(text_parse(text, strlen(text), &axvm__v1__launch_spec__descriptor,
		                        &message, &error),
		             -EINVAL, "%s", text);
		cr_expect_eq(error.line, wrong[i].line, "%s: line %u", text, error.line);
		cr_expect_eq(error.column, wrong[i].column, "%s: column %u", text, error.column);
		cr_expect_str_eq(error.field, wrong[i].field, "%s: %s", text, error.field);
		cr_expect(!wrong[i].says || strcmp(error.message, wrong[i].says) == 0, "%s: %s",
		          text, error.message);
	}
}

/* A text does not end with a byte of 0: what follows it would not be read. */
Test(launch_text, a_byte_of_0_is_no_end)
{
	static const char text[] = "vm_id: 'a' \0 nosuch: 1", inside[] = "cpus { count: 1 \0 }";
	struct text_error error = { 0 };
	ProtobufCMessage *message = NULL;

	cr_assert_eq(text_parse(text, sizeof(text) - 1, &axvm__v1__launch_spec__descriptor,
	                        &message, &error),
	             -EINVAL);
	cr_assert_eq(error.column, 12);
	cr_assert_str_eq(error.message, "a field's name is missing: here is a byte 0x00");
	cr_assert_eq(text_parse(inside, sizeof(inside) - 1, &axvm__v1__launch_spec__descriptor,
	                        &message, &error),
	             -EINVAL);
	cr_assert_eq(error.column, 17);
}

/* Nested as deeply as may be, with the longest names: the path is cut off, the rest stays true. */
Test(launch_text, deep_nesting_and_long_paths_are_bounded)
{
	char text[4096] = "", line[160], *said = NULL;
	struct text_error error = { 0 };
	ProtobufCMessage *message = NULL;
	size_t n = 0, size;
	FILE *out;

	/* No message of the schema contains itself, so names alone make a path long. */
	n += (size_t)snprintf(text + n, sizeof(text) - n, "launch { boot { linux_boot { kernel { ");
	memset(line, 'n', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	snprintf(text + n, sizeof(text) - n, "%s", line);
	cr_assert_eq(text_parse(text, strlen(text), &axvm__v1__control_stream__descriptor, &message,
	                        &error),
	             -EINVAL);
	cr_assert_eq(error.column, 39);
	cr_assert(strncmp(error.field, "launch.boot.linux_boot.kernel.nnn", 28) == 0, "%s",
	          error.field);
	out = open_memstream(&said, &size);
	text_error_print(out, "axvm run", "a.txtpb", &error);
	fclose(out);
	cr_assert(strncmp(said, "axvm run: a.txtpb:1:39: launch.boot.linux_boot.kernel.nnn", 50) ==
	                  0,
	          "%s", said);
	free(said);
}

/* A message whole, as text, as JSON and as a line of it: numbers, registers, names, lists, messages
 * in messages. */
static const char printed[] = "cpus {\n"
			      "  id: 4294967295\n"
			      "  smt_siblings: 1\n"
			      "  smt_siblings: 2\n"
			      "  cpuid { leaf: 0x1 subleaf: 0xffffffff eax: 0xff indexed: true }\n"
			      "  cpuid { leaf: 0x2 indexed: false }\n"
			      "}\n"
			      "cpus { id: 1 online: true }\n"
			      "vmx {\n"
			      "  msrs { index: 0x480 value: 0xffffffffffffffff }\n"
			      "}\n"
			      "nodes { id: 0 memory_mib: 18446744073709551615 }\n"
			      "kernel_release: \"a\\011\"\n"
			      "distances: 10\n"
			      "distances: 21\n"
			      "offers { name: \"\" error_number: -5 }\n"
			      "offers { }\n";

static const char object[] =
	"{\n"
	"  \"cpus\": [{\n"
	"    \"id\": 4294967295,\n"
	"    \"smt_siblings\": [1, 2],\n"
	"    \"cpuid\": [{\"leaf\": 1, \"subleaf\": 4294967295, \"eax\": 255, \"indexed\": true}, {\"leaf\": 2, \"indexed\": false}]\n"
	"  }, {\"id\": 1, \"online\": true}],\n"
	"  \"vmx\": {\n"
	"    \"msrs\": [{\"index\": 1152, \"value\": \"18446744073709551615\"}]\n"
	"  },\n"
	"  \"nodes\": [{\"id\": 0, \"memory_mib\": \"18446744073709551615\"}],\n"
	"  \"kernel_release\": \"a\\u0009\",\n"
	"  \"distances\": [10, 21],\n"
	"  \"offers\": [{\"name\": \"\", \"error_number\": -5}, {}]\n"
	"}\n";

static const char object_line[] =
	"{\"cpus\": [{\"id\": 4294967295, \"smt_siblings\": [1, 2], \"cpuid\": [{\"leaf\": 1, "
	"\"subleaf\": 4294967295, \"eax\": 255, \"indexed\": true}, {\"leaf\": 2, \"indexed\": false}]}, "
	"{\"id\": 1, \"online\": true}], \"vmx\": {\"msrs\": [{\"index\": 1152, "
	"\"value\": \"18446744073709551615\"}]}, \"nodes\": [{\"id\": 0, "
	"\"memory_mib\": \"18446744073709551615\"}], \"kernel_release\": \"a\\u0009\", "
	"\"distances\": [10, 21], \"offers\": [{\"name\": \"\", \"error_number\": -5}, {}]}\n";

Test(launch_text, messages_are_printed)
{
	static const char text[] =
		"cpus { id: 4294967295 smt_siblings: [1, 2] cpuid { leaf: 1 subleaf: 4294967295 eax: 255 indexed: true } cpuid { leaf: 2 "
		"indexed: false } } cpus { id: 1 online: true } vmx { msrs { index: 1152 value: 18446744073709551615 } } "
		"nodes { id: 0 memory_mib: 18446744073709551615 } kernel_release: 'a\\t' distances: 10 distances: 21 "
		"offers { name: '' error_number: -5 } offers { }";
	typedef void way(FILE * out, const ProtobufCMessage *message);
	way *const ways[] = { text_print, text_print_json, text_print_json_line };
	static const char *const wanted[] = { printed, object, object_line };
	ProtobufCMessage *message = NULL;

	cr_assert_eq(parse(text, &axvm__v1__host_facts__descriptor, &message), 0);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		char *got = NULL;
		size_t size;
		FILE *out = open_memstream(&got, &size);

		ways[i](out, message);
		fclose(out);
		cr_expect_str_eq(got, wanted[i], "%s", got);
		free(got);
	}
	protobuf_c_message_free_unpacked(message, NULL);
}

/* What is printed is read back as it was, whatever stands behind what: by us, and by protoc. */
Test(launch_text, strings_are_printed_so_that_they_come_back)
{
	Axvm__V1__GuestPanicked panic = AXVM__V1__GUEST_PANICKED__INIT;
	char all[2 * 128];
	size_t n = 0;

	for (int c = 1; c < 128; c++) {
		all[n++] = (char)c;
		all[n++] = '7';
	}
	all[n] = '\0';
	panic.message = all;
	for (int by_protoc = 0; by_protoc < 2; by_protoc++) {
		ProtobufCMessage *back = NULL;
		char *text = NULL;
		uint8_t bytes[512];
		size_t size;
		FILE *out = open_memstream(&text, &size);

		text_print(out, &panic.base);
		fclose(out);
		if (by_protoc) {
			size = protoc_encode("GuestPanicked", text, bytes, sizeof(bytes));
			back = protobuf_c_message_unpack(&axvm__v1__guest_panicked__descriptor,
			                                 NULL, size, bytes);
			cr_assert_not_null(back);
		} else {
			cr_assert_eq(parse(text, &axvm__v1__guest_panicked__descriptor, &back), 0);
		}
		cr_assert_str_eq(((Axvm__V1__GuestPanicked *)back)->message, all);
		protobuf_c_message_free_unpacked(back, NULL);
		free(text);
	}
}

/* ---- events as lines ------------------------------------------------------------------------- */

static const struct {
	const char *event, *line;
} lines[] = {
	{ "stage_completed { stage: STAGE_LEARN duration_ns: 1500 }", "stage LEARN in 1.5 us" },
	{ "host_refused { profile: 'xv2' requirements { name: 'ept' asked: 'a' found: 'b' met: false } "
	  "requirements { name: 'kvm' asked: 'c' found: 'd' met: true } }",
	  "host refused profile xv2\n             ept: asked a, found b" },
	{ "memory_placed { nodes { guest_node: 0 host_node: 1 pages_4k: 256 } remote_pages: 3 }",
	  "memory node 0 on host node 1: 1.0 MiB; 3 pages elsewhere" },
	{ "memory_placed { nodes { guest_node: 0 host_node: 1 pages_2m: 8 } }",
	  "memory node 0 on host node 1: 16 MiB; 0 pages elsewhere" },
	{ "memory_placed { nodes { guest_node: 0 host_node: 1 pages_1g: 2 } }",
	  "memory node 0 on host node 1: 2.0 GiB; 0 pages elsewhere" },
	{ "memory_placed { nodes { guest_node: 0 host_node: 1 pages_4k: 1 pages_2m: 1 pages_1g: 1 } "
	  "nodes { guest_node: 1 host_node: 0 pages_4k: 1 } }",
	  "memory node 0 on host node 1: 1.0 GiB; node 1 on host node 0: 4.0 KiB; 0 pages elsewhere" },
	{ "sealed { threads: 4 uid: 1000 gid: 1001 roles { role: 'vcpu' threads: 2 } roles { role: 'io' threads: 1 } "
	  "policy_sha256: '0123456789abcdef' not_available: 'a' not_available: 'b' }",
	  "sealed 4 threads, uid 1000, gid 1001, 2 vcpu, 1 io, policy 0123456789ab; without a, b" },
	{ "sealed { threads: 1 uid: 2 gid: 3 not_available: 'a' }",
	  "sealed 1 threads, uid 2, gid 3; without a" },
	{ "sealed { threads: 1 uid: 2 gid: 3 }", "sealed 1 threads, uid 2, gid 3" },
	{ "sealed { threads: 1 uid: 2 gid: 3 not_available: 'a' inherited: 'nice: 5' inherited: 'b: 6' }",
	  "sealed 1 threads, uid 2, gid 3; without a; inherited nice: 5, b: 6" },
	{ "running { profile: 'dev' development: true vcpus { host_cpu: 4 } vcpus { host_cpu: 6 } "
	  "machine_sha256: '0123456789abcdef' waived { name: 'ept' asked: 'a' found: 'b' waived: true } }",
	  "running profile dev (for development), vCPUs on host CPUs 4 6, machine 0123456789ab\n"
	  "             ept: asked a, found b (waived)" },
	{ "running { profile: 'xv2' development: false vcpus { host_cpu: 4 } }",
	  "running profile xv2, vCPUs on host CPUs 4" },
	{ "running { profile: 'dev' pinned: true claimed: true vcpus { host_cpu: 0 host_node: 7 } vcpus { host_cpu: 6 } }",
	  "running profile dev, vCPUs on host CPUs 0 6 (claimed)" },
	{ "running { profile: 'dev' pinned: false claimed: false vcpus { host_node: 1 } vcpus { host_node: 0 } vcpus { } }",
	  "running profile dev, vCPUs not pinned, on host nodes 1 0 ?" },
	{ "running { profile: 'dev' vcpus { host_cpu: 3 } vcpus { host_node: 1 } }",
	  "running profile dev, vCPUs on host CPUs 3 -" },
	{ "running { profile: 'xv2' machine_sha256: 'fedcba9876543210' }",
	  "running profile xv2, machine fedcba987654" },
	{ "running { profile: 'xv2' waived { name: 'a' asked: 'b' found: 'c' met: true waived: true } "
	  "waived { waived: false } }",
	  "running profile xv2\n             : asked , found " },
	{ "running { profile: 'dev' vulnerabilities { name: 'l1tf' state: 'Not affected' } vulnerabilities { name: 'mds' "
	  "state: 'Vulnerable: no microcode' } vulnerabilities { } vulnerabilities { name: 'bhi' state: 'KVM: Vulnerable' } "
	  "waived { name: 'ept' asked: 'a' found: 'b' } }",
	  "running profile dev, host vulnerable: mds, bhi\n             ept: asked a, found b" },
	{ "state_changed { from: STATE_PAUSED to: STATE_STOPPING reason: '' }",
	  "state PAUSED -> STOPPING" },
	{ "state_changed { from: STATE_RUNNING to: STATE_PAUSED }", "state RUNNING -> PAUSED" },
	{ "state_changed { from: STATE_PAUSED to: STATE_STOPPING reason: 'why' }",
	  "state PAUSED -> STOPPING: why" },
	{ "device_failed { device_id: 'root' message: 'm' }", "device root: m" },
	{ "device_failed { device_id: 'root' message: 'm' needs_reset: false }", "device root: m" },
	{ "device_failed { }", "device : " },
	{ "device_failed { device_id: 'root' message: 'm' suppressed: 41 }",
	  "device root: m (and 41 more since its last event)" },
	{ "device_failed { device_id: 'root' message: 'm' needs_reset: true }",
	  "device root: m (waits for its driver to reset it)" },
	{ "guest_panicked { message: 'oops' }", "guest panic oops" },
	{ "guest_panicked { }", "guest panic " },
	{ "balloon_settled { request_id: 7 target_mib: 24 actual_mib: 24 reached: true }",
	  "balloon of request 7: the guest is left with 24 MiB, as asked" },
	{ "balloon_settled { request_id: 7 target_mib: 24 actual_mib: 30 reached: false }",
	  "balloon of request 7: the guest is left with 30 MiB, asked for 24 MiB, and has come to a standstill" },
	{ "metrics { counters { name: 'a' } counters { name: 'b' } histograms { name: 'h' } }",
	  "metrics 2 counters, 1 histograms" },
	{ "reply { request_id: 7 ok: true state: STATE_PAUSED }",
	  "reply to request 7: done, PAUSED" },
	{ "reply { request_id: 8 ok: false error { message: 'no' } }", "reply to request 8: no" },
	{ "reply { request_id: 8 ok: false }", "reply to request 8: refused" },
	{ "planned { profile: 'xv2' admitted: true vcpus { } vcpus { } nodes { } devices { } machine_sha256: '0123456789abcdef' }",
	  "planned profile xv2, 2 vCPUs on 1 nodes, 1 devices, machine 0123456789ab" },
	{ "planned { profile: 'xv2' admitted: false unmet { name: 'ept' asked: 'a' found: 'b' } }",
	  "planned profile xv2, refused\n             ept: asked a, found b" },
	{ "terminal { outcome: OUTCOME_HALTED exit_status: 0 message: 'm' }",
	  "end HALTED, status 0: m" },
	{ "terminal { outcome: OUTCOME_LAUNCH_FAILED exit_status: 65 message: 'm' errors { code: ERROR_CODE_SPEC_INVALID field: 'f' "
	  "message: 'e' } errors { code: ERROR_CODE_INTERNAL message: 'i' } }",
	  "end LAUNCH_FAILED, status 65: m\n             SPEC_INVALID f: e\n             INTERNAL: i" },
	/* The error that the sentence quotes is in the list, and once in the line. */
	{ "terminal { outcome: OUTCOME_LAUNCH_FAILED exit_status: 65 message: 'launch failed: e (and 1 more)' errors { code: ERROR_CODE_SPEC_INVALID "
	  "field: 'f' message: 'e' } errors { code: ERROR_CODE_INTERNAL message: 'i' } }",
	  "end LAUNCH_FAILED, status 65: launch failed\n             SPEC_INVALID f: e\n             INTERNAL: i" },
	{ "terminal { outcome: OUTCOME_RUNTIME_FAILED exit_status: 70 message: 'eee' errors { code: ERROR_CODE_INTERNAL message: 'e' } }",
	  "end RUNTIME_FAILED, status 70: eee\n             INTERNAL: e" },
	{ "terminal { outcome: OUTCOME_GUEST_RESET exit_status: 32 errors { code: ERROR_CODE_INTERNAL field: '' } }",
	  "end GUEST_RESET, status 32: \n             INTERNAL: " },
};

static void print_event(const char *text, uint64_t start_ns, char *to, size_t size)
{
	ProtobufCMessage *message = NULL;
	FILE *out = fmemopen(to, size, "w");

	cr_assert_eq(parse(text, &axvm__v1__event__descriptor, &message), 0, "%s", text);
	event_print(out, (const Axvm__V1__Event *)message, start_ns);
	fclose(out);
	protobuf_c_message_free_unpacked(message, NULL);
}

Test(launch_text, each_event_as_its_line)
{
	size_t kinds = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char event[512], got[512], wanted[512];

		snprintf(event, sizeof(event), "monotonic_ns: 3000001999 %s", lines[i].event);
		print_event(event, 1000000000, got, sizeof(got));
		snprintf(wanted, sizeof(wanted), "    2.000001 %s\n", lines[i].line);
		cr_assert_str_eq(got, wanted, "%s", lines[i].event);
		/* Grouped by kind above: count the groups. */
		kinds += i == 0 || strncmp(lines[i].event, lines[i - 1].event,
		                           strcspn(lines[i].event, " ")) != 0;
	}
	cr_assert_eq(kinds, axvm__v1__event__descriptor.n_fields - 6, "each kind of the schema");
}

/* What was dropped is told first; an event before the first is at 0; what is not known is said to
 * be so. */
Test(launch_text, events_that_are_out_of_the_ordinary)
{
	char got[512];

	print_event("monotonic_ns: 5 dropped: 42 guest_panicked {}", 5, got, sizeof(got));
	cr_assert_str_eq(
		got,
		"             42 events before this one were lost\n    0.000000 guest panic \n");
	print_event("monotonic_ns: 5 guest_panicked {}", 6, got, sizeof(got));
	cr_assert_str_eq(got, "    0.000000 guest panic \n");
	print_event("monotonic_ns: 12345678901 guest_panicked {}", 1, got, sizeof(got));
	cr_assert_str_eq(got, "   12.345678 guest panic \n");
	print_event("monotonic_ns: 5", 5, got, sizeof(got));
	cr_assert_str_eq(got, "    0.000000 an event of a later version\n");
}

Test(launch_text, units_at_their_limits)
{
	static const struct {
		uint64_t value;
		const char *time, *size;
	} units[] = {
		{ 0, "0 ns", "0 B" },
		{ 999, "999 ns", "999 B" },
		{ 1000, "1.0 us", "1000 B" },
		{ 1024, "1.0 us", "1.0 KiB" },
		{ 99900, "99.9 us", "98 KiB" },
		{ 100000, "100 us", "98 KiB" },
		{ 1000000, "1.0 ms", "977 KiB" },
		{ 1048576, "1.0 ms", "1.0 MiB" },
		{ 1000000000, "1.0 s", "954 MiB" },
		{ 1ULL << 40, "1100 s", "1.0 TiB" },
		{ 1ULL << 50, "1125900 s", "1024 TiB" },
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		cr_assert_str_eq(format_ns(units[i].value, text, sizeof(text)), units[i].time);
		cr_assert_str_eq(format_bytes(units[i].value, text, sizeof(text)), units[i].size);
	}
}

/* ---- the picture of a launch ----------------------------------------------------------------- */

static char *picture_of(const char *stream, int *ret_status)
{
	char path[] = "/tmp/axvm-timeline-XXXXXX", verb[] = "timeline", program[] = "axvm";
	char *argv[] = { program, verb, path, NULL }, *text = NULL;
	static uint8_t bytes[65536];
	size_t n = protoc_encode("EventStream", stream, bytes, sizeof(bytes)), size;
	int fd = mkostemp(path, O_CLOEXEC);
	FILE *out = open_memstream(&text, &size);

	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	*ret_status = verb_main(3, argv, out);
	fclose(out);
	close(fd);
	unlink(path);
	return text;
}

#define STAGE(at, name, took)                                                                      \
	"events { monotonic_ns: " at " stage_completed { stage: " name " duration_ns: " took " } } "

/* Every text of the stream is escaped; a bar begins where its stage began; the guest's time is left
 * out. */
Test(launch_text, the_picture_of_a_launch)
{
	int status;
	char *svg = picture_of(
		"events { vm_id: 'a<b&c\"d\\001e' monotonic_ns: 1000000 host_refused {} } " STAGE(
			"2000000", "STAGE_LEARN", "1000000")
			STAGE("4000000", "STAGE_ADMIT",
	                      "1000000") "events { monotonic_ns: 5000000 running { threads { name: 'io<0>' started_ns: 4000000 "
					 "staffed_ns: 4500000 sealing_ns: 4600000 host_cpu: 3 host_node: 1 } "
					 "threads { name: 'free' started_ns: 4000000 host_node: 6 } "
					 "threads { name: 'lost' started_ns: 4000000 } threads { name: 'never' } } } " STAGE(
						 "9000000000", "STAGE_RUN",
						 "8000000000") "events { monotonic_ns: 9000000001 guest_panicked {} } ",
		&status);

	cr_assert_eq(status, 0);
	cr_assert_not_null(strstr(svg, "Launch of a&lt;b&amp;c&quot;d e: 4.0 ms"), "%s", svg);
	cr_assert_not_null(strstr(svg, ">io&lt;0></text>"), "%s", svg);
	cr_assert_not_null(strstr(svg, ">CPU 3, node 1<"));
	cr_assert_not_null(strstr(svg, ">not pinned, node 6<"), "%s", svg);
	cr_assert_not_null(strstr(svg, ">not pinned<"), "%s", svg);
	cr_assert_null(strstr(svg, "CPU 0"));
	cr_assert_not_null(strstr(svg, ">LEARN<"));
	cr_assert_null(strstr(svg, "never"), "a thread that never started");
	cr_assert_null(strstr(svg, ">RUN<"));
	cr_assert_null(strstr(svg, "guest panic"), "what comes after the launch");
	/* LEFT + 620 px of 4 ms: LEARN from 0 to 1 ms, ADMIT from 2 to 3 ms, the thread from 3 to
	 * 3.5 ms. */
	cr_assert_not_null(strstr(svg, "class=\"b\" x=\"150.0\" y=\"89\" width=\"155.0\""), "%s",
	                   svg);
	cr_assert_not_null(strstr(svg, "class=\"b\" x=\"460.0\" y=\"111\" width=\"155.0\""), "%s",
	                   svg);
	cr_assert_not_null(strstr(svg, "class=\"p\" x=\"615.0\" y=\"155\" width=\"77.5\""), "%s",
	                   svg);
	/* It takes its filter at 3.6 ms, behind the end of its bar. */
	cr_assert_not_null(strstr(svg, "d=\"M708.0 156 l5 6"), "%s", svg);
	free(svg);
	svg = picture_of("", &status);
	cr_assert_eq(status, 65, "no stage, no picture");
	free(svg);
}

/* As many rows as there is room for; those after them are left out. */
Test(launch_text, a_picture_has_its_bounds)
{
	static char stream[128 * 1024];
	size_t at = 0, rows = 0;
	char *svg;
	int status;

	for (int i = 0; i < 400; i++)
		at += (size_t)snprintf(stream + at, sizeof(stream) - at,
		                       "events { monotonic_ns: %d guest_panicked {} } ", 1000 + i);
	svg = picture_of(stream, &status);
	cr_assert_eq(status, 0);
	for (const char *row = svg; (row = strstr(row, "<path class=\"m\"")); row++)
		rows++;
	cr_assert_eq(rows, 320);
	free(svg);
}

/* ---- policies -------------------------------------------------------------------------------- */

/* A digest a role, and last that of all; the other views have no such line. */
Test(launch_text, the_digest_of_all_policies_is_of_the_digests)
{
	static const char *const views[] = { "digest", "bpf", "table", "ring" };

	for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
		char view[16], *argv[] = { (char[]){ "axvm" }, (char[]){ "policy" }, view, NULL },
			       *text = NULL;
		size_t size, ends = 0;
		FILE *out = open_memstream(&text, &size);

		strcpy(view, views[i]);
		cr_assert_eq(verb_main(3, argv, out), 0);
		fclose(out);
		for (const char *c = text; *c; c++)
			ends += *c == '\n';
		cr_assert_eq(strstr(text, "  all\n") != NULL, i == 0, "%s", view);
		cr_assert(i > 0 || (ends == 4 &&
		                    size == 4 * 64 + strlen("  control\n  vcpu\n  io\n  all\n")),
		          "%s", text);
		free(text);
	}
}
