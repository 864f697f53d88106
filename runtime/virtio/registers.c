/* SPDX-License-Identifier: MIT */
/* Common configuration (VIRTIO 1.2 §4.1.4.3) as a table of registers, and the device status.
 *
 * Reads have no side effect, so a read of any width and alignment is put together byte by byte from
 * the registers it covers. A write must be of exactly one register, or of a half of a 64-bit one;
 * anything else is dropped, as is a write to a register that is frozen: a queue's from its enabling
 * until its reset has completed, the features after FEATURES_OK, all of them during a reset.
 *
 * Writes that change what the I/O thread does (DRIVER_OK, status 0, queue_reset, a late
 * queue_enable) only set the registers here and post MAIL_STATE; transport.c carries them out. */
#include <assert.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <string.h>

#include "virtio/transport.h"

#define STATUS_DRIVER_BITS                                                                         \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |        \
	 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED)

struct common_register {
	uint8_t offset;
	uint8_t width;
	uint64_t (*get)(struct virtio_transport *t);
	void (*set)(struct virtio_transport *t, uint64_t value); /* NULL: read-only */
};

/* The selected queue's registers, or NULL when there is no such queue. */
static struct queue_registers *selected(struct virtio_transport *t)
{
	uint16_t queue = t->registers.queue_select;

	return queue < t->device->queue_count ? &t->registers.queues[queue] : NULL;
}

/* The same, for a write: NULL while they are frozen. */
static struct queue_registers *selected_writable(struct virtio_transport *t)
{
	struct queue_registers *q = selected(t);

	return q && !q->enabled && !q->resetting && !t->registers.resetting ? q : NULL;
}

void virtio_queue_registers_reset(struct virtio_transport *t, uint16_t queue)
{
	t->registers.queues[queue] = (struct queue_registers){
		.size = t->device->queue_sizes[queue],
		.vector = MSIX_NO_VECTOR,
	};
}

void virtio_registers_reset(struct virtio_transport *t)
{
	struct virtio_registers *r = &t->registers;

	r->status = 0;
	r->live = false;
	r->resetting = false;
	r->device_feature_select = 0;
	r->driver_feature_select = 0;
	r->driver_features = 0;
	r->queue_select = 0;
	for (uint16_t i = 0; i < t->device->queue_count; i++)
		virtio_queue_registers_reset(t, i);
	atomic_store(&t->config_vector, MSIX_NO_VECTOR);
	atomic_store(&t->isr, 0);
}

static uint16_t checked_vector(const struct virtio_transport *t, uint64_t vector)
{
	return vector < t->msix.count ? (uint16_t)vector : MSIX_NO_VECTOR;
}

/* --------------------------------------------------------------------------------- registers */

static uint64_t get_device_feature_select(struct virtio_transport *t)
{
	return t->registers.device_feature_select;
}

static void set_device_feature_select(struct virtio_transport *t, uint64_t value)
{
	t->registers.device_feature_select = (uint32_t)value;
}

static uint64_t get_device_feature(struct virtio_transport *t)
{
	uint32_t select = t->registers.device_feature_select;

	return select < 2 ? (uint32_t)(t->offered >> (32 * select)) : 0;
}

static uint64_t get_driver_feature_select(struct virtio_transport *t)
{
	return t->registers.driver_feature_select;
}

static void set_driver_feature_select(struct virtio_transport *t, uint64_t value)
{
	t->registers.driver_feature_select = (uint32_t)value;
}

static uint64_t get_driver_feature(struct virtio_transport *t)
{
	uint32_t select = t->registers.driver_feature_select;

	return select < 2 ? (uint32_t)(t->registers.driver_features >> (32 * select)) : 0;
}

static void set_driver_feature(struct virtio_transport *t, uint64_t value)
{
	struct virtio_registers *r = &t->registers;
	uint32_t shift;

	/* Frozen once FEATURES_OK is set (§3.1.1), and words beyond 64 bits hold nothing. */
	if ((r->status & VIRTIO_CONFIG_S_FEATURES_OK) || r->driver_feature_select > 1)
		return;
	shift = 32 * r->driver_feature_select;
	r->driver_features = (r->driver_features & ~(0xffffffffULL << shift)) | value << shift;
}

static uint64_t get_config_vector(struct virtio_transport *t)
{
	return atomic_load(&t->config_vector);
}

static void set_config_vector(struct virtio_transport *t, uint64_t value)
{
	if (!t->registers.resetting)
		atomic_store(&t->config_vector, checked_vector(t, value));
}

static uint64_t get_num_queues(struct virtio_transport *t)
{
	return t->device->queue_count;
}

static uint64_t get_status(struct virtio_transport *t)
{
	return t->registers.status;
}

static void set_status(struct virtio_transport *t, uint64_t value)
{
	struct virtio_registers *r = &t->registers;
	uint8_t added = (uint8_t)value & STATUS_DRIVER_BITS & (uint8_t)~r->status;

	if (r->resetting)
		return;
	if (value == 0) {
		/* Before DRIVER_OK nothing can be in flight, so the reset is done at once.
		 * Otherwise status keeps its value until the I/O thread has drained the device
		 * (§2.4.2). */
		if (!r->live)
			virtio_registers_reset(t);
		r->resetting = r->live;
		return;
	}
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) &&
	    ((r->driver_features & ~t->offered) != 0 ||
	     !(r->driver_features & VIRTIO_FEATURE(VIRTIO_F_VERSION_1))))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if ((added & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !((r->status | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	r->status |= added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		r->live = true;
}

static uint64_t get_generation(struct virtio_transport *t)
{
	return t->registers.generation;
}

static uint64_t get_queue_select(struct virtio_transport *t)
{
	return t->registers.queue_select;
}

static void set_queue_select(struct virtio_transport *t, uint64_t value)
{
	t->registers.queue_select = (uint16_t)value;
}

static uint64_t get_queue_size(struct virtio_transport *t)
{
	struct queue_registers *q = selected(t);

	return q ? q->size : 0;
}

static void set_queue_size(struct virtio_transport *t, uint64_t value)
{
	struct queue_registers *q = selected_writable(t);

	if (q && value != 0 && (value & (value - 1)) == 0 &&
	    value <= t->device->queue_sizes[t->registers.queue_select])
		q->size = (uint16_t)value;
}

static uint64_t get_queue_vector(struct virtio_transport *t)
{
	struct queue_registers *q = selected(t);

	return q ? q->vector : MSIX_NO_VECTOR;
}

static void set_queue_vector(struct virtio_transport *t, uint64_t value)
{
	struct queue_registers *q = selected_writable(t);

	if (q)
		q->vector = checked_vector(t, value);
}

static uint64_t get_queue_enable(struct virtio_transport *t)
{
	struct queue_registers *q = selected(t);

	return q && q->enabled;
}

static void set_queue_enable(struct virtio_transport *t, uint64_t value)
{
	struct queue_registers *q = selected_writable(t);

	/* A driver must not write 0 (§4.1.4.3.2). */
	if (q && value == 1)
		q->enabled = true;
}

static uint64_t get_queue_notify_off(struct virtio_transport *t)
{
	return t->registers.queue_select;
}

#define QUEUE_ADDRESS(field_)                                                                      \
	static uint64_t get_queue_##field_(struct virtio_transport *t)                             \
	{                                                                                          \
		struct queue_registers *q = selected(t);                                           \
                                                                                                   \
		return q ? q->field_ : 0;                                                          \
	}                                                                                          \
                                                                                                   \
	static void set_queue_##field_(struct virtio_transport *t, uint64_t value)                 \
	{                                                                                          \
		struct queue_registers *q = selected_writable(t);                                  \
                                                                                                   \
		if (q)                                                                             \
			q->field_ = value;                                                         \
	}

QUEUE_ADDRESS(desc)
QUEUE_ADDRESS(avail)
QUEUE_ADDRESS(used)

static uint64_t get_zero(struct virtio_transport *t)
{
	(void)t;
	return 0;
}

static uint64_t get_queue_reset(struct virtio_transport *t)
{
	struct queue_registers *q = selected(t);

	return q && q->resetting;
}

static void set_queue_reset(struct virtio_transport *t, uint64_t value)
{
	struct virtio_registers *r = &t->registers;
	struct queue_registers *q = selected(t);

	if (!q || value != 1 || r->resetting || !q->enabled ||
	    !(r->driver_features & VIRTIO_FEATURE(VIRTIO_F_RING_RESET)))
		return;
	if (r->live)
		q->resetting = true;
	else
		virtio_queue_registers_reset(t, r->queue_select);
}

/* clang-format off */
#define RW(offset_, width_, name_) { (offset_), (width_), get_##name_, set_##name_ }
#define RO(offset_, width_, name_) { (offset_), (width_), get_##name_, NULL }
/* clang-format on */

static const struct common_register table[] = {
	RW(VIRTIO_PCI_COMMON_DFSELECT, 4, device_feature_select),
	RO(VIRTIO_PCI_COMMON_DF, 4, device_feature),
	RW(VIRTIO_PCI_COMMON_GFSELECT, 4, driver_feature_select),
	RW(VIRTIO_PCI_COMMON_GF, 4, driver_feature),
	RW(VIRTIO_PCI_COMMON_MSIX, 2, config_vector),
	RO(VIRTIO_PCI_COMMON_NUMQ, 2, num_queues),
	RW(VIRTIO_PCI_COMMON_STATUS, 1, status),
	RO(VIRTIO_PCI_COMMON_CFGGENERATION, 1, generation),
	RW(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue_select),
	RW(VIRTIO_PCI_COMMON_Q_SIZE, 2, queue_size),
	RW(VIRTIO_PCI_COMMON_Q_MSIX, 2, queue_vector),
	RW(VIRTIO_PCI_COMMON_Q_ENABLE, 2, queue_enable),
	RO(VIRTIO_PCI_COMMON_Q_NOFF, 2, queue_notify_off),
	RW(VIRTIO_PCI_COMMON_Q_DESCLO, 8, queue_desc),
	RW(VIRTIO_PCI_COMMON_Q_AVAILLO, 8, queue_avail),
	RW(VIRTIO_PCI_COMMON_Q_USEDLO, 8, queue_used),
	RO(VIRTIO_PCI_COMMON_Q_NDATA, 2, zero),
	RW(VIRTIO_PCI_COMMON_Q_RESET, 2, queue_reset),
};
static_assert(ARRAY_SIZE(table) == 18, "the registers of VIRTIO 1.2 §4.1.4.3");

/* ---------------------------------------------------------------------------------- accesses */

uint64_t virtio_common_read(struct virtio_transport *t, uint32_t offset, uint32_t width)
{
	uint64_t value = 0;

	pthread_mutex_lock(&t->registers.lock);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct common_register *reg = &table[i];
		uint64_t bytes;

		if (reg->offset >= (uint64_t)offset + width || reg->offset + reg->width <= offset)
			continue;
		bytes = reg->get(t);
		if (reg->offset >= offset)
			value |= bytes << ((reg->offset - offset) * 8);
		else
			value |= bytes >> ((offset - reg->offset) * 8);
	}
	pthread_mutex_unlock(&t->registers.lock);
	return value & bus_all_ones(width);
}

/* Writes one register, or the half of a 64-bit one. Lock held. */
static void write_register(struct virtio_transport *t, uint32_t offset, uint32_t width,
                           uint64_t value)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct common_register *reg = &table[i];
		uint64_t old;

		if (!reg->set)
			continue;
		if (reg->offset == offset && reg->width == width) {
			reg->set(t, value & bus_all_ones(width));
		} else if (reg->width == 8 && width == 4 &&
		           (offset == reg->offset || offset == reg->offset + 4u)) {
			uint32_t shift = (offset - reg->offset) * 8;

			old = reg->get(t);
			reg->set(t, (old & ~(0xffffffffULL << shift)) | (value & 0xffffffff)
			                                                        << shift);
		}
	}
}

static bool wants_attention(const struct virtio_transport *t)
{
	/* The I/O thread compares the registers with its own state; an unneeded post costs only a
	 * wake-up. */
	return t->registers.live;
}

void virtio_common_write(struct virtio_transport *t, uint32_t offset, uint32_t width,
                         uint64_t value)
{
	bool changes = offset == VIRTIO_PCI_COMMON_STATUS || offset == VIRTIO_PCI_COMMON_Q_RESET ||
	               offset == VIRTIO_PCI_COMMON_Q_ENABLE;
	bool post;

	pthread_mutex_lock(&t->registers.lock);
	write_register(t, offset, width, value);
	post = changes && wants_attention(t);
	pthread_mutex_unlock(&t->registers.lock);
	if (post)
		io_client_post(&t->device->client, MAIL_STATE);
}
