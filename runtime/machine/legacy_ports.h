/* SPDX-License-Identifier: MIT */
/* Ports of the PC where a stock kernel looks, or writes, on a path that we offer, although there is
 * no such device. What is in no row reads as all ones; README.md says for which ports that is the
 * right answer, and why. */
#ifndef AXVM_MACHINE_LEGACY_PORTS_H
#define AXVM_MACHINE_LEGACY_PORTS_H

#include "machine/acpi_registers.h"

/* Zeroed is the state after a reset. */
struct legacy_ports {
	struct acpi_registers *acpi; /* where a reset is asked for, borrowed */
	_Atomic uint8_t gate;        /* bit 0 of what was written to the NMI status port */
	_Atomic uint8_t reset_kind;  /* bits of the reset control port that are kept */
};

/* Adds a range a row. Build time; `legacy` is borrowed for the life of the bus. 0 or -errno of
 * bus_add(). */
int legacy_ports_add(struct legacy_ports *legacy, struct acpi_registers *acpi, struct bus *ports);

#endif
