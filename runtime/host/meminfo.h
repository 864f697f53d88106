/* SPDX-License-Identifier: MIT */
/* Reads how much of a node's memory is available, from the text of
 * /sys/devices/system/node/nodeN/meminfo. Without allocation. */
#ifndef AXVM_HOST_MEMINFO_H
#define AXVM_HOST_MEMINFO_H

#include <stdint.h>

/* The share of a node's memory that stays free for the kernel when guest memory is taken. */
#define MEMINFO_SHARE 64

/* A row's KiB, by its name with the colon ("MemTotal:"); 0 when there is no such row. */
uint64_t meminfo_kib(const char *text, const char *row);
/* KiB that are available as ordinary pages: free pages, clean page cache and reclaimable kernel
 * memory, minus 1/`share` of the node's memory. Huge pages do not count. */
uint64_t meminfo_room_kib(const char *text, uint64_t share);

#endif
