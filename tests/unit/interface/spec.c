/* SPDX-License-Identifier: MIT */
/* The launch: every field arrives, every rule refuses, nothing is passed over in silence. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/layout.h"
#include "interface/reflect.h"
#include "interface/spec.h"
#include "interface/spec_check.h"
#include "interface/wire.h"
#include "proto/axvm.pb-c.h"
#include "tests/unit/rig/protoc.h"

static struct vm_spec spec;

#define ID "vm_id: 'vm' profile: 'dev' "
#define CPUS "cpus { count: 2 } "
#define MEMORY "memory { nodes { size_mib: 64 } } "
#define BOOT "boot { flat_boot { image { path: 'i' } local_apic: true } } "
#define REST CPUS MEMORY BOOT
#define DISK(id, fd) "disks { id: '" id "' image { fd: " fd " } "
#define NET(id) "nets { id: '" id "' tap_name: 'tap0' "

/* Every field of the schema, none of them at its default. */
#define FULL                                                                                                                  \
	"vm_id: 'web-17' profile: 'dev' admission: ADMISSION_REPORT "                                                         \
	"cpus { count: 2 pins: [4, 5] tenancy: TENANCY_DEDICATED paravirt { features: [PV_FEATURE_KVMCLOCK, PV_FEATURE_EOI] " \
	"} "                                                                                                                  \
	"  fifo_priority: 7 core_scheduling: true nodes: [1, 0] overcommit: false claims { path: 'c' } } "                    \
	"memory { nodes { size_mib: 64 host_node: 1 } nodes { size_mib: 128 host_node: 0 } "                                  \
	"  page_size: PAGE_SIZE_2M populate: true lock: true remote_pages_allowed: 9 } "                                      \
	"boot { linux_boot { kernel { path: 'vmlinuz' } initrd { fd: 5 } cmdline: 'quiet \xc3\xa9' } measure: true "          \
	"} "                                                                                                                  \
	"disks { id: 'root' image { fd: 6 } read_only: true serial: 'S1' direct: true queues: 3 "                             \
	"  queue_size: 128 cache: CACHE_MODE_WRITE_THROUGH limit { bytes_per_s: 1 bytes_burst: 2 "                            \
	"  ops_per_s: 3 ops_burst: 4 } block_size: 4096 max_size: 8192 discard: false } "                                     \
	"nets { id: 'eth0' tap { fd: [7, 8] } mac: '02:00:5E:10:00:ff' queue_pairs: 2 "                                       \
	"  queue_size: 512 mtu: 9000 rx_limit { ops_per_s: 5 } tx_limit { ops_per_s: 6 } "                                    \
	"  offloads: false } "                                                                                                \
	"nets { id: 'eth1' tap_name: 'tap1' vhost { path: '/dev/vhost-net' } } "                                              \
	"console { output { fd: 1 } input { fd: 0 } early: true columns: 80 rows: 25 limit { bytes_per_s: 21 "                \
	"  bytes_burst: 22 ops_per_s: 23 ops_burst: 24 } } "                                                                  \
	"rng { limit { bytes_per_s: 10 } } "                                                                                  \
	"balloon { deflate_on_oom: false free_page_reporting: false stats_interval_s: 11 } "                                  \
	"vsock { cid: 12 channel { fd: 13 } } "                                                                               \
	"lifecycle { on_control_eof: ON_CONTROL_EOF_STOP shutdown_timeout_ms: 14 stop_when_launcher_dies: true "              \
	"} "                                                                                                                  \
	"sandbox { uid: 15 gid: 16 cgroup_fds: [17, 18] } metrics { interval_ms: 1000 } "                                     \
	"io { threads_per_node: 2 busy_poll_us: 19 } "

static int parse_text(const char *text, struct problems *problems)
{
	static uint8_t bytes[128 * 1024];
	size_t n = protoc_encode("LaunchSpec", text, bytes, sizeof(bytes));

	return spec_parse(bytes, n, &spec, problems);
}

/* Reports that could give nothing back are refused only where they were asked for. */
Test(spec, a_balloon_over_pages_of_1_gib)
{
	static const char *const taken[] = {
		ID CPUS BOOT
		"memory { nodes { size_mib: 1024 } page_size: PAGE_SIZE_1G } balloon {}",
		ID CPUS BOOT
		"memory { nodes { size_mib: 1024 } page_size: PAGE_SIZE_1G } balloon { free_page_reporting: false }",
		ID CPUS BOOT
		"memory { nodes { size_mib: 1024 } page_size: PAGE_SIZE_2M } balloon { free_page_reporting: true }",
	};

	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		struct problems problems = { 0 };

		cr_assert_eq(parse_text(taken[i], &problems), 0, "%zu: %s", i,
		             problems.list[0].message);
	}
}

/* What the shim keeps open of what it was handed: every fd that a launch can name, each once, and
 * no path. */
Test(spec, all_fds_of_a_launch_are_told)
{
	static const struct {
		const char *text;
		int first, last; /* each in between is named */
	} rows[] = {
		{ ID CPUS MEMORY BOOT, 0, -1 },
		{ ID CPUS MEMORY
		  "boot { flat_boot { image { fd: 10 } local_apic: true } } console { output { fd: 11 } }",
		  10, 11 },
		{ ID MEMORY
		  "boot { linux_boot { kernel { fd: 5 } initrd { fd: 6 } } } "
		  "cpus { count: 2 claims { fd: 7 } } "
		  "disks { id: 'a' image { fd: 8 } } disks { id: 'b' image { fd: 9 } } disks { id: 'c' image { path: 'c' } } "
		  "nets { id: 'd' tap { fd: [10, 11] } queue_pairs: 2 } nets { id: 'e' tap { fd: 12 } vhost { fd: 13 } } "
		  "nets { id: 'f' tap_name: 't' vhost { path: 'v' } } "
		  "console { output { fd: 14 } input { fd: 15 } } vsock { cid: 3 channel { fd: 16 } } "
		  "sandbox { cgroup_fds: [17, 18] }",
		  5, 18 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct problems problems = { 0 };

		cr_assert_eq(parse_text(rows[i].text, &problems), 0, "%zu: %s", i,
		             problems.list[0].message);
		cr_assert_eq(spec.fds_count, (size_t)(rows[i].last - rows[i].first + 1), "row %zu",
		             i);
		for (int fd = rows[i].first; fd <= rows[i].last; fd++) {
			size_t times = 0;

			for (size_t k = 0; k < spec.fds_count; k++)
				times += spec.fds[k] == fd;
			cr_expect_eq(times, 1, "row %zu: fd %d", i, fd);
		}
	}
}

Test(spec, the_least_that_is_taken)
{
	struct problems problems = { 0 };

	cr_assert_eq(parse_text(ID REST, &problems), 0, "%s", problems.list[0].message);
	cr_assert_eq(problems.count, 0);
	cr_assert_str_eq(spec.vm_id, "vm");
	cr_assert_eq(spec.admission, ADMISSION_ENFORCE);
	cr_assert_eq(spec.cpus.count, 2);
	cr_assert_eq(spec.cpus.overcommit, true);
	cr_assert_eq(spec.cpus.has_paravirt, false);
	cr_assert_eq(spec.memory.nodes[0].size, 64 * MIB);
	cr_assert_eq(spec.memory.nodes[0].host_node, -1);
	cr_assert_eq(spec.boot.kind, BOOT_KIND_FLAT_BOOT);
	cr_assert_eq(spec.boot.load_address.v, 0x100000);
	cr_assert_str_eq(spec.boot.cmdline, "");
	cr_assert_eq(spec.console.present, false);
	cr_assert_eq(spec.console.output.kind, RESOURCE_SOURCE_NOT_SET);
	cr_assert(!spec.console.limited);
	cr_assert(spec.console.limit.bytes_per_s == 1048576 &&
	          spec.console.limit.bytes_burst == 8388608);
	cr_assert(spec.console.limit.ops_per_s == 0);
	cr_assert_eq(spec.lifecycle.shutdown_timeout_ms, 30000);
	cr_assert_eq(spec.io.threads_per_node, 1);
	cr_assert_eq(spec.sandbox.has_uid, false);
}

static void check_full_machine(void)
{
	cr_assert_str_eq(spec.vm_id, "web-17");
	cr_assert_str_eq(spec.profile, "dev");
	cr_assert_eq(spec.admission, ADMISSION_REPORT);
	cr_assert(spec.cpus.pins_count == 2 && spec.cpus.pins[0] == 4 && spec.cpus.pins[1] == 5);
	cr_assert_eq(spec.cpus.tenancy, TENANCY_DEDICATED);
	cr_assert_eq(spec.cpus.paravirt, 1u << PV_FEATURE_KVMCLOCK | 1u << PV_FEATURE_EOI);
	cr_assert(spec.cpus.has_paravirt && spec.cpus.fifo_priority == 7);
	cr_assert(spec.cpus.core_scheduling && !spec.cpus.overcommit);
	cr_assert(spec.cpus.claims.kind == RESOURCE_SOURCE_PATH &&
	          strcmp(spec.cpus.claims.path, "c") == 0);
	cr_assert(spec.cpus.nodes_count == 2 && spec.cpus.nodes[0] == 1 && spec.cpus.nodes[1] == 0);
	cr_assert(spec.memory.count == 2 && spec.memory.nodes[1].size == 128 * MIB);
	cr_assert(spec.memory.nodes[0].host_node == 1 && spec.memory.nodes[1].host_node == 0);
	cr_assert(spec.memory.page_size == PAGE_SIZE_2M && spec.memory.populate &&
	          spec.memory.lock);
	cr_assert_eq(spec.memory.remote_pages_allowed, 9);
	cr_assert_eq(spec.boot.kind, BOOT_KIND_LINUX_BOOT);
	cr_assert_eq(spec.boot.kernel.kind, RESOURCE_SOURCE_PATH);
	cr_assert_str_eq(spec.boot.kernel.path, "vmlinuz");
	cr_assert(spec.boot.initrd.kind == RESOURCE_SOURCE_FD && spec.boot.initrd.fd == 5);
	cr_assert(spec.boot.measure);
	cr_assert_str_eq(spec.boot.cmdline, "quiet \xc3\xa9");
	cr_assert_eq(spec.boot.image.kind, RESOURCE_SOURCE_NOT_SET);
}

static void check_full_devices(void)
{
	static const uint8_t mac[6] = { 2, 0, 0x5e, 0x10, 0, 0xff };
	const struct spec_disk *disk = &spec.disks[0];
	const struct spec_net *net = &spec.nets[0];

	cr_assert_eq(spec.disks_count, 1);
	cr_assert_str_eq(disk->id, "root");
	cr_assert_str_eq(disk->serial, "S1");
	cr_assert(disk->image.kind == RESOURCE_SOURCE_FD && disk->image.fd == 6);
	cr_assert(disk->read_only && disk->direct && disk->queues == 3 && disk->queue_size == 128);
	cr_assert(disk->cache == CACHE_MODE_WRITE_THROUGH && disk->block_size == 4096 &&
	          disk->max_size == 8192 && !disk->discard);
	cr_assert(disk->limit.bytes_per_s == 1 && disk->limit.bytes_burst == 2);
	cr_assert(disk->limit.ops_per_s == 3 && disk->limit.ops_burst == 4);
	cr_assert_eq(spec.nets_count, 2);
	cr_assert(net->tap_fds_count == 2 && net->tap_fds[0] == 7 && net->tap_fds[1] == 8);
	cr_assert(net->has_mac && !memcmp(net->mac, mac, 6) && net->queue_pairs == 2);
	cr_assert(net->queue_size == 512 && net->mtu == 9000 && !net->offloads);
	cr_assert(net->rx_limit.ops_per_s == 5 && net->tx_limit.ops_per_s == 6);
	cr_assert_eq(net->vhost.kind, RESOURCE_SOURCE_NOT_SET);
	cr_assert_str_eq(spec.nets[1].vhost.path, "/dev/vhost-net");
	cr_assert_str_eq(spec.nets[1].tap_name, "tap1");
	cr_assert(!spec.nets[1].has_mac && spec.nets[1].offloads);
	cr_assert(spec.console.present && spec.console.early && spec.console.output.fd == 1);
	cr_assert(spec.console.input.kind == RESOURCE_SOURCE_FD && spec.console.input.fd == 0);
	cr_assert(spec.console.columns == 80 && spec.console.rows == 25);
	cr_assert(spec.console.limited && spec.console.limit.bytes_per_s == 21 &&
	          spec.console.limit.bytes_burst == 22);
	cr_assert(spec.console.limit.ops_per_s == 23 && spec.console.limit.ops_burst == 24);
	cr_assert(spec.rng.present && spec.rng.limit.bytes_per_s == 10);
	cr_assert(spec.balloon.present && !spec.balloon.deflate_on_oom);
	cr_assert(!spec.balloon.free_page_reporting && spec.balloon.stats_interval_s == 11);
	cr_assert(spec.vsock.present && spec.vsock.cid == 12 && spec.vsock.channel.fd == 13);
}

Test(spec, every_field_arrives_in_the_vm_spec)
{
	struct problems problems = { 0 };

	cr_assert_eq(parse_text(FULL, &problems), 0, "%s: %s", problems.list[0].field,
	             problems.list[0].message);
	check_full_machine();
	check_full_devices();
	cr_assert_eq(spec.lifecycle.on_control_eof, ON_CONTROL_EOF_STOP);
	cr_assert(spec.lifecycle.shutdown_timeout_ms == 14 &&
	          spec.lifecycle.stop_when_launcher_dies);
	cr_assert(spec.sandbox.has_uid && spec.sandbox.uid == 15);
	cr_assert(spec.sandbox.has_gid && spec.sandbox.gid == 16);
	cr_assert(spec.sandbox.cgroups_count == 2 && spec.sandbox.cgroup_fds[1] == 18);
	cr_assert_eq(spec.metrics_interval_ms, 1000);
	cr_assert(spec.io.threads_per_node == 2 && spec.io.busy_poll_us == 19);
}

static void differs(const struct place *place, void *context)
{
	bool *any = context;

	*any |= place_differs(place);
}

/* Every path of the schema is set in FULL, so that a field added to the schema is not forgotten
 * here. */
static void all_set(const ProtobufCMessage *message, const ProtobufCMessageDescriptor *type,
                    const char *prefix)
{
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		char path[PROBLEM_FIELD_MAX];
		bool any = false;

		snprintf(path, sizeof(path), "%s%s%s", prefix, *prefix ? "." : "", field->name);
		/* Of the two ways to boot, one; limits are one type, all set for the disk. */
		if (!strcmp(path, "boot.flat_boot") || strstr(path, "_limit.") ||
		    strstr(path, "rng.limit."))
			continue;
		/* Resource: an fd here, a path there. */
		if (!strcmp(type->name, "axvm.v1.Resource"))
			continue;
		cr_assert(reflect_each(message, path, differs, &any), "%s", path);
		cr_assert(any, "%s is not set", path);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			all_set(message, field->descriptor, path);
	}
}

Test(spec, the_full_launch_of_these_tests_sets_every_field)
{
	static uint8_t bytes[4096];
	size_t n = protoc_encode("LaunchSpec", FULL, bytes, sizeof(bytes));
	Axvm__V1__LaunchSpec *launch = axvm__v1__launch_spec__unpack(NULL, n, bytes);

	cr_assert(launch);
	all_set(&launch->base, launch->base.descriptor, "");
	axvm__v1__launch_spec__free_unpacked(launch, NULL);
}

Test(spec, defaults_may_be_spelled_out)
{
	struct problems problems = { 0 };
	static const char text[] = "vm_id: 'vm' profile: 'xv2' admission: ADMISSION_ENFORCE "
				   "cpus { count: 2 tenancy: TENANCY_SHARED fifo_priority: 0 "
				   "  core_scheduling: false overcommit: true } "
				   "sandbox {} metrics { interval_ms: 0 } "
				   "io { threads_per_node: 1 busy_poll_us: 0 } " MEMORY BOOT;

	cr_assert_eq(parse_text(text, &problems), 0, "%s", problems.list[0].message);
}

/* One broken rule each, and the one problem it must give. */
static const struct refusal {
	const char *text;
	enum axvm_error_code code;
	const char *field;
} refusals[] = {
	{ REST "profile: 'dev'", ERROR_CODE_SPEC_INVALID, "vm_id" },
	{ REST "vm_id: ''", ERROR_CODE_SPEC_INVALID, "vm_id" },
	{ REST "vm_id: '-a'", ERROR_CODE_SPEC_INVALID, "vm_id" },
	{ REST "vm_id: 'a/b'", ERROR_CODE_SPEC_INVALID, "vm_id" },
	{ REST "vm_id: 'a23456789012345678901234567890123456789012345678901234567890123456'",
	  ERROR_CODE_SPEC_INVALID, "vm_id" },
	{ REST "vm_id: 'a' profile: 'xv3'", ERROR_CODE_SPEC_INVALID, "profile" },
	{ ID MEMORY BOOT, ERROR_CODE_SPEC_INVALID, "cpus" },
	{ ID MEMORY BOOT "cpus {}", ERROR_CODE_SPEC_INVALID, "cpus.count" },
	{ ID MEMORY BOOT "cpus { count: 0 }", ERROR_CODE_SPEC_INVALID, "cpus.count" },
	{ ID MEMORY BOOT "cpus { count: 256 }", ERROR_CODE_SPEC_INVALID, "cpus.count" },
	{ ID MEMORY BOOT "cpus { count: 2 pins: 1 }", ERROR_CODE_SPEC_INVALID, "cpus.pins" },
	{ ID MEMORY BOOT "cpus { count: 1 pins: 8192 }", ERROR_CODE_SPEC_INVALID, "cpus.pins[0]" },
	{ ID MEMORY BOOT "cpus { count: 2 pins: [1, 1] overcommit: false }",
	  ERROR_CODE_SPEC_INVALID, "cpus.pins" },
	{ ID MEMORY BOOT "cpus { count: 2 pins: [1, 1] tenancy: TENANCY_DEDICATED }",
	  ERROR_CODE_SPEC_INVALID, "cpus.pins" },
	{ ID MEMORY BOOT "cpus { count: 1 fifo_priority: 1 }", ERROR_CODE_SPEC_INVALID,
	  "cpus.fifo_priority" },
	{ ID MEMORY BOOT "cpus { count: 1 pins: 0 fifo_priority: 100 }", ERROR_CODE_SPEC_INVALID,
	  "cpus.fifo_priority" },
	{ ID MEMORY BOOT "cpus { count: 2 nodes: 0 }", ERROR_CODE_SPEC_INVALID, "cpus.nodes" },
	{ ID MEMORY BOOT "cpus { count: 1 nodes: 1 }", ERROR_CODE_SPEC_INVALID, "cpus.nodes" },
	{ ID MEMORY BOOT
	  "cpus { count: 1 paravirt { features: [PV_FEATURE_EOI, PV_FEATURE_KVMCLOCK, PV_FEATURE_EOI] } }",
	  ERROR_CODE_SPEC_DUPLICATE, "cpus.paravirt.features" },
	{ ID MEMORY BOOT
	  "cpus { count: 1 paravirt { features: [PV_FEATURE_EOI, PV_FEATURE_EOI] } }",
	  ERROR_CODE_SPEC_DUPLICATE, "cpus.paravirt.features" },
	{ ID CPUS BOOT, ERROR_CODE_SPEC_INVALID, "memory" },
	{ ID CPUS BOOT "memory {}", ERROR_CODE_SPEC_INVALID, "memory.nodes" },
	{ ID CPUS BOOT "memory { nodes {} }", ERROR_CODE_SPEC_INVALID, "memory.nodes[0].size_mib" },
	{ ID CPUS BOOT "memory { nodes { size_mib: 0 } }", ERROR_CODE_SPEC_INVALID,
	  "memory.nodes[0].size_mib" },
	{ ID CPUS BOOT "memory { nodes { size_mib: 67108865 } }", ERROR_CODE_SPEC_INVALID,
	  "memory.nodes[0].size_mib" },
	{ ID CPUS BOOT "memory { nodes { size_mib: 67108864 } nodes { size_mib: 1 } }",
	  ERROR_CODE_SPEC_INVALID, "memory.nodes" },
	{ ID CPUS BOOT "memory { nodes { size_mib: 9 host_node: 1024 } }", ERROR_CODE_SPEC_INVALID,
	  "memory.nodes[0].host_node" },
	{ ID CPUS BOOT
	  "memory { nodes { size_mib: 8 } nodes { size_mib: 9 } page_size: PAGE_SIZE_2M }",
	  ERROR_CODE_SPEC_INVALID, "memory.nodes[1].size_mib" },
	{ ID CPUS BOOT "memory { nodes { size_mib: 2000 } page_size: PAGE_SIZE_1G }",
	  ERROR_CODE_SPEC_INVALID, "memory.nodes[0].size_mib" },
	{ ID CPUS MEMORY, ERROR_CODE_SPEC_INVALID, "boot" },
	{ ID CPUS MEMORY "boot {}", ERROR_CODE_SPEC_INVALID, "boot" },
	{ ID CPUS MEMORY "boot { linux_boot {} }", ERROR_CODE_SPEC_INVALID,
	  "boot.linux_boot.kernel" },
	{ ID CPUS MEMORY "boot { linux_boot { kernel {} } }", ERROR_CODE_SPEC_INVALID,
	  "boot.linux_boot.kernel" },
	{ ID CPUS MEMORY "boot { linux_boot { kernel { path: '' } } }", ERROR_CODE_SPEC_INVALID,
	  "boot.linux_boot.kernel" },
	{ ID CPUS MEMORY "boot { linux_boot { kernel { fd: 4 } } }", ERROR_CODE_SPEC_INVALID,
	  "boot.linux_boot.kernel" },
	{ ID CPUS MEMORY "boot { linux_boot { kernel { fd: 1 } } }", ERROR_CODE_SPEC_INVALID,
	  "boot.linux_boot.kernel" },
	{ ID CPUS MEMORY "boot { linux_boot { kernel { fd: 4294967295 } } }",
	  ERROR_CODE_SPEC_INVALID, "boot.linux_boot.kernel" },
	{ ID CPUS MEMORY "boot { linux_boot { kernel { fd: 5 } initrd { fd: 5 } } }",
	  ERROR_CODE_SPEC_DUPLICATE, "boot.linux_boot.initrd" },
	{ ID CPUS MEMORY "boot { flat_boot {} }", ERROR_CODE_SPEC_INVALID, "boot.flat_boot.image" },
	{ ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } load_address: 0x100001 } }",
	  ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address" },
	{ ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } load_address: 0 } }",
	  ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address" },
	{ ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } load_address: 0x4000000 } }",
	  ERROR_CODE_SPEC_INVALID, "boot.flat_boot.load_address" },
	{ ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } secondaries_wait: true } }",
	  ERROR_CODE_SPEC_INVALID, "boot.flat_boot.secondaries_wait" },
	{ ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } } } rng {}", ERROR_CODE_SPEC_INVALID,
	  "boot.flat_boot.local_apic" },
	{ ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } } } console { output { fd: 6 } }",
	  ERROR_CODE_SPEC_INVALID, "boot.flat_boot.local_apic" },
	{ ID REST "disks { image { fd: 5 } }", ERROR_CODE_SPEC_INVALID, "disks[0].id" },
	{ ID REST "disks { id: 'a' }", ERROR_CODE_SPEC_INVALID, "disks[0].image" },
	{ ID REST DISK("a b", "5") "}", ERROR_CODE_SPEC_INVALID, "disks[0].id" },
	{ ID REST DISK("a", "5") "}" DISK("a", "6") "}", ERROR_CODE_SPEC_DUPLICATE, "disks[1].id" },
	{ ID REST DISK("a", "5") "}" NET("a") "}", ERROR_CODE_SPEC_DUPLICATE, "nets[0].id" },
	{ ID REST DISK("a", "5") "}" DISK("b", "5") "}", ERROR_CODE_SPEC_DUPLICATE,
	  "disks[1].image" },
	{ ID REST DISK("a", "5") "serial: '012345678901234567890' }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].serial" },
	{ ID REST DISK("a", "5") "queues: 0 }", ERROR_CODE_SPEC_INVALID, "disks[0].queues" },
	{ ID REST DISK("a", "5") "queue_size: 0 }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].queue_size" },
	{ ID REST DISK("a", "5") "queue_size: 2 }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].queue_size" },
	{ ID REST DISK("a", "5") "limit { bytes_burst: 1 } }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].limit" },
	{ ID REST "rng { limit { bytes_per_s: 1 ops_burst: 1 } }", ERROR_CODE_SPEC_INVALID,
	  "rng.limit" },
	{ ID REST DISK("a", "5") "queue_size: 100 }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].queue_size" },
	{ ID REST DISK("a", "5") "queue_size: 2048 }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].queue_size" },
	{ ID CPUS BOOT
	  "memory { nodes { size_mib: 1024 } page_size: PAGE_SIZE_1G } balloon { free_page_reporting: true }",
	  ERROR_CODE_SPEC_INVALID, "balloon.free_page_reporting" },
	{ ID REST DISK("a", "5") "block_size: 1000 }", ERROR_CODE_SPEC_INVALID,
	  "disks[0].block_size" },
	{ ID REST "nets { id: 'a' }", ERROR_CODE_SPEC_INVALID, "nets[0]" },
	{ ID REST "nets { id: 'a' tap_name: '0123456789abcdef' }", ERROR_CODE_SPEC_INVALID,
	  "nets[0].tap_name" },
	{ ID REST "nets { id: 'a' tap_name: '../x' }", ERROR_CODE_SPEC_INVALID,
	  "nets[0].tap_name" },
	{ ID REST "nets { id: 'a' tap { fd: 5 } queue_pairs: 2 }", ERROR_CODE_SPEC_INVALID,
	  "nets[0]" },
	{ ID REST "nets { id: 'a' tap { fd: [5, 5] } queue_pairs: 2 }", ERROR_CODE_SPEC_DUPLICATE,
	  "nets[0].tap.fd" },
	{ ID REST NET("a") "mac: '02:00:00:00:00' }", ERROR_CODE_SPEC_INVALID, "nets[0].mac" },
	{ ID REST NET("a") "mac: '02-00-00-00-00-00' }", ERROR_CODE_SPEC_INVALID, "nets[0].mac" },
	{ ID REST NET("a") "mac: '01:00:00:00:00:00' }", ERROR_CODE_SPEC_INVALID, "nets[0].mac" },
	{ ID REST NET("a") "mac: '00:00:00:00:00:00' }", ERROR_CODE_SPEC_INVALID, "nets[0].mac" },
	{ ID REST NET("a") "mac: '0g:00:00:00:00:00' }", ERROR_CODE_SPEC_INVALID, "nets[0].mac" },
	{ ID REST NET("a") "mtu: 67 }", ERROR_CODE_SPEC_INVALID, "nets[0].mtu" },
	{ ID REST NET("a") "vhost { fd: 9 } queue_pairs: 2 }", ERROR_CODE_SPEC_INVALID, "nets[0]" },
	{ ID REST NET("a") "vhost { fd: 9 } rx_limit { ops_per_s: 1 } }", ERROR_CODE_SPEC_INVALID,
	  "nets[0]" },
	{ ID REST NET("a") "queue_size: 3 }", ERROR_CODE_SPEC_INVALID, "nets[0].queue_size" },
	{ ID REST "console { early: true }", ERROR_CODE_SPEC_INVALID, "console.early" },
	{ ID REST "console { limit {} }", ERROR_CODE_SPEC_INVALID, "console.limit" },
	{ ID REST "console { output { fd: 6 } limit { bytes_burst: 1 } }", ERROR_CODE_SPEC_INVALID,
	  "console.limit" },
	{ ID REST "console { columns: 80 }", ERROR_CODE_SPEC_INVALID, "console.columns" },
	{ ID REST "console { output { fd: 3 } }", ERROR_CODE_SPEC_INVALID, "console.output" },
	{ ID REST "console { output { fd: 7 } input { fd: 7 } }", ERROR_CODE_SPEC_DUPLICATE,
	  "console.input" },
	{ ID REST "vsock { channel { fd: 5 } }", ERROR_CODE_SPEC_INVALID, "vsock.cid" },
	{ ID REST "vsock { cid: 2 channel { fd: 5 } }", ERROR_CODE_SPEC_INVALID, "vsock.cid" },
	{ ID REST "vsock { cid: 3 }", ERROR_CODE_SPEC_INVALID, "vsock.channel" },
	{ ID REST "lifecycle { shutdown_timeout_ms: 86400001 }", ERROR_CODE_SPEC_INVALID,
	  "lifecycle.shutdown_timeout_ms" },
	{ ID REST "sandbox { uid: 0 }", ERROR_CODE_SPEC_INVALID, "sandbox.uid" },
	{ ID REST "sandbox { gid: 4294967295 }", ERROR_CODE_SPEC_INVALID, "sandbox.gid" },
	{ ID REST "sandbox { cgroup_fds: 2 }", ERROR_CODE_SPEC_INVALID, "sandbox.cgroup_fds" },
	{ ID REST "metrics { interval_ms: 99 }", ERROR_CODE_SPEC_INVALID, "metrics.interval_ms" },
	{ ID REST "io { threads_per_node: 0 }", ERROR_CODE_SPEC_INVALID, "io.threads_per_node" },
	{ ID CPUS BOOT
	  "memory { nodes { size_mib: 64 } nodes { size_mib: 64 } } io { threads_per_node: 9 }",
	  ERROR_CODE_SPEC_INVALID, "io.threads_per_node" },
	{ ID REST "io { busy_poll_us: 1000001 }", ERROR_CODE_SPEC_INVALID, "io.busy_poll_us" },
};

Test(spec, values_out_of_range_and_contradictions_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct problems problems = { 0 };
		const struct problem *p = &problems.list[0];

		spec.vm_id[0] = '#';
		cr_assert_eq(parse_text(refusals[i].text, &problems), -EINVAL, "%s",
		             refusals[i].text);
		cr_assert_eq(spec.vm_id[0], '#', "written to on failure");
		cr_assert_eq(problems.count, 1, "%s: %zu problems: %s / %s", refusals[i].text,
		             problems.count, p[0].message, p[1].message);
		cr_assert_eq(p->code, refusals[i].code, "%s: %s", refusals[i].text, p->message);
		cr_assert_str_eq(p->field, refusals[i].field, "%s", p->message);
		cr_assert(strstr(p->message, p->field), "%s", p->message);
	}
}

Test(spec, all_reasons_are_listed)
{
	struct problems problems = { 0 };

	cr_assert_eq(parse_text("vm_id: '' cpus { count: 0 } memory { nodes { size_mib: 0 } } "
	                        "boot {} disks {}",
	                        &problems),
	             -EINVAL);
	/* vm_id, count, size_mib, boot, disks.id, disks.image. */
	cr_assert_geq(problems.count, 6);
}

Test(spec, more_devices_than_possible_are_refused)
{
	static char text[20000];
	struct problems problems = { 0 };
	size_t at = (size_t)snprintf(text, sizeof(text), "%s", ID MEMORY BOOT CPUS);

	for (int i = 0; i < SPEC_DISKS_MAX + 1; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at,
		                       "disks { id: 'd%d' image { fd: %d } } ", i, 10 + i);
	cr_assert_eq(parse_text(text, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1);
	cr_assert_str_eq(problems.list[0].field, "disks");

	problems = (struct problems){ 0 };
	at = (size_t)snprintf(text, sizeof(text), "%s", ID MEMORY BOOT "cpus { count: 255 ");
	for (int i = 0; i < 256; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "pins: %d ", i);
	snprintf(text + at, sizeof(text) - at, "}");
	cr_assert_eq(parse_text(text, &problems), -EINVAL);
	cr_assert_eq(problems.count, 2, "too many, and not one each");
}

/* What is wrong, with its value, and what to do about it. */
Test(spec, refusals_say_what_to_do)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ ID REST NET("a") "vhost { fd: 9 } rx_limit { ops_per_s: 1 } }",
		  "launch.nets[0] has vhost and a limit: rate limits do not apply with vhost; remove one of the two, or "
		  "limit the TAP (tc)" },
		{ ID REST NET("a") "vhost { fd: 9 } queue_pairs: 2 }",
		  "launch.nets[0] has vhost, which carries one queue pair, and queue_pairs 2; set it to 1, or leave vhost "
		  "out" },
		{ ID REST "console { output { fd: 9 } columns: 80 }",
		  "launch.console.columns and launch.console.rows go together; give both or none" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct problems problems = { 0 };
		bool found = false;

		cr_assert_eq(parse_text(cases[i].text, &problems), -EINVAL);
		for (size_t k = 0; k < problems.count; k++)
			found |= strcmp(problems.list[k].message, cases[i].message) == 0;
		cr_expect(found, "%s\nbut: %s", cases[i].message, problems.list[0].message);
	}
}

/* Each kind counts, where there may be none and where there may be no more. */
Test(spec, every_device_counts)
{
	static const char *const devices[] = {
		"disks { id: 'd' image { fd: 20 } } ",
		"nets { id: 'n' tap { fd: 21 } } ",
		"rng {} ",
		"balloon {} ",
		"vsock { cid: 3 channel { fd: 22 } } ",
		"console {} ",
	};
	static char text[20000];
	size_t kept[ARRAY_SIZE(devices) + 1];
	struct problems problems;
	size_t at;

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		problems = (struct problems){ 0 };
		snprintf(text, sizeof(text),
		         ID CPUS MEMORY "boot { flat_boot { image { fd: 5 } } } %s", devices[i]);
		cr_assert_eq(parse_text(text, &problems), -EINVAL, "%s", devices[i]);
		cr_assert_eq(problems.count, 1);
		cr_assert_str_eq(problems.list[0].field, "boot.flat_boot.local_apic", "%s",
		                 devices[i]);
		cr_expect_not_null(strstr(problems.list[0].message,
		                          "--set 'boot { flat_boot { local_apic: true } }'"));
	}
	/* One of each and as many disks and nets as the bus takes beside them; then one more. */
	for (size_t more = 0; more < 2; more++) {
		size_t others = LAYOUT_PCI_DEVICES_MAX - 1 - ARRAY_SIZE(devices) + more;

		at = (size_t)snprintf(text, sizeof(text), "%s",
		                      ID CPUS MEMORY
		                      "boot { flat_boot { image { fd: 5 } local_apic: true } } ");
		for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
			kept[i] = at;
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s", devices[i]);
		}
		for (size_t i = 0; i < others; i++)
			at += (size_t)snprintf(text + at, sizeof(text) - at,
			                       i < SPEC_DISKS_MAX - 1
			                               ? "disks { id: 'e%zu' image { fd: %zu } } "
			                               : "nets { id: 'e%zu' tap { fd: %zu } } ",
			                       i, 30 + i);
		problems = (struct problems){ 0 };
		cr_assert_eq(parse_text(text, &problems), more ? -EINVAL : 0, "%s",
		             problems.list[0].message);
		if (more) {
			cr_assert_str_eq(problems.list[0].field, "disks");
			cr_assert_str_eq(
				problems.list[0].message,
				"launch: 32 devices, the PCI bus has room for 31; remove 1");
		}
		/* Whichever is left out, there is room for the one more. */
		for (size_t i = 0; more && i < ARRAY_SIZE(devices); i++) {
			memset(text + kept[i], ' ', strlen(devices[i]));
			problems = (struct problems){ 0 };
			cr_assert_eq(parse_text(text, &problems), 0, "without %s: %s", devices[i],
			             problems.list[0].message);
			memcpy(text + kept[i], devices[i], strlen(devices[i]));
		}
	}
}

Test(spec, the_longest_command_line)
{
	static char text[SPEC_CMDLINE_MAX + 300];
	struct problems problems = { 0 };
	int at = snprintf(text, sizeof(text), "%s boot { linux_boot { kernel { fd: 5 } cmdline: '",
	                  ID MEMORY CPUS);

	memset(text + at, 'x', SPEC_CMDLINE_MAX);
	strcpy(text + at + SPEC_CMDLINE_MAX, "' } }");
	cr_assert_eq(parse_text(text, &problems), 0);
	cr_assert_eq(strlen(spec.boot.cmdline), SPEC_CMDLINE_MAX);
	strcpy(text + at + SPEC_CMDLINE_MAX, "x' } }");
	cr_assert_eq(parse_text(text, &problems), -EINVAL);
	cr_assert_str_eq(problems.list[0].field, "boot.linux_boot.cmdline");
}

Test(spec, more_entries_than_memory_for_them)
{
	static uint8_t bytes[MIB];
	struct problems problems = { 0 };

	for (size_t i = 0; i < sizeof(bytes); i += 2)
		bytes[i] = 0x3a; /* disks, empty */
	cr_assert_eq(spec_parse(bytes, sizeof(bytes), &spec, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1);
	cr_assert_eq(problems.list[0].code, ERROR_CODE_SPEC_TOO_LARGE);
}

/* On fd 3 the vm_id of a bare LaunchSpec is where the launch should be. */
Test(spec, a_name_for_a_launch_is_told_what_to_do)
{
	struct problems problems = { 0 };

	cr_assert_eq(spec_parse((const uint8_t *)"web-17", 6, &spec, &problems), -EINVAL);
	cr_assert_eq(problems.count, 1);
	cr_expect_eq(problems.list[0].code, ERROR_CODE_SPEC_MALFORMED);
	cr_expect_str_eq(problems.list[0].message,
	                 "launch: it is no message but the text \"web-17\"; a bare LaunchSpec goes "
	                 "into ControlStream.launch");
}

Test(spec, changed_bytes_never_pass_a_bound)
{
	unsigned seed = (unsigned)time(NULL);
	static uint8_t good[4096], bytes[4096];
	size_t n = protoc_encode("LaunchSpec", FULL, good, sizeof(good));
	size_t taken = 0;

	fprintf(stderr, "spec/changed_bytes_never_pass_a_bound: seed %u\n", seed);
	srandom(seed);
	for (int round = 0; round < 10000; round++) {
		struct problems problems = { 0 };
		size_t length = (size_t)random() % (n + 1);
		int r;

		/* Noise, or a good one with a few bytes changed. */
		if (round & 1) {
			length = n;
			memcpy(bytes, good, n);
			for (long i = random() % 4; i >= 0; i--)
				bytes[(size_t)random() % n] = (uint8_t)random();
		} else {
			for (size_t i = 0; i < length; i++)
				bytes[i] = (uint8_t)random();
		}
		r = spec_parse(bytes, length, &spec, &problems);
		taken += r == 0;
		cr_assert_eq(r == 0, problems.count == 0, "seed %u, round %d", seed, round);
		for (size_t i = 0; i < problems.count; i++)
			cr_assert_neq(problems.list[i].code, ERROR_CODE_INTERNAL,
			              "seed %u, round %d", seed, round);
	}
	/* Some changes only make another valid launch; most do not. */
	cr_assert(taken > 0 && taken < 5000, "%zu", taken);
}
