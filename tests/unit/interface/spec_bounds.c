/* SPDX-License-Identifier: MIT */
/* Every number of a launch that has bounds: both ends are taken, what lies beside them is refused
 * by its field. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "interface/spec.h"
#include "tests/unit/rig/protoc.h"

static struct vm_spec spec;

#define HEAD "vm_id: 'vm' profile: 'dev' "
#define MEMORY "memory { nodes { size_mib: 64 } } "
#define BOOT "boot { flat_boot { image { path: 'i' } local_apic: true } } "
#define REST HEAD "cpus { count: 1 } " MEMORY BOOT

/* `%` PRIu64 in `text` is the number; lists end with 0 where a value is missing, so 0 itself has
 * flags. */
static const struct {
	const char *field, *text;
	uint64_t taken[4], refused[6];
	bool zero_taken, zero_refused;
} bounds[] = {
	{ "cpus.count",
	  HEAD MEMORY BOOT "cpus { count: %" PRIu64 " }",
	  { 1, 2, 255 },
	  { 256, UINT32_MAX },
	  .zero_refused = true },
	{ "cpus.pins[0]",
	  HEAD MEMORY BOOT "cpus { count: 1 pins: %" PRIu64 " }",
	  { 1, 8191 },
	  { 8192 },
	  .zero_taken = true },
	{ "cpus.fifo_priority",
	  HEAD MEMORY BOOT "cpus { count: 1 pins: 0 fifo_priority: %" PRIu64 " }",
	  { 1, 99 },
	  { 100 },
	  .zero_taken = true },
	{ "memory.nodes[0].size_mib",
	  HEAD "cpus { count: 1 } " BOOT "memory { nodes { size_mib: %" PRIu64 " } }",
	  { 2, 3, 1ULL << 26 },
	  { (1ULL << 26) + 1, UINT64_MAX },
	  .zero_refused = true },
	{ "memory.nodes[0].host_node",
	  HEAD "cpus { count: 1 } " BOOT "memory { nodes { size_mib: 64 host_node: %" PRIu64 " } }",
	  { 1, 1023 },
	  { 1024, UINT32_MAX },
	  .zero_taken = true },
	{ "boot.flat_boot.load_address",
	  HEAD "cpus { count: 1 } memory { nodes { size_mib: 4096 } } "
	       "boot { flat_boot { image { path: 'i' } load_address: %" PRIu64 " } }",
	  { MIB, MIB + 4096, 3 * GIB - 4096 },
	  { MIB - 4096, MIB + 1, MIB + 512, 3 * GIB, UINT64_MAX },
	  .zero_refused = true },
	{ "disks[0].queues",
	  REST "disks { id: 'a' image { fd: 5 } queues: %" PRIu64 " }",
	  { 1, SPEC_QUEUES_MAX },
	  { SPEC_QUEUES_MAX + 1 },
	  .zero_refused = true },
	{ "disks[0].queue_size",
	  REST "disks { id: 'a' image { fd: 5 } queue_size: %" PRIu64 " }",
	  { 4, 8, 1024 },
	  { 2, 3, 5, 1023, 1025, 2048 },
	  .zero_refused = true },
	{ "disks[0].block_size",
	  REST "disks { id: 'a' image { fd: 5 } block_size: %" PRIu64 " }",
	  { 512, 1024, 4096 },
	  { 1, 256, 511, 513, 8192 },
	  .zero_taken = true },
	{ "disks[0].max_size",
	  REST "disks { id: 'a' image { fd: 5 } max_size: %" PRIu64 " }",
	  { 512, 1024, INT64_MAX - 511 },
	  { 1, 511, 513, 1ULL << 63, UINT64_MAX },
	  .zero_taken = true },
	{ "nets[0].queue_pairs",
	  REST "nets { id: 'a' tap_name: 't' queue_pairs: %" PRIu64 " }",
	  { 1, SPEC_PAIRS_MAX },
	  { SPEC_PAIRS_MAX + 1 },
	  .zero_refused = true },
	{ "nets[0].queue_size",
	  REST "nets { id: 'a' tap_name: 't' queue_size: %" PRIu64 " }",
	  { 2, 4, 1024 },
	  { 1, 3, 1025, 2048 },
	  .zero_refused = true },
	{ "nets[0].mtu",
	  REST "nets { id: 'a' tap_name: 't' mtu: %" PRIu64 " }",
	  { 68, 1500, 65535 },
	  { 67, 65536 },
	  .zero_refused = true },
	{ "console.columns",
	  REST "console { columns: %" PRIu64 " rows: 1 }",
	  { 1, 65535 },
	  { 65536 },
	  .zero_refused = true },
	{ "console.rows",
	  REST "console { rows: %" PRIu64 " columns: 1 }",
	  { 1, 65535 },
	  { 65536 },
	  .zero_refused = true },
	{ "balloon.stats_interval_s",
	  REST "balloon { stats_interval_s: %" PRIu64 " }",
	  { 1, 86400 },
	  { 86401 },
	  .zero_taken = true },
	{ "vsock.cid",
	  REST "vsock { channel { fd: 5 } cid: %" PRIu64 " }",
	  { 3, UINT32_MAX - 1 },
	  { 1, 2, UINT32_MAX },
	  .zero_refused = true },
	{ "lifecycle.shutdown_timeout_ms",
	  REST "lifecycle { shutdown_timeout_ms: %" PRIu64 " }",
	  { 1, 86400000 },
	  { 86400001 },
	  .zero_taken = true },
	{ "sandbox.uid",
	  REST "sandbox { uid: %" PRIu64 " }",
	  { 1, UINT32_MAX - 1 },
	  { UINT32_MAX },
	  .zero_refused = true },
	{ "sandbox.gid",
	  REST "sandbox { gid: %" PRIu64 " }",
	  { 1, UINT32_MAX - 1 },
	  { UINT32_MAX },
	  .zero_refused = true },
	{ "metrics.interval_ms",
	  REST "metrics { interval_ms: %" PRIu64 " }",
	  { 100, 86400000 },
	  { 1, 99, 86400001 },
	  .zero_taken = true },
	{ "io.threads_per_node",
	  REST "io { threads_per_node: %" PRIu64 " }",
	  { 1, 16 },
	  { 17 },
	  .zero_refused = true },
	{ "io.busy_poll_us",
	  REST "io { busy_poll_us: %" PRIu64 " }",
	  { 1, 1000000 },
	  { 1000001 },
	  .zero_taken = true },
};

static int parse_with(const char *text, uint64_t number, struct problems *problems)
{
	static char line[1024];
	static uint8_t bytes[4096];

	*problems = (struct problems){ 0 };
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(line, sizeof(line), text, number);
#pragma GCC diagnostic pop
	return spec_parse(bytes, protoc_encode("LaunchSpec", line, bytes, sizeof(bytes)), &spec,
	                  problems);
}

static void taken(size_t i, uint64_t number)
{
	struct problems problems;

	cr_assert_eq(parse_with(bounds[i].text, number, &problems), 0, "%s %" PRIu64 ": %s",
	             bounds[i].field, number, problems.list[0].message);
}

static void refused(size_t i, uint64_t number)
{
	struct problems problems;
	bool named = false;

	cr_assert_eq(parse_with(bounds[i].text, number, &problems), -EINVAL, "%s %" PRIu64,
	             bounds[i].field, number);
	for (size_t k = 0; k < problems.count; k++) {
		cr_assert_eq(problems.list[k].code, ERROR_CODE_SPEC_INVALID);
		named |= strcmp(problems.list[k].field, bounds[i].field) == 0;
	}
	cr_assert(named, "%s %" PRIu64 ": %s", bounds[i].field, number, problems.list[0].message);
}

Test(spec, both_ends_of_every_range, .timeout = 300)
{
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(bounds[i].taken) && bounds[i].taken[k]; k++)
			taken(i, bounds[i].taken[k]);
		if (bounds[i].zero_taken)
			taken(i, 0);
	}
}

Test(spec, what_lies_beside_every_range, .timeout = 300)
{
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(bounds[i].refused) && bounds[i].refused[k]; k++)
			refused(i, bounds[i].refused[k]);
		if (bounds[i].zero_refused)
			refused(i, 0);
	}
}
