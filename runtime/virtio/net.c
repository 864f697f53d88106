/* SPDX-License-Identifier: MIT */
/* virtio-net over a TAP (VIRTIO 1.2 §5.1): pairs of a receive and a transmit queue, and a control
 * queue.
 *
 * Frames go between the guest's buffers and the TAP through the I/O thread's ring, a batch at a
 * time and without a copy; net_rx.c and net_tx.c say how. The guest's header is also the TAP's
 * (IFF_VNET_HDR), so the receiver of a frame does checksums and segmentation only if it needs them.
 *
 * Frames from the TAP must be those that the driver negotiated. TUNSETOFFLOAD tells the TAP, and it
 * is an ioctl, which an I/O thread may not make. So activate() records the wanted offloads and asks
 * the control thread, which sets the newest ones and mails back; the device receives nothing until
 * both agree. No thread waits for another. Frames that were queued before are checked by their
 * headers.
 *
 * Pairs: a TAP spreads flows over all of its queues, whatever the driver uses. With n pairs in use
 * TAP queue i feeds receive queue i mod n, so no flow is lost; a flow comes back on the queue of
 * the pair it was sent from.
 *
 * A TAP that was removed shows as an error of a read or write: one event, and link down. */
#include "virtio/net.h"

#include <assert.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "base/sha256.h"
#include "io/tap.h"
#include "virtio/net_parts.h"
#include "virtio/net_vhost.h"

#define PCI_CLASS_ETHERNET 0x020000
#define CONTROL_QUEUE_SIZE 64
#define MTU_DEFAULT 1500
#define OFFLOADS_NEVER UINT32_MAX

static_assert(NET_HEADER_BYTES == TAP_HEADER_BYTES, "the guest's header is the TAP's");

static struct net *net_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct net, device);
}

void net_derive_mac(const char *vm_id, const char *id, uint8_t ret_mac[static NET_MAC_BYTES])
{
	uint8_t digest[SHA256_SIZE];
	struct sha256 hash;

	sha256_begin(&hash);
	sha256_add(&hash, vm_id, strlen(vm_id));
	sha256_add(&hash, "/", 1);
	sha256_add(&hash, id, strlen(id));
	sha256_end(&hash, digest);
	memcpy(ret_mac, digest, NET_MAC_BYTES);
	/* IEEE 802 §8.2: the two low bits of the first octet. */
	ret_mac[0] = (uint8_t)((ret_mac[0] & ~0x03u) | 0x02u);
}

/* -------------------------------------------------------------------------------------- limits */

void net_wait(struct net *net, struct net_gate *gate, uint64_t wait_ns)
{
	if (gate->armed)
		return;
	/* The kernel's longest time is about three centuries. */
	gate->time = io_time(MIN(wait_ns, (uint64_t)INT64_MAX));
	gate->armed = io_timeout(net->device.loop, &gate->timer_op, &gate->time);
}

static void receive_all(struct net *net)
{
	for (uint16_t i = 0; i < net->pairs; i++)
		net_receive(&net->receivers[i]);
}

static void rx_timer_done(struct io_op *op, int result, uint32_t flags)
{
	struct net *net = CONTAINER_OF(op, struct net, rx_gate.timer_op);

	(void)result;
	(void)flags;
	net->rx_gate.armed = false;
	receive_all(net);
}

static void tx_timer_done(struct io_op *op, int result, uint32_t flags)
{
	struct net *net = CONTAINER_OF(op, struct net, tx_gate.timer_op);

	(void)result;
	(void)flags;
	net->tx_gate.armed = false;
	for (uint16_t i = 0; i < net->pairs; i++)
		net_transmit(&net->senders[i]);
}

int net_set_limit(struct net *net, bool transmit, const struct rate_config *config)
{
	if (net->vhost.net)
		return -EOPNOTSUPP;
	pthread_mutex_lock(&net->limit_lock);
	net->limits[transmit] = *config;
	pthread_mutex_unlock(&net->limit_lock);
	io_client_post(&net->device.client, NET_MAIL_LIMITS);
	return 0;
}

/* Puts new limits in force. A queue that waits for a limit is looked at when its timer ends, so the
 * timer ends now. */
static void apply_limits(struct net *net)
{
	struct net_gate *gates[2] = { &net->rx_gate, &net->tx_gate };
	struct rate_config limits[2];

	pthread_mutex_lock(&net->limit_lock);
	memcpy(limits, net->limits, sizeof(limits));
	pthread_mutex_unlock(&net->limit_lock);
	for (size_t i = 0; i < ARRAY_SIZE(gates); i++) {
		rate_limit_change(&gates[i]->limit, &limits[i], io_now_ns());
		if (gates[i]->armed)
			(void)io_cancel(net->device.loop, &gates[i]->timer_op);
	}
}

/* ------------------------------------------------------------------------------------- offloads */

static uint32_t wanted_offloads(const struct virtio_device *device)
{
	uint32_t offloads = 0;

	/* Segmentation without checksums does not exist (§5.1.3.1). */
	if (!virtio_has(device, VIRTIO_NET_F_GUEST_CSUM))
		return 0;
	offloads |= TUN_F_CSUM;
	if (virtio_has(device, VIRTIO_NET_F_GUEST_TSO4))
		offloads |= TUN_F_TSO4;
	if (virtio_has(device, VIRTIO_NET_F_GUEST_TSO6))
		offloads |= TUN_F_TSO6;
	if (offloads != TUN_F_CSUM && virtio_has(device, VIRTIO_NET_F_GUEST_ECN))
		offloads |= TUN_F_TSO_ECN;
	return offloads;
}

/* Control thread. */
static void apply_offloads(struct control_call *call)
{
	struct net *net = CONTAINER_OF(call, struct net, offload_call);
	/* Acquire and release pair with those of the I/O thread, of the same two words. */
	uint32_t wanted = atomic_load_explicit(&net->offloads_wanted, memory_order_acquire);
	int r = net->tap_fd >= 0 ? tap_set_offloads(net->tap_fd, wanted) : 0;

	atomic_store_explicit(&net->offload_error, r, memory_order_relaxed);
	atomic_store_explicit(&net->offloads_done, wanted, memory_order_release);
	io_client_post(&net->device.client, NET_MAIL_OFFLOADS);
}

/* Starts to receive once the TAP's offloads are those that the driver wants. A TAP that refuses
 * them is used all the same: frames that the driver does not understand are dropped. */
static void check_offloads(struct net *net)
{
	uint32_t done = atomic_load_explicit(&net->offloads_done, memory_order_acquire);
	int error = atomic_load_explicit(&net->offload_error, memory_order_relaxed);

	if (net->rx_ready || done != atomic_load(&net->offloads_wanted))
		return;
	if (error < 0 && error != -EBADFD)
		virtio_report(&net->device, -1, error, "the TAP's offloads cannot be set");
	/* With vhost the I/O thread reads no frame. */
	net->rx_ready = !net->vhost.net;
	receive_all(net);
}

/* ------------------------------------------------------------------------------- as a device */

uint16_t net_control_queue(const struct net *net)
{
	/* §5.1.2: the control queue follows the pairs that the driver knows of. */
	return virtio_has(&net->device, VIRTIO_NET_F_MQ) ? (uint16_t)(2 * net->pairs) : 2;
}

void net_set_active(struct net *net, uint16_t pairs)
{
	net->active = pairs;
	for (uint16_t i = 0; i < net->pairs; i++)
		net->receivers[i].sources = 0;
	for (uint16_t i = 0; i < net->pairs; i++)
		net->receivers[i % pairs].sources |= 1u << i;
}

void net_lose_tap(struct net *net, int error)
{
	uint16_t status = 0;

	if (net->tap_gone)
		return;
	net->tap_gone = true;
	net->readable = 0;
	virtio_report(&net->device, -1, error,
	              "the TAP has been removed: the link is down from now on");
	virtio_config_update(&net->device, offsetof(struct virtio_net_config, status), &status,
	                     sizeof(status));
}

static void net_activate(struct virtio_device *device)
{
	struct net *net = net_of(device);
	bool merged = virtio_has(device, VIRTIO_NET_F_MRG_RXBUF);

	net->rx_ready = false;
	net_set_active(net, 1);
	net->chains_per_read = merged ? NET_READ_CHAINS : 1;
	for (uint16_t i = 0; i < net->pairs; i++)
		net->receivers[i].recent = net->frame;
	atomic_store_explicit(&net->offloads_wanted, wanted_offloads(device), memory_order_release);
	control_desk_ask(net->desk, &net->offload_call);
}

static void net_start(struct virtio_device *device)
{
	struct net *net = net_of(device);

	if (net->vhost.net)
		net_vhost_begin(&net->vhost);
}

static void net_kick(struct virtio_device *device, uint16_t queue)
{
	struct net *net = net_of(device);

	if (device->elsewhere & (1ULL << queue))
		net_vhost_apply(&net->vhost);
	else if (queue == net_control_queue(net))
		net_serve_control(net);
	else if (queue < 2 * net->pairs && queue % 2 == 0)
		net_receive(&net->receivers[queue / 2]);
	else if (queue < 2 * net->pairs)
		net_transmit(&net->senders[queue / 2]);
}

/* Acts before a reset; a pause leaves the stock in place. */
static void net_quiesce(struct virtio_device *device, uint16_t queue)
{
	struct net *net = net_of(device);

	if (device->elsewhere & (1ULL << queue))
		net_vhost_apply(&net->vhost);
	else if (queue < 2 * net->pairs && queue % 2 == 0 && !virtio_live(device, queue))
		net_release(&net->receivers[queue / 2]);
}

static uint16_t held(const struct virtio_device *device, uint16_t queue)
{
	const char *at = (const char *)device - offsetof(struct net, device);
	const struct net *net = (const struct net *)(const void *)at;

	return queue < 2 * net->pairs && queue % 2 == 0 ? net_held(&net->receivers[queue / 2]) : 0;
}

static bool net_released(struct virtio_device *device, uint16_t queue)
{
	return net_vhost_released(&net_of(device)->vhost, queue == 0 ? VHOST_RX : VHOST_TX);
}

static void net_reset(struct virtio_device *device)
{
	struct net *net = net_of(device);

	net->rx_ready = false;
	net->control_waits = false;
	net_set_active(net, 1);
	/* The address is the device's own again for the next driver (§5.1.5). */
	if (memcmp(net->config.mac, net->mac, sizeof(net->mac)) != 0)
		virtio_config_update(device, offsetof(struct virtio_net_config, mac), net->mac,
		                     sizeof(net->mac));
}

static void net_mail(struct virtio_device *device, uint32_t bits)
{
	if (bits & NET_MAIL_OFFLOADS)
		check_offloads(net_of(device));
	if (bits & NET_MAIL_LIMITS)
		apply_limits(net_of(device));
	if (bits & NET_MAIL_VHOST)
		net_vhost_settle(&net_of(device)->vhost);
}

static const struct virtio_device_ops net_ops = {
	.name = "net",
	.device_id = VIRTIO_ID_NET,
	.pci_class = PCI_CLASS_ETHERNET,
	.start = net_start,
	.activate = net_activate,
	.kick = net_kick,
	.quiesce = net_quiesce,
	.reset = net_reset,
	.mail = net_mail,
	.held = held,
	.released = net_released,
};

/* ------------------------------------------------------------------------------------- building */

/* The offloads towards the guest: those of which the TAP lacks no bit. */
static uint64_t guest_offloads(uint32_t missing)
{
	static const struct {
		uint32_t needs;
		uint64_t feature;
	} rows[] = {
		{ TUN_F_CSUM, VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_CSUM) },
		{ TUN_F_CSUM | TUN_F_TSO4, VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO4) },
		{ TUN_F_CSUM | TUN_F_TSO6, VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_TSO6) },
		{ TUN_F_CSUM | TUN_F_TSO_ECN, VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_ECN) },
	};
	uint64_t features = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!(rows[i].needs & missing))
			features |= rows[i].feature;
	/* ECN is about segments, so it needs at least one kind of segmentation. */
	if ((missing & (TUN_F_TSO4 | TUN_F_TSO6)) == (TUN_F_TSO4 | TUN_F_TSO6))
		features &= ~VIRTIO_FEATURE(VIRTIO_NET_F_GUEST_ECN);
	return features;
}

static uint64_t features_of(const struct net_spec *spec)
{
	uint64_t features =
		VIRTIO_FEATURE(VIRTIO_NET_F_MAC) | VIRTIO_FEATURE(VIRTIO_NET_F_STATUS) |
		VIRTIO_FEATURE(VIRTIO_NET_F_MRG_RXBUF) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_VQ) |
		VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_RX) | VIRTIO_FEATURE(VIRTIO_NET_F_CTRL_MAC_ADDR);

	if (spec->offloads)
		features |= VIRTIO_FEATURE(VIRTIO_NET_F_CSUM) |
		            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO4) |
		            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_TSO6) |
		            VIRTIO_FEATURE(VIRTIO_NET_F_HOST_ECN) |
		            guest_offloads(spec->missing_offloads);
	if (spec->mtu > 0)
		features |= VIRTIO_FEATURE(VIRTIO_NET_F_MTU);
	if (spec->pairs > 1)
		features |= VIRTIO_FEATURE(VIRTIO_NET_F_MQ);
	return features;
}

static int build_receiver(struct net *net, uint16_t pair)
{
	struct net_receiver *rx = &net->receivers[pair];

	rx->net = net;
	rx->queue = 2 * pair;
	rx->depth = 1;
	/* Touched only where frames spill. */
	rx->spills = malloc(NET_READS * NET_SPILL_BYTES);
	rx->reads = calloc(NET_READS, sizeof(*rx->reads));
	if (!rx->spills || !rx->reads)
		return -ENOMEM;
	for (uint16_t i = 0; i < NET_READS; i++) {
		rx->reads[i].op.done = net_read_done;
		rx->reads[i].receiver = rx;
		rx->reads[i].spill = rx->spills + i * NET_SPILL_BYTES;
	}
	return 0;
}

static int build_sender(struct net *net, uint16_t pair)
{
	struct net_sender *tx = &net->senders[pair];

	tx->net = net;
	tx->pair = pair;
	tx->queue = 2 * pair + 1;
	tx->free = NET_ALL_FREE;
	tx->writes = calloc(NET_WRITES, sizeof(*tx->writes));
	if (!tx->writes)
		return -ENOMEM;
	return 0;
}

static int build_pairs(struct net *net, const struct net_spec *spec, struct io_loop *loop)
{
	int r = 0;

	net->receivers = calloc(spec->pairs, sizeof(*net->receivers));
	net->senders = calloc(spec->pairs, sizeof(*net->senders));
	net->sources = calloc(spec->pairs, sizeof(*net->sources));
	net->queue_sizes = calloc(2u * spec->pairs + 1, sizeof(*net->queue_sizes));
	if (!net->receivers || !net->senders || !net->sources || !net->queue_sizes)
		return -ENOMEM;
	for (uint16_t i = 0; i < spec->pairs && r == 0; i++) {
		struct net_source *source = &net->sources[i];

		source->net = net;
		source->index = i;
		source->poll_op.done = net_poll_done;
		source->nowait = io_nowait(spec->fds[i]);
		net->queue_sizes[2 * i] = net->queue_sizes[2 * i + 1] = spec->queue_size;
		r = io_loop_add_file(loop, spec->fds[i], &source->file);
		r = r ? r : build_receiver(net, i);
		r = r ? r : build_sender(net, i);
	}
	net->queue_sizes[2 * spec->pairs] = CONTROL_QUEUE_SIZE;
	io_loop_uses(loop, IO_USE_FILES);
	/* Two timers, and for each pair a poll and a batch of reads or writes; more at once cost
	 * one more submission. */
	return r ? r : io_loop_reserve(loop, spec->pairs + MIN(spec->pairs * 48u, 512u) + 2);
}

static void build_device(struct net *net, const struct net_spec *spec)
{
	net->mtu = spec->mtu ? spec->mtu : MTU_DEFAULT;
	net->frame = (uint32_t)(NET_HEADER_BYTES + 18u + net->mtu);
	net->readable = (uint32_t)((1ULL << spec->pairs) - 1);
	net->tap_fd = spec->tap_fd;
	net->offload_call.run = apply_offloads;
	net->limits[0] = spec->rx_limit;
	net->limits[1] = spec->tx_limit;
	net->rx_gate.timer_op.done = rx_timer_done;
	net->tx_gate.timer_op.done = tx_timer_done;
	rate_limit_init(&net->rx_gate.limit, &spec->rx_limit, io_now_ns());
	rate_limit_init(&net->tx_gate.limit, &spec->tx_limit, io_now_ns());
	atomic_store(&net->offloads_done, OFFLOADS_NEVER);
	memcpy(net->mac, spec->mac, sizeof(net->mac));
	memcpy(net->config.mac, spec->mac, sizeof(net->config.mac));
	net->config.status = VIRTIO_NET_S_LINK_UP;
	net->config.max_virtqueue_pairs = spec->pairs;
	net->config.mtu = net->mtu;
	net->device.ops = &net_ops;
	net->device.id = spec->id;
	net->device.features = features_of(spec);
	net->device.queue_count = (uint16_t)(2 * spec->pairs + 1);
	net->device.queue_sizes = net->queue_sizes;
	net->device.config = &net->config;
	net->device.config_size = offsetof(struct virtio_net_config, speed);
	/* Every receive queue: the even ones, except the last, which is for control. */
	net->device.untimed_queues = 0x5555555555555555ULL & ((1ULL << 2 * spec->pairs) - 1);
	net_set_active(net, 1);
}

int net_create(const struct net_spec *spec, const struct virtio_host *host, struct net **ret)
{
	struct net *net;
	int r;

	if (spec->pairs == 0 || spec->pairs > NET_PAIRS_MAX ||
	    (spec->vhost_fd > 0 && spec->pairs != 1))
		return -EINVAL;
	net = calloc(1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	pthread_mutex_init(&net->limit_lock, NULL);
	net->pairs = spec->pairs;
	r = build_pairs(net, spec, host->loop);
	if (r == 0) {
		build_device(net, spec);
		net->desk = host->control;
		if (net->desk)
			r = control_desk_add(net->desk, &net->offload_call);
	}
	if (r == 0 && spec->vhost_fd > 0)
		r = net_vhost_create(net, spec->vhost_fd, spec->tap_fd, host);
	if (r == 0)
		r = virtio_pci_attach(&net->device, host);
	if (r < 0) {
		net_destroy(net);
		return r;
	}
	*ret = net;
	return 0;
}

void net_destroy(struct net *net)
{
	if (!net)
		return;
	virtio_pci_detach(&net->device);
	net_vhost_destroy(&net->vhost);
	for (uint16_t i = 0; net->receivers && i < net->pairs; i++) {
		free(net->receivers[i].spills);
		free(net->receivers[i].reads);
	}
	for (uint16_t i = 0; net->senders && i < net->pairs; i++)
		free(net->senders[i].writes);
	free(net->receivers);
	free(net->senders);
	free(net->sources);
	free(net->queue_sizes);
	pthread_mutex_destroy(&net->limit_lock);
	free(net);
}

const struct virtio_device *net_device(const struct net *net)
{
	return &net->device;
}

void net_get_stats(const struct net *net, struct net_stats *ret_stats)
{
	*ret_stats = (struct net_stats){
		.rx_frames = atomic_load_explicit(&net->rx_frames, memory_order_relaxed),
		.rx_bytes = atomic_load_explicit(&net->rx_bytes, memory_order_relaxed),
		.rx_dropped = atomic_load_explicit(&net->rx_dropped, memory_order_relaxed),
		.tx_frames = atomic_load_explicit(&net->tx_frames, memory_order_relaxed),
		.tx_bytes = atomic_load_explicit(&net->tx_bytes, memory_order_relaxed),
		.tx_dropped = atomic_load_explicit(&net->tx_dropped, memory_order_relaxed),
		.rx_copied = atomic_load_explicit(&net->rx_copied, memory_order_relaxed),
	};
}
