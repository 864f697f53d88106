/* SPDX-License-Identifier: MIT */
/* Discard and write zeroes (VIRTIO 1.2 §5.2.6): a request of up to 16 ranges, one after another.
 *
 * The device does what it offers. io/disk_ranges.c found out what the file can do when it was
 * opened, and a discard is offered only if there is a way to do it. Write zeroes is always offered:
 * if there is no other way, the shim writes zeroes through the ring, one piece at a time, so a
 * request of any length holds the thread for one piece in a turn.
 *
 * A way that fails after all (EOPNOTSUPP: a device below was exchanged, a SCSI disk has turned down
 * its first command) is not tried again; zeroes and discards go on by the next way, in the middle
 * of the range. A discard for which no way is left is answered with UNSUPP and reported once. The
 * next launch cannot find this out when it probes the file, but its spec can say it
 * (Disk.discard). */
#include <errno.h>
#include <fcntl.h>

#include "io/op.h"
#include "virtio/block_request.h"

enum way { WAY_NONE, WAY_PUNCH, WAY_ZERO, WAY_COMMAND, WAY_WRITE };

static void range_done(struct io_op *op, int result, uint32_t flags);

static bool issue_punch(struct block_request *request)
{
	return io_fallocate(request->block->device.loop, &request->op, request->block->file_index,
	                    FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, request->offset,
	                    request->left);
}

static bool issue_zero_range(struct block_request *request)
{
	return io_fallocate(request->block->device.loop, &request->op, request->block->file_index,
	                    FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, request->offset,
	                    request->left);
}

static bool issue_command(struct block_request *request)
{
	return io_discard(request->block->device.loop, &request->op, request->block->file_index,
	                  request->offset, request->left);
}

static bool issue_zeroes(struct block_request *request)
{
	struct block *block = request->block;
	uint32_t bytes = MIN(request->left, (uint32_t)BLOCK_ZEROES_BYTES);

	/* Counts like any other write, within the bytes of a disk's turn. */
	block_turn_charge(block, bytes);
	return io_write(block->device.loop, &request->op, block->file_index, block->zeroes, bytes,
	                request->offset);
}

static bool (*const issues[])(struct block_request *request) = {
	[WAY_PUNCH] = issue_punch,
	[WAY_ZERO] = issue_zero_range,
	[WAY_COMMAND] = issue_command,
	[WAY_WRITE] = issue_zeroes,
};

static enum way way_of(const struct block_request *request)
{
	const struct disk_ranges *can = &request->block->ranges;

	if (request->type == VIRTIO_BLK_T_DISCARD)
		return can->punch ? WAY_PUNCH : can->command ? WAY_COMMAND : WAY_NONE;
	if ((request->offset | request->left) & (can->align - 1))
		return WAY_WRITE;
	if (can->punch &&
	    (request->ranges[request->range].flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP))
		return WAY_PUNCH;
	return can->zero ? WAY_ZERO : WAY_WRITE;
}

static void lose(struct block *block, enum way way)
{
	if (way == WAY_PUNCH)
		block->ranges.punch = false;
	else if (way == WAY_ZERO)
		block->ranges.zero = false;
	else
		block->ranges.command = false;
}

static void refuse_discard(struct block_request *request)
{
	struct block *block = request->block;

	if (!block->told_discard)
		virtio_report(
			&block->device, request->queue, -EOPNOTSUPP,
			"the image cannot discard: set the disk's `discard` to false for the next launch, "
			"so that none is offered; the guest is answered with UNSUPP");
	block->told_discard = true;
	block_request_complete(request, VIRTIO_BLK_S_UNSUPP);
}

/* Takes the next range with work to do; a discard covers only whole blocks of the file. */
static bool take_range(struct block_request *request)
{
	uint64_t align = request->type == VIRTIO_BLK_T_DISCARD ? request->block->ranges.align : 1;

	for (request->range++; request->range < request->range_count; request->range++) {
		const struct virtio_blk_discard_write_zeroes *range =
			&request->ranges[request->range];
		uint64_t start = ALIGN_UP(range->sector * DISK_SECTOR, align);
		uint64_t end = (range->sector + range->num_sectors) * DISK_SECTOR / align * align;

		request->offset = start;
		request->left = end > start ? (uint32_t)(end - start) : 0;
		if (request->left > 0)
			return true;
	}
	return false;
}

static void go_on(struct block_request *request)
{
	if (request->left == 0 && !take_range(request)) {
		block_request_settle(request);
		return;
	}
	request->way = (uint8_t)way_of(request);
	if (request->way == WAY_NONE) {
		refuse_discard(request);
		return;
	}
	request->issue = issues[request->way];
	if (!block_request_issue(request))
		block_request_fail(request, -ECANCELED);
}

static void range_done(struct io_op *op, int result, uint32_t flags)
{
	struct block_request *request = CONTAINER_OF(op, struct block_request, op);
	struct block *block = request->block;
	bool written = request->way == WAY_WRITE;

	(void)flags;
	if ((result == -EOPNOTSUPP || result == -ENOSYS) && !written) {
		lose(block, (enum way)request->way);
		go_on(request);
	} else if (result < 0 && result != -EINTR) {
		block_request_fail(request, result);
	} else if (result == 0 && written) {
		block_request_fail(request, -EIO);
	} else {
		uint32_t done = written ? MIN((uint32_t)result, request->left) : request->left;

		if (result >= 0) {
			request->offset += done;
			request->left -= done;
		}
		go_on(request);
	}
	block_room(block);
}

void block_range_start(struct block_request *request)
{
	request->op.done = range_done;
	request->range = UINT16_MAX; /* before the first */
	request->left = 0;
	go_on(request);
}
