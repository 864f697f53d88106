/* SPDX-License-Identifier: MIT */
/* The device that keeps its requests. */
#include "rig/keeper.h"
#include "rig/wait.h"

#include <criterion/criterion.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <string.h>

static struct keeper *keeper_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct keeper, device);
}

static void keeper_activate(struct virtio_device *device)
{
	cr_assert(virtio_has(device, KEEPER_FEATURE));
	atomic_fetch_add(&keeper_of(device)->activations, 1);
}

static void keeper_kick(struct virtio_device *device, uint16_t queue)
{
	struct keeper *k = keeper_of(device);
	struct virtq_chain chain = { .iov = k->iov, .iov_max = ARRAY_SIZE(k->iov) };
	struct virtio_ring_place place;
	bool found = false;

	while (atomic_load(&k->peeks) > 0 && virtio_pop(device, queue, &chain)) {
		virtio_unpop(device, queue);
		atomic_fetch_sub(&k->peeks, 1);
		found = true;
	}
	if (found) {
		atomic_fetch_add(&k->peek_visits, 1);
		return;
	}

	do {
		while (virtio_pop(device, queue, &chain)) {
			if (!found) {
				virtio_ring_place(device, queue, &place);
				atomic_store(&k->used_flags, __atomic_load_n((uint16_t *)place.used,
				                                             __ATOMIC_RELAXED));
				found = true;
			}
			if (atomic_load(&k->returns)) {
				virtio_unpop(device, queue);
				atomic_fetch_add(&k->popped, 1);
				return;
			}
			if (atomic_load(&k->prompt))
				virtio_push(device, queue, chain.head, 7);
			else
				k->kept[queue][k->count[queue]++] = chain.head;
			atomic_fetch_add(&k->popped, 1);
		}
	} while (virtio_want_kicks(device, queue));
}

static void keeper_quiesce(struct virtio_device *device, uint16_t queue)
{
	(void)queue;
	atomic_fetch_add(&keeper_of(device)->quiesces, 1);
}

static void keeper_reset(struct virtio_device *device)
{
	cr_assert_eq(virtio_in_flight(device, 0) + virtio_in_flight(device, 1), 0);
	atomic_fetch_add(&keeper_of(device)->resets, 1);
}

static void keeper_mail(struct virtio_device *device, uint32_t bits)
{
	struct keeper *k = keeper_of(device);

	cr_assert_eq(bits, KEEPER_RELEASE);
	for (uint16_t queue = 0; queue < KEEPER_QUEUES; queue++)
		while (k->count[queue] > 0)
			virtio_push(device, queue, k->kept[queue][--k->count[queue]], 7);
	atomic_fetch_add(&k->releases, 1);
}

static void keeper_config_write(struct virtio_device *device, uint32_t offset, const void *data,
                                uint32_t length)
{
	cr_assert_leq(offset + length, device->config_size);
	memcpy((uint8_t *)device->config + offset, data, length);
	atomic_fetch_add(&keeper_of(device)->written, 1);
}

static const struct virtio_device_ops keeper_ops = {
	.name = "keeper",
	.device_id = 42,
	.pci_class = 0xff0000,
	.activate = keeper_activate,
	.kick = keeper_kick,
	.quiesce = keeper_quiesce,
	.reset = keeper_reset,
	.mail = keeper_mail,
	.config_write = keeper_config_write,
};

static const uint16_t sizes[KEEPER_QUEUES] = { KEEPER_SIZE, KEEPER_SIZE };

void keeper_create(struct keeper_rig *rig)
{
	struct keeper *k = &rig->keeper;

	machine_init(&rig->m);
	memset(k, 0, sizeof(*k));
	k->config[0] = 0x11223344;
	k->device.ops = &keeper_ops;
	k->device.id = "keeper0";
	k->device.features = VIRTIO_FEATURE(KEEPER_FEATURE);
	k->device.queue_count = KEEPER_QUEUES;
	k->device.queue_sizes = sizes;
	k->device.config = k->config;
	k->device.config_size = 8;
	cr_assert_eq(virtio_pci_attach(&k->device, &rig->m.host), 0);
	ring_init(&rig->rings[0], &rig->m.memory, KEEPER_SIZE, 0x10000);
	ring_init(&rig->rings[1], &rig->m.memory, KEEPER_SIZE, 0x20000);
}

void keeper_start(struct keeper_rig *rig)
{
	keeper_create(rig);
	machine_start(&rig->m);
	driver_probe(&rig->driver, &rig->m, 1);
}

void keeper_bring_up(struct keeper_rig *rig, uint64_t features)
{
	driver_reset(&rig->driver);
	for (uint16_t i = 0; i < KEEPER_QUEUES; i++)
		ring_init(&rig->rings[i], &rig->m.memory, KEEPER_SIZE, rig->rings[i].desc);
	cr_assert(driver_negotiate(&rig->driver, features));
	common_out(&rig->driver, VIRTIO_PCI_COMMON_MSIX, KEEPER_QUEUES, 2);
	for (uint16_t i = 0; i < KEEPER_QUEUES; i++)
		driver_queue(&rig->driver, i, &rig->rings[i]);
	driver_ok(&rig->driver);
}

void keeper_stop(struct keeper_rig *rig)
{
	machine_stop(&rig->m, 0);
	virtio_pci_detach(&rig->keeper.device);
	machine_done(&rig->m);
}

void keeper_offer(struct keeper_rig *rig, uint16_t queue, uint16_t head)
{
	ring_desc(&rig->rings[queue], head, KEEPER_DATA, 16, VRING_DESC_F_WRITE, 0);
	ring_offer(&rig->rings[queue], head);
}

void keeper_serve(struct keeper_rig *rig, uint16_t queue)
{
	uint16_t done = ring_used_idx(&rig->rings[queue]);

	atomic_store(&rig->keeper.prompt, true);
	keeper_offer(rig, queue, 0);
	driver_kick(&rig->driver, queue);
	driver_await_used(&rig->rings[queue], (uint16_t)(done + 1));
}

void keeper_release(struct keeper_rig *rig)
{
	uint32_t before = atomic_load(&rig->keeper.releases);

	io_client_post(&rig->keeper.device.client, KEEPER_RELEASE);
	keeper_await(&rig->keeper.releases, before + 1);
}

void keeper_await(_Atomic uint32_t *counter, uint32_t value)
{
	WAIT_UNTIL(atomic_load(counter) >= value);
}
