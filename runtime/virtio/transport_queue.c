/* SPDX-License-Identifier: MIT */
/* A device's queues on the I/O thread (device.h): requests, completions, and the allowance of a
 * turn of the loop. transport.c decides which queues run. */
#include <stdatomic.h>

#include "virtio/transport.h"

#define ISR_QUEUE 1u

void virtio_mark_dirty(struct virtio_transport *t, uint16_t queue)
{
	t->dirty_queues |= 1ULL << queue;
	io_client_dirty(&t->device->client);
}

static bool running(const struct virtio_transport *t)
{
	/* Acquire pairs with the release in the transport's config hook. */
	return t->active && !t->broken && !t->draining && !t->paused &&
	       atomic_load_explicit(&t->bus_master, memory_order_acquire);
}

static bool queue_running(const struct virtio_transport *t, uint16_t queue)
{
	return running(t) && t->queues[queue].ring.live && !t->queues[queue].resetting;
}

/* A queue may take two rounds of its ring in a turn of the loop, and its share of the device's
 * work, however often and for whatever reason it is looked at, so that no queue starves the others.
 * Requests that a device pops from completions count too. Once the allowance is used up, the queue
 * is visited in the next turn. */
void virtio_begin_turn(const struct virtio_device *device, struct virtio_queue *q)
{
	uint64_t turn = counter_read(&device->loop->stats.turns);

	if (q->turn == turn)
		return;
	q->turn = turn;
	q->work = VIRTIO_TURN_WORK / device->queue_count;
	q->budget = 2u * q->ring.config.size;
	q->again = false;
}

/* Makes the loop visit a queue in the next turn. Always false, for the caller to return. */
static bool look_again_later(struct virtio_device *device, struct virtio_queue *q)
{
	if (!q->again) {
		atomic_fetch_or(&device->transport->kicks, 1ULL << q->index);
		io_client_again(&device->client, MAIL_KICK);
	}
	q->again = true;
	return false;
}

bool virtio_work(struct virtio_device *device, uint16_t queue, uint32_t units)
{
	struct virtio_queue *q = &device->transport->queues[queue];

	virtio_begin_turn(device, q);
	q->work -= MIN(units, q->work);
	return q->work > 0;
}

bool virtio_pop(struct virtio_device *device, uint16_t queue, struct virtq_chain *chain)
{
	struct virtio_transport *t = device->transport;
	struct virtio_queue *q = &t->queues[queue];
	int r;

	if (!queue_running(t, queue))
		return false;
	virtio_begin_turn(device, q);
	if (q->budget == 0 || q->work == 0)
		return look_again_later(device, q);
	r = virtq_pop(&q->ring, chain);
	if (r < 0) {
		virtio_fail(device, queue, r, q->ring.fault);
		return false;
	}
	if (r == 0)
		return false;
	q->budget--;
	q->work -= MIN((uint32_t)chain->readable + chain->writable, q->work);
	q->taken_ns[chain->head] = io_turn_ns(device->loop);
	q->last_bytes = chain->readable_bytes;
	counter_add(&q->counters.requests, 1);
	counter_add(&q->counters.bytes_from_guest, chain->readable_bytes);
	return true;
}

void virtio_unpop(struct virtio_device *device, uint16_t queue)
{
	struct virtio_transport *t = device->transport;
	struct virtio_queue *q = &t->queues[queue];

	counter_add(&q->counters.requests, -1ULL);
	counter_add(&q->counters.bytes_from_guest, -(uint64_t)q->last_bytes);
	virtq_unpop(&q->ring);
	virtio_mark_dirty(t, queue);
}

void virtio_push(struct virtio_device *device, uint16_t queue, uint16_t head, uint32_t length)
{
	struct virtio_transport *t = device->transport;
	struct virtio_queue *q = &t->queues[queue];

	if (q->ring.live) {
		counter_add(&q->counters.bytes_to_guest, length);
		if (!(device->untimed_queues & 1ULL << queue))
			virtio_latency_add(&t->latency,
			                   io_turn_ns(device->loop) - q->taken_ns[head]);
	}
	virtq_push(&q->ring, head, length);
	virtio_mark_dirty(t, queue);
}

bool virtio_want_kicks(struct virtio_device *device, uint16_t queue)
{
	struct virtio_transport *t = device->transport;
	struct virtio_queue *q = &t->queues[queue];

	if (!queue_running(t, queue) || q->again)
		return false;
	/* A loop that polls needs no kicks, and asks for them before it sleeps (on_poll). */
	q->watched = device->loop->busy_poll_us > 0;
	return q->watched ? virtq_available(&q->ring) : virtq_want_kicks(&q->ring);
}

bool virtio_available(const struct virtio_device *device, uint16_t queue)
{
	const struct virtio_transport *t = device->transport;

	return queue_running(t, queue) && virtq_available(&t->queues[queue].ring);
}

bool virtio_running(const struct virtio_device *device, uint16_t queue)
{
	return queue_running(device->transport, queue);
}

bool virtio_live(const struct virtio_device *device, uint16_t queue)
{
	return device->transport->queues[queue].ring.live;
}

uint16_t virtio_in_flight(const struct virtio_device *device, uint16_t queue)
{
	return device->transport->queues[queue].ring.in_flight;
}

void virtio_ring_place(const struct virtio_device *device, uint16_t queue,
                       struct virtio_ring_place *ret_place)
{
	const struct virtio_transport *t = device->transport;
	const struct virtio_queue *q = &t->queues[queue];

	*ret_place = (struct virtio_ring_place){
		.size = q->ring.config.size,
		.epoch = q->epoch,
		.desc = q->ring.desc,
		.avail = q->ring.avail,
		.used = q->ring.used,
		.doorbell_fd = q->doorbell_fd,
		.irq_fd = msix_direct_fd(&t->msix, q->vector),
	};
}

void virtio_interrupt(struct virtio_device *device, uint16_t queue)
{
	struct virtio_transport *t = device->transport;

	counter_add(&t->queues[queue].counters.interrupts, 1);
	atomic_fetch_or(&t->isr, ISR_QUEUE);
	msix_signal(&t->msix, t->queues[queue].vector);
}

void virtio_ring_doorbell(struct virtio_device *device, uint16_t queue)
{
	io_interrupt(device->loop, device->transport->queues[queue].doorbell_file);
}
