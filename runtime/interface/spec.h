/* SPDX-License-Identifier: MIT */
/* The launch as the shim uses it: validated once, plain C, immutable. Fields are those of
 * axvm.v1.LaunchSpec with the defaults filled in; proto/axvm.proto says what each means. */
#ifndef AXVM_INTERFACE_SPEC_H
#define AXVM_INTERFACE_SPEC_H

#include "base/base.h"
#include "base/gpa.h"
#include "base/problem.h"
#include "interface/spec_values.h"

struct spec_resource {
	enum axvm_resource_source kind;
	/* RESOURCE_SOURCE_FD: 5 or above, consoles also 0 to 2; each fd occurs once */
	int fd;
	const char *path; /* RESOURCE_SOURCE_PATH: in the spec's own storage */
};

struct spec_limit {
	uint64_t bytes_per_s, bytes_burst, ops_per_s, ops_burst;
}; /* 0: none */

struct spec_cpus {
	uint32_t count;
	size_t pins_count; /* 0 or count */
	uint32_t pins[SPEC_CPUS_MAX];
	enum axvm_tenancy tenancy;
	bool has_paravirt; /* false: the profile's choice */
	uint32_t paravirt;
	uint32_t fifo_priority; /* 0: the ordinary scheduler */
	bool core_scheduling, overcommit;
	size_t nodes_count; /* 0 or count */
	uint8_t nodes[SPEC_CPUS_MAX];
	struct spec_resource claims; /* a folder; RESOURCE_SOURCE_NOT_SET: no claims */
};

struct spec_memory {
	size_t count;
	struct spec_memory_node {
		uint64_t size; /* bytes */
		int host_node; /* -1: any */
	} nodes[SPEC_NODES_MAX];
	enum axvm_page_size page_size;
	bool populate, lock;
	uint64_t remote_pages_allowed;
};

struct spec_boot {
	enum axvm_boot_kind kind;
	struct spec_resource kernel, initrd, image; /* the first two: Linux; image: flat */
	const char *cmdline;                        /* never NULL */
	gpa_t load_address;
	bool local_apic, secondaries_wait, measure;
};

struct spec_disk {
	char id[SPEC_ID_MAX + 1], serial[SPEC_SERIAL_MAX + 1];
	struct spec_resource image;
	bool read_only, direct;
	uint32_t queues, queue_size, block_size; /* 0: the backing's own */
	uint64_t max_size;                       /* 0: see disk_file_config */
	bool discard;
	enum axvm_cache_mode cache;
	struct spec_limit limit;
};

struct spec_net {
	char id[SPEC_ID_MAX + 1], tap_name[SPEC_TAP_NAME_MAX + 1]; /* "" : fds instead */
	size_t tap_fds_count;
	int tap_fds[SPEC_QUEUES_MAX];
	bool has_mac, offloads;
	uint8_t mac[6];
	uint32_t queue_pairs, queue_size, mtu; /* mtu 0: not given */
	struct spec_limit rx_limit, tx_limit;
	struct spec_resource vhost;
};

/* About 230 KiB, of which a parse touches 10 and the strings: static or mapped. Has pointers into
 * itself, so it must not be copied. Once parsed it is immutable: any thread may read it. */
struct vm_spec {
	char vm_id[SPEC_ID_MAX + 1], profile[SPEC_ID_MAX + 1];
	enum axvm_admission admission;
	struct spec_cpus cpus;
	struct spec_memory memory;
	struct spec_boot boot;
	size_t disks_count, nets_count;
	struct spec_disk disks[SPEC_DISKS_MAX];
	struct spec_net nets[SPEC_NETS_MAX];
	struct {
		bool present, early;
		bool limited; /* the limit is the spec's own */
		struct spec_resource output, input;
		uint32_t columns, rows;  /* 0, 0: not given */
		struct spec_limit limit; /* of an output that is a regular file */
	} console;
	struct {
		bool present;
		struct spec_limit limit;
	} rng;
	struct {
		bool present, deflate_on_oom, free_page_reporting;
		uint32_t stats_interval_s;
	} balloon;
	struct {
		bool present;
		uint32_t cid;
		struct spec_resource channel;
	} vsock;
	struct {
		enum axvm_on_control_eof on_control_eof;
		uint32_t shutdown_timeout_ms;
		bool stop_when_launcher_dies;
	} lifecycle;
	struct {
		bool has_uid, has_gid;
		uint32_t uid, gid;
		size_t cgroups_count;
		int cgroup_fds[SPEC_CGROUPS_MAX];
	} sandbox;
	uint32_t metrics_interval_ms;
	struct {
		uint32_t threads_per_node, busy_poll_us;
	} io;
	size_t fds_count, strings_used;
	int fds[SPEC_FDS_MAX]; /* all that are named anywhere above, in no order */
	char strings[SPEC_STRINGS_SIZE];
};

/* Parses and validates an encoded LaunchSpec. 0, or -EINVAL (-ENOMEM if scratch memory cannot be
 * mapped) with every reason added to `problems`; *ret is then untouched. Maps scratch memory and
 * unmaps it again; *ret does not point into `bytes`. */
int spec_parse(const uint8_t *bytes, size_t n, struct vm_spec *ret, struct problems *problems);

#endif
