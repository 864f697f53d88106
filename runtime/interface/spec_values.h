/* SPDX-License-Identifier: MIT */
/* The bounds and the enumerations of a launch. */
#ifndef AXVM_INTERFACE_SPEC_VALUES_H
#define AXVM_INTERFACE_SPEC_VALUES_H

#define SPEC_ID_MAX 64
#define SPEC_SERIAL_MAX 20
#define SPEC_TAP_NAME_MAX 15
#define SPEC_CPUS_MAX 255
#define SPEC_NODES_MAX 8
#define SPEC_DEVICES_MAX 31 /* the host bridge has a place of the bus, too */
#define SPEC_IO_THREADS_MAX 16
#define SPEC_LOAD_ADDRESS_MAX 0xbffff000u /* of a flat image: the last page below 3 GiB */
/* Descriptors that a spec may name. */
#define SPEC_FD_FIRST 5
#define SPEC_FD_LAST 895
#define SPEC_DISKS_MAX 24
#define SPEC_NETS_MAX 8
#define SPEC_QUEUES_MAX 64 /* of a disk */
#define SPEC_PAIRS_MAX 31  /* of a net: two queues each, and one for control */
#define SPEC_QUEUE_SIZE_MAX 1024
#define SPEC_CGROUPS_MAX 16
#define SPEC_PATH_MAX 4095
#define SPEC_CMDLINE_MAX 65535
#define SPEC_RESOURCES_MAX (1 + 2 + 1 + 2 + SPEC_DISKS_MAX + SPEC_NETS_MAX + 1)
/* All that one spec can name. */
#define SPEC_FDS_MAX (SPEC_RESOURCES_MAX + SPEC_NETS_MAX * SPEC_QUEUES_MAX + SPEC_CGROUPS_MAX)
#define SPEC_STRINGS_SIZE (SPEC_CMDLINE_MAX + 1 + SPEC_RESOURCES_MAX * (SPEC_PATH_MAX + 1))

/* Values as in the schema; spec.c asserts so. */
enum spec_admission { SPEC_ENFORCE = 0, SPEC_REPORT = 1 };
enum spec_tenancy { SPEC_SHARED = 0, SPEC_DEDICATED = 1 };
enum spec_page_size { SPEC_PAGES_4K = 0, SPEC_THP = 1, SPEC_HUGE_2M = 2, SPEC_HUGE_1G = 3 };
enum spec_cache { SPEC_WRITE_BACK = 0, SPEC_WRITE_THROUGH = 1 };
enum spec_eof { SPEC_EOF_KEEP_RUNNING = 0, SPEC_EOF_SHUTDOWN = 1, SPEC_EOF_STOP = 2 };
/* Bit 1 << n of struct spec_cpus.paravirt. */
enum spec_pv {
	SPEC_PV_KVMCLOCK = 1,
	SPEC_PV_EOI = 2,
	SPEC_PV_UNHALT = 3,
	SPEC_PV_TLB_FLUSH = 4,
	SPEC_PV_SEND_IPI = 5,
	SPEC_PV_STEAL_TIME = 6,
	SPEC_PV_ASYNC_PF = 7,
	SPEC_PV_POLL_CONTROL = 8,
	SPEC_PV_SCHED_YIELD = 9,
};
enum spec_boot_kind { SPEC_BOOT_LINUX, SPEC_BOOT_FLAT };
enum spec_resource_kind { SPEC_NONE, SPEC_FD, SPEC_PATH };

#endif
