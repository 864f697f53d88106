/* SPDX-License-Identifier: MIT */
/* A virtio device on the I/O thread: activation, kicks, failure, reset.
 *
 * The registers hold what the driver asks for, the fields here what is in force. Only `apply_state`
 * compares the two and changes the fields:
 *
 *   registers.live, not active     enable the rings, activate, look at every queue once
 *   registers.resetting            kill the rings, quiesce; when nothing is in flight any more:
 *                                  reset, registers to their defaults, so that status reads 0
 *   queue enabled, its ring dead   enable it (a queue that comes back after queue_reset)
 *   queue resetting                the same as a device's reset, for one queue
 *
 * A doorbell can be reported before mail that was posted ahead of it (DRIVER_OK or a reset, then a
 * kick), so each doorbell takes the mail first. A queue that becomes able to run is also looked at
 * once, so no early kick is lost. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>

#include "virtio/transport.h"

#define ISR_CONFIG 2u
#define NO_TURN UINT64_MAX

/* --------------------------------------------------------------------------- failures, config */

static void emit(struct virtio_transport *t, bool needs_reset, int queue, int error,
                 const char *message)
{
	struct virtio_event event = {
		.device_id = t->device->id,
		.message = message,
		.needs_reset = needs_reset,
		.queue = queue,
		.error_number = error < 0 ? -error : error,
	};

	virtio_complain(&t->complaints, &event);
}

static void config_interrupt(struct virtio_transport *t)
{
	if (!t->active || t->draining)
		return;
	atomic_fetch_or(&t->isr, ISR_CONFIG);
	msix_signal(&t->msix, atomic_load(&t->config_vector));
}

void virtio_fail(struct virtio_device *device, int queue, int error, const char *message)
{
	struct virtio_transport *t = device->transport;

	if (t->broken || t->draining)
		return;
	t->broken = true;
	counter_add(&t->failures, 1);
	for (uint16_t i = 0; i < device->queue_count; i++)
		virtq_kill(&t->queues[i].ring);
	pthread_mutex_lock(&t->registers.lock);
	t->registers.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	pthread_mutex_unlock(&t->registers.lock);
	config_interrupt(t);
	emit(t, true, queue, error, message);
}

void virtio_report(struct virtio_device *device, int queue, int error, const char *message)
{
	emit(device->transport, false, queue, error, message);
}

void virtio_not_told(struct virtio_device *device)
{
	device->transport->complaints.suppressed++;
}

void virtio_config_update(struct virtio_device *device, uint32_t offset, const void *data,
                          uint32_t length)
{
	struct virtio_transport *t = device->transport;

	if (offset > device->config_size || length > device->config_size - offset)
		return;
	pthread_mutex_lock(&t->registers.lock);
	memcpy((uint8_t *)device->config + offset, data, length);
	t->registers.generation++;
	pthread_mutex_unlock(&t->registers.lock);
	io_client_post(&device->client, MAIL_CONFIG);
}

/* ------------------------------------------------------------------------------------ queues */

static bool served_elsewhere(const struct virtio_transport *t, uint16_t queue)
{
	return t->device->elsewhere & (1ULL << queue);
}

static void run_queue(struct virtio_transport *t, uint16_t queue)
{
	struct virtio_queue *q = &t->queues[queue];

	if (served_elsewhere(t, queue)) {
		t->device->ops->kick(t->device, queue);
		return;
	}
	if (!virtio_running(t->device, queue))
		return;
	counter_add(&q->counters.kicks, 1);
	virtio_begin_turn(t->device, q);
	q->again = false; /* the kick that was due is this one */
	virtq_suppress_kicks(&q->ring);
	t->device->ops->kick(t->device, queue);
}

static void run_all_queues(struct virtio_transport *t)
{
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		run_queue(t, i);
}

/* ---------------------------------------------------------------------------------- transitions */

static int enable_queue(struct virtio_transport *t, uint16_t index,
                        const struct queue_registers *registers)
{
	struct virtio_queue *q = &t->queues[index];
	struct virtq_config config = {
		.size = registers->size,
		.desc = GPA(registers->desc),
		.avail = GPA(registers->avail),
		.used = GPA(registers->used),
		.indirect = virtio_has(t->device, VIRTIO_RING_F_INDIRECT_DESC),
		.event_idx = virtio_has(t->device, VIRTIO_RING_F_EVENT_IDX),
	};

	q->vector = registers->vector;
	q->turn = NO_TURN;
	q->epoch++;
	q->watched = false;
	return virtq_enable(&q->ring, &config);
}

/* A copy of one queue's registers, so that none is read twice while the guest writes them. */
static struct queue_registers queue_wishes(struct virtio_transport *t, uint16_t index)
{
	struct queue_registers copy;

	pthread_mutex_lock(&t->registers.lock);
	copy = t->registers.queues[index];
	pthread_mutex_unlock(&t->registers.lock);
	return copy;
}

static void apply_queue(struct virtio_transport *t, uint16_t index)
{
	struct virtio_queue *q = &t->queues[index];
	struct queue_registers wishes = queue_wishes(t, index);

	if (wishes.resetting && !q->resetting) {
		q->resetting = true;
		virtq_kill(&q->ring);
		if (t->device->ops->quiesce)
			t->device->ops->quiesce(t->device, index);
		virtio_mark_dirty(t, index);
	} else if (wishes.enabled && !wishes.resetting && !q->ring.live && !t->broken) {
		if (enable_queue(t, index, &wishes) < 0)
			virtio_fail(t->device, index, EINVAL,
			            "a queue's rings are not in RAM, misaligned, or overlap");
		else
			run_queue(t, index);
	}
}

static void activate(struct virtio_transport *t, uint64_t features)
{
	struct virtio_device *device = t->device;

	t->active = true;
	t->broken = false;
	device->negotiated = features;
	for (uint16_t i = 0; i < device->queue_count && !t->broken; i++) {
		struct queue_registers wishes = queue_wishes(t, i);

		if (wishes.enabled && enable_queue(t, i, &wishes) < 0)
			virtio_fail(device, i, EINVAL,
			            "a queue's rings are not in RAM, misaligned, or overlap");
	}
	if (device->ops->activate)
		device->ops->activate(device);
	run_all_queues(t);
}

static void begin_reset(struct virtio_transport *t)
{
	t->draining = true;
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		virtq_kill(&t->queues[i].ring);
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		if (t->device->ops->quiesce)
			t->device->ops->quiesce(t->device, i);
	io_client_dirty(&t->device->client);
}

/* Whether a queue has no request in flight except `held` ones that the device only keeps. */
static bool quiet(const struct virtio_transport *t, uint16_t queue, uint16_t held)
{
	const struct virtio_device_ops *ops = t->device->ops;

	if (t->queues[queue].ring.in_flight > held)
		return false;
	return !ops->released || !served_elsewhere(t, queue) || ops->released(t->device, queue);
}

static bool drained(const struct virtio_transport *t)
{
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		if (!quiet(t, i, 0))
			return false;
	return true;
}

static void finish_reset(struct virtio_transport *t)
{
	if (t->device->ops->reset)
		t->device->ops->reset(t->device);
	t->active = false;
	t->broken = false;
	t->draining = false;
	t->device->negotiated = 0;
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		t->queues[i].resetting = false;
	msix_forget(&t->msix);
	counter_add(&t->resets, 1);
	pthread_mutex_lock(&t->registers.lock);
	virtio_registers_reset(t);
	pthread_mutex_unlock(&t->registers.lock);
}

static void apply_state(struct virtio_transport *t)
{
	bool resetting;
	bool live;
	uint64_t features;

	pthread_mutex_lock(&t->registers.lock);
	resetting = t->registers.resetting;
	live = t->registers.live;
	features = t->registers.driver_features;
	pthread_mutex_unlock(&t->registers.lock);
	if (resetting) {
		if (!t->draining)
			begin_reset(t);
		return;
	}
	if (!live)
		return;
	if (!t->active) {
		activate(t, features);
		return;
	}
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		apply_queue(t, i);
}

/* ---------------------------------------------------------------------- as a client of the loop */

static struct virtio_transport *transport_of(const struct io_client *client)
{
	const char *device = (const char *)client - offsetof(struct virtio_device, client);

	return ((const struct virtio_device *)(const void *)device)->transport;
}

static void on_start(struct io_client *client)
{
	struct virtio_transport *t = transport_of(client);

	for (uint16_t i = 0; i < t->device->queue_count; i++)
		if (!served_elsewhere(t, i))
			(void)io_poll_multishot(client->loop, &t->queues[i].doorbell_op,
			                        t->queues[i].doorbell_file, POLLIN);
	virtio_complaints_start(&t->complaints);
	if (t->device->ops->start)
		t->device->ops->start(t->device);
}

void virtio_doorbell_done(struct io_op *op, int result, uint32_t flags)
{
	struct virtio_queue *q = CONTAINER_OF(op, struct virtio_queue, doorbell_op);
	struct virtio_transport *t = q->device->transport;

	if (!(flags & IORING_CQE_F_MORE) && result >= 0)
		(void)io_poll_multishot(q->device->loop, op, q->doorbell_file, POLLIN);
	if (result < 0) {
		if (result != -ECANCELED)
			virtio_report(q->device, q->index, result, "the doorbell's poll failed");
		return;
	}
	io_client_take_mail(&q->device->client);
	run_queue(t, q->index);
}

static void on_mail(struct io_client *client, uint32_t bits)
{
	struct virtio_transport *t = transport_of(client);

	if (bits & MAIL_STATE)
		apply_state(t);
	if (bits & MAIL_REPLAY)
		msix_replay(&t->msix);
	if (bits & MAIL_CONFIG)
		config_interrupt(t);
	if (bits & MAIL_KICK) {
		uint64_t kicks = atomic_exchange(&t->kicks, 0);

		for (; kicks != 0; kicks &= kicks - 1) {
			uint16_t queue = (uint16_t)__builtin_ctzll(kicks);

			if (served_elsewhere(t, queue))
				virtio_ring_doorbell(t->device, queue);
			else
				run_queue(t, queue);
		}
	}
	if (bits & MAIL_SCAN) {
		t->dirty_queues = ~0ULL;
		io_client_dirty(client);
		run_all_queues(t);
	}
	if ((bits & ~MAIL_TRANSPORT) && t->device->ops->mail)
		t->device->ops->mail(t->device, bits & ~MAIL_TRANSPORT);
}

static void publish(struct virtio_transport *t, struct virtio_queue *q)
{
	counter_add(&q->counters.batches, q->ring.done_count > 0);
	if (virtq_publish(&q->ring))
		virtio_interrupt(t->device, q->index);
}

static void finish_queue_reset(struct virtio_transport *t, struct virtio_queue *q)
{
	q->resetting = false;
	pthread_mutex_lock(&t->registers.lock);
	virtio_queue_registers_reset(t, q->index);
	pthread_mutex_unlock(&t->registers.lock);
}

static void on_end_of_turn(struct io_client *client)
{
	struct virtio_transport *t = transport_of(client);
	uint64_t dirty = t->dirty_queues & ~t->device->elsewhere;

	/* Without bus mastering nothing may be written to memory; MAIL_SCAN comes with it. */
	if (atomic_load_explicit(&t->bus_master, memory_order_acquire)) {
		t->dirty_queues = 0;
		for (uint16_t i = 0; i < t->device->queue_count; i++)
			if (dirty & (1ULL << i))
				publish(t, &t->queues[i]);
	}
	if (t->draining) {
		if (drained(t))
			finish_reset(t);
		return;
	}
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		if (t->queues[i].resetting && quiet(t, i, 0))
			finish_queue_reset(t, &t->queues[i]);
}

static void on_pause(struct io_client *client)
{
	struct virtio_transport *t = transport_of(client);

	/* A kick that was sent before must not get lost: it may be the last output before a
	 * power-off. It gets a turn of its own. */
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		t->queues[i].turn = NO_TURN;
	run_all_queues(t);
	t->paused = true;
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		if (t->device->ops->quiesce)
			t->device->ops->quiesce(t->device, i);
}

static bool on_idle(const struct io_client *client)
{
	const struct virtio_transport *t = transport_of(client);
	const struct virtio_device *device = t->device;

	for (uint16_t i = 0; i < device->queue_count; i++) {
		uint16_t held = device->ops->held ? device->ops->held(device, i) : 0;

		if (!quiet(t, i, held))
			return false;
	}
	return true;
}

static void on_resume(struct io_client *client)
{
	struct virtio_transport *t = transport_of(client);

	t->paused = false;
	if (t->device->ops->resume)
		t->device->ops->resume(t->device);
	run_all_queues(t);
}

static bool on_lingers(const struct io_client *client)
{
	const struct virtio_transport *t = transport_of(client);

	return t->device->ops->lingers && t->device->ops->lingers(t->device);
}

static bool on_poll(struct io_client *client, bool last)
{
	struct virtio_transport *t = transport_of(client);
	bool found = false;

	for (uint16_t i = 0; i < t->device->queue_count; i++) {
		struct virtio_queue *q = &t->queues[i];

		if (!q->watched || !virtio_running(t->device, i))
			continue;
		if (last)
			q->watched = false;
		if (!(last ? virtq_want_kicks(&q->ring) : virtq_available(&q->ring)))
			continue;
		q->watched = false;
		run_queue(t, i);
		found = true;
	}
	return found;
}

const struct io_client_ops virtio_client_ops = {
	.start = on_start,
	.mail = on_mail,
	.end_of_turn = on_end_of_turn,
	.pause = on_pause,
	.idle = on_idle,
	.resume = on_resume,
	.lingers = on_lingers,
	.poll = on_poll,
};
