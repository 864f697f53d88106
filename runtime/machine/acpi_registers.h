/* SPDX-License-Identifier: MIT */
/* The registers of hardware-reduced ACPI: sleep control and status (ACPI 6.5 §4.8.3.7), reset, the
 * generic event device's pending events (§5.6.9), and the panic report.
 *
 * A handler only records what the guest asked for; the vCPU loop acts on it after the exit. */
#ifndef AXVM_MACHINE_ACPI_REGISTERS_H
#define AXVM_MACHINE_ACPI_REGISTERS_H

#include <stdatomic.h>

#include "bus/bus.h"
#include "machine/ioapic.h"

enum acpi_request { ACPI_REQUEST_NONE, ACPI_REQUEST_POWER_OFF, ACPI_REQUEST_RESET };

struct acpi_registers {
	struct ioapic *ioapic;
	_Atomic uint32_t request; /* enum acpi_request */
	_Atomic uint32_t events;  /* ACPI_EVENT_*, cleared by the guest's read */
	/* the guest reported a panic and does not crash-dump by itself */
	_Atomic bool panicked;
};

/* Bus operations of the windows at LAYOUT_ACPI_REGISTERS and LAYOUT_PANIC_REGISTER and of the port
 * LAYOUT_PORT_RESET; the context is the struct acpi_registers. Any vCPU thread. */
extern const struct bus_ops acpi_registers_bus_ops;
extern const struct bus_ops panic_register_bus_ops;
extern const struct bus_ops reset_port_bus_ops;

/* Presses the power button: raises the generic event device's interrupt. Control thread. */
void acpi_press_power_button(struct acpi_registers *registers);

#endif
