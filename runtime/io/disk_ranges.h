/* SPDX-License-Identifier: MIT */
/* What a disk's file can do with a range: give its blocks back, or zero it without zeroes being
 * written. */
#ifndef AXVM_IO_DISK_RANGES_H
#define AXVM_IO_DISK_RANGES_H

#include <sys/stat.h>

#include "base/base.h"

/* Zeroed: it can do neither, and the shim writes zeroes. */
struct disk_ranges {
	bool discard; /* blocks can be given back, by one of the next two */
	bool punch;   /* FALLOC_FL_PUNCH_HOLE: reads as zeroes, blocks are given back */
	/* BLOCK_URING_CMD_DISCARD (Linux 6.12): blocks are given back; later reads are undefined */
	bool command;
	bool zero; /* FALLOC_FL_ZERO_RANGE: reads as zeroes, blocks are kept */
	/* for ZERO_RANGE the kernel writes zeroes to the device */
	bool slow;
	/* bytes, of offsets and lengths; a power of two; 1: any */
	uint32_t align;
	uint32_t granularity; /* bytes, what is given back at once; 0: not known */
};

/* Finds out what `fd` can do. For a file it tries each mode once beyond the end, where no data can
 * be lost; the length stays, but a file system may keep one block allocated there (ext4). For a
 * device it reads its queue's limits below `sysfs` and sends the discard command with an empty
 * range, because a real one would discard. `logical_block` is a device's, in bytes. Writable files
 * only; before the seal. fallocate(2), io_uring_setup(2). */
void disk_ranges_probe(int fd, const struct stat *st, const char *sysfs, uint32_t logical_block,
                       struct disk_ranges *ret);

/* The part of disk_ranges_probe() that reads a device's limits. `command`: the kernel takes the
 * discard command. */
void disk_ranges_of_device(const char *sysfs, dev_t number, bool command, struct disk_ranges *ret);

#endif
