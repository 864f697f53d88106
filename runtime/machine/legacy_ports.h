/* SPDX-License-Identifier: MIT */
/* Ports of a PC that a stock kernel reads or writes although this machine has no such device. Ports
 * without a row read as all ones; README.md says why that is the right answer for each. */
#ifndef AXVM_MACHINE_LEGACY_PORTS_H
#define AXVM_MACHINE_LEGACY_PORTS_H

#include "machine/acpi_registers.h"

/* Zeroed is the state after a reset. */
struct legacy_ports {
	struct acpi_registers *acpi; /* takes requests for a reset; borrowed */
	_Atomic uint8_t gate;        /* bit 0 of what was written to the NMI status port */
	_Atomic uint8_t reset_kind;  /* bits of the reset control port that keep their value */
};

/* Adds a bus range for each row. Build time; `legacy` is borrowed for the life of the bus. 0 or
 * -errno of bus_add(). */
int legacy_ports_add(struct legacy_ports *legacy, struct acpi_registers *acpi, struct bus *ports);

#endif
