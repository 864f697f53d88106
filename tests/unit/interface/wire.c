/* SPDX-License-Identifier: MIT */
/* The walk over encoded messages: what unpacking would pass over in silence is found. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "interface/wire.h"
#include "proto/axvm.pb-c.h"
#include "tests/unit/rig/protoc.h"

/* One message within another: the field at which it lies, by number. */
static size_t wrap(uint8_t *bytes, size_t n, uint32_t number)
{
	uint8_t head[2] = { (uint8_t)(number << 3 | 2), (uint8_t)n };

	cr_assert(number < 16 && n < 128);
	memmove(bytes + 2, bytes, n);
	memcpy(bytes, head, 2);
	return n + 2;
}

/* The bytes, nested as the numbers say (innermost first, 0 ends), give this one problem. */
static void finds(const void *inner, size_t n, const uint32_t *nesting, enum axvm_error_code code,
                  const char *field, const char *says)
{
	struct problems problems = { 0 };
	uint8_t bytes[160];

	memcpy(bytes, inner, n);
	for (; *nesting; nesting++)
		n = wrap(bytes, n, *nesting);
	cr_assert_eq(wire_check(&axvm__v1__launch_spec__descriptor, bytes, n, "launch", &problems),
	             -EINVAL, "%s %s", field, says);
	cr_assert_eq(problems.count, 1, "%s / %s", problems.list[0].message,
	             problems.list[1].message);
	cr_assert_eq(problems.list[0].code, code, "%s", problems.list[0].message);
	cr_assert_str_eq(problems.list[0].field, field);
	cr_assert(strstr(problems.list[0].message, says), "%s", problems.list[0].message);
}

#define NESTED(...) ((const uint32_t[]){ __VA_ARGS__ __VA_OPT__(, ) 0 })
#define FINDS(inner, nesting, code, field, says)                                                   \
	finds((inner), sizeof(inner) - 1, (nesting), ERROR_CODE_SPEC_##code, (field), (says))

Test(wire, unknown_fields_at_each_depth)
{
	FINDS("\xc8\x01\x00", NESTED(), UNKNOWN_FIELD, "", "launch: unknown field 25");
	FINDS("\x48\x00", NESTED(5), UNKNOWN_FIELD, "memory", "launch.memory: unknown field 9");
	FINDS("\x48\x00", NESTED(1, 5), UNKNOWN_FIELD, "memory.nodes[0]",
	      "launch.memory.nodes[0]: unknown field 9");
	FINDS("\x0a\x02\x08\x01\x0a\x02\x48\x00", NESTED(5), UNKNOWN_FIELD, "memory.nodes[1]",
	      "launch.memory.nodes[1]: unknown field 9");
	FINDS("\x1a\x01x", NESTED(1, 1, 6), UNKNOWN_FIELD, "boot.linux_boot.kernel",
	      "unknown field 3");
	FINDS("\x7d\x01\x02\x03\x04", NESTED(12), UNKNOWN_FIELD, "vsock", "unknown field 15");
	FINDS("\x79\x01\x02\x03\x04\x05\x06\x07\x08", NESTED(12), UNKNOWN_FIELD, "vsock",
	      "unknown field 15");
}

Test(wire, unknown_enum_values_are_refused)
{
	FINDS("\x18\x03", NESTED(), UNKNOWN_FIELD, "admission", "no Admission of value 3");
	FINDS("\x10\x05", NESTED(5), UNKNOWN_FIELD, "memory.page_size", "no PageSize of value 5");
	FINDS("\x08\x0a", NESTED(4, 4), UNKNOWN_FIELD, "cpus.paravirt.features[0]",
	      "no PvFeature of value 10");
	FINDS("\x0a\x02\x01\x0a", NESTED(4, 4), UNKNOWN_FIELD, "cpus.paravirt.features[0]",
	      "no PvFeature of value 10");
	FINDS("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", NESTED(), UNKNOWN_FIELD, "admission",
	      "value -1");
	/* The zero that every enum has is none of its choices. */
	FINDS("\x18\x00", NESTED(), INVALID, "admission", "ADMISSION_UNSPECIFIED is no choice");
	FINDS("\x0a\x02\x01\x00", NESTED(4, 4), INVALID, "cpus.paravirt.features[0]",
	      "PV_FEATURE_UNSPECIFIED is no choice");
}

Test(wire, duplicate_fields_are_refused)
{
	FINDS("\x0a\x01x\x0a\x01y", NESTED(), DUPLICATE, "vm_id",
	      "launch.vm_id is there twice; remove one of the two");
	FINDS("\x22\x02\x08\x01\x22\x02\x08\x02", NESTED(), DUPLICATE, "cpus", "twice");
	FINDS("\x08\x01\x08\x01", NESTED(1, 5), DUPLICATE, "memory.nodes[0].size_mib", "twice");
	FINDS("\x08\x05\x12\x01x", NESTED(1, 1, 6), DUPLICATE, "boot.linux_boot.kernel.path",
	      "its alternative fd");
	FINDS("\x0a\x00\x12\x00", NESTED(6), DUPLICATE, "boot.flat_boot", "its alternative linux");
	/* One of several alternatives, twice: it is no alternative of itself. */
	FINDS("\x0a\x00\x0a\x00", NESTED(6), DUPLICATE, "boot.linux_boot", "is there twice");
}

Test(wire, numbers_and_texts_that_do_not_fit_are_refused)
{
	FINDS("\x08\x80\x80\x80\x80\x10", NESTED(4), INVALID, "cpus.count",
	      "is 4294967296, which does not fit");
	FINDS("\x12\x06\x01\x80\x80\x80\x80\x10", NESTED(4), INVALID, "cpus.pins[0]", "not fit");
	FINDS("\x18\x80\x80\x80\x80\x10", NESTED(), INVALID, "admission", "does not fit");
	FINDS("\x0a\x02"
	      "a\0",
	      NESTED(), INVALID, "vm_id", "a NUL at byte 1");
	FINDS("\x0a\x02"
	      "a\xff",
	      NESTED(), INVALID, "vm_id", "not UTF-8 at byte 1");
	FINDS("\x0a\x02\xc0\x80", NESTED(), INVALID, "vm_id", "not UTF-8");
	FINDS("\x0a\x02\xc3\xc3", NESTED(), INVALID, "vm_id", "not UTF-8 at byte 0");
	FINDS("\x0a\x02\xc3\x29", NESTED(), INVALID, "vm_id", "not UTF-8 at byte 0");
	FINDS("\x0a\x03\xe2\x82\xe2", NESTED(), INVALID, "vm_id", "not UTF-8 at byte 0");
	FINDS("\x0a\x02"
	      "a\xc3",
	      NESTED(), INVALID, "vm_id", "not UTF-8 at byte 1");
	FINDS("\x0a\x03\xed\xa0\x80", NESTED(), INVALID, "vm_id", "not UTF-8");
	FINDS("\x0a\x03\xe0\x80\x80", NESTED(), INVALID, "vm_id", "not UTF-8");
	FINDS("\x0a\x04\xf4\x90\x80\x80", NESTED(), INVALID, "vm_id", "not UTF-8");
	FINDS("\x0a\x04\xf0\x80\x80\x80", NESTED(), INVALID, "vm_id", "not UTF-8");
	FINDS("\x0a\x05\xf8\x90\x80\x80\x80", NESTED(), INVALID, "vm_id", "not UTF-8");
}

Test(wire, malformed_messages_are_refused)
{
	FINDS("\x08\x01", NESTED(), MALFORMED, "vm_id", "has wire type 0, the schema says 2");
	FINDS("\x0d\x01\x02\x03\x04", NESTED(4), MALFORMED, "cpus.count", "wire type 5");
	FINDS("\x0a\x05"
	      "ab",
	      NESTED(), MALFORMED, "", "byte 0 of the message");
	FINDS("\x18\x01\x0b", NESTED(), MALFORMED, "", "byte 2 of the message");
	FINDS("\x02\x00", NESTED(), MALFORMED, "", "byte 0");
	FINDS("\x08", NESTED(4), MALFORMED, "cpus", "byte 2 of the message");
	FINDS("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", NESTED(4), MALFORMED, "cpus",
	      "byte 2");
	FINDS("\x12\x02\x01\x80", NESTED(4), MALFORMED, "cpus.pins[0]", "not a varint");
	FINDS("\x09\x01", NESTED(4), MALFORMED, "cpus", "byte 2");
}

Test(wire, what_is_well_formed_passes)
{
	static const char *const texts[] = {
		"",
		"vm_id: 'h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80'",
		"cpus { count: 4294967295 pins: [1, 2, 4294967295] }",
		"memory { nodes { size_mib: 18446744073709551615 } nodes {} }",
		"boot { flat_boot { image { path: 'x' } load_address: 18446744073709551615 } }",
	};
	uint8_t bytes[256];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct problems problems = { 0 };
		size_t n = protoc_encode("LaunchSpec", texts[i], bytes, sizeof(bytes));

		cr_assert_eq(wire_check(&axvm__v1__launch_spec__descriptor, bytes, n, "launch",
		                        &problems),
		             0, "%s", problems.list[0].message);
		cr_assert_eq(problems.count, 0);
	}
}

Test(wire, mended_strings_are_utf8)
{
	uint8_t bytes[] = "\x0a\x06"
			  "a\xff\xc3\xa9\xc3"
			  "b"
			  "\x3a\x04\x0a\x02\xf0\x9f";

	wire_mend_strings(&axvm__v1__launch_spec__descriptor, bytes, sizeof(bytes) - 1);
	cr_assert_eq(memcmp(bytes,
	                    "\x0a\x06"
	                    "a?\xc3\xa9?b"
	                    "\x3a\x04\x0a\x02??",
	                    sizeof(bytes)),
	             0);
}

static unsigned depth_of(const ProtobufCMessageDescriptor *type)
{
	unsigned deepest = 0;

	cr_assert(type->n_fields <= WIRE_FIELDS_MAX, "%s", type->name);
	for (unsigned i = 0; i < type->n_fields; i++)
		if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			deepest = MAX(deepest, depth_of(type->fields[i].descriptor));
	return deepest + 1;
}

Test(wire, the_schema_is_within_the_bounds)
{
	cr_assert(depth_of(&axvm__v1__launch_spec__descriptor) <= WIRE_DEPTH_MAX);
	cr_assert(depth_of(&axvm__v1__command__descriptor) <= WIRE_DEPTH_MAX);
	cr_assert(depth_of(&axvm__v1__event__descriptor) <= WIRE_DEPTH_MAX);
}
