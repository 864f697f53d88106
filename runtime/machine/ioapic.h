/* SPDX-License-Identifier: MIT */
/* A minimal I/O APIC, for the one interrupt that is not an MSI: ACPI's generic event device.
 *
 * The local APICs are KVM's; with KVM_CAP_SPLIT_IRQCHIP the I/O APIC is ours, and there is no 8259
 * in the machine at all. Pins are edge triggered: a pin programmed as level is delivered once per
 * assertion, which is right for a line that nobody holds (82093AA datasheet §3). */
#ifndef AXVM_MACHINE_IOAPIC_H
#define AXVM_MACHINE_IOAPIC_H

#include <pthread.h>

#include "base/base.h"
#include "bus/bus.h"
#include "guest/layout.h"

struct msi_message {
	uint64_t address;
	uint32_t data;
};

/* Delivers one MSI; called on the thread that raised or unmasked the pin. */
typedef void (*ioapic_deliver_t)(void *context, const struct msi_message *message);

struct ioapic {
	pthread_mutex_t lock;
	uint32_t select;
	uint32_t id;
	uint64_t redirection[LAYOUT_IOAPIC_PINS];
	uint32_t latched; /* pins raised while masked */
	ioapic_deliver_t deliver;
	void *context;
};

/* Every pin masked, as after reset. */
void ioapic_init(struct ioapic *ioapic, ioapic_deliver_t deliver, void *context);

/* Bus operations of its MMIO window; the context is the struct ioapic. Any vCPU thread. */
extern const struct bus_ops ioapic_bus_ops;

/* Raises one edge on a pin; if the pin is masked, keeps it until the pin is unmasked. Any
 * thread. */
void ioapic_raise(struct ioapic *ioapic, uint32_t pin);

#endif
