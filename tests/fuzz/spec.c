/* SPDX-License-Identifier: MIT */
/* The validator of launches: any bytes. What it takes is within its bounds. */
#include "lib/input.h"

#include <criterion/criterion.h>

#include "guest/memory.h"
#include "interface/spec.h"
#include "interface/spec_check.h"

static struct vm_spec spec;

static void check_spec(void)
{
	cr_assert(spec_is_id(spec.vm_id));
	cr_assert(spec.cpus.count >= 1 && spec.cpus.count <= SPEC_CPUS_MAX);
	cr_assert(spec.cpus.pins_count == 0 || spec.cpus.pins_count == spec.cpus.count);
	cr_assert(spec.memory.count >= 1 && spec.memory.count <= GUEST_NODES_MAX);
	cr_assert_leq(spec.disks_count, SPEC_DISKS_MAX);
	cr_assert_leq(spec.nets_count, SPEC_NETS_MAX);
	cr_assert_leq(spec.strings_used, sizeof(spec.strings));
	cr_assert_not_null(spec.boot.cmdline);
	cr_assert_leq(strlen(spec.boot.cmdline), SPEC_CMDLINE_MAX);
	for (size_t i = 0; i < spec.disks_count; i++) {
		cr_assert(spec_is_id(spec.disks[i].id));
		cr_assert_leq(spec.disks[i].queues, SPEC_QUEUES_MAX);
		cr_assert_leq(spec.disks[i].queue_size, SPEC_QUEUE_SIZE_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct problems problems = { 0 };
	int r;

	memset(&spec, 0, offsetof(struct vm_spec, strings));
	r = spec_parse(data, size, &spec, &problems);
	cr_assert_eq(r == 0, problems.count == 0);
	if (r == 0)
		check_spec();
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}
