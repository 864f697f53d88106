/* SPDX-License-Identifier: MIT */
/* The split virtqueue, device side (VIRTIO 1.2 §2.7).
 *
 * The guest shares the rings and may rewrite them while they are read. So each index, ring entry
 * and descriptor is loaded exactly once, into a local, and only the local is checked and used. No
 * pointer into a ring leaves this file: what comes out of virtq_pop are pointers to buffers, each
 * checked against guest memory for its whole length.
 *
 * Ordering, in terms of who is on the other side:
 *   avail.idx    acquire here, release in the driver: entries, descriptors are visible after it.
 *   used.idx     release here, acquire in the driver: used entries, buffers are visible before it.
 *   event, flag  a full fence on both sides between publishing one's index and looking at the
 *                other's wish, so that at least one side sees the other (§2.7.13.4.1 and §2.7.7).
 * Everything else is relaxed; it is ordered by these.
 *
 * Completions collect in `done` and go out together in virtq_publish: the used entries, one store
 * of used.idx, one decision about an interrupt. */
#include "virtio/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

#define AVAIL_FLAGS 0
#define AVAIL_IDX 2
#define AVAIL_RING 4
#define USED_FLAGS 0
#define USED_IDX 2
#define USED_RING 4
#define DESC_BYTES sizeof(struct vring_desc)
#define USED_BYTES sizeof(struct virtq_used)

/* ------------------------------------------------------------------------------ ring accesses */

static uint16_t load16(const void *ring, size_t offset)
{
	const uint8_t *at = (const uint8_t *)ring + offset;

	return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_RELAXED);
}

static void store16(void *ring, size_t offset, uint16_t value)
{
	uint8_t *at = (uint8_t *)ring + offset;

	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELAXED);
}

/* Acquire pairs with the driver's release of avail.idx (its write barrier, §2.7.13.3). */
static uint16_t load_avail_idx(const struct virtq *q)
{
	const uint8_t *at = (const uint8_t *)q->avail + AVAIL_IDX;

	return __atomic_load_n((const uint16_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

/* Release pairs with the driver's acquire of used.idx (its read barrier, §2.7.14). */
static void store_used_idx(struct virtq *q, uint16_t value)
{
	uint8_t *at = (uint8_t *)q->used + USED_IDX;

	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELEASE);
}

static size_t used_event_offset(const struct virtq *q)
{
	return AVAIL_RING + 2u * q->config.size;
}

static size_t avail_event_offset(const struct virtq *q)
{
	return USED_RING + USED_BYTES * q->config.size;
}

/* One copy of one descriptor. Descriptors of the ring are 16-byte aligned; an indirect table can
 * lie anywhere. */
static struct vring_desc load_desc(const void *at)
{
	struct vring_desc desc;

	if ((uintptr_t)at % sizeof(uint64_t) == 0) {
		const uint64_t *words = at;
		uint64_t copy[2] = {
			__atomic_load_n(&words[0], __ATOMIC_RELAXED),
			__atomic_load_n(&words[1], __ATOMIC_RELAXED),
		};

		memcpy(&desc, copy, sizeof(desc));
	} else {
		memcpy(&desc, at, sizeof(desc));
		/* The compiler must not load it again. */
		atomic_signal_fence(memory_order_seq_cst);
	}
	return desc;
}

/* ------------------------------------------------------------------------------------ life */

int virtq_init(struct virtq *q, const struct guest_memory *memory, uint16_t max_size)
{
	memset(q, 0, sizeof(*q));
	if (max_size == 0 || max_size > VIRTQ_SIZE_MAX || (max_size & (max_size - 1)) != 0)
		return -EINVAL;
	q->done = calloc(max_size, sizeof(*q->done));
	if (!q->done)
		return -ENOMEM;
	q->memory = memory;
	q->max_size = max_size;
	return 0;
}

void virtq_done(struct virtq *q)
{
	free(q->done);
	memset(q, 0, sizeof(*q));
}

static bool disjoint(gpa_t a, uint64_t a_size, gpa_t b, uint64_t b_size)
{
	/* Both lie in RAM, so the sums do not wrap. */
	return a.v + a_size <= b.v || b.v + b_size <= a.v;
}

int virtq_enable(struct virtq *q, const struct virtq_config *config)
{
	struct virtq_config c = *config;
	uint64_t desc_size = DESC_BYTES * (uint64_t)c.size;
	uint64_t avail_size = AVAIL_RING + 2ULL * c.size + 2;
	uint64_t used_size = USED_RING + USED_BYTES * (uint64_t)c.size + 2;
	const void *desc;
	void *avail;
	void *used;

	if (c.size == 0 || c.size > q->max_size || (c.size & (c.size - 1)) != 0)
		return -EINVAL;
	if (c.desc.v % 16 != 0 || c.avail.v % 2 != 0 || c.used.v % 4 != 0)
		return -EFAULT;
	desc = guest_memory_at(q->memory, c.desc, desc_size);
	avail = guest_memory_at(q->memory, c.avail, avail_size);
	used = guest_memory_at(q->memory, c.used, used_size);
	if (!desc || !avail || !used)
		return -EFAULT;
	if (!disjoint(c.desc, desc_size, c.avail, avail_size) ||
	    !disjoint(c.desc, desc_size, c.used, used_size) ||
	    !disjoint(c.avail, avail_size, c.used, used_size))
		return -EFAULT;
	q->config = c;
	q->desc = desc;
	q->avail = avail;
	q->used = used;
	q->next_avail = 0;
	q->next_used = 0;
	q->done_count = 0;
	q->in_flight = 0;
	q->fault = NULL;
	q->live = true;
	return 0;
}

void virtq_kill(struct virtq *q)
{
	q->live = false;
	q->done_count = 0;
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
}

/* --------------------------------------------------------------------------------------- pop */

/* The state of the walk along one chain. */
struct walk {
	struct virtq_chain *chain;
	uint64_t bytes;       /* of both parts */
	uint32_t descriptors; /* seen */
	gpa_t table;          /* of the indirect table in use */
	uint32_t table_size;  /* its entries; 0: the walk is in the ring */
};

static int broken(struct virtq *q, const char *fault)
{
	q->fault = fault;
	return -EBADMSG;
}

/* Adds a buffer's memory, one piece for each region that it lies in. */
static int add_buffer(struct virtq *q, struct walk *walk, const struct vring_desc *desc)
{
	struct virtq_chain *chain = walk->chain;
	bool writable = desc->flags & VRING_DESC_F_WRITE;
	uint64_t address = desc->addr;
	uint64_t left = desc->len;
	uint64_t end;

	if (left == 0)
		return broken(q, "a descriptor of length 0");
	if (__builtin_add_overflow(address, left, &end))
		return broken(q, "a descriptor whose end wraps around");
	if (!writable && chain->writable > 0)
		return broken(q, "a readable descriptor after a writable one");
	walk->bytes += left;
	if (walk->bytes > UINT32_MAX)
		return broken(q, "a chain of more than 2^32 - 1 bytes");
	while (left > 0) {
		uint64_t piece = 0;
		void *hva = guest_memory_from(q->memory, GPA(address), &piece);

		if (!hva)
			return broken(q, "a buffer that is not in RAM");
		piece = MIN(piece, left);
		if (chain->readable + chain->writable == chain->iov_max)
			return broken(q, "a chain of more segments than the device takes");
		chain->iov[chain->readable + chain->writable] =
			(struct iovec){ .iov_base = hva, .iov_len = piece };
		*(writable ? &chain->writable : &chain->readable) += 1;
		*(writable ? &chain->writable_bytes : &chain->readable_bytes) += (uint32_t)piece;
		address += piece;
		left -= piece;
	}
	return 0;
}

static int enter_table(struct virtq *q, struct walk *walk, const struct vring_desc *desc)
{
	if (!q->config.indirect)
		return broken(q, "an indirect descriptor that was not negotiated");
	if (walk->table_size > 0)
		return broken(q, "an indirect table within an indirect table");
	if (desc->flags & VRING_DESC_F_NEXT)
		return broken(q, "an indirect descriptor that has a next");
	if (desc->len == 0 || desc->len % DESC_BYTES != 0)
		return broken(q, "an indirect table of an impossible length");
	walk->table = GPA(desc->addr);
	walk->table_size = (uint32_t)(desc->len / DESC_BYTES);
	return 0;
}

static int load_table_entry(struct virtq *q, const struct walk *walk, uint16_t index,
                            struct vring_desc *ret_desc)
{
	gpa_t gpa;
	const void *at;

	if (__builtin_add_overflow(walk->table.v, (uint64_t)index * DESC_BYTES, &gpa.v))
		return broken(q, "an indirect table whose end wraps around");
	at = guest_memory_at(q->memory, gpa, DESC_BYTES);
	if (at)
		*ret_desc = load_desc(at);
	else if (guest_memory_read(q->memory, gpa, ret_desc, DESC_BYTES) < 0)
		return broken(q, "an indirect table that is not in RAM");
	return 0;
}

static int walk_chain(struct virtq *q, struct virtq_chain *chain, uint16_t head)
{
	struct walk walk = { .chain = chain };
	uint16_t index = head;

	for (;;) {
		struct vring_desc desc;
		uint32_t bound = walk.table_size > 0 ? walk.table_size : q->config.size;
		int r;

		if (index >= bound)
			return broken(q, "a descriptor index beyond its table");
		if (walk.table_size > 0) {
			r = load_table_entry(q, &walk, index, &desc);
			if (r < 0)
				return r;
		} else {
			desc = load_desc((const uint8_t *)q->desc + index * DESC_BYTES);
		}
		if (desc.flags & VRING_DESC_F_INDIRECT) {
			r = enter_table(q, &walk, &desc);
			if (r < 0)
				return r;
			index = 0;
			continue;
		}
		/* Otherwise a looped chain would never end; no valid chain is longer (§2.7.5.2). */
		if (++walk.descriptors > q->config.size)
			return broken(q, "a chain longer than its queue: a loop");
		r = add_buffer(q, &walk, &desc);
		if (r < 0)
			return r;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return 0;
		index = desc.next;
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	uint16_t waiting;
	uint16_t head;
	int r;

	if (!q->live)
		return 0;
	waiting = (uint16_t)(load_avail_idx(q) - q->next_avail);
	if (waiting == 0)
		return 0;
	if (waiting > q->config.size)
		return broken(q, "avail.idx jumped by more than the queue's size");
	/* Never true for a correct driver; it bounds `done` and the requests in flight. */
	if (q->in_flight + q->done_count >= q->config.size)
		return broken(q, "more requests in flight than the queue has descriptors");
	head = load16(q->avail, AVAIL_RING + 2u * (q->next_avail & (q->config.size - 1)));
	if (head >= q->config.size)
		return broken(q, "a chain head beyond the queue's size");
	chain->head = head;
	chain->readable = 0;
	chain->writable = 0;
	chain->readable_bytes = 0;
	chain->writable_bytes = 0;
	r = walk_chain(q, chain, head);
	if (r < 0)
		return r;
	q->next_avail++;
	q->in_flight++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	if (q->in_flight == 0)
		return;
	q->in_flight--;
	if (q->live)
		q->next_avail--;
}

/* -------------------------------------------------------------------------------------- used */

void virtq_push(struct virtq *q, uint16_t head, uint32_t length)
{
	if (q->in_flight == 0)
		return;
	q->in_flight--;
	if (q->live)
		q->done[q->done_count++] = (struct virtq_used){ .id = head, .length = length };
}

bool virtq_publish(struct virtq *q)
{
	uint16_t before = q->next_used;
	uint16_t after = (uint16_t)(before + q->done_count);

	if (!q->live || q->done_count == 0)
		return false;
	for (uint16_t i = 0; i < q->done_count; i++) {
		uint16_t slot = (uint16_t)(before + i) & (q->config.size - 1);
		uint8_t *at = (uint8_t *)q->used + USED_RING + USED_BYTES * slot;
		uint32_t *entry = (uint32_t *)(void *)at;

		__atomic_store_n(&entry[0], q->done[i].id, __ATOMIC_RELAXED);
		__atomic_store_n(&entry[1], q->done[i].length, __ATOMIC_RELAXED);
	}
	q->done_count = 0;
	q->next_used = after;
	store_used_idx(q, after);
	/* Pairs with the driver's fence between its used_event (or flag) and its read of
	 * used.idx. */
	atomic_thread_fence(memory_order_seq_cst);
	if (q->config.event_idx)
		return virtq_passes(load16(q->avail, used_event_offset(q)), after, before);
	return !(load16(q->avail, AVAIL_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* -------------------------------------------------------------------------------------- kicks */

bool virtq_available(const struct virtq *q)
{
	return q->live && load_avail_idx(q) != q->next_avail;
}

void virtq_suppress_kicks(struct virtq *q)
{
	/* With event indices there is nothing to do: avail_event stays behind, and the driver kicks
	 * only when it passes it. */
	if (q->live && !q->config.event_idx)
		store16(q->used, USED_FLAGS, VRING_USED_F_NO_NOTIFY);
}

bool virtq_want_kicks(struct virtq *q)
{
	if (!q->live)
		return false;
	if (q->config.event_idx)
		store16(q->used, avail_event_offset(q), q->next_avail);
	else
		store16(q->used, USED_FLAGS, 0);
	/* Pairs with the driver's fence between avail.idx and its look at avail_event (or flag). */
	atomic_thread_fence(memory_order_seq_cst);
	return virtq_available(q);
}

/* ------------------------------------------------------------------------------------- copies */

static size_t copy_part(const struct iovec *iov, size_t count, size_t offset, void *to,
                        const void *from, size_t length)
{
	size_t copied = 0;

	for (size_t i = 0; i < count && copied < length; i++) {
		size_t step;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		step = MIN(iov[i].iov_len - offset, length - copied);
		if (to)
			memcpy((uint8_t *)to + copied, (uint8_t *)iov[i].iov_base + offset, step);
		else
			memcpy((uint8_t *)iov[i].iov_base + offset, (const uint8_t *)from + copied,
			       step);
		copied += step;
		offset = 0;
	}
	return copied;
}

size_t virtq_copy_from(const struct virtq_chain *chain, size_t offset, void *data, size_t length)
{
	return copy_part(chain->iov, chain->readable, offset, data, NULL, length);
}

size_t virtq_copy_to(const struct virtq_chain *chain, size_t offset, const void *data,
                     size_t length)
{
	return copy_part(chain->iov + chain->readable, chain->writable, offset, NULL, data, length);
}
