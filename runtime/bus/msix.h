/* SPDX-License-Identifier: MIT */
/* MSI-X: the vector table, the pending bits, the capability (PCI 3.0 §6.8.2). */
#ifndef AXVM_BUS_MSIX_H
#define AXVM_BUS_MSIX_H

#include <pthread.h>

#include "base/base.h"
#include "bus/fabric.h"
#include "bus/pci.h"

#define MSIX_VECTORS_MAX 128
#define MSIX_NO_VECTOR 0xffff
#define MSIX_ENTRY_BYTES 16

/* Where vectors are delivered. All are called with `context`. */
struct msix_sink {
	/* Raise the vector's eventfd. Called on the thread that called msix_signal/msix_replay. */
	void (*deliver)(void *context, uint16_t vector);
	/* A vector whose pending bit is set can be delivered now: the owner makes the signalling
	 * thread call msix_replay() soon. Called on vCPU threads. */
	void (*replay)(void *context);
	/* A vector has been blocked or unblocked, so msix_direct_fd() may return something else.
	 * NULL: no device uses msix_direct_fd(). Called on vCPU threads. */
	void (*changed)(void *context);
	void *context;
};

struct msix_vector {
	_Atomic uint32_t state;
	uint32_t entry[4]; /* address low, address high, data, control: as the guest wrote them */
	uint32_t gsi;
	int eventfd; /* owned */
	bool route_stale;
};

struct msix {
	struct msix_vector *vectors;
	uint16_t count;
	uint8_t capability; /* offset in configuration space */
	bool enabled;
	bool function_masked;
	bool bus_master;
	struct fabric *fabric;
	struct msix_sink sink;
	pthread_mutex_t lock;          /* entries and the three flags; never taken by a signaller */
	_Atomic uint64_t route_errors; /* routes the fabric refused: such a vector stays silent */
};

/* Creates `count` vectors with an eventfd and a GSI each, adds the capability to `function`; table
 * and PBA lie in BAR 0 at the given offsets (8-aligned). Build time; allocates. Returns 0, -EINVAL,
 * -ENOMEM, -ENOSPC or the fabric's error; `msix` is zeroed then. */
int msix_init(struct msix *msix, struct pci_function *function, uint32_t table_offset,
              uint32_t pba_offset, uint16_t count, struct fabric *fabric,
              const struct msix_sink *sink);
void msix_done(struct msix *msix);

/* Raises a vector: delivers it now, or leaves it pending while it is masked. Does nothing for
 * MSIX_NO_VECTOR, for a vector that does not exist, and while MSI-X is disabled. One thread (the
 * device's I/O thread). */
void msix_signal(struct msix *msix, uint16_t vector);
/* Delivers the vectors that are pending and no longer masked. The thread that signals. */
void msix_replay(struct msix *msix);
/* The eventfd of a vector that nothing blocks at the moment, for vhost, which signals it without
 * this module. -1: blocked, MSI-X off, or no such vector. Any thread; see msix_sink.changed. */
int msix_direct_fd(const struct msix *msix, uint16_t vector);
/* Clears all pending bits (device reset). The thread that signals. */
void msix_forget(struct msix *msix);

/* Guest accesses to the table and to the PBA; offsets from their start; any width and alignment.
 * The table takes writes of aligned dwords and qwords only (PCI 3.0 §6.8.2), others are dropped. */
uint64_t msix_table_read(struct msix *msix, uint32_t offset, uint32_t width);
void msix_table_write(struct msix *msix, uint32_t offset, uint32_t width, uint64_t value);
uint64_t msix_pba_read(const struct msix *msix, uint32_t offset, uint32_t width);

/* Reads MSI-X enable, function mask and bus master from configuration space. Called after each
 * write to it, under the PCI host's lock. */
void msix_config_written(struct msix *msix, const struct pci_function *function);

#endif
