/* SPDX-License-Identifier: MIT */
/* virtio-blk (VIRTIO 1.2 §5.2): the device, its queues, its limits.
 *
 * A queue is drained into requests, which are all allocated beforehand; each becomes one operation
 * of the ring (block_request.c), and all of them leave with the turn's one system call. What
 * completes in a turn is published, and signalled, once.
 *
 * Popping stops if no request is free, or if the rate limit is reached. The queue is then noted in
 * `waiting` and looked at again, in turn with the others, when a request ends or the limit's timer
 * expires. A request that the limit holds back is given back to the ring untouched: it is not in
 * flight, so neither a reset nor a pause waits for it. For a request of many operations they wait
 * for those under way; a reset then drops the rest, and a pause holds it until the resume. A stop
 * lets the request go on as long as the loop lingers.
 *
 * Caching. Write-back answers a write when the host has it, and a flush is fdatasync(2).
 * Write-through answers a write after an fdatasync of its own. It is in force when the driver did
 * not negotiate FLUSH, or asked for it in `wce` (CONFIG_WCE), or, with a driver that knows no
 * `wce`, when the spec says so. In that case `wce` is 0 at first, and otherwise the value that the
 * last driver left. A change to write-through flushes what was written before.
 *
 * Guest memory is not registered with the ring: that pins all of it at once, against overcommit and
 * the balloon, and only helps O_DIRECT requests of one buffer. */
#include "virtio/block.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "io/op.h"
#include "virtio/block_request.h"

#define PCI_CLASS_MASS_STORAGE_OTHER 0x018000
#define MAIL_SYNC VIRTIO_MAIL(0)
#define MAIL_LIMIT VIRTIO_MAIL(1)
#define REPORT_INTERVAL_NS NS_PER_S
#define TIMER_MAX_NS (3600 * NS_PER_S)
/* A range of this size takes a file system long enough; the driver splits larger discards. */
#define RANGE_SECTORS_MAX (uint32_t)(GIB / DISK_SECTOR)
/* The same if zeroes must be written; a reset or a pause waits for one such range. */
#define WRITTEN_SECTORS_MAX (uint32_t)(4 * MIB / DISK_SECTOR)
/* The timer, the flush of a change to write-through, a cancellation. */
#define OWN_OPERATIONS 3

static struct block *block_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct block, device);
}

void block_counted(struct block *block, enum block_counter counter, uint64_t n)
{
	counter_add(&block->counters[counter], n);
}

void block_report(struct block *block, int queue, int error, const char *message)
{
	uint64_t now = io_now_ns();

	if (now < block->quiet_until_ns) {
		virtio_not_told(&block->device);
		return;
	}
	block->quiet_until_ns = now + REPORT_INTERVAL_NS;
	virtio_report(&block->device, queue, error, message);
}

bool block_writes_through(const struct block *block)
{
	if (!virtio_has(&block->device, VIRTIO_BLK_F_FLUSH))
		return true;
	if (virtio_has(&block->device, VIRTIO_BLK_F_CONFIG_WCE))
		return !atomic_load_explicit(&block->writeback, memory_order_acquire);
	return block->starts_write_through;
}

/* ------------------------------------------------------------------------------------- queues */

/* Whether the limit holds the request back; if so, arms the timer. The timer waits for at least a
 * millisecond's worth of tokens, as far as the burst goes, so that it does not expire for each
 * request. */
static bool held_back(struct block *block, const struct block_request *request)
{
	uint64_t bytes = block_request_cost(request);
	uint64_t now, wait;

	if (!rate_limit_is_set(&block->limit))
		return false;
	now = io_now_ns();
	if (rate_limit_take(&block->limit, now, bytes, 1) == 0)
		return false;
	wait = rate_limit_wait(&block->limit, now, MAX(bytes, block->limit.bytes.rate / 1000),
	                       MAX(block->limit.ops.rate / 1000, (uint64_t)1));
	block->timer = io_time(MIN(wait, (uint64_t)TIMER_MAX_NS));
	block->throttled = true;
	/* Refused only when the loop is about to end. */
	(void)io_timeout(block->device.loop, &block->timer_op, &block->timer);
	block_counted(block, BLOCK_THROTTLED, 1);
	return true;
}

/* The next request that has never been used, none if all have: more than are ever under way at once
 * are never touched. */
static struct block_request *first_use(struct block *block)
{
	struct block_request *request;

	if (block->used == block->count)
		return NULL;
	request = &block->requests[block->used];
	request->block = block;
	request->iov = &block->iov[block->used++ * block->iov_max];
	return request;
}

/* Starts one request; false when there is none or it has to wait. */
static bool start_one(struct block *block, uint16_t queue)
{
	struct virtio_device *device = &block->device;
	struct block_request *request = block->free;
	struct virtq_chain chain = { .iov = request->iov, .iov_max = block->iov_max };
	const char *fault;

	if (!virtio_pop(device, queue, &chain))
		return false;
	request->queue = queue;
	fault = block_request_parse(request, &chain);
	if (fault) {
		virtio_fail(device, queue, EPROTO, fault);
		virtio_push(device, queue, chain.head, 0);
		return false;
	}
	if (held_back(block, request)) {
		virtio_unpop(device, queue);
		return false;
	}
	block->free = request->next ? request->next : first_use(block);
	block_request_start(request);
	return true;
}

static void run_queue(struct block *block, uint16_t queue)
{
	do {
		while (!block->throttled && block->free && start_one(block, queue))
			;
		if (block->throttled || !block->free) {
			block->waiting |= 1ULL << queue;
			return;
		}
	} while (virtio_want_kicks(&block->device, queue));
}

void block_room(struct block *block)
{
	while (block->waiting && block->free && !block->throttled) {
		uint64_t from_next = block->waiting >> block->next_waiting << block->next_waiting;
		uint16_t queue = (uint16_t)__builtin_ctzll(from_next ? from_next : block->waiting);

		block->waiting &= ~(1ULL << queue);
		block->next_waiting = (uint16_t)((queue + 1) % VIRTIO_QUEUES_MAX);
		run_queue(block, queue);
	}
}

static void timer_done(struct io_op *op, int result, uint32_t flags)
{
	struct block *block = CONTAINER_OF(op, struct block, timer_op);

	(void)result;
	(void)flags;
	block->throttled = false;
	block_room(block);
}

/* ----------------------------------------------------------- what others ask the disk for */

static void change_limit(struct block *block)
{
	struct rate_config limit;

	pthread_mutex_lock(&block->lock);
	limit = block->new_limit;
	pthread_mutex_unlock(&block->lock);
	rate_limit_change(&block->limit, &limit, io_now_ns());
	/* Requests that wait do so for the old limit. */
	if (block->throttled)
		(void)io_cancel(block->device.loop, &block->timer_op);
}

void block_set_limit(struct block *block, const struct rate_config *limit)
{
	pthread_mutex_lock(&block->lock);
	block->new_limit = *limit;
	pthread_mutex_unlock(&block->lock);
	io_client_post(&block->device.client, MAIL_LIMIT);
}

static void sync_file(struct block *block)
{
	if (block->syncing) {
		block->sync_again = true;
		return;
	}
	block->sync_again = false;
	block->syncing = io_fsync(block->device.loop, &block->sync_op, block->file_index, true);
}

static void sync_file_done(struct io_op *op, int result, uint32_t flags)
{
	struct block *block = CONTAINER_OF(op, struct block, sync_op);

	(void)flags;
	block->syncing = false;
	if (result < 0 && result != -ECANCELED)
		block_report(block, -1, result, "the image cannot be flushed");
	if (block->sync_again)
		sync_file(block);
}

int block_refresh_capacity(struct block *block, uint64_t *ret_bytes)
{
	uint64_t size;
	uint64_t sectors;
	int r = disk_file_length(block->file->fd, &size);

	if (r < 0)
		return r;
	if (size % block->config.blk_size != 0)
		return -EINVAL;
	if (size > block->file->max_size)
		return -EFBIG;
	sectors = size / DISK_SECTOR;
	if (atomic_exchange(&block->capacity, sectors) != sectors)
		virtio_config_update(&block->device, offsetof(struct virtio_blk_config, capacity),
		                     &sectors, sizeof(sectors));
	*ret_bytes = size;
	return 0;
}

uint64_t block_count(const struct block *block, enum block_counter counter)
{
	return atomic_load_explicit(&block->counters[counter], memory_order_relaxed);
}

/* -------------------------------------------------------------------------------- as a device */

static void block_kick(struct virtio_device *device, uint16_t queue)
{
	run_queue(block_of(device), queue);
}

/* Before a pause, or for a ring that is no longer the driver's. */
static void block_quiesce(struct virtio_device *device, uint16_t queue)
{
	struct block *block = block_of(device);

	if (virtio_live(device, queue))
		block->holding = !io_loop_stopping(device->loop);
	else
		block_request_go_on(block);
}

static void block_resume(struct virtio_device *device)
{
	struct block *block = block_of(device);

	block->holding = false;
	block_request_go_on(block);
}

static uint16_t block_held(const struct virtio_device *device, uint16_t queue)
{
	const char *at = (const char *)device - offsetof(struct block, device);
	const struct block *block = (const struct block *)(const void *)at;

	return block->holding ? block->kept[queue] : 0;
}

static void block_reset(struct virtio_device *device)
{
	block_of(device)->waiting = 0;
}

static void block_mail(struct virtio_device *device, uint32_t bits)
{
	struct block *block = block_of(device);

	if (bits & MAIL_LIMIT)
		change_limit(block);
	if (bits & MAIL_SYNC)
		sync_file(block);
	if (bits & BLOCK_MAIL_GO_ON)
		block_request_go_on(block);
}

/* Only `wce` can be written (§5.2.5.1). vCPU thread, registers locked. */
static void block_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                               uint32_t length)
{
	struct block *block = block_of(device);
	uint8_t wce = *(const uint8_t *)data;

	if (offset != offsetof(struct virtio_blk_config, wce) || length != 1 || wce > 1 ||
	    block->file->read_only)
		return;
	block->config.wce = wce;
	if (atomic_exchange_explicit(&block->writeback, wce, memory_order_acq_rel) && !wce)
		io_client_post(&device->client, MAIL_SYNC);
}

static const struct virtio_device_ops block_ops = {
	.name = "block",
	.device_id = VIRTIO_ID_BLOCK,
	.pci_class = PCI_CLASS_MASS_STORAGE_OTHER,
	.kick = block_kick,
	.quiesce = block_quiesce,
	.reset = block_reset,
	.resume = block_resume,
	.held = block_held,
	.mail = block_mail,
	.config_write = block_config_write,
};

/* -------------------------------------------------------------------------------------- build */

static void fill_config(struct block *block, const struct block_spec *spec)
{
	const struct disk_file *file = block->file;
	uint32_t size = spec->block_size ? spec->block_size : file->logical_block;
	uint32_t physical = MAX(file->physical_block, size);
	const struct disk_ranges *can = &block->ranges;
	bool fast = can->zero && !can->slow;

	block->config = (struct virtio_blk_config){
		.capacity = file->size / DISK_SECTOR,
		.seg_max = MIN((uint32_t)BLOCK_SEGMENTS_MAX, spec->queue_size - 2u),
		.blk_size = size,
		.physical_block_exp = (uint8_t)__builtin_ctz(physical / size),
		.min_io_size = (uint16_t)(physical / size),
		.opt_io_size = file->optimal_io / size,
		.wce = !spec->write_through,
		.num_queues = spec->queues,
		.max_discard_sectors = RANGE_SECTORS_MAX,
		.max_discard_seg = BLOCK_RANGES_MAX,
		.discard_sector_alignment =
			MAX(can->granularity, file->physical_block) / DISK_SECTOR,
		.max_write_zeroes_sectors = fast ? RANGE_SECTORS_MAX : WRITTEN_SECTORS_MAX,
		.max_write_zeroes_seg = BLOCK_RANGES_MAX,
		.write_zeroes_may_unmap = can->punch,
	};
	block->device.features =
		VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) |
		VIRTIO_FEATURE(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH);
	if (spec->queues > 1)
		block->device.features |= VIRTIO_FEATURE(VIRTIO_BLK_F_MQ);
	block->device.features |= file->read_only ? VIRTIO_FEATURE(VIRTIO_BLK_F_RO)
	                                          : VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
	if (can->discard)
		block->device.features |= VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD);
	if (!file->read_only)
		block->device.features |= VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
}

static int allocate(struct block *block, const struct block_spec *spec)
{
	size_t count = MIN((size_t)spec->queues * spec->queue_size, (size_t)BLOCK_IN_FLIGHT_MAX);

	/* Header and status may be buffers of their own, and any buffer may straddle regions. */
	block->iov_max = (uint16_t)(block->config.seg_max + 2 + GUEST_REGIONS_MAX);
	block->requests = calloc(count, sizeof(*block->requests));
	block->iov = calloc(count * block->iov_max, sizeof(*block->iov));
	if (block->file->direct)
		block->bounce = aligned_alloc(4096, BLOCK_BOUNCE_BYTES);
	if (!block->file->read_only)
		block->zeroes = mmap(NULL, BLOCK_ZEROES_BYTES, PROT_READ,
		                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block->zeroes == MAP_FAILED)
		block->zeroes = NULL;
	/* On a host that gives huge pages to all memory, a read here must not bring in a huge
	 * page. */
	if (block->zeroes)
		(void)madvise(block->zeroes, BLOCK_ZEROES_BYTES, MADV_NOHUGEPAGE);
	if (!block->requests || !block->iov || (block->file->direct && !block->bounce) ||
	    (!block->file->read_only && !block->zeroes))
		return -ENOMEM;
	block->count = count;
	block->free = first_use(block);
	return (int)count;
}

int block_create(struct block *block, const struct block_spec *spec, struct disk_file *file,
                 const struct virtio_host *host)
{
	int r;

	if (spec->queues == 0 || spec->queues > VIRTIO_QUEUES_MAX ||
	    spec->queue_size < BLOCK_QUEUE_SIZE_MIN || spec->queue_size > VIRTQ_SIZE_MAX)
		return -EINVAL;
	block->file = file;
	pthread_mutex_init(&block->lock, NULL);
	memcpy(block->serial, spec->serial, strnlen(spec->serial, sizeof(block->serial)));
	block->starts_write_through = spec->write_through;
	atomic_init(&block->writeback, !spec->write_through);
	atomic_init(&block->capacity, file->size / DISK_SECTOR);
	block->ranges = file->ranges;
	if (spec->keeps_blocks)
		block->ranges.discard = block->ranges.punch = block->ranges.command = false;
	fill_config(block, spec);
	rate_limit_init(&block->limit, &spec->limit, io_now_ns());
	block->turn = UINT64_MAX; /* none yet */
	block->timer_op.done = timer_done;
	block->sync_op.done = sync_file_done;
	for (uint16_t i = 0; i < spec->queues; i++)
		block->queue_sizes[i] = spec->queue_size;
	block->device.ops = &block_ops;
	block->device.id = spec->id;
	block->device.queue_count = spec->queues;
	block->device.queue_sizes = block->queue_sizes;
	block->device.config = &block->config;
	block->device.config_size = offsetof(struct virtio_blk_config, max_secure_erase_sectors);
	io_loop_uses(host->loop, IO_USE_FILES | IO_USE_STORAGE);
	if (block->ranges.command)
		io_loop_uses(host->loop, IO_USE_DISCARD);
	r = allocate(block, spec);
	if (r >= 0)
		r = io_loop_reserve(host->loop, (uint32_t)r + OWN_OPERATIONS);
	if (r == 0)
		r = io_loop_add_file(host->loop, file->fd, &block->file_index);
	if (r == 0)
		r = virtio_pci_attach(&block->device, host);
	if (r < 0)
		block_destroy(block);
	return r;
}

void block_destroy(struct block *block)
{
	if (!block->file)
		return;
	virtio_pci_detach(&block->device);
	pthread_mutex_destroy(&block->lock);
	free(block->requests);
	free(block->iov);
	free(block->bounce);
	if (block->zeroes)
		munmap(block->zeroes, BLOCK_ZEROES_BYTES);
	memset(block, 0, sizeof(*block));
}
