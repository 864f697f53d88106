/* SPDX-License-Identifier: MIT */
/* What a disk's file can do with a range.
 *
 * fallocate(2) means something else on a block device than on a file. PUNCH_HOLE zeroes and may
 * unmap, without a fallback to writing zeroes, so it works only if the queue has
 * write_zeroes_max_bytes. ZERO_RANGE has the fallback and always works. Neither is a discard: that
 * is a command, an operation of the ring since Linux 6.12 (BLKDISCARD is an ioctl, which no sealed
 * thread makes on a disk). A device that discards but cannot write zeroes (a thin volume) has the
 * command alone. Other devices have it beside PUNCH_HOLE, because their limit can vanish: a loop
 * device over tmpfs has it until the first zeroes that must not unmap. Those fail below, and the
 * kernel clears the limit. */
#include "io/disk_ranges.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "io/op.h"

/* the block of most file systems, since a mode does nothing on a part of one */
#define PROBE_BYTES 4096

static bool mode_works(int fd, int mode, off_t end)
{
	int r;

	do
		r = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, end, PROBE_BYTES);
	while (r < 0 && errno == EINTR);
	/* The file system is full. The mode is supported all the same, and writing zeroes would
	 * need the space too. */
	return r == 0 || errno == ENOSPC || errno == EDQUOT;
}

static void probe_file(int fd, off_t end, struct disk_ranges *ret)
{
	ret->punch = mode_works(fd, FALLOC_FL_PUNCH_HOLE, end);
	ret->zero = mode_works(fd, FALLOC_FL_ZERO_RANGE, end);
	/* ZERO_RANGE has allocated the block; give it back if a hole can be punched beyond the
	 * end. */
	if (ret->zero && ret->punch)
		(void)mode_works(fd, FALLOC_FL_PUNCH_HOLE, end);
	ret->discard = ret->punch;
}

/* A limit of the device's queue; a partition's queue is its disk's. 0: there is none, or it cannot
 * be read. */
static uint64_t queue_limit(const char *sysfs, dev_t number, const char *name)
{
	static const char *const places[] = { "queue", "../queue" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_close_ int fd = -1;
		char path[256], text[32];
		ssize_t n;

		snprintf(path, sizeof(path), "%s/dev/block/%u:%u/%s/%s", sysfs, major(number),
		         minor(number), places[i], name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, text, sizeof(text) - 1);
		text[MAX(n, (ssize_t)0)] = '\0';
		return strtoull(text, NULL, 10);
	}
	return 0;
}

void disk_ranges_of_device(const char *sysfs, dev_t number, bool command, struct disk_ranges *ret)
{
	bool discards = queue_limit(sysfs, number, "discard_max_bytes") > 0;
	uint64_t granularity = queue_limit(sysfs, number, "discard_granularity");

	ret->punch = queue_limit(sysfs, number, "write_zeroes_max_bytes") > 0;
	ret->command = discards && command;
	ret->discard = discards && (ret->punch || ret->command);
	ret->zero = true;
	ret->slow = !ret->punch;
	ret->granularity = granularity <= UINT32_MAX ? (uint32_t)granularity : 0;
}

/* Whether this kernel takes the command for this device: for an empty range it then returns EINVAL
 * and discards nothing. A kernel without the opcode (before 5.19) returns EINVAL too, so the opcode
 * is probed first. */
static bool command_works(int fd)
{
	struct io_uring ring;
	struct io_uring_sqe *sqe = NULL;
	struct io_uring_cqe *cqe = NULL;
	struct io_uring_probe *probe;
	bool works = false;

	if (io_uring_queue_init(1, &ring, 0) < 0)
		return false;
	probe = io_uring_get_probe_ring(&ring);
	if (probe && io_uring_opcode_supported(probe, IORING_OP_URING_CMD))
		sqe = io_uring_get_sqe(&ring);
	io_uring_free_probe(probe);
	if (sqe) {
		io_prep_discard(sqe, fd, 0, 0);
		if (io_uring_submit_and_wait(&ring, 1) == 1 && io_uring_peek_cqe(&ring, &cqe) == 0)
			works = cqe->res == -EINVAL;
	}
	io_uring_queue_exit(&ring);
	return works;
}

void disk_ranges_probe(int fd, const struct stat *st, const char *sysfs, uint32_t logical_block,
                       struct disk_ranges *ret)
{
	*ret = (struct disk_ranges){ .align = 1 };
	if (S_ISREG(st->st_mode)) {
		probe_file(fd, st->st_size, ret);
		return;
	}
	/* Assume first that the kernel takes the command: a ring is made to ask only if the device
	 * discards. */
	disk_ranges_of_device(sysfs, st->st_rdev, true, ret);
	if (ret->command && !command_works(fd))
		disk_ranges_of_device(sysfs, st->st_rdev, false, ret);
	ret->align = logical_block;
}
