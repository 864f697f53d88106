/* SPDX-License-Identifier: MIT */
/* The split virtqueue, device side (VIRTIO 1.2 §2.7). Theory of operation in queue.c.
 *
 * Knows guest memory and nothing else. One thread, the queue's owner, calls everything here; the
 * guest may write to the ring at any time. */
#ifndef AXVM_VIRTIO_QUEUE_H
#define AXVM_VIRTIO_QUEUE_H

#include <sys/uio.h>

#include "base/base.h"
#include "guest/memory.h"

#define VIRTQ_SIZE_MAX 1024
/* Enough iovecs for any chain of a queue of `size`: a buffer can straddle adjoining regions. */
#define VIRTQ_IOV_MAX(size) ((size) + GUEST_REGIONS_MAX)

/* What the driver set up. */
struct virtq_config {
	uint16_t size; /* a power of two, at most max_size of virtq_init */
	gpa_t desc;
	gpa_t avail;
	gpa_t used;
	bool indirect;  /* VIRTIO_F_INDIRECT_DESC was negotiated */
	bool event_idx; /* VIRTIO_F_EVENT_IDX was negotiated */
};

struct virtq_used {
	uint32_t id;
	uint32_t length;
};

struct virtq {
	const struct guest_memory *memory;
	struct virtq_used *done; /* completions not yet published, `max_size` of them; owned */
	uint16_t max_size;
	uint16_t done_count;
	struct virtq_config config;
	/* The rings; valid while `live`. Only queue.c uses these pointers. */
	const void *desc;
	void *avail;
	void *used;
	bool live; /* enabled, and the rings may be touched */
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t in_flight; /* popped and not yet pushed */
	const char *fault;  /* what was wrong at the last -EBADMSG */
};

/* One request. `iov` and `iov_max` are set by the caller once; virtq_pop fills the rest: first the
 * iovecs the device reads, then those it writes. The memory they name can change under the reader
 * at any time: copy once, then validate. */
struct virtq_chain {
	struct iovec *iov;
	uint16_t iov_max;
	uint16_t head;
	uint16_t readable; /* iovecs */
	uint16_t writable; /* iovecs, after the readable ones */
	uint32_t readable_bytes;
	uint32_t writable_bytes;
};

/* Build time; allocates for queues up to `max_size`. -EINVAL, -ENOMEM. */
int virtq_init(struct virtq *q, const struct guest_memory *memory, uint16_t max_size);
void virtq_done(struct virtq *q);

/* Enables the queue at index 0. -EINVAL: the size; -EFAULT: a ring that is not in RAM, is
 * misaligned, or overlaps another. Nothing changes then. */
int virtq_enable(struct virtq *q, const struct virtq_config *config);

/* Ends all access to the guest: pushes only count down in_flight, which is kept. */
void virtq_kill(struct virtq *q);

/* Takes a chain. 1: taken; 0: none there; -EBADMSG: the driver broke the rules (see `fault`), and
 * the queue must not be used before it is enabled again. A killed queue is empty. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);

/* Gives the chain taken last back to the ring, as if it had not been popped. */
void virtq_unpop(struct virtq *q);

/* Completes the chain with this head, to which `length` bytes were written. The guest sees it at
 * the next virtq_publish(). */
void virtq_push(struct virtq *q, uint16_t head, uint32_t length);

/* Publishes all completions at once. True when the driver wants an interrupt for them. */
bool virtq_publish(struct virtq *q);

/* Whether the driver has made a chain available. */
bool virtq_available(const struct virtq *q);

/* Ask the driver to leave out kicks, and to kick again. virtq_want_kicks() returns true if
 * something became available meanwhile, for which no kick will come. */
void virtq_suppress_kicks(struct virtq *q);
bool virtq_want_kicks(struct virtq *q);

/* VIRTIO 1.2 §2.7.10: whether moving an index from `before` to `after` passes `event`. */
static inline bool virtq_passes(uint16_t event, uint16_t after, uint16_t before)
{
	return (uint16_t)(after - event - 1) < (uint16_t)(after - before);
}

/* Copies between a chain's readable (writable) part, from byte `offset` of it, and `data`. Returns
 * the bytes copied, fewer when the part ends. */
size_t virtq_copy_from(const struct virtq_chain *chain, size_t offset, void *data, size_t length);
size_t virtq_copy_to(const struct virtq_chain *chain, size_t offset, const void *data,
                     size_t length);

#endif
