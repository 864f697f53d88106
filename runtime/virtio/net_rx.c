/* SPDX-License-Identifier: MIT */
/* virtio-net, receiving: from the TAP straight into the guest's buffers.
 *
 * A TAP does not tell the length of the next frame. So each read gets as many of the guest's
 * buffers as the largest recent frame needed, and after them a buffer of our own, the spill.
 * Buffers that the frame leaves over stay in stock for the next read: a read's `chains` are filled
 * up again, not given back. A frame that reaches into the spill is completed by a copy, into
 * buffers taken for it afterwards, and later reads get more buffers. With merged buffers
 * (VIRTIO_NET_F_MRG_RXBUF) that is rare: the first large frame of a burst, or a guest that has
 * given few buffers. Without them a frame has one buffer, and one that is too large for it is
 * dropped and counted.
 *
 * Reads go out in batches, all in one io_uring_enter, and are carried out at once and in order,
 * since the TAP does not block. A batch that found a frame with each read is followed by one of
 * twice the size; one that found the TAP empty ends it, until a poll reports the next frame. The
 * poll is armed only while frames are wanted: a guest that gives no buffers causes no wake-ups.
 * Frames wait in the TAP then, which drops what exceeds its queue.
 *
 * Completions come in the order of the frames, and are delivered in that order: those behind a
 * frame that needs more buffers than there are wait with it, in `waiting`, and no read is made
 * meanwhile. When the driver has none left, the frame gets those that other reads hold, even if a
 * frame lies in them: otherwise a burst of frames larger than those before it, spread over all of
 * the driver's buffers, could never be delivered and none of the buffers come back.
 *
 * TAP queues without a pair in use are read for the others. */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "virtio/net_parts.h"

/* ------------------------------------------------------------------------------------- in stock */

static bool has_room(const struct net *net, const struct net_read *read)
{
	return read->chain_count < net->chains_per_read &&
	       read->segment_count <= NET_READ_SEGMENTS - NET_SEGMENTS;
}

/* Takes one more of the guest's buffers. */
static bool add_chain(struct net_receiver *rx, struct net_read *read)
{
	struct virtio_device *device = &rx->net->device;
	struct virtq_chain chain = { .iov = read->iov + read->segment_count,
		                     .iov_max = NET_SEGMENTS };

	if (!virtio_pop(device, rx->queue, &chain))
		return false;
	if (chain.readable > 0 || chain.writable == 0) {
		virtio_push(device, rx->queue, chain.head, 0);
		virtio_fail(device, rx->queue, EBADMSG, "a receive buffer is not writable");
		return false;
	}
	read->chains[read->chain_count++] = (struct net_chain){
		.head = chain.head,
		.segments = chain.writable,
		.bytes = chain.writable_bytes,
	};
	read->segment_count += chain.writable;
	read->bytes += chain.writable_bytes;
	return true;
}

/* Removes the first `count` chains, which have been pushed. */
static void drop_chains(struct net_read *read, uint16_t count)
{
	uint16_t segments = 0;

	for (uint16_t i = 0; i < count; i++) {
		segments += read->chains[i].segments;
		read->bytes -= read->chains[i].bytes;
	}
	read->chain_count -= count;
	read->segment_count -= segments;
	memmove(read->chains, read->chains + count, read->chain_count * sizeof(*read->chains));
	memmove(read->iov, read->iov + segments, read->segment_count * sizeof(*read->iov));
}

static void release_read(struct net_receiver *rx, struct net_read *read)
{
	for (uint16_t i = 0; i < read->chain_count; i++)
		virtio_push(&rx->net->device, rx->queue, read->chains[i].head, 0);
	read->chain_count = read->segment_count = 0;
	read->bytes = 0;
}

void net_release(struct net_receiver *rx)
{
	rx->waiting = NULL;
	/* Busy reads are released when they are done. */
	for (uint16_t i = 0; i < NET_READS; i++)
		if (!rx->reads[i].busy)
			release_read(rx, &rx->reads[i]);
}

uint16_t net_held(const struct net_receiver *rx)
{
	uint16_t held = 0;

	for (uint16_t i = 0; i < NET_READS; i++)
		if (!rx->reads[i].busy)
			held += rx->reads[i].chain_count;
	return held;
}

/* -------------------------------------------------------------------------------- to the guest */

/* A driver must not see a frame that it did not negotiate (§5.1.6.4.1); frames from before it came
 * up can have waited in the TAP. The header lies in guest memory and may change; a wrong decision
 * then hurts only the guest. */
static bool acceptable(const struct net *net, const struct net_read *read, uint32_t frame)
{
	const struct virtq_chain chain = { .iov = (struct iovec *)(uintptr_t)read->iov,
		                           .readable = read->segment_count };
	struct virtio_net_hdr_v1 header = { 0 };
	const struct virtio_device *device = &net->device;

	if (frame < NET_HEADER_BYTES + NET_FRAME_MIN ||
	    virtq_copy_from(&chain, 0, &header, sizeof(header)) != sizeof(header))
		return false;
	if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    !virtio_has(device, VIRTIO_NET_F_GUEST_CSUM))
		return false;
	switch (header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return virtio_has(device, VIRTIO_NET_F_GUEST_TSO4);
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return virtio_has(device, VIRTIO_NET_F_GUEST_TSO6);
	default:
		return false;
	}
}

/* Completes the header, which the TAP leaves without a count of buffers (§5.1.6.4). */
static void finish_header(const struct net *net, const struct net_read *read, uint16_t buffers)
{
	const struct virtq_chain chain = { .iov = (struct iovec *)(uintptr_t)read->iov,
		                           .writable = read->segment_count };
	uint8_t no_flags = 0;

	virtq_copy_to(&chain, offsetof(struct virtio_net_hdr_v1, num_buffers), &buffers,
	              sizeof(buffers));
	if (!virtio_has(&net->device, VIRTIO_NET_F_GUEST_CSUM))
		virtq_copy_to(&chain, offsetof(struct virtio_net_hdr_v1, flags), &no_flags, 1);
}

static void drop_frame(struct net_receiver *rx)
{
	counter_add(&rx->net->rx_dropped, 1);
}

/* Delivers a frame of `frame` bytes, header included, that lies in the read's chains. */
static void deliver(struct net_receiver *rx, struct net_read *read, uint32_t frame)
{
	struct net *net = rx->net;
	uint32_t left = frame;
	uint16_t used = 0;

	if (!acceptable(net, read, frame)) {
		drop_frame(rx);
		return;
	}
	for (; left > 0; used++) {
		const struct net_chain *chain = &read->chains[used];
		uint32_t length = MIN(left, chain->bytes);

		virtio_push(&net->device, rx->queue, chain->head, length);
		left -= length;
	}
	finish_header(net, read, used);
	drop_chains(read, used);
	counter_add(&net->rx_frames, 1);
	counter_add(&net->rx_bytes, frame - NET_HEADER_BYTES);
}

/* Gives the buffers of a waiting frame to one before it: copies all of the frame to the spill. */
static void evacuate(struct net_read *read)
{
	const struct virtq_chain all = { .iov = read->iov, .readable = read->segment_count };
	uint32_t direct = read->frame - read->spilled;

	memmove(read->spill + direct, read->spill, read->spilled);
	(void)virtq_copy_from(&all, 0, read->spill, direct);
	read->spilled = read->frame;
}

/* A read that can spare buffers: one that only keeps them for later, or the last that waits. */
static struct net_read *find_donor(struct net_receiver *rx, const struct net_read *needy)
{
	uint32_t waiting = 0;
	struct net_read *last = NULL;

	for (struct net_read *read = rx->waiting; read; read = read->next) {
		waiting |= 1u << (read - rx->reads);
		if (read != needy && read->chain_count > 0)
			last = read;
	}
	for (uint16_t i = 0; i < NET_READS; i++) {
		struct net_read *read = &rx->reads[i];

		if (read != needy && !read->busy && !(waiting & (1u << i)) && read->chain_count > 0)
			return read;
	}
	if (last && last->spilled < last->frame)
		evacuate(last);
	return last;
}

/* Moves one buffer from another read's stock, because the driver gives no more while we hold
 * them. */
static bool borrow_chain(struct net_receiver *rx, struct net_read *needy)
{
	struct net_read *donor = find_donor(rx, needy);
	const struct net_chain *chain;

	if (!donor)
		return false;
	chain = &donor->chains[--donor->chain_count];
	donor->segment_count -= chain->segments;
	donor->bytes -= chain->bytes;
	memcpy(needy->iov + needy->segment_count, donor->iov + donor->segment_count,
	       chain->segments * sizeof(*needy->iov));
	needy->chains[needy->chain_count++] = *chain;
	needy->segment_count += chain->segments;
	needy->bytes += chain->bytes;
	return true;
}

/* Delivers a frame, and copies its spilled bytes to further buffers. False: the guest must give
 * more buffers first. */
static bool place(struct net_receiver *rx, struct net_read *read)
{
	uint32_t direct = read->frame - read->spilled;

	while (read->placed < read->spilled) {
		const struct virtq_chain all = { .iov = read->iov,
			                         .writable = read->segment_count };

		if (read->bytes > direct + read->placed) {
			read->placed += (uint32_t)virtq_copy_to(&all, direct + read->placed,
			                                        read->spill + read->placed,
			                                        read->spilled - read->placed);
			continue;
		}
		if (!has_room(rx->net, read)) {
			drop_frame(rx);
			return true;
		}
		if (!virtio_running(&rx->net->device, rx->queue) ||
		    (!add_chain(rx, read) && !borrow_chain(rx, read)))
			return false;
	}
	if (read->spilled > 0)
		counter_add(&rx->net->rx_copied, 1);
	deliver(rx, read, read->frame);
	return true;
}

/* Delivers waiting frames; true if none is left. */
static bool place_waiting(struct net_receiver *rx)
{
	while (rx->waiting && place(rx, rx->waiting))
		rx->waiting = rx->waiting->next;
	return !rx->waiting;
}

static void take_frame(struct net_receiver *rx, struct net_read *read, uint32_t frame)
{
	struct net_read **end = &rx->waiting;

	if (rate_limit_is_set(&rx->net->rx_gate.limit))
		rate_limit_charge(&rx->net->rx_gate.limit, io_now_ns(), frame - MIN(frame, 12u), 1);
	rx->recent = MAX(rx->recent, MIN(frame, (uint32_t)NET_SPILL_BYTES));
	read->frame = frame;
	read->spilled = frame > read->bytes ? frame - read->bytes : 0;
	read->placed = 0;
	read->next = NULL;
	/* Longer than any frame; a frame that fills the spill may have been longer still. */
	if (frame > NET_SPILL_BYTES || (read->spilled > 0 && rx->net->chains_per_read == 1)) {
		drop_frame(rx);
		return;
	}
	while (*end)
		end = &(*end)->next;
	*end = read;
	(void)place_waiting(rx);
}

/* --------------------------------------------------------------------------------------- reads */

static struct net_source *next_source(struct net_receiver *rx)
{
	uint32_t mine = rx->net->readable & rx->sources;
	/* Sources after the last one come first. */
	uint32_t after = mine & ~((2u << rx->last_source) - 1);

	if (mine == 0)
		return NULL;
	rx->last_source = (uint16_t)__builtin_ctz(after ? after : mine);
	return &rx->net->sources[rx->last_source];
}

static bool start_read(struct net_receiver *rx, struct net_read *read)
{
	const struct net_source *source = next_source(rx);

	if (!source)
		return false;
	read->iov[read->segment_count] = (struct iovec){
		.iov_base = read->spill,
		.iov_len = NET_SPILL_BYTES,
	};
	read->source = source->index;
	read->busy = io_receive(rx->net->device.loop, &read->op, source->file, read->iov,
	                        read->segment_count + 1u, source->nowait);
	rx->in_flight += read->busy;
	return read->busy;
}

/* Fills up a read's stock; true if it holds the expected bytes of a frame. */
static bool fill(struct net_receiver *rx, struct net_read *read, bool *dry)
{
	while (!*dry && read->bytes < rx->recent && has_room(rx->net, read))
		*dry = !add_chain(rx, read);
	return read->chain_count > 0 && (read->bytes >= rx->recent || !has_room(rx->net, read));
}

/* Starts up to `depth` reads; false when there was none to start. */
static bool start_batch(struct net_receiver *rx, uint16_t depth)
{
	bool dry = false;

	for (uint16_t i = 0; i < NET_READS && rx->in_flight < depth; i++)
		if (fill(rx, &rx->reads[i], &dry) && !start_read(rx, &rx->reads[i]))
			break;
	/* The guest has given few buffers: start one read with those that there are. */
	for (uint16_t i = 0; i < NET_READS && rx->in_flight == 0; i++)
		if (rx->reads[i].chain_count > 0 && virtio_running(&rx->net->device, rx->queue))
			(void)start_read(rx, &rx->reads[i]);
	return rx->in_flight > 0;
}

/* Watches the TAP queues that are known to be empty. */
static void watch(struct net_receiver *rx)
{
	struct net *net = rx->net;
	uint32_t idle = rx->sources & ~net->readable;

	for (; idle != 0 && !net->tap_gone; idle &= idle - 1) {
		struct net_source *source = &net->sources[__builtin_ctz(idle)];

		if (source->polling)
			continue;
		source->polling = io_poll(net->device.loop, &source->poll_op, source->file, POLLIN);
		source->polled_at =
			atomic_load_explicit(&net->device.loop->stats.turns, memory_order_relaxed);
	}
}

void net_receive(struct net_receiver *rx)
{
	struct net *net = rx->net;
	struct net_gate *gate = &net->rx_gate;
	uint16_t depth = rx->depth;

	if (rx->in_flight > 0 || !net->rx_ready || net->control_waits ||
	    !virtio_running(&net->device, rx->queue))
		return;
	watch(rx);
	if (rate_limit_is_set(&gate->limit)) {
		uint64_t wait_ns = rate_limit_wait(&gate->limit, io_now_ns(), 1, 1);

		if (wait_ns > 0) {
			net_wait(net, gate, wait_ns);
			return;
		}
		depth = 1;
	}
	do {
		if (!place_waiting(rx))
			continue;
		if ((net->readable & rx->sources) == 0 || start_batch(rx, depth))
			return;
	} while (virtio_want_kicks(&net->device, rx->queue));
}

static void end_batch(struct net_receiver *rx)
{
	rx->recent = MAX(rx->recent - rx->recent / 32, rx->net->frame);
	/* After a single frame there is mostly no other: a poll finds that out at less cost than a
	 * read. */
	if (!rx->drained && rx->depth == 1)
		rx->net->readable &= ~(1u << rx->last_source);
	rx->depth = rx->drained ? MAX(rx->good, (uint16_t)1)
	                        : MIN((uint16_t)(rx->depth * 2), (uint16_t)NET_READS);
	rx->good = 0;
	rx->drained = false;
	if (rx->net->control_waits)
		net_serve_control(rx->net); /* and then every receiver goes on */
	else
		net_receive(rx);
}

void net_read_done(struct io_op *op, int result, uint32_t flags)
{
	struct net_read *read = CONTAINER_OF(op, struct net_read, op);
	struct net_receiver *rx = read->receiver;
	struct net *net = rx->net;

	(void)flags;
	read->busy = false;
	rx->in_flight--;
	if (result > 0) {
		rx->good++;
		take_frame(rx, read, (uint32_t)result);
	} else if (result == -EAGAIN) {
		rx->drained = true;
		net->readable &= ~(1u << read->source);
	} else if (result != -EINTR && result != -ECANCELED) {
		net_lose_tap(net, result < 0 ? result : -ENODEV);
	}
	if (!virtio_live(&net->device, rx->queue)) {
		rx->waiting = NULL;
		release_read(rx, read);
	}
	if (rx->in_flight == 0)
		end_batch(rx);
}

void net_poll_done(struct io_op *op, int result, uint32_t flags)
{
	struct net_source *source = CONTAINER_OF(op, struct net_source, poll_op);
	struct net *net = source->net;
	struct net_receiver *rx = &net->receivers[source->index % net->active];
	uint64_t turn = atomic_load_explicit(&net->device.loop->stats.turns, memory_order_relaxed);

	(void)flags;
	source->polling = false;
	if (result < 0 && result != -ECANCELED)
		virtio_report(&net->device, -1, result, "the TAP's poll failed");
	if (result < 0 || net->tap_gone)
		return;
	/* An error is reported by the read that follows. */
	net->readable |= 1u << source->index;
	/* The poll had to wait for a frame: the burst is over. */
	if (turn > source->polled_at + 1 && rx->in_flight == 0)
		rx->depth = 1;
	net_receive(rx);
}
