/* SPDX-License-Identifier: MIT */
/* The machine's whole firmware: code at a PC's BIOS entry that resets the machine. */
#ifndef AXVM_BOOT_RESET_VECTOR_H
#define AXVM_BOOT_RESET_VECTOR_H

#include "guest/memory.h"

/* Writes a few bytes of real-mode code to F000:FFF0, which write ACPI_RESET_VALUE to
 * LAYOUT_PORT_RESET. -EFAULT if there is no RAM. Must not be called once vCPUs run. */
int boot_write_reset_vector(const struct guest_memory *memory);

#endif
