/* SPDX-License-Identifier: MIT */
/* A driver for virtio 1.x over PCI (VIRTIO 1.2 §4.1) with split queues (§2.7), for guests that
 * behave. It leaves everything open for those that do not: rings and registers are plain addresses.
 *
 * One vCPU drives a device. Vector i of a device is queue i's, the one after the queues is for
 * configuration; virtio_start sends vector i to interrupt vector IRQ_BASE + i, where interrupts are
 * counted in irq_count[i]. */
#ifndef AXVM_GUESTS_LIB_VIRTIO_H
#define AXVM_GUESTS_LIB_VIRTIO_H

#include "pci.h"

/* Common configuration, §4.1.4.3. */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10,
	COMMON_NUM_QUEUES = 0x12,
	COMMON_STATUS = 0x14,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,
	COMMON_QUEUE_AVAIL = 0x28,
	COMMON_QUEUE_USED = 0x30,
	COMMON_QUEUE_RESET = 0x3a,
};

enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 0x40,
};

#define VIRTIO_VENDOR 0x1af4u
enum {
	VIRTIO_NET = 1,
	VIRTIO_BLOCK = 2,
	VIRTIO_CONSOLE = 3,
	VIRTIO_RNG = 4,
	VIRTIO_BALLOON = 5,
	VIRTIO_VSOCK = 19
};

#define F_INDIRECT (1ULL << 28)
#define F_EVENT_IDX (1ULL << 29)
#define F_VERSION_1 (1ULL << 32)
#define F_RING_RESET (1ULL << 40)

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

#define IRQ_BASE 0x40
#define IRQ_COUNT 8
extern volatile uint32_t irq_count[IRQ_COUNT];

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct virtio {
	struct pci_function pci;
	uint64_t common, isr, specific, notify;
	uint32_t notify_step;
	uint16_t queues;
	uint64_t features; /* negotiated */
};

struct queue {
	struct virtio *device;
	uint16_t index, size;
	volatile struct descriptor *desc;
	uint64_t avail, used, doorbell;
	/* where the next chain goes; a chain is in use until it is waited for */
	uint16_t next_desc;
	uint16_t avail_idx, used_idx; /* ours */
	uint16_t kicked_idx;          /* avail_idx when the device was last told, or left alone */
	uint32_t kicks;               /* doorbells rung */
};

/* A part of a request. */
struct part {
	const volatile void *at;
	uint32_t length;
	bool writable;
};

/* Zeroed memory of whole pages, from 4 MiB on; all of it is taken back by guest_pages_reset. */
uint64_t guest_pages(uint32_t bytes);
void guest_pages_reset(void);

/* Interrupts on, counted. Once, on vCPU 0. */
void irq_begin(void);
/* Sleeps until an interrupt comes, a millisecond at most: who polls takes the processor from whom
 * it waits for. */
void irq_idle(void);
#undef GUEST_IDLE
#define GUEST_IDLE irq_idle

/* The `nth` device of a type; ends the guest when it is not there. */
void virtio_find(uint16_t type, unsigned nth, struct virtio *ret);
/* Resets and waits for it. */
void virtio_reset(struct virtio *v);
/* Reset, then up to FEATURES_OK with those of `wanted` that are offered, and VERSION_1. */
void virtio_begin(struct virtio *v, uint64_t wanted);
/* Gives a queue rings of `size` and enables it. */
void queue_begin(struct queue *q, struct virtio *v, uint16_t index, uint16_t size);
/* The same in two steps, for a driver that changes something in between. */
void queue_place(struct queue *q, struct virtio *v, uint16_t index, uint16_t size);
void queue_enable(const struct queue *q);
/* MSI-X on, DRIVER_OK. */
void virtio_start(struct virtio *v);
/* The status register. */
static inline uint8_t virtio_status(const struct virtio *v)
{
	return read8(v->common + COMMON_STATUS);
}

/* Registers of one queue, by COMMON_QUEUE_*. */
void queue_write16(const struct queue *q, uint32_t reg, uint16_t value);
uint16_t queue_read16(const struct queue *q, uint32_t reg);

/* Writes one descriptor. */
void queue_describe(struct queue *q, uint16_t index, uint64_t address, uint32_t length,
                    uint16_t flags, uint16_t next);
/* Makes a head available, without a word to the device. */
void queue_offer(struct queue *q, uint16_t head);
/* Describes and offers a chain; returns its head. */
uint16_t queue_add(struct queue *q, const struct part *parts, unsigned count);
/* The same by an indirect table at `table`. */
uint16_t queue_add_indirect(struct queue *q, uint64_t table, const struct part *parts,
                            unsigned count);
/* Rings when the device wants it (event index or flag). */
void queue_kick(struct queue *q);
/* Rings in any case. */
void queue_ring(struct queue *q);
static inline uint16_t queue_used_idx(const struct queue *q)
{
	return __atomic_load_n((volatile uint16_t *)(q->used + 2), __ATOMIC_ACQUIRE);
}
/* Waits for the next completion; returns its head. */
uint32_t queue_wait(struct queue *q, uint32_t *ret_length);

#endif
