/* SPDX-License-Identifier: MIT */
/* A virtio-pci driver for tests (VIRTIO 1.2 §3.1, §4.1). */
#include "rig/virtio_driver.h"

#include <criterion/criterion.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static void record_event(void *context, const struct virtio_event *event)
{
	struct test_machine *m = context;
	uint32_t n = atomic_load(&m->event_count);

	if (n < TEST_EVENTS_MAX) {
		snprintf(m->events[n].message, sizeof(m->events[n].message), "%s", event->message);
		m->events[n].needs_reset = event->needs_reset;
		m->events[n].queue = event->queue;
		m->events[n].error = event->error_number;
		m->events[n].suppressed = event->suppressed;
	}
	atomic_store(&m->event_count, n + 1);
}

void machine_init(struct test_machine *m)
{
	const struct io_loop_config config = {
		.wake_fd_number = -1,
		.ring_fd_number = -1,
		.control_fd = -1,
	};

	memset(m, 0, sizeof(*m));
	ring_memory(&m->memory);
	fake_fabric_init(&m->fake);
	cr_assert_eq(pci_host_init(&m->pci, &m->fake.fabric, &m->mmio), 0);
	cr_assert_eq(io_loop_init(&m->loop, &config), 0);
	m->host = (struct virtio_host){
		.memory = &m->memory,
		.pci = &m->pci,
		.loop = &m->loop,
		.event = record_event,
		.context = m,
	};
}

static void *run(void *context)
{
	struct test_machine *m = context;
	const char *what = NULL;

	m->result = io_loop_enable(&m->loop, &what);
	if (m->result == 0)
		m->result = io_loop_run(&m->loop);
	return NULL;
}

void machine_start(struct test_machine *m)
{
	cr_assert_eq(io_loop_build(&m->loop), 0);
	cr_assert_eq(pthread_create(&m->thread, NULL, run, m), 0);
	m->running = true;
	cr_assert_eq(io_loop_await(&m->loop, IO_RUNNING), IO_RUNNING);
}

void machine_stop(struct test_machine *m, uint32_t linger_ms)
{
	if (!m->running)
		return;
	io_loop_stop(&m->loop, linger_ms);
	wait_join(m->thread, NULL);
	m->running = false;
	cr_assert_eq(m->result, 0);
	cr_assert_eq(io_loop_phase(&m->loop), IO_FINISHED);
}

void machine_done(struct test_machine *m)
{
	machine_stop(m, 0);
	io_loop_done(&m->loop);
	pci_host_done(&m->pci);
	ring_memory_done(&m->memory);
}

void machine_await_events(struct test_machine *m, uint32_t count)
{
	WAIT_UNTIL(atomic_load(&m->event_count) >= count);
}

uint64_t mmio_in(struct test_machine *m, uint64_t address, uint32_t width)
{
	uint64_t value = 0;

	bus_read(&m->mmio, address, &value, width);
	return value;
}

void mmio_out(struct test_machine *m, uint64_t address, uint64_t value, uint32_t width)
{
	bus_write(&m->mmio, address, &value, width);
}

uint64_t common_in(struct driver *d, uint32_t offset, uint32_t width)
{
	return mmio_in(d->m, d->bar + VIRTIO_BAR_COMMON + offset, width);
}

void common_out(struct driver *d, uint32_t offset, uint64_t value, uint32_t width)
{
	mmio_out(d->m, d->bar + VIRTIO_BAR_COMMON + offset, value, width);
}

uint32_t config_in(struct driver *d, uint32_t reg, uint32_t width)
{
	return (uint32_t)mmio_in(d->m, LAYOUT_ECAM + ((uint64_t)d->slot << 15) + reg, width);
}

void config_out(struct driver *d, uint32_t reg, uint32_t value, uint32_t width)
{
	mmio_out(d->m, LAYOUT_ECAM + ((uint64_t)d->slot << 15) + reg, value, width);
}

static uint32_t find_capability(struct driver *d, uint8_t id)
{
	uint32_t at = config_in(d, PCI_CAPABILITY_LIST, 1);

	while (at != 0 && config_in(d, at, 1) != id)
		at = config_in(d, at + 1, 1);
	return at;
}

void driver_probe(struct driver *d, struct test_machine *m, uint32_t slot)
{
	uint32_t msix;
	uint32_t vectors;

	d->m = m;
	d->slot = slot;
	d->bar = config_in(d, PCI_BASE_ADDRESS_0, 4);
	config_out(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	msix = find_capability(d, PCI_CAP_ID_MSIX);
	cr_assert_neq(msix, 0);
	vectors = (config_in(d, msix + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	config_out(d, msix + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE, 2);
	for (uint32_t i = 0; i < vectors; i++) {
		uint64_t entry = d->bar + VIRTIO_BAR_MSIX_TABLE + 16 * i;

		mmio_out(m, entry, 0xfee00000, 4);
		mmio_out(m, entry + 4, 0, 4);
		mmio_out(m, entry + 8, 0x40 + i, 4);
		mmio_out(m, entry + 12, 0, 4);
	}
	common_out(d, VIRTIO_PCI_COMMON_MSIX, vectors - 1, 2);
}

void driver_reset(struct driver *d)
{
	common_out(d, VIRTIO_PCI_COMMON_STATUS, 0, 1);
	WAIT_UNTIL(driver_status(d) == 0);
}

uint64_t driver_offered(struct driver *d)
{
	uint64_t features = 0;

	for (uint32_t i = 0; i < 2; i++) {
		common_out(d, VIRTIO_PCI_COMMON_DFSELECT, i, 4);
		features |= common_in(d, VIRTIO_PCI_COMMON_DF, 4) << (32 * i);
	}
	return features;
}

bool driver_negotiate(struct driver *d, uint64_t features)
{
	common_out(d, VIRTIO_PCI_COMMON_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	common_out(d, VIRTIO_PCI_COMMON_STATUS,
	           VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 1);
	for (uint32_t i = 0; i < 2; i++) {
		common_out(d, VIRTIO_PCI_COMMON_GFSELECT, i, 4);
		common_out(d, VIRTIO_PCI_COMMON_GF, (uint32_t)(features >> (32 * i)), 4);
	}
	common_out(d, VIRTIO_PCI_COMMON_STATUS,
	           VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	                   VIRTIO_CONFIG_S_FEATURES_OK,
	           1);
	return driver_status(d) & VIRTIO_CONFIG_S_FEATURES_OK;
}

void driver_queue(struct driver *d, uint16_t queue, const struct ring *ring)
{
	common_out(d, VIRTIO_PCI_COMMON_Q_SELECT, queue, 2);
	common_out(d, VIRTIO_PCI_COMMON_Q_SIZE, ring->size, 2);
	common_out(d, VIRTIO_PCI_COMMON_Q_DESCLO, (uint32_t)ring->desc, 4);
	common_out(d, VIRTIO_PCI_COMMON_Q_DESCHI, ring->desc >> 32, 4);
	common_out(d, VIRTIO_PCI_COMMON_Q_AVAILLO, (uint32_t)ring->avail, 4);
	common_out(d, VIRTIO_PCI_COMMON_Q_AVAILHI, ring->avail >> 32, 4);
	common_out(d, VIRTIO_PCI_COMMON_Q_USEDLO, ring->used, 8);
	common_out(d, VIRTIO_PCI_COMMON_Q_MSIX, queue, 2);
	common_out(d, VIRTIO_PCI_COMMON_Q_ENABLE, 1, 2);
}

void driver_ok(struct driver *d)
{
	common_out(d, VIRTIO_PCI_COMMON_STATUS, driver_status(d) | VIRTIO_CONFIG_S_DRIVER_OK, 1);
}

uint8_t driver_status(struct driver *d)
{
	return (uint8_t)common_in(d, VIRTIO_PCI_COMMON_STATUS, 1);
}

void driver_kick(struct driver *d, uint16_t queue)
{
	uint64_t address = d->bar + VIRTIO_BAR_NOTIFY + VIRTIO_BAR_NOTIFY_STEP * queue;
	const uint64_t one = 1;

	for (uint32_t i = 0; i < d->m->fake.doorbell_count; i++)
		if (d->m->fake.doorbells[i].gpa == address)
			cr_assert_eq(write(d->m->fake.doorbells[i].eventfd, &one, 8), 8);
}

uint64_t driver_interrupts(struct driver *d, uint32_t gsi)
{
	uint64_t count = 0;

	/* Non-blocking: nothing there is 0. */
	if (read(d->m->fake.gsis[gsi].eventfd, &count, sizeof(count)) != sizeof(count))
		return 0;
	return count;
}

void driver_await_used(const struct ring *ring, uint16_t index)
{
	WAIT_UNTIL(ring_used_idx(ring) == index);
}
