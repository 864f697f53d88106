/* SPDX-License-Identifier: MIT */
/* What of a node's memory can be had, from the text of /sys/devices/system/node/nodeN/meminfo.
 * Without allocation. */
#ifndef AXVM_HOST_MEMINFO_H
#define AXVM_HOST_MEMINFO_H

#include <stdint.h>

/* The share of a node's memory that the kernel is left with before a guest is given any. */
#define MEMINFO_SHARE 64

/* A row's KiB, by its name with the colon ("MemTotal:"); 0 when there is no such row. */
uint64_t meminfo_kib(const char *text, const char *row);
/* KiB that ordinary pages can still be had from: free ones, clean page cache and what the kernel
 * can reclaim of its own, less one part in `share` of all of the node's. Huge pages are not in
 * it. */
uint64_t meminfo_room_kib(const char *text, uint64_t share);

#endif
