/* SPDX-License-Identifier: MIT */
/* One PCI bus behind an ECAM window: configuration space, BARs, doorbells that follow a BAR. */
#ifndef AXVM_BUS_PCI_H
#define AXVM_BUS_PCI_H

#include <pthread.h>

#include "base/base.h"
#include "bus/bus.h"
#include "bus/fabric.h"
#include "guest/layout.h"

/* Conventional configuration space. The rest of a function's 4 KiB of ECAM reads as zero, which is
 * an empty list of extended capabilities. */
#define PCI_CONFIG_BYTES 256
#define PCI_NO_BAR 0u

/* `context` is pci_function.context. */
struct pci_function_ops {
	/* An access wholly inside BAR 0. vCPU threads, no lock held. */
	uint64_t (*bar_read)(void *context, uint32_t offset, uint32_t width);
	void (*bar_write)(void *context, uint32_t offset, uint32_t width, uint64_t value);
	/* Before a read of, and after a write to, configuration space; the host's lock is held.
	 * Both may be NULL. They may touch function->config, and must not access ECAM. */
	void (*config_read)(void *context, uint32_t offset, uint32_t width);
	void (*config_written)(void *context, uint32_t offset, uint32_t width);
};

/* A guest write of any length at `offset` in BAR 0 signals `eventfd` (not owned). */
struct pci_doorbell {
	uint32_t offset;
	int eventfd;
};

struct pci_identity {
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint32_t class_code; /* 0xccsspp */
	uint8_t revision;
};

struct pci_function {
	const struct pci_function_ops *ops;
	void *context;
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES]; /* which bits the guest can change */
	uint32_t bar_size;                  /* BAR 0, a power of two, or PCI_NO_BAR */
	const struct pci_doorbell *doorbells;
	size_t doorbell_count;
	/* The host's. */
	_Atomic uint32_t decoded; /* the address at which BAR 0 answers now, or 0 */
	uint32_t doorbell_base;   /* the address at which the doorbells are registered, or 0 */
	uint8_t last_capability;
	uint8_t free_offset;
};

struct pci_host {
	struct fabric *fabric;
	pthread_mutex_t lock; /* configuration space of all functions; held over fabric calls */
	struct pci_function bridge;
	struct pci_function *slots[LAYOUT_PCI_DEVICES_MAX]; /* by device number */
	uint32_t slot_count;
	uint32_t next_bar;
	_Atomic uint64_t doorbell_errors; /* registrations the fabric refused; kicks then exit */
};

/* Puts the bridge at device 0 and registers ECAM and the BAR window with the bus. Build time.
 * `fabric` is borrowed. Returns 0 or -errno of bus_add. */
int pci_host_init(struct pci_host *host, struct fabric *fabric, struct bus *mmio);
void pci_host_done(struct pci_host *host);

/* Fills the header of a function that has BAR 0 of `bar_size` bytes. */
void pci_function_init(struct pci_function *function, const struct pci_identity *identity,
                       uint32_t bar_size);

/* Appends a capability: `body` follows the two bytes of id and link. *ret_offset is where the
 * capability starts. -ENOSPC when configuration space is full. */
int pci_add_capability(struct pci_function *function, uint8_t id, const void *body, size_t length,
                       uint8_t *ret_offset);

/* Attaches a function to the next free device number (*ret_slot), gives its BAR an address and
 * registers its doorbells there. Build time; `function` is borrowed for the life of the host.
 * -ENOSPC: no device number or no room in the window; else the fabric's error. */
int pci_host_attach(struct pci_host *host, struct pci_function *function, uint32_t *ret_slot);

/* COMMAND.BUS_MASTER as the guest last wrote it. The host's lock, or build time. */
bool pci_bus_master(const struct pci_function *function);

/* Little-endian loads and stores in configuration space. */
uint32_t pci_config_get(const struct pci_function *function, uint32_t offset, uint32_t width);
void pci_config_set(struct pci_function *function, uint32_t offset, uint32_t width, uint32_t value);

#endif
