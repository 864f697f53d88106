/* SPDX-License-Identifier: MIT */
/* A disk and its requests: the state that block.c, block_request.c and block_range.c share. */
#ifndef AXVM_VIRTIO_BLOCK_STATE_H
#define AXVM_VIRTIO_BLOCK_STATE_H

#include <linux/virtio_blk.h>
#include <pthread.h>

#include "io/disk_file.h"
#include "io/rate_limit.h"
#include "virtio/device.h"

#define BLOCK_QUEUE_SIZE_MIN 4  /* a header, one buffer and a status */
#define BLOCK_IN_FLIGHT_MAX 512 /* requests of one disk, over all its queues */
#define BLOCK_SEGMENTS_MAX 254  /* buffers of one request */
#define BLOCK_RANGES_MAX 16     /* of one discard or write-zeroes request */
#define BLOCK_BOUNCE_BYTES (256 * KIB)
#define BLOCK_ZEROES_BYTES (256 * KIB) /* of one write, where the shim must write zeroes */
/* The kernel copies cached data on the I/O thread, while the operation is submitted. These bound
 * the bytes of one operation, and of all that a disk starts in a turn. */
#define BLOCK_PIECE_BYTES (1 * MIB)
#define BLOCK_TURN_BYTES (8 * MIB)

/* Requests completed without an error, and other counts. */
enum block_counter {
	BLOCK_READS,
	BLOCK_WRITES,
	BLOCK_FLUSHES,
	BLOCK_DISCARDS, /* and write zeroes */
	BLOCK_BYTES_READ,
	BLOCK_BYTES_WRITTEN,
	BLOCK_ERRORS,    /* answered with IOERR */
	BLOCK_THROTTLED, /* times the limit made the disk wait */
	BLOCK_BOUNCED,
	BLOCK_COUNTERS,
};

struct block;

/* A request between pop and push; preallocated. */
struct block_request {
	struct io_op op;
	struct block *block;
	struct block_request *next;  /* free, or waiting for the bounce buffer */
	struct block_request *later; /* waiting for the next turn of the loop, or a resume */
	/* starts one operation on the rest, when the turn has room for it */
	bool (*issue)(struct block_request *request);
	uint32_t type;
	uint16_t queue, head;
	uint8_t *status;    /* in guest memory */
	uint8_t verdict;    /* VIRTIO_BLK_S_OK: it can be started */
	bool bounced;       /* through the bounce buffer: unaligned, and the file is O_DIRECT */
	uint64_t offset;    /* in the file, of the rest */
	uint32_t total;     /* bytes of data */
	uint32_t left;      /* bytes still to be done */
	struct iovec *data; /* the rest of the data, in `iov` */
	uint16_t data_count;
	uint8_t way; /* how the range is zeroed or discarded */
	uint16_t range, range_count;
	struct virtio_blk_discard_write_zeroes ranges[BLOCK_RANGES_MAX]; /* copied and checked */
	struct iovec *iov;
};

struct block {
	struct virtio_device device;
	struct virtio_blk_config config;
	struct disk_file *file; /* borrowed */
	uint32_t file_index;
	char serial[VIRTIO_BLK_ID_BYTES];
	bool starts_write_through;
	uint16_t queue_sizes[VIRTIO_QUEUES_MAX];
	_Atomic uint64_t capacity;      /* sectors */
	_Atomic bool writeback;         /* the driver's choice */
	struct block_request *requests; /* owned */
	struct iovec *iov;              /* owned; iov_max for each */
	size_t count;                   /* of requests */
	uint16_t iov_max;
	uint8_t *bounce; /* owned; NULL unless direct */
	void *zeroes;    /* owned; mapped, never written: it costs no memory; NULL when read-only */
	/* I/O thread. */
	size_t used; /* requests from here on have never been */
	struct block_request *free;
	/* waiting for the bounce buffer; the first one has it */
	struct block_request *bounce_first, *bounce_last;
	/* waiting for a turn that has bytes left, or for a resume */
	struct block_request *later_first, *later_last;
	bool holding;                     /* paused: nothing is started */
	uint16_t kept[VIRTIO_QUEUES_MAX]; /* requests that wait here or for the bounce buffer */
	uint64_t turn;                    /* turn of the loop to which turn_bytes belongs */
	uint64_t turn_bytes;              /* bytes of data that may still be started in that turn */
	uint64_t waiting;                 /* bits: queues to look at when a request is free */
	uint16_t next_waiting;            /* the queue to look at first */
	struct rate_limit limit;
	bool throttled; /* until the timer is done */
	struct io_op timer_op, sync_op;
	struct __kernel_timespec timer;
	bool syncing, sync_again;
	/* the file's, without what has failed or what the spec forbids */
	struct disk_ranges ranges;
	bool told_discard;
	uint64_t quiet_until_ns;      /* no error event before this time */
	pthread_mutex_t lock;         /* of new_limit */
	struct rate_config new_limit; /* from another thread */
	_Atomic uint64_t counters[BLOCK_COUNTERS];
};

#endif
