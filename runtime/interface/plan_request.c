/* SPDX-License-Identifier: MIT */
/* From an encoded PlanRequest to a spec and the host that it is planned for.
 *
 * The launch in it is refused with the same sentences as a real launch. Other problems are
 * reported only when the launch is valid. */
#include "interface/plan_request.h"

#include <errno.h>
#include <string.h>

#include "interface/stream.h"
#include "interface/wire.h"
#include "proto/axvm.pb-c.h"

enum { FIELD_LAUNCH = 1, FIELD_FACTS, FIELD_CLAIMS, FIELDS };

/* Finds where each field is. Later code checks the contents, and that no field is there twice. */
static void find_fields(const uint8_t *bytes, size_t n, struct wire_field fields[FIELDS])
{
	struct wire_cursor cursor = { bytes, bytes + n };
	struct wire_field field;

	while (wire_next(&cursor, &field) > 0)
		if (field.number < FIELDS && field.type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
			fields[field.number] = field;
}

static int parse_launch(const struct wire_field *launch, struct vm_spec *ret,
                        struct problems *problems)
{
	if (launch->length > STREAM_MESSAGE_MAX)
		return problems_add(problems, ERROR_CODE_SPEC_TOO_LARGE, 0, "launch",
		                    "plan.launch has %zu bytes; at most %llu are taken",
		                    launch->length, STREAM_MESSAGE_MAX);
	return spec_parse(launch->bytes, launch->length, ret, problems);
}

static int take_claims(const struct wire_field *claims, char to[SPEC_PATH_MAX + 1],
                       struct problems *problems)
{
	if (!claims->bytes)
		return 0;
	if (claims->length == 0 || claims->length > SPEC_PATH_MAX)
		return problems_add(problems, ERROR_CODE_SPEC_INVALID, 0, "claims",
		                    "plan.claims has a path of %zu bytes; it must be 1 to %d",
		                    claims->length, SPEC_PATH_MAX);
	memcpy(to, claims->bytes, claims->length);
	to[claims->length] = '\0';
	return 0;
}

int plan_request_parse(const uint8_t *bytes, size_t n, struct vm_spec *ret_spec,
                       struct plan_request *ret, struct problems *problems)
{
	struct wire_field fields[FIELDS] = { 0 };
	int r;

	find_fields(bytes, n, fields);
	r = fields[FIELD_LAUNCH].bytes ? parse_launch(&fields[FIELD_LAUNCH], ret_spec, problems)
	                               : 0;
	if (r == 0)
		r = wire_check(&axvm__v1__plan_request__descriptor, bytes, n, "plan", problems);
	if (r == 0 && !fields[FIELD_LAUNCH].bytes)
		r = problems_add(problems, ERROR_CODE_SPEC_INVALID, 0, "launch",
		                 "plan.launch is missing: give the launch that is to be planned");
	ret->claims[0] = '\0';
	if (r == 0)
		r = take_claims(&fields[FIELD_CLAIMS], ret->claims, problems);
	ret->facts = fields[FIELD_FACTS].bytes;
	ret->facts_size = fields[FIELD_FACTS].length;
	return r;
}
