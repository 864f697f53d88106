/* SPDX-License-Identifier: MIT */
/* The bounds of a launch. */
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

#endif
