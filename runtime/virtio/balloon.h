/* SPDX-License-Identifier: MIT */
/* virtio-balloon (VIRTIO 1.2 §5.5): gives guest memory back to the host. Theory in balloon.c. */
#ifndef AXVM_VIRTIO_BALLOON_H
#define AXVM_VIRTIO_BALLOON_H

#include "virtio/device.h"
#include "virtio/pci.h"

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

struct balloon_spec {
	bool deflate_on_oom;
	bool free_page_reporting;  /* offered if a report can cover a host page */
	bool memory_locked;        /* guest memory was mlocked */
	uint32_t stats_interval_s; /* 0: only once, when the driver comes up */
	uint64_t host_page;        /* bytes of a page of guest memory; 4096 also for THP */
	/* Called while balloon_await() is on, when the guest says that it has reached its target.
	 * On a vCPU's thread, under the device's lock: it must do no more than wake another thread.
	 * NULL: not called. */
	void (*reached)(void *context);
	void *context;
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

struct balloon_state {
	uint64_t target_bytes;         /* that the guest was asked to give up */
	uint64_t actual_bytes;         /* that the guest says it has given up */
	uint64_t returned_bytes;       /* given to the host so far; a page counts each time */
	uint64_t failures;             /* discards that the host refused */
	uint64_t stats_count;          /* times the guest has sent statistics; 0: none yet */
	uint64_t stats[BALLOON_STATS]; /* by tag, VIRTIO 1.2 §5.5.6.4; UINT64_MAX: not told */
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

/* Build time, before io_loop_build; allocates. `balloon` is zeroed by the caller and must not move.
 * Guest memory must not be pinned (by registering it with a ring, for example): a pinned page does
 * not go back to the host, and after a discard it is no longer the page that the guest sees.
 * Returns 0, -ENOMEM, or an error of virtio_pci_attach(). */
int balloon_create(struct balloon *balloon, const struct balloon_spec *spec,
                   const struct virtio_host *host);
/* After the loop's thread has ended. A zeroed balloon is fine. */
void balloon_destroy(struct balloon *balloon);

/* Asks the guest to keep `bytes` (rounded down to pages) of its memory and give up the rest.
 * -ERANGE: 0, or more than it has. Any thread. */
int balloon_set_target(struct balloon *balloon, uint64_t bytes);

/* Switches on or off that `reached` is called. A target that the guest reached before is not
 * reported, so the caller checks balloon_has_reached() after this. One thread. */
void balloon_await(struct balloon *balloon, bool on);

/* Whether the guest has given up what the present target asks, now or at any time since
 * balloon_await(). Any thread. */
bool balloon_has_reached(const struct balloon *balloon);

/* State so far; any thread. */
void balloon_get_state(const struct balloon *balloon, struct balloon_state *ret_state);

#endif
