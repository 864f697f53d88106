/* SPDX-License-Identifier: MIT */
/* virtio over PCI, modern only (VIRTIO 1.2 §4.1): identity, capabilities, BAR 0, doorbells,
 * vectors.
 *
 * One 32-bit memory BAR holds everything, a page each: common configuration, ISR, device
 * configuration, notifications, MSI-X table, pending bits. A write to a queue's notification
 * address is an eventfd signalled inside the kernel; the exit path here only serves a guest whose
 * doorbells could not be registered. Vector i is meant for queue i and the last one for
 * configuration, but the driver chooses.
 *
 * Locks, outermost first: the PCI host's (configuration space), then msix.lock or registers.lock.
 * The I/O thread takes registers.lock alone, and only for transitions; no one calls the fabric
 * while holding it. */
#include "virtio/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#include "virtio/transport.h"

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_PCI_DEVICE_BASE 0x1040
#define VIRTIO_PCI_REVISION 1
#define CONFIG_SIZE_MAX 4096u
#define PAGE 0x1000u

static const uint64_t transport_features =
	VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) |
	VIRTIO_FEATURE(VIRTIO_RING_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_F_RING_RESET);

/* ------------------------------------------------------------------------- the pages of BAR 0 */

static uint64_t isr_read(struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	(void)width;
	return offset == 0 ? atomic_exchange(&t->isr, 0) : 0;
}

static uint64_t device_config_read(struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	uint64_t value = 0;

	if (offset >= t->device->config_size)
		return 0;
	pthread_mutex_lock(&t->registers.lock);
	memcpy(&value, (const uint8_t *)t->device->config + offset,
	       MIN(width, t->device->config_size - offset));
	pthread_mutex_unlock(&t->registers.lock);
	return value;
}

static void device_config_write(struct virtio_transport *t, uint32_t offset, uint32_t width,
                                uint64_t value)
{
	const struct virtio_device_ops *ops = t->device->ops;

	if (!ops->config_write || offset >= t->device->config_size ||
	    width > t->device->config_size - offset)
		return;
	pthread_mutex_lock(&t->registers.lock);
	ops->config_write(t->device, offset, &value, width);
	pthread_mutex_unlock(&t->registers.lock);
}

/* A kick that came as an exit. */
static void notify_write(struct virtio_transport *t, uint32_t offset, uint32_t width,
                         uint64_t value)
{
	uint32_t queue = offset / VIRTIO_BAR_NOTIFY_STEP;

	(void)width;
	(void)value;
	if (queue >= t->device->queue_count)
		return;
	/* Release pairs with the exchange in the I/O thread's mail. */
	atomic_fetch_or(&t->kicks, 1ULL << queue);
	io_client_post(&t->device->client, MAIL_KICK);
}

static uint64_t notify_read(struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	(void)t;
	(void)offset;
	(void)width;
	return 0;
}

static uint64_t table_read(struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	return msix_table_read(&t->msix, offset, width);
}

static void table_write(struct virtio_transport *t, uint32_t offset, uint32_t width, uint64_t value)
{
	msix_table_write(&t->msix, offset, width, value);
}

static uint64_t pba_read(struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	return msix_pba_read(&t->msix, offset, width);
}

struct bar_page {
	uint64_t (*read)(struct virtio_transport *t, uint32_t offset, uint32_t width);
	void (*write)(struct virtio_transport *t, uint32_t offset, uint32_t width, uint64_t value);
};

/* By page number; a page without an entry reads as zero. */
static const struct bar_page pages[VIRTIO_BAR_SIZE / PAGE] = {
	[VIRTIO_BAR_COMMON / PAGE] = { virtio_common_read, virtio_common_write },
	[VIRTIO_BAR_ISR / PAGE] = { isr_read, NULL },
	[VIRTIO_BAR_DEVICE / PAGE] = { device_config_read, device_config_write },
	[VIRTIO_BAR_NOTIFY / PAGE] = { notify_read, notify_write },
	[VIRTIO_BAR_MSIX_TABLE / PAGE] = { table_read, table_write },
	[VIRTIO_BAR_MSIX_PBA / PAGE] = { pba_read, NULL },
};

static uint64_t bar_read(void *context, uint32_t offset, uint32_t width)
{
	const struct bar_page *page = &pages[offset / PAGE];

	/* An access across two pages belongs to neither. */
	if (!page->read || offset % PAGE + width > PAGE)
		return 0;
	return page->read(context, offset % PAGE, width);
}

static void bar_write(void *context, uint32_t offset, uint32_t width, uint64_t value)
{
	const struct bar_page *page = &pages[offset / PAGE];

	if (page->write && offset % PAGE + width <= PAGE)
		page->write(context, offset % PAGE, width, value);
}

/* ------------------------------------------------------------------------- configuration space */

/* The window of VIRTIO_PCI_CAP_PCI_CFG (§4.1.4.9): true if the guest's values describe a legal
 * access to BAR 0. */
static bool window_access(const struct virtio_transport *t, uint32_t *ret_offset,
                          uint32_t *ret_width)
{
	const struct pci_function *f = &t->function;
	uint32_t cap = t->access_capability;
	uint32_t bar = pci_config_get(f, cap + VIRTIO_PCI_CAP_BAR, 1);
	uint32_t offset = pci_config_get(f, cap + VIRTIO_PCI_CAP_OFFSET, 4);
	uint32_t width = pci_config_get(f, cap + VIRTIO_PCI_CAP_LENGTH, 4);

	if (bar != 0 || (width != 1 && width != 2 && width != 4) || offset % width != 0 ||
	    offset > VIRTIO_BAR_SIZE - width)
		return false;
	*ret_offset = offset;
	*ret_width = width;
	return true;
}

static bool touches_window(const struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	uint32_t data = t->access_capability + (uint32_t)sizeof(struct virtio_pci_cap);

	return t->access_capability != 0 && offset < data + 4 && offset + width > data;
}

static void config_read(void *context, uint32_t offset, uint32_t width)
{
	struct virtio_transport *t = context;
	uint32_t at;
	uint32_t bytes;

	if (touches_window(t, offset, width) && window_access(t, &at, &bytes))
		pci_config_set(&t->function,
		               t->access_capability + (uint32_t)sizeof(struct virtio_pci_cap),
		               bytes, (uint32_t)bar_read(t, at, bytes));
}

static void config_written(void *context, uint32_t offset, uint32_t width)
{
	struct virtio_transport *t = context;
	bool bus_master = pci_bus_master(&t->function);
	uint32_t at;
	uint32_t bytes;

	if (touches_window(t, offset, width) && window_access(t, &at, &bytes))
		bar_write(t, at, bytes,
		          pci_config_get(&t->function,
		                         t->access_capability +
		                                 (uint32_t)sizeof(struct virtio_pci_cap),
		                         bytes));
	msix_config_written(&t->msix, &t->function);
	/* Release pairs with the acquire in transport_queue.c. */
	if (atomic_exchange(&t->bus_master, bus_master) != bus_master &&
	    (bus_master || t->device->elsewhere != 0))
		io_client_post(&t->device->client, MAIL_SCAN);
}

static const struct pci_function_ops function_ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.config_read = config_read,
	.config_written = config_written,
};

/* Delivers a vector through the ring. A vector that waits to be unmasked comes by the mailbox
 * (request_replay). */
static void deliver_vector(void *context, uint16_t vector)
{
	struct virtio_transport *t = context;

	io_interrupt(t->host.loop, t->irq_files[vector]);
}

static void request_replay(void *context)
{
	struct virtio_transport *t = context;

	io_client_post(&t->device->client, MAIL_REPLAY);
}

/* The device must tell vhost where a queue's interrupts go now. */
static void look_again(void *context)
{
	struct virtio_transport *t = context;

	io_client_post(&t->device->client, MAIL_SCAN);
}

/* ---------------------------------------------------------------------------------------- build */

/* The vendor capability of one structure (§4.1.4); `extra` follows it for two of the kinds. */
static int add_structure(struct virtio_transport *t, uint8_t kind, uint32_t offset, uint32_t length,
                         const uint32_t *extra, uint8_t *ret_capability)
{
	struct {
		struct virtio_pci_cap cap;
		uint32_t extra;
	} body = {
		.cap = {
			.cap_len = (uint8_t)(sizeof(body.cap) + (extra ? sizeof(*extra) : 0)),
			.cfg_type = kind,
			.bar = 0,
			.offset = offset,
			.length = length,
		},
		.extra = extra ? *extra : 0,
	};

	/* The first two bytes, id and link, are the capability list's. */
	return pci_add_capability(&t->function, PCI_CAP_ID_VNDR, (const uint8_t *)&body + 2,
	                          body.cap.cap_len - 2u, ret_capability);
}

static int add_capabilities(struct virtio_transport *t)
{
	static const uint32_t step = VIRTIO_BAR_NOTIFY_STEP;
	static const uint32_t no_data;
	const struct virtio_device *device = t->device;
	struct {
		uint8_t kind;
		uint32_t offset;
		uint32_t length;
		const uint32_t *extra;
	} const structures[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_BAR_COMMON, 64, NULL },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_BAR_NOTIFY,
		  VIRTIO_BAR_NOTIFY_STEP * device->queue_count, &step },
		{ VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_BAR_ISR, 4, NULL },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_BAR_DEVICE, device->config_size, NULL },
		{ VIRTIO_PCI_CAP_PCI_CFG, 0, 0, &no_data },
	};
	uint8_t capability = 0;
	uint8_t *writable;

	for (size_t i = 0; i < ARRAY_SIZE(structures); i++) {
		int r;

		if (structures[i].kind == VIRTIO_PCI_CAP_DEVICE_CFG && device->config_size == 0)
			continue;
		r = add_structure(t, structures[i].kind, structures[i].offset, structures[i].length,
		                  structures[i].extra, &capability);
		if (r < 0)
			return r;
	}
	/* The last one is the access window: bar, offset, length and data are the guest's. */
	t->access_capability = capability;
	writable = &t->function.writable[capability];
	writable[VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(&writable[VIRTIO_PCI_CAP_OFFSET], 0xff, 12);
	return 0;
}

static int add_queue(struct virtio_transport *t, uint16_t index)
{
	struct virtio_device *device = t->device;
	struct virtio_queue *q = &t->queues[index];
	int r;

	q->device = device;
	q->index = index;
	q->doorbell_op.done = virtio_doorbell_done;
	q->taken_ns = calloc(device->queue_sizes[index], sizeof(*q->taken_ns));
	if (!q->taken_ns)
		return -ENOMEM;
	r = virtq_init(&q->ring, t->host.memory, device->queue_sizes[index]);
	if (r < 0)
		return r;
	q->doorbell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->doorbell_fd < 0)
		return -errno;
	t->doorbells[index] = (struct pci_doorbell){
		.offset = VIRTIO_BAR_NOTIFY + VIRTIO_BAR_NOTIFY_STEP * index,
		.eventfd = q->doorbell_fd,
	};
	return io_loop_add_file(t->host.loop, q->doorbell_fd, &q->doorbell_file);
}

static int add_vectors(struct virtio_transport *t)
{
	struct msix_sink sink = {
		.deliver = deliver_vector,
		.replay = request_replay,
		.changed = t->device->elsewhere ? look_again : NULL,
		.context = t,
	};
	uint16_t count = (uint16_t)(t->device->queue_count + 1);
	int r = msix_init(&t->msix, &t->function, VIRTIO_BAR_MSIX_TABLE, VIRTIO_BAR_MSIX_PBA, count,
	                  t->host.pci->fabric, &sink);

	for (uint16_t i = 0; r == 0 && i < count; i++)
		r = io_loop_add_file(t->host.loop, t->msix.vectors[i].eventfd, &t->irq_files[i]);
	return r;
}

static int build(struct virtio_transport *t)
{
	struct virtio_device *device = t->device;
	struct pci_identity identity = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + device->ops->device_id),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + device->ops->device_id),
		.class_code = device->ops->pci_class,
		.revision = VIRTIO_PCI_REVISION,
	};
	uint32_t slot;
	int r;

	pci_function_init(&t->function, &identity, VIRTIO_BAR_SIZE);
	t->function.ops = &function_ops;
	t->function.context = t;
	for (uint16_t i = 0; i < device->queue_count; i++) {
		r = add_queue(t, i);
		if (r < 0)
			return r;
	}
	r = add_vectors(t);
	if (r < 0)
		return r;
	r = add_capabilities(t);
	if (r < 0)
		return r;
	virtio_registers_reset(t);
	r = virtio_complaints_init(&t->complaints, &t->host);
	if (r < 0)
		return r;
	/* A poll for each doorbell, and an interrupt for each vector. */
	r = io_loop_reserve(t->host.loop, 2u * device->queue_count + 1);
	if (r < 0)
		return r;
	r = io_loop_add_client(t->host.loop, &device->client, &virtio_client_ops);
	if (r < 0)
		return r;
	t->function.doorbells = t->doorbells;
	t->function.doorbell_count = device->queue_count;
	return pci_host_attach(t->host.pci, &t->function, &slot);
}

int virtio_pci_attach(struct virtio_device *device, const struct virtio_host *host)
{
	struct virtio_transport *t;
	int r;

	if (device->queue_count == 0 || device->queue_count > VIRTIO_QUEUES_MAX ||
	    device->config_size > CONFIG_SIZE_MAX || !device->ops->kick)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	device->transport = t;
	device->loop = host->loop;
	t->device = device;
	t->host = *host;
	t->offered = transport_features | device->features;
	pthread_mutex_init(&t->registers.lock, NULL);
	t->queues = calloc(device->queue_count, sizeof(*t->queues));
	t->doorbells = calloc(device->queue_count, sizeof(*t->doorbells));
	t->irq_files = calloc(device->queue_count + 1u, sizeof(*t->irq_files));
	for (uint16_t i = 0; t->queues && i < device->queue_count; i++)
		t->queues[i].doorbell_fd = -1;
	r = t->queues && t->doorbells && t->irq_files ? build(t) : -ENOMEM;
	if (r < 0)
		virtio_pci_detach(device);
	return r;
}

void virtio_pci_detach(struct virtio_device *device)
{
	struct virtio_transport *t = device->transport;

	if (!t)
		return;
	for (uint16_t i = 0; t->queues && i < device->queue_count; i++) {
		virtq_done(&t->queues[i].ring);
		free(t->queues[i].taken_ns);
		close_ptr(&t->queues[i].doorbell_fd);
	}
	msix_done(&t->msix);
	pthread_mutex_destroy(&t->registers.lock);
	free(t->queues);
	free(t->doorbells);
	free(t->irq_files);
	free(t);
	device->transport = NULL;
}
