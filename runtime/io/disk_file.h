/* SPDX-License-Identifier: MIT */
/* The file behind a disk: opens a raw image or a block device and checks what a disk needs of
 * it. */
#ifndef AXVM_IO_DISK_FILE_H
#define AXVM_IO_DISK_FILE_H

#include "base/problem.h"
#include "io/disk_ranges.h"

#define DISK_SECTOR 512u

struct disk_file_config {
	int fd;            /* >= 0: taken over, with its flags; -1: `path` is opened */
	const char *path;  /* borrowed */
	const char *field; /* of the spec, for problems: "disks[0].image" */
	bool read_only;
	bool direct;       /* bypass the page cache (O_DIRECT) */
	uint64_t max_size; /* 0: a writable file does not grow, a read-only one may */
	const char *sysfs; /* where the limits of devices are; NULL: "/sys" */
};

/* What was found. Block sizes are in bytes and powers of two. */
struct disk_file {
	int fd; /* owned; -1: none */
	bool read_only, direct;
	struct disk_ranges ranges; /* none when read-only */
	bool regular;              /* a file, no device: writes meet RLIMIT_FSIZE */
	uint64_t size;             /* bytes, a multiple of DISK_SECTOR, at least one */
	uint64_t max_size;         /* bytes, what `size` may become; UINT64_MAX: no limit */
	uint32_t logical_block;  /* the smallest that can be written; offsets too, with `direct` */
	uint32_t physical_block; /* the smallest that is written without reading the rest first */
	uint32_t optimal_io;     /* 0: not known */
	uint32_t memory_align;   /* of buffers, with `direct`; else 1 */
};

/* Opens the file, or takes over the fd, and checks its kind, access and size, and that nobody else
 * uses it. It locks the open file description (fcntl(2), F_OFD_SETLK): exclusively, or shared if
 * read-only; the last close releases the lock. It waits two seconds for it. The length of the file
 * never changes. -errno with a problem; *ret is untouched then, and an fd that was handed in stays
 * open. */
int disk_file_open(const struct disk_file_config *config, struct disk_file *ret,
                   struct problems *problems);
void disk_file_close(struct disk_file *file);

/* The file's length now, in bytes. A sealed thread may call it: it makes one lseek(2), and nobody
 * uses the file offset. -EINVAL if the length is not a multiple of DISK_SECTOR. */
int disk_file_length(int fd, uint64_t *ret_size);

#endif
