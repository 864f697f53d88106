/* SPDX-License-Identifier: MIT */
/* A virtio-pci driver at the level of registers, and a machine for it to live in: guest memory, a
 * bus, a PCI host, a fabric of arrays, a real I/O loop with its thread. */
#ifndef AXVM_TESTS_VIRTIO_DRIVER_H
#define AXVM_TESTS_VIRTIO_DRIVER_H

#include <pthread.h>

#include "bus/pci.h"
#include "io/loop.h"
#include "rig/fake_fabric.h"
#include "rig/ring.h"
#include "rig/wait.h"
#include "virtio/pci.h"

#define TEST_EVENTS_MAX 64

struct test_machine {
	struct guest_memory memory;
	struct fake_fabric fake;
	struct bus mmio;
	struct bus ports;
	struct pci_host pci;
	struct io_loop loop;
	struct virtio_host host;
	pthread_t thread;
	bool running;
	int result; /* of io_loop_run */
	pthread_mutex_t lock;
	struct {
		char message[96];
		bool needs_reset;
		int queue, error;
		uint64_t suppressed;
	} events[TEST_EVENTS_MAX];
	_Atomic uint32_t event_count;
};

/* Build; then devices are created on machine->host; then start. */
void machine_init(struct test_machine *m);
void machine_start(struct test_machine *m);
/* Stops the loop if it runs, and joins its thread. Devices are destroyed after it, then
 * machine_done. */
void machine_stop(struct test_machine *m, uint32_t linger_ms);
void machine_done(struct test_machine *m);
/* Waits for at least `count` events; none is ever taken away. */
void machine_await_events(struct test_machine *m, uint32_t count);

struct driver {
	struct test_machine *m;
	uint32_t slot; /* device number */
	uint64_t bar;
};

uint64_t mmio_in(struct test_machine *m, uint64_t address, uint32_t width);
void mmio_out(struct test_machine *m, uint64_t address, uint64_t value, uint32_t width);
uint64_t common_in(struct driver *d, uint32_t offset, uint32_t width);
void common_out(struct driver *d, uint32_t offset, uint64_t value, uint32_t width);
uint32_t config_in(struct driver *d, uint32_t reg, uint32_t width);
void config_out(struct driver *d, uint32_t reg, uint32_t value, uint32_t width);

/* Decoding and bus mastering on, MSI-X on with all vectors unmasked. */
void driver_probe(struct driver *d, struct test_machine *m, uint32_t slot);
/* Writes 0 to status and waits until it reads 0. */
void driver_reset(struct driver *d);
uint64_t driver_offered(struct driver *d);
/* Up to FEATURES_OK; false when the device refused. */
bool driver_negotiate(struct driver *d, uint64_t features);
/* Rings, vector (that of the queue's number), enable. */
void driver_queue(struct driver *d, uint16_t queue, const struct ring *ring);
void driver_ok(struct driver *d);
uint8_t driver_status(struct driver *d);
/* As KVM would for a write to the doorbell. */
void driver_kick(struct driver *d, uint16_t queue);
/* Takes the interrupts that a vector's irqfd holds. */
uint64_t driver_interrupts(struct driver *d, uint32_t gsi);
/* Waits until used.idx is `index`. */
void driver_await_used(const struct ring *ring, uint16_t index);

#endif
