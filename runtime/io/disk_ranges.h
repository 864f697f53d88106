/* SPDX-License-Identifier: MIT */
/* What the backing of a disk can do about ranges: give their blocks back, or zero them without
 * being sent zeroes. */
#ifndef AXVM_IO_DISK_RANGES_H
#define AXVM_IO_DISK_RANGES_H

#include <sys/stat.h>

#include "base/base.h"

/* None of them: zeroes are written. */
struct disk_ranges {
	bool discard; /* blocks can be given back, by one of the next two */
	bool punch;   /* FALLOC_FL_PUNCH_HOLE: reads as zeroes, blocks are given back */
	/* BLOCK_URING_CMD_DISCARD (Linux 6.12): blocks are given back, what is read then is open */
	bool command;
	bool zero; /* FALLOC_FL_ZERO_RANGE: reads as zeroes, blocks are kept */
	/* a device's ZERO_RANGE writes the zeroes, though the kernel does it and not the shim */
	bool slow;
	/* bytes, of offsets and lengths; a power of two, 1 where it does not matter */
	uint32_t align;
	uint32_t granularity; /* bytes, what is given back at once; 0: not known */
};

/* Asks a file by trying each mode once beyond its end, where there is nothing to be lost; its
 * length stays, but a file system may keep one block allocated there (ext4). Asks a device by its
 * queue's limits below `sysfs`, and the kernel whether it takes the command, with an empty range:
 * trying would discard. `logical_block`: of a device. Of a file that is written; before the seal.
 * fallocate(2), io_uring_setup(2). */
void disk_ranges_probe(int fd, const struct stat *st, const char *sysfs, uint32_t logical_block,
                       struct disk_ranges *ret);

/* The second half of it, for a device number and what the kernel says of the command. */
void disk_ranges_of_device(const char *sysfs, dev_t number, bool command, struct disk_ranges *ret);

#endif
