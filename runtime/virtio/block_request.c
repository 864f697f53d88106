/* SPDX-License-Identifier: MIT */
/* One request of a disk (VIRTIO 1.2 §5.2.6).
 *
 * The parts of a chain are streams of bytes: the first 16 bytes that the device reads are the
 * header, the last byte that it writes is the status, and their division into descriptors means
 * nothing (§2.7.4.1). The bytes between are data. The ring moves them between guest memory and the
 * file without a copy.
 *
 * A large request is done in pieces, and the bytes that a disk starts in a turn are bounded,
 * because the I/O thread itself copies data that is in the host's page cache. The guest chooses the
 * number of pieces, so a pause or a reset waits only for those under way: between two pieces a
 * pause holds the request until the resume, and a request whose ring is no longer the driver's
 * ends. A read or write that comes back short is continued where it stopped. A read of 0 bytes
 * means end of file: the image was truncated, and the guest gets an I/O error, not zeroes. No write
 * starts beyond the capacity, so the file never grows. */
#include "virtio/block_request.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "io/op.h"

#define HEADER_BYTES sizeof(struct virtio_blk_outhdr)
#define RANGE_BYTES sizeof(struct virtio_blk_discard_write_zeroes)

enum data_rule { DATA_NONE, DATA_IN, DATA_OUT };

static void start_data(struct block_request *request);
static void start_sync(struct block_request *request);
static void start_id(struct block_request *request);
static uint8_t parse_data(struct block_request *request);
static uint8_t parse_ranges(struct block_request *request);

/* Types of requests (§5.2.6); those without a row are not supported. */
static const struct kind {
	enum data_rule data;
	bool changes;                                    /* refused when read-only */
	uint64_t feature;                                /* needed; 0: none */
	uint8_t (*parse)(struct block_request *request); /* NULL: nothing more to check */
	void (*start)(struct block_request *request);
	enum block_counter counter;
} kinds[] = {
	[VIRTIO_BLK_T_IN] = { DATA_IN, false, 0, parse_data, start_data, BLOCK_READS },
	[VIRTIO_BLK_T_OUT] = { DATA_OUT, true, 0, parse_data, start_data, BLOCK_WRITES },
	[VIRTIO_BLK_T_FLUSH] = { DATA_NONE, false, 0, NULL, start_sync, BLOCK_FLUSHES },
	[VIRTIO_BLK_T_GET_ID] = { DATA_IN, false, 0, NULL, start_id, BLOCK_READS },
	[VIRTIO_BLK_T_DISCARD] = { DATA_OUT, true, VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD),
	                           parse_ranges, block_range_start, BLOCK_DISCARDS },
	[VIRTIO_BLK_T_WRITE_ZEROES] = { DATA_OUT, true, VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES),
	                                parse_ranges, block_range_start, BLOCK_DISCARDS },
};

static_assert(ARRAY_SIZE(kinds) == VIRTIO_BLK_T_WRITE_ZEROES + 1, "a row for each type");

/* ------------------------------------------------------------------------------------- parsing */

/* Takes `bytes` off the front of the data. */
static void advance(struct block_request *request, size_t bytes)
{
	while (bytes > 0 && request->data_count > 0) {
		size_t step = MIN(bytes, request->data->iov_len);

		request->data->iov_base = (uint8_t *)request->data->iov_base + step;
		request->data->iov_len -= step;
		bytes -= step;
		if (request->data->iov_len == 0) {
			request->data++;
			request->data_count--;
		}
	}
}

static bool in_capacity(const struct block *block, uint64_t sector, uint64_t sectors)
{
	uint64_t capacity = atomic_load_explicit(&block->capacity, memory_order_relaxed);

	return sector <= capacity && sectors <= capacity - sector;
}

/* Whether O_DIRECT can use the buffers as they are: each must be aligned, since an operation may
 * end with any. */
static bool aligned(const struct block_request *request)
{
	const struct disk_file *file = request->block->file;
	uintptr_t mask = file->memory_align - 1;
	size_t length_mask = MAX(file->memory_align, file->logical_block) - 1;

	for (uint16_t i = 0; i < request->data_count; i++)
		if (((uintptr_t)request->data[i].iov_base & mask) ||
		    (request->data[i].iov_len & length_mask))
			return false;
	return true;
}

static uint8_t parse_data(struct block_request *request)
{
	struct block *block = request->block;
	uint64_t sector = request->offset;

	if (request->total % DISK_SECTOR != 0 ||
	    !in_capacity(block, sector, request->total / DISK_SECTOR))
		return VIRTIO_BLK_S_IOERR;
	request->offset = sector * DISK_SECTOR;
	if (block->file->direct) {
		if ((request->offset | request->total) & (block->file->logical_block - 1))
			return VIRTIO_BLK_S_IOERR;
		request->bounced = !aligned(request);
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_ranges(struct block_request *request)
{
	bool zeroes = request->type == VIRTIO_BLK_T_WRITE_ZEROES;
	uint32_t flags = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
	const struct virtio_blk_config *config = &request->block->config;
	uint32_t max = zeroes ? config->max_write_zeroes_sectors : config->max_discard_sectors;
	const struct disk_file *file = request->block->file;
	struct virtq_chain data = { .iov = request->data, .readable = request->data_count };

	if (request->total % RANGE_BYTES != 0 || request->total > sizeof(request->ranges))
		return VIRTIO_BLK_S_IOERR;
	request->range = 0;
	request->range_count = (uint16_t)(request->total / RANGE_BYTES);
	(void)virtq_copy_from(&data, 0, request->ranges, request->total);
	for (uint16_t i = 0; i < request->range_count; i++) {
		const struct virtio_blk_discard_write_zeroes *range = &request->ranges[i];

		if (range->flags & ~flags)
			return VIRTIO_BLK_S_UNSUPP;
		if (range->num_sectors > max ||
		    !in_capacity(request->block, range->sector, range->num_sectors))
			return VIRTIO_BLK_S_IOERR;
		/* Zeroes may have to be written, and then aligned for O_DIRECT. */
		if (zeroes && file->direct &&
		    ((range->sector | range->num_sectors) &
		     (file->logical_block / DISK_SECTOR - 1)))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

static uint8_t parse_kind(struct block_request *request, const struct virtq_chain *chain)
{
	static const struct kind none;
	const struct kind *kind = request->type < ARRAY_SIZE(kinds) ? &kinds[request->type] : &none;
	uint32_t out = chain->readable_bytes - (uint32_t)HEADER_BYTES;
	uint32_t in = chain->writable_bytes - 1;

	if (!kind->start || (kind->feature & ~request->block->device.negotiated))
		return VIRTIO_BLK_S_UNSUPP;
	if (kind->changes && request->block->file->read_only)
		return VIRTIO_BLK_S_IOERR;
	if ((in > 0) != (kind->data == DATA_IN) || (out > 0) != (kind->data == DATA_OUT))
		return VIRTIO_BLK_S_IOERR;
	request->total = request->left = kind->data == DATA_IN ? in : out;
	request->data = chain->iov;
	request->data_count = chain->readable;
	if (kind->data == DATA_IN) {
		request->data += chain->readable;
		request->data_count = chain->writable;
		if (--request->data[request->data_count - 1].iov_len == 0)
			request->data_count--;
	} else {
		advance(request, HEADER_BYTES);
	}
	return kind->parse ? kind->parse(request) : VIRTIO_BLK_S_OK;
}

const char *block_request_parse(struct block_request *request, const struct virtq_chain *chain)
{
	struct virtio_blk_outhdr header;
	const struct iovec *last;

	if (chain->readable_bytes < HEADER_BYTES)
		return "a request whose header is shorter than 16 bytes";
	if (chain->writable_bytes == 0)
		return "a request without a writable byte for its status";
	(void)virtq_copy_from(chain, 0, &header, sizeof(header));
	last = &chain->iov[chain->readable + chain->writable - 1];
	request->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	request->head = chain->head;
	request->type = header.type;
	request->offset = header.sector;
	request->total = 0;
	request->left = 0;
	request->data_count = 0;
	request->range_count = 0;
	request->bounced = false;
	request->verdict = parse_kind(request, chain);
	return NULL;
}

uint64_t block_request_cost(const struct block_request *request)
{
	uint64_t bytes = 0;

	if (request->verdict != VIRTIO_BLK_S_OK || request->type == VIRTIO_BLK_T_DISCARD)
		return 0;
	if (request->type != VIRTIO_BLK_T_WRITE_ZEROES)
		return request->total;
	/* If the file can do it in no other way, zeroes are written. */
	for (uint16_t i = 0; i < request->range_count; i++)
		bytes += (uint64_t)request->ranges[i].num_sectors * DISK_SECTOR;
	return bytes;
}

/* -------------------------------------------------------------------------------------- ending */

static void answer(struct block_request *request, uint8_t status)
{
	struct block *block = request->block;
	bool read = status == VIRTIO_BLK_S_OK && request->type <= VIRTIO_BLK_T_GET_ID &&
	            kinds[request->type].data == DATA_IN;

	if (status == VIRTIO_BLK_S_OK)
		block_counted(block, kinds[request->type].counter, 1);
	else if (status == VIRTIO_BLK_S_IOERR && virtio_live(&block->device, request->queue))
		block_counted(block, BLOCK_ERRORS, 1);
	if (status == VIRTIO_BLK_S_OK && request->type <= VIRTIO_BLK_T_OUT)
		block_counted(block, read ? BLOCK_BYTES_READ : BLOCK_BYTES_WRITTEN, request->total);
	/* Published with the used entry, after all data (queue.c). Once the device asks for a
	 * reset, a driver must not rely on completions (VIRTIO 1.2 §2.1.1), so requests in flight
	 * get no answer then. */
	if (virtio_live(&block->device, request->queue))
		*request->status = status;
	virtio_push(&block->device, request->queue, request->head, (read ? request->total : 0) + 1);
	request->next = block->free;
	block->free = request;
}

/* Ends a request, and hands the bounce buffer on. */
void block_request_complete(struct block_request *request, uint8_t status)
{
	struct block *block = request->block;
	bool handover = request->bounced && request == block->bounce_first;

	if (handover)
		block->bounce_first = request->next;
	answer(request, status);
	/* A loop and not recursion: hundreds may end at once when the ring accepts no operation any
	 * more. */
	while (handover && block->bounce_first) {
		struct block_request *next = block->bounce_first;

		block->kept[next->queue]--;
		if (block_request_issue(next))
			break;
		block->bounce_first = next->next;
		answer(next, VIRTIO_BLK_S_IOERR);
	}
}

static const char *what_failed(const struct block_request *request, int error)
{
	if (error == -ENOSPC || error == -EDQUOT)
		return "the host has no room for what the guest writes: it was given an I/O error";
	if (error == -ENODATA)
		return "the image was truncated: the guest was given an I/O error";
	if (request->type == VIRTIO_BLK_T_IN)
		return "the image cannot be read: the guest was given an I/O error";
	if (request->type == VIRTIO_BLK_T_FLUSH)
		return "the image cannot be flushed: the guest was given an I/O error";
	return "the image cannot be written: the guest was given an I/O error";
}

void block_request_fail(struct block_request *request, int error)
{
	/* Cancelled: the VM is being stopped. */
	if (error != -ECANCELED)
		block_report(request->block, request->queue, error, what_failed(request, error));
	block_request_complete(request, VIRTIO_BLK_S_IOERR);
}

/* ------------------------------------------------------------------------------------- working */

static void sync_done(struct io_op *op, int result, uint32_t flags)
{
	struct block_request *request = CONTAINER_OF(op, struct block_request, op);
	struct block *block = request->block;

	(void)flags;
	if (result < 0)
		block_request_fail(request, result);
	else
		block_request_complete(request, VIRTIO_BLK_S_OK);
	block_room(block);
}

static void start_sync(struct block_request *request)
{
	request->op.done = sync_done;
	if (!io_fsync(request->block->device.loop, &request->op, request->block->file_index, true))
		block_request_fail(request, -ECANCELED);
}

/* The data is in the host's cache. With write-through it must be flushed to the disk before the
 * answer, if the ring is still the driver's. */
void block_request_settle(struct block_request *request)
{
	if (kinds[request->type].changes && block_writes_through(request->block) &&
	    virtio_live(&request->block->device, request->queue))
		start_sync(request);
	else
		block_request_complete(request, VIRTIO_BLK_S_OK);
}

/* One piece of at most the bounce buffer's size, which belongs to the request. */
static bool issue_bounced(struct block_request *request)
{
	struct block *block = request->block;
	uint32_t piece = MIN(request->left, (uint32_t)BLOCK_BOUNCE_BYTES);
	struct virtq_chain data = { .iov = request->data, .readable = request->data_count };

	block_turn_charge(block, piece);
	if (request->type == VIRTIO_BLK_T_IN)
		return io_read(block->device.loop, &request->op, block->file_index, block->bounce,
		               piece, request->offset);
	(void)virtq_copy_from(&data, 0, block->bounce, piece);
	return io_write(block->device.loop, &request->op, block->file_index, block->bounce, piece,
	                request->offset);
}

/* The number of buffers for one operation, and their bytes: whole buffers up to a piece's size, or
 * a part of one. */
static uint16_t next_piece(const struct block_request *request, uint32_t *ret_bytes)
{
	uint64_t bytes = request->data->iov_len;
	uint16_t count = 1;

	while (count < request->data_count &&
	       bytes + request->data[count].iov_len <= BLOCK_PIECE_BYTES)
		bytes += request->data[count++].iov_len;
	*ret_bytes = (uint32_t)MIN(bytes, BLOCK_PIECE_BYTES);
	return count;
}

/* Starts one operation of a read or write, and subtracts its bytes from the turn's. */
static bool issue_piece(struct block_request *request)
{
	struct io_loop *loop = request->block->device.loop;
	uint32_t file = request->block->file_index;
	const struct iovec *data = request->data;
	bool read = request->type == VIRTIO_BLK_T_IN;
	uint32_t bytes;
	uint16_t count = next_piece(request, &bytes);

	if (request->bounced)
		return issue_bounced(request);
	block_turn_charge(request->block, bytes);
	if (count == 1)
		return read ? io_read(loop, &request->op, file, data->iov_base, bytes,
		                      request->offset)
		            : io_write(loop, &request->op, file, data->iov_base, bytes,
		                       request->offset);
	return read ? io_readv(loop, &request->op, file, data, count, request->offset)
	            : io_writev(loop, &request->op, file, data, count, request->offset);
}

void block_turn_charge(struct block *block, uint32_t bytes)
{
	block->turn_bytes -= MIN((uint64_t)bytes, block->turn_bytes);
}

/* Whether this turn of the loop has bytes left for a disk. */
static bool in_turn(struct block *block)
{
	uint64_t turn = counter_read(&block->device.loop->stats.turns);

	if (block->turn != turn)
		block->turn_bytes = BLOCK_TURN_BYTES;
	block->turn = turn;
	return block->turn_bytes > 0;
}

bool block_request_issue(struct block_request *request)
{
	struct block *block = request->block;

	if (!virtio_live(&block->device, request->queue))
		return false;
	if (!block->holding && !block->later_first && in_turn(block))
		return request->issue(request);
	if (block->later_first)
		block->later_last->later = request;
	else if (!block->holding)
		io_client_again(&block->device.client, BLOCK_MAIL_GO_ON);
	if (!block->later_first)
		block->later_first = request;
	request->later = NULL;
	block->later_last = request;
	block->kept[request->queue]++;
	return true;
}

/* Each is issued, ended or put back, in their order. */
void block_request_go_on(struct block *block)
{
	struct block_request *request = block->later_first;

	block->later_first = NULL;
	while (request) {
		struct block_request *next = request->later;

		block->kept[request->queue]--;
		if (!block_request_issue(request))
			block_request_fail(request, -ECANCELED);
		request = next;
	}
	block_room(block);
}

static void take_result(struct block_request *request, uint32_t bytes)
{
	struct virtq_chain data = { .iov = request->data, .writable = request->data_count };

	if (request->bounced && request->type == VIRTIO_BLK_T_IN)
		(void)virtq_copy_to(&data, 0, request->block->bounce, bytes);
	advance(request, bytes);
	request->offset += bytes;
	request->left -= bytes;
}

static void data_done(struct io_op *op, int result, uint32_t flags)
{
	struct block_request *request = CONTAINER_OF(op, struct block_request, op);
	struct block *block = request->block;

	(void)flags;
	if (result > 0)
		take_result(request, MIN((uint32_t)result, request->left));
	if (result == 0)
		block_request_fail(request, request->type == VIRTIO_BLK_T_IN ? -ENODATA : -EIO);
	else if (result < 0 && result != -EINTR)
		block_request_fail(request, result);
	else if (request->left == 0)
		block_request_settle(request);
	else if (!block_request_issue(request))
		block_request_fail(request, -ECANCELED);
	block_room(block);
}

static void start_data(struct block_request *request)
{
	struct block *block = request->block;

	request->op.done = data_done;
	request->issue = issue_piece;
	request->next = NULL;
	if (request->bounced) {
		block_counted(block, BLOCK_BOUNCED, 1);
		if (block->bounce_first) {
			block->bounce_last->next = request;
			block->bounce_last = request;
			block->kept[request->queue]++;
			return;
		}
		block->bounce_first = block->bounce_last = request;
	}
	if (!block_request_issue(request))
		block_request_fail(request, -ECANCELED);
}

static void start_id(struct block_request *request)
{
	struct virtq_chain data = { .iov = request->data, .writable = request->data_count };

	request->total = (uint32_t)virtq_copy_to(&data, 0, request->block->serial,
	                                         sizeof(request->block->serial));
	block_request_complete(request, VIRTIO_BLK_S_OK);
}

void block_request_start(struct block_request *request)
{
	if (request->verdict != VIRTIO_BLK_S_OK)
		block_request_complete(request, request->verdict);
	else
		kinds[request->type].start(request);
}
