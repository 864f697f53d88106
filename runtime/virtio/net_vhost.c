/* SPDX-License-Identifier: MIT */
/* virtio-net on vhost-net.
 *
 * The rings of the pair are marked as served elsewhere (device.h): the I/O thread checks that they
 * lie in RAM and decides when they run, but does not touch them. Kicks and interrupts are eventfds
 * that bypass it. The I/O thread serves the control queue.
 *
 * Ioctls start and stop a ring, and the I/O thread may not make them. It records the state that it
 * wants of each ring and asks the control thread, which compares that with the state it has set,
 * makes the difference and mails back. A reset of the device or a queue, and a pause, are complete
 * only when the kernel has let go of the ring. A pause keeps the ring's index; a ring that was
 * enabled again (another epoch) begins at 0.
 *
 * Interrupts: while nothing blocks a vector, vhost signals its own eventfd, KVM's irqfd. Otherwise,
 * and until a change has been carried out, vhost signals an eventfd of ours, and the I/O thread
 * leaves the interrupt pending like that of any other device.
 *
 * vhost does not report a TAP that was removed (frames are then lost silently), limit rates or
 * count frames. It stops serving a malformed ring without a report. */
#include "virtio/net_vhost.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

#include "virtio/net_parts.h"

/* The features of transport and net that change the layout of a ring. */
#define RING_FEATURES                                                                              \
	(VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) |   \
	 VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF))

static int queue_of(enum vhost_ring ring)
{
	return ring == VHOST_RX ? 0 : 1;
}

/* ------------------------------------------------------------------------------ control thread */

/* Brings one ring from state `done` to state `wished`. */
static int change_ring(const struct net_vhost *vhost, enum vhost_ring ring,
                       const struct net_vhost_state *wished, struct net_vhost_state *done)
{
	bool same = done->on && wished->on && done->epoch == wished->epoch;
	int r = 0;

	if (done->on && !same) {
		r = vhost_stop(vhost->fd, ring, &done->base);
		done->on = r < 0;
	}
	if (r < 0 || !wished->on)
		return r;
	if (same) {
		if (done->place.call != wished->place.call)
			r = vhost_set_call(vhost->fd, ring, wished->place.call);
	} else {
		r = vhost_start(vhost->fd, ring, &wished->place,
		                done->epoch == wished->epoch ? done->base : 0, vhost->tap_fd);
	}
	if (r == 0) {
		uint16_t base = done->base;

		*done = *wished;
		done->base = base;
	}
	return r;
}

static void carry_out(struct control_call *call)
{
	struct net_vhost *vhost = CONTAINER_OF(call, struct net_vhost, call);
	struct net_vhost_state wished[VHOST_RINGS], done[VHOST_RINGS];
	uint64_t negotiated, asked;
	int r = 0;

	pthread_mutex_lock(&vhost->lock);
	asked = vhost->asked;
	memcpy(wished, vhost->wished, sizeof(wished));
	memcpy(done, vhost->done, sizeof(done));
	negotiated = vhost->negotiated;
	pthread_mutex_unlock(&vhost->lock);
	if (!done[VHOST_RX].on && !done[VHOST_TX].on &&
	    (wished[VHOST_RX].on || wished[VHOST_TX].on))
		r = vhost_set_features(vhost->fd, negotiated & vhost->features & RING_FEATURES);
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS && r == 0; ring++)
		r = change_ring(vhost, ring, &wished[ring], &done[ring]);
	pthread_mutex_lock(&vhost->lock);
	memcpy(vhost->done, done, sizeof(done));
	vhost->answered = asked;
	vhost->error = r;
	pthread_mutex_unlock(&vhost->lock);
	io_client_post(&vhost->net->device.client, NET_MAIL_VHOST);
}

/* ---------------------------------------------------------------------------------- I/O thread */

void net_vhost_apply(struct net_vhost *vhost)
{
	struct virtio_device *device = &vhost->net->device;

	pthread_mutex_lock(&vhost->lock);
	vhost->asked++;
	vhost->negotiated = device->negotiated;
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS; ring++) {
		struct net_vhost_state *wished = &vhost->wished[ring];
		struct virtio_ring_place at;

		wished->on = virtio_running(device, (uint16_t)queue_of(ring));
		if (!wished->on)
			continue;
		virtio_ring_place(device, (uint16_t)queue_of(ring), &at);
		wished->epoch = at.epoch;
		wished->place = (struct vhost_place){
			.size = at.size,
			.desc = at.desc,
			.avail = at.avail,
			.used = at.used,
			.kick = at.doorbell_fd,
			.call = at.irq_fd >= 0 ? at.irq_fd : vhost->notifiers[ring].fd,
		};
		/* For kicks that came while nobody served the ring. */
		virtio_ring_doorbell(device, (uint16_t)queue_of(ring));
	}
	pthread_mutex_unlock(&vhost->lock);
	control_desk_ask(vhost->net->desk, &vhost->call);
}

void net_vhost_settle(struct net_vhost *vhost)
{
	struct virtio_device *device = &vhost->net->device;
	int error;

	pthread_mutex_lock(&vhost->lock);
	error = vhost->error;
	vhost->error = 0;
	pthread_mutex_unlock(&vhost->lock);
	if (error < 0) {
		virtio_fail(device, -1, error, "vhost-net refused a ring");
		net_vhost_apply(vhost);
	}
	/* A reset or a pause may have waited for it. */
	io_client_dirty(&device->client);
}

bool net_vhost_released(struct net_vhost *vhost, enum vhost_ring ring)
{
	bool released;

	pthread_mutex_lock(&vhost->lock);
	released = !vhost->done[ring].on && vhost->answered == vhost->asked;
	pthread_mutex_unlock(&vhost->lock);
	return released;
}

/* vhost signalled an interrupt that is not delivered directly to the guest. */
static void notified(struct io_op *op, int result, uint32_t flags)
{
	struct net_vhost_notifier *notifier = CONTAINER_OF(op, struct net_vhost_notifier, op);
	struct virtio_device *device = &notifier->vhost->net->device;

	if (!(flags & IORING_CQE_F_MORE) && result >= 0)
		(void)io_poll_multishot(device->loop, op, notifier->file, POLLIN);
	if (result >= 0)
		virtio_interrupt(device, (uint16_t)queue_of(notifier->ring));
}

void net_vhost_begin(struct net_vhost *vhost)
{
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS; ring++)
		(void)io_poll_multishot(vhost->net->device.loop, &vhost->notifiers[ring].op,
		                        vhost->notifiers[ring].file, POLLIN);
}

/* ---------------------------------------------------------------------------------------- build */

int net_vhost_create(struct net *net, int fd, int tap_fd, const struct virtio_host *host)
{
	struct net_vhost *vhost = &net->vhost;
	int r = vhost_get_features(fd, &vhost->features);

	if (r < 0)
		return r;
	if ((vhost->features & RING_FEATURES) != RING_FEATURES)
		return -EOPNOTSUPP;
	pthread_mutex_init(&vhost->lock, NULL);
	vhost->net = net;
	vhost->fd = fd;
	vhost->tap_fd = tap_fd;
	vhost->call.run = carry_out;
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS; ring++)
		vhost->notifiers[ring].fd = -1;
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS; ring++) {
		struct net_vhost_notifier *notifier = &vhost->notifiers[ring];

		notifier->vhost = vhost;
		notifier->ring = ring;
		notifier->op.done = notified;
		notifier->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (notifier->fd < 0)
			return -errno;
		r = io_loop_add_file(host->loop, notifier->fd, &notifier->file);
		if (r < 0)
			return r;
		net->device.elsewhere |= 1ULL << queue_of(ring);
	}
	/* A poll and a doorbell each. */
	r = io_loop_reserve(host->loop, 2 * VHOST_RINGS);
	return r < 0 || !host->control ? r : control_desk_add(host->control, &vhost->call);
}

void net_vhost_destroy(struct net_vhost *vhost)
{
	if (!vhost->net)
		return;
	for (enum vhost_ring ring = 0; ring < VHOST_RINGS; ring++)
		close_ptr(&vhost->notifiers[ring].fd);
	pthread_mutex_destroy(&vhost->lock);
	vhost->net = NULL;
}
