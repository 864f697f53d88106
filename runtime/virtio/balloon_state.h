/* SPDX-License-Identifier: MIT */
/* The balloon and its requests: the state that balloon.c and balloon_job.c share. */
#ifndef AXVM_VIRTIO_BALLOON_STATE_H
#define AXVM_VIRTIO_BALLOON_STATE_H

#include "virtio/device.h"

#define BALLOON_QUEUES 5
#define BALLOON_QUEUE_SIZE 128
#define BALLOON_PAGE 4096u      /* bytes; the device's unit whatever the pages of guest or host */
#define BALLOON_PFNS_MAX 65536u /* in one request */
#define BALLOON_RANGES 64
#define BALLOON_OPS 8 /* discards in flight for one request */
#define BALLOON_STATS 16

/* VIRTIO 1.2 §5.5.4, little-endian. */
struct balloon_config {
	uint32_t num_pages; /* pages that the guest is asked to give up */
	uint32_t actual;    /* pages that the guest has given up */
	uint32_t free_page_hint_command;
	uint32_t poison_value;
};

struct balloon;

struct balloon_range {
	uint8_t *start;
	size_t length;
};

struct balloon_op {
	struct io_op op;
	struct balloon_job *job;
	struct balloon_range range;
	bool busy;
};

/* A request in progress, one a queue. */
struct balloon_job {
	struct balloon *balloon;
	uint16_t queue;
	bool active;
	uint32_t pfns, next_pfn;    /* of an inflate or deflate request */
	uint16_t next_buffer;       /* of a report */
	uint32_t next_range, count; /* of `ranges` */
	uint32_t in_flight;
	struct virtq_chain chain;
	struct balloon_range ranges[BALLOON_RANGES];
	struct balloon_op ops[BALLOON_OPS];
	struct iovec iov[VIRTQ_IOV_MAX(BALLOON_QUEUE_SIZE)];
};

struct balloon {
	struct virtio_device device;
	struct balloon_config config;
	const struct guest_memory *memory;
	uint64_t host_page;
	int advice;
	/* Pages in the balloon, if the host's pages are larger: a bit for each page, and a count
	 * for each host page. */
	uint64_t *given;       /* owned */
	uint32_t *given_count; /* owned */
	uint64_t *given_epoch; /* owned; by host page: the driver that set the two */
	uint64_t epoch;        /* of the present driver; counts from 0 */
	/* I/O thread. */
	struct balloon_job inflate, report, deflate;
	bool told_bad_page, told_refusal;
	struct io_op timer_op;
	struct __kernel_timespec interval;
	struct iovec iov[VIRTQ_IOV_MAX(BALLOON_QUEUE_SIZE)]; /* of requests done at once */
	void (*reached)(void *context);
	void *context;
	_Atomic bool awaited;
	/* the target reached since balloon_await(); UINT64_MAX: none */
	_Atomic uint64_t reached_pages;
	_Atomic uint32_t target_pages, actual_pages;
	_Atomic uint64_t returned_bytes, failures, stats_count;
	_Atomic uint64_t stats[BALLOON_STATS];
};

#endif
